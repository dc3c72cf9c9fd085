"""Every recipe of docs/recipes.md is run, with models made for it."""
import os
import re

from support import *

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs/recipes.md")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def recipes():
    with open(PAGE) as file:
        return re.findall(r"^```yaml\n(.*?)^```$", file.read(), re.M | re.S)


def make_seeing(path, seed):
    """Two stacks of layers, as of a model for images and text."""
    make_model(path, seed, layers=4, hidden=16, vocabulary=50)
    with open(os.path.join(path, "config.json")) as file:
        text = json.load(file)
    config = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
              "text_config": {**text, "num_hidden_layers": 4},
              "vision_config": {"hidden_size": 16, "num_hidden_layers": 2, "model_type": "clip_vision_model"}}
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump(config, file)
    tensors = {"language_model." + name: shape for name, shape in llama_tensors(4, 16, 50).items()}
    for i in range(2):
        tensors[f"vision_tower.vision_model.encoder.layers.{i}.mlp.fc1.weight"] = (32, 16)
    write_safetensors(os.path.join(path, "model.safetensors"), tensors, seed)


def make_adapter(path, base):
    os.makedirs(path)
    with open(os.path.join(path, "adapter_config.json"), "w") as file:
        json.dump({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"],
                   "base_model_name_or_path": base}, file)
    tensors = {}
    for i in range(4):
        module = f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_"
        tensors[module + "A.weight"], tensors[module + "B.weight"] = (2, 16), (16, 2)
    write_safetensors(os.path.join(path, "adapter_model.safetensors"), tensors, path)


def make_models(folder, text):
    """What a recipe names, as paths, and in a cache of the hub."""
    for name in set(re.findall(r"\./([\w-]+)", text)):
        path = os.path.join(folder, name)
        if name.startswith("see-"):
            make_seeing(path, name)
        elif name.startswith("adapter"):
            make_adapter(path, os.path.join(folder, "base"))
        else:
            make_model(path, name, layers=4, hidden=16, vocabulary=50)
    for name in set(re.findall(r"\borg/([\w-]+)", text)):
        place = os.path.join(folder, "hub", f"models--org--{name}")
        os.makedirs(os.path.join(place, "refs"))
        with open(os.path.join(place, "refs/main"), "w") as file:
            file.write(COMMIT)
        make_model(os.path.join(place, "snapshots", COMMIT), name, layers=4, hidden=16, vocabulary=50)


def test_every_recipe(folder):
    found = recipes()
    assert len(found) >= 7, found
    for i, text in enumerate(found):
        place = os.path.join(folder, str(i))
        os.mkdir(place)
        make_models(place, text)
        recipe = os.path.join(place, "recipe.yaml")
        with open(recipe, "w") as file:
            file.write(text)
        done = run(CTL, "export", recipe, os.path.join(place, "out"),
                   env={**os.environ, "HF_HUB_CACHE": os.path.join(place, "hub")})
        said = done.stderr if "modules:" not in text else ""
        assert done.returncode == 0 and said == "", (text, done.stderr)
        assert os.path.getsize(os.path.join(place, "out/model.safetensors")) > 1000


def test_directory(folder):
    """The page's commands on directories, with all its recipes in one."""
    os.mkdir(os.path.join(folder, "recipes"))
    names = []
    for i, text in enumerate(recipes()):
        if "org/" in text:
            continue
        names.append(f"r{i}")
        with open(os.path.join(folder, "recipes", f"r{i}.yaml"), "w") as file:
            file.write(text)
    make_models(os.path.join(folder, "recipes"), "".join(recipes()).replace("org/", ""))
    mountpoint = os.path.join(folder, "models")
    os.mkdir(mountpoint)
    assert run(CTL, "check", "recipes/", cwd=folder).returncode == 0
    done = run(CTL, "export", "recipes/", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    with mounted(os.path.join(folder, "recipes"), mountpoint):
        assert sorted(os.listdir(mountpoint)) == sorted(names)
        assert sums(mountpoint) == sums(os.path.join(folder, "out"))


main(globals())
