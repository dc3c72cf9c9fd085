"""Recipes in stages, and directories of recipes, served by one mount."""
import errno
import json
import os
import threading

from support import *

SHAPE = {"layers": 2, "hidden": 256, "vocabulary": 3000}
UP = "model.layers.1.mlp.up_proj.weight"

# Name, base, models, and the rest of each; the last is the result. Each of
# another kind: no facts, one pass, two passes, whole rows, random.
STAGES = [
    ("left", None, ["one", "two"], "merge_method: linear\ndtype: bfloat16"),
    ("right", "base", ["one", "left"], "merge_method: ties\ndtype: float16\n"
     "parameters: {density: 0.4}"),
    ("rows", None, ["left", "right"], "merge_method: nuslerp\nout_dtype: bfloat16\n"
     "parameters: {nuslerp_flatten: false}"),
    ("drawn", "left", ["right", "rows"], "merge_method: dare_linear\n"
     "parameters: {density: 1.0}\ndtype: bfloat16"),
    ("last", "drawn", ["drawn", "rows"], "merge_method: slerp\ndtype: bfloat16\n"
     "parameters: {t: 0.3}"),
]


def make_inputs(folder, **shape):
    for name in ("base", "one", "two"):
        make_model(os.path.join(folder, name), name, **(shape or SHAPE))


def document(name, base, models, more, place="%s"):
    """place: where a stage's model is looked for."""
    stages = [stage[0] for stage in STAGES]
    spelled = {model: place % model if model in stages else model
               for model in [*models, base]}
    lines = [more] + ([f"name: {name}"] if name else [])
    if base:
        lines.append(f"base_model: {spelled[base]}")
    lines.append("models:")
    for i, model in enumerate(models):
        lines.append(f"- model: {spelled[model]}")
        if "slerp\n" not in more.replace("nuslerp", ""):
            lines.append(f"  parameters: {{weight: {0.3 + 0.2 * i}}}")
    return "\n".join(lines) + "\n"


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def staged_recipe(folder):
    documents = [document(*stage) for stage in STAGES]
    return write(folder, "recipe.yaml", "---\n".join(documents))


def export_one_by_one(folder):
    """Each stage written out, and read again by those that stand on it."""
    for i, stage in enumerate(STAGES):
        recipe = write(folder, f"step{i}.yaml", document(
            *stage, place=os.path.join(folder, "steps", "%s")))
        os.makedirs(os.path.join(folder, "steps"), exist_ok=True)
        export(recipe, os.path.join(folder, "steps", stage[0]))
    return os.path.join(folder, "steps", STAGES[-1][0])


def weights(directory):
    return {name: digest for name, digest in sums(directory).items()
            if name.endswith(".safetensors") or name == "config.json"}


def test_as_one_by_one(folder):
    """The bytes are those of stages that were saved, however it is computed."""
    make_inputs(folder)
    right = weights(export_one_by_one(folder))
    recipe = staged_recipe(folder)
    for i, options in enumerate((["--threads", "1"], ["--threads", "4"],
                                 ["--memory", "32M", "--threads", "2"])):
        out = os.path.join(folder, f"out{i}")
        export(recipe, out, *options)
        assert weights(out) == right, options


def test_mounted(folder):
    """Random reads of many threads see the bytes of the export."""
    make_inputs(folder)
    recipe = staged_recipe(folder)
    plain = os.path.join(folder, "plain")
    export(recipe, plain)
    path = os.path.join(plain, "model.safetensors")
    with open(path, "rb") as file:
        data = file.read()
    mountpoint = os.path.join(folder, "merged")
    failures = []

    def reader(seed):
        draw = random.Random(seed)
        fd = os.open(os.path.join(mountpoint, "model.safetensors"), os.O_RDONLY)
        for _ in range(30):
            size = draw.choice([1, 5000, 200000])
            offset = draw.randrange(len(data) - size)
            if os.pread(fd, size, offset) != data[offset:offset + size]:
                failures.append((seed, offset, size))
        os.close(fd)

    with mounted(recipe, mountpoint, "--threads", "3"):
        threads = [threading.Thread(target=reader, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        assert sums(mountpoint) == sums(plain)


def test_inputs_are_read_twice(folder):
    """
    A slerp of two stages without facts: each input byte is read for the slerp's
    facts, and the stages' blocks stay for its values. Nothing is written.
    """
    make_inputs(folder, layers=2, hidden=512, vocabulary=4000)
    inputs = sum(os.path.getsize(os.path.join(folder, name, "model.safetensors"))
                 for name in ("base", "one", "two"))
    text = "---\n".join([
        "name: a\nmerge_method: linear\nmodels: [{model: one}, {model: two}]\n"
        "parameters: {weight: 1}\ndtype: bfloat16\n",
        "name: b\nmerge_method: linear\nmodels: [{model: one}, {model: base}]\n"
        "parameters: {weight: 1}\ndtype: bfloat16\n",
        "merge_method: slerp\nbase_model: a\nmodels: [{model: a}, {model: b}]\n"
        "parameters: {t: 0.4}\ndtype: bfloat16\n"])
    recipe = write(folder, "recipe.yaml", text)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, "--threads", "2") as daemon:
        sha256(os.path.join(mountpoint, "model.safetensors"))
        read = json.loads(run(CTL, "status", "--json", mountpoint).stdout)["bytes"]["inputs"]
        # `one` is an input of both stages, one after the other.
        assert 0.99 * inputs < read < 1.1 * inputs * 4 / 3, (read, inputs)
        opened = [path for path in daemon.files() if path.endswith("model.safetensors")]
        assert len(opened) == 3 == len(set(opened)), opened


def test_changed_source(folder):
    make_inputs(folder)
    recipe = staged_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint) as daemon:
        with open(os.path.join(folder, "one", "model.safetensors"), "r+b") as file:
            file.seek(-2, os.SEEK_END)
            file.write(b"\x01\x3c")
        with open(os.path.join(mountpoint, "model.safetensors"), "rb") as file:
            file.seek(100000)
            expect_errno(errno.EIO, file.read, 10)
        wait_until(lambda: "one/model.safetensors has changed" in daemon.lines())


def test_explain(folder):
    make_inputs(folder, layers=2, hidden=16, vocabulary=50)
    recipe = staged_recipe(folder)
    told = json.loads(run(CTL, "explain", "--json", "--cache", "none", "--scan", recipe, UP,
                          check=True).stdout)["expression"]
    drawn, rows = (row["expression"] for row in told["inputs"])
    assert told["method"] == "slerp" and drawn["model"] == "drawn"
    assert rows["stage"] == "rounded to BF16" and rows["tensor"] == UP
    left = rows["inputs"][0]["expression"]["inputs"][0]["expression"]
    assert left["model"] == "left" and left["inputs"][0]["expression"]["method"] == "linear"
    text = run(CTL, "explain", "--cache", "none", recipe, UP, check=True).stdout
    assert "    left: weight 0.3; stage rounded to BF16\n" in text, text
    text = run(CTL, "explain", "--fuse", "--cache", "none", recipe, UP, check=True).stdout
    assert "rows; stage kept in F32" in text, text
    for command in ("explain", "check"):
        text = run(CTL, command, recipe, check=True).stdout
        for name, _, _, more in STAGES[:-1]:
            method = more.split()[1]
            assert f"\nStage {name}: {method}\n" in text, text
        stages = json.loads(run(CTL, command, "--json", recipe, check=True).stdout)["stages"]
        assert sorted(stage["name"] for stage in stages) == ["drawn", "left", "right", "rows"]


def test_too_deep_for_the_memory(folder):
    make_inputs(folder, layers=1, hidden=16, vocabulary=50)
    stage = "name: s%d\nmerge_method: linear\nmodels: [{model: %s}, {model: one}]\nparameters: {weight: 1}\n"
    text = "---\n".join(stage % (i, f"s{i - 1}" if i else "two") for i in range(300))
    recipe = write(folder, "recipe.yaml", text)
    done = run(CTL, "check", "--memory", "32M", "--threads", "4", recipe)
    assert done.returncode == 1 and "299 levels" in done.stderr, done.stderr
    assert "--memory" in done.stderr
    run(CTL, "check", "--memory", "4G", "--threads", "4", recipe, check=True)


def test_adapter_on_a_stage(folder):
    """As one by one: the stage is written, then the adapter is added to it."""
    make_inputs(folder, layers=2, hidden=64, vocabulary=500)
    adapter = os.path.join(folder, "adapter")
    os.mkdir(adapter)
    write(adapter, "adapter_config.json", json.dumps({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["up_proj"],
        "base_model_name_or_path": "x"}))
    shapes = {}
    for i in range(2):
        name = f"base_model.model.model.layers.{i}.mlp.up_proj.lora_"
        shapes[name + "A.weight"], shapes[name + "B.weight"] = (4, 64), (128, 4)
    write_safetensors(os.path.join(adapter, "adapter_model.safetensors"), shapes, "adapter")
    last = "merge_method: slerp\nbase_model: one\nmodels: [{model: one}, {model: %s+adapter}]\nparameters: {t: 0.4}\n"
    stage = LINEAR % 1
    recipe = write(folder, "recipe.yaml", "name: s\n" + stage + "---\n" + last % "s")
    export(write(folder, "stage.yaml", stage), os.path.join(folder, "saved"))
    export(write(folder, "last.yaml", last % "saved"), os.path.join(folder, "right"))
    export(recipe, os.path.join(folder, "out"))
    assert weights(os.path.join(folder, "out")) == weights(os.path.join(folder, "right"))


# Directories of recipes.

LINEAR = "merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: %s}\ndtype: bfloat16\n"


def make_directory(folder):
    make_inputs(folder, layers=2, hidden=64, vocabulary=500)
    recipes = os.path.join(folder, "recipes")
    os.mkdir(recipes)
    for name in ("base", "one", "two"):
        os.symlink(os.path.join(folder, name), os.path.join(recipes, name))
    write(recipes, "plain.yaml", LINEAR % 1)
    write(recipes, "other.yml", LINEAR % "[0.1, 0.7]")
    write(recipes, "bad.yaml", LINEAR.replace("linear", "liner") % 1)
    write(recipes, "stages.yaml", "name: s\n" + LINEAR % 2 + "---\nmerge_method: slerp\nbase_model: s\n"
          "models: [{model: s}, {model: base}]\nparameters: {t: 0.2}\n")
    write(recipes, ".hidden.yaml", "no recipe")
    write(recipes, "notes.txt", "no recipe")
    return recipes


def test_directory(folder):
    recipes = make_directory(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipes, mountpoint) as daemon:
        assert sorted(os.listdir(mountpoint)) == ["other", "plain", "stages"]
        for name, ending in (("other", "yml"), ("plain", "yaml"), ("stages", "yaml")):
            out = os.path.join(folder, name)
            export(os.path.join(recipes, f"{name}.{ending}"), out)
            assert sums(os.path.join(mountpoint, name)) == sums(out), name
        assert "bad.yaml:1: no method 'liner'" in daemon.lines()
        status = json.loads(run(CTL, "status", "--json", mountpoint, check=True).stdout)
        assert len(status["refused"]) == 1 and "bad.yaml:1: no method" in status["refused"][0]
        assert status["now"]["recipes"] == 3 and status["now"]["recipes_refused"] == 1
        text = run(CTL, "status", mountpoint, check=True).stdout
        assert "\nrefused\n  " in text and "no method 'liner'" in text, text
        text = run(CTL, "status", "--prometheus", mountpoint, check=True).stdout
        assert "mkfs_mount_now_recipes_refused{" in text and "(null)" not in text
        # What all of them stand on is open once.
        files = daemon.files()
        assert sum(path.endswith("one/model.safetensors") for path in files) == 1, files
        assert os.stat(os.path.join(mountpoint, "plain")).st_nlink == 3


def test_directory_shares_blocks(folder):
    """The same recipe twice: the second copy costs nothing."""
    recipes = make_directory(folder)
    write(recipes, "again.yaml", LINEAR % 1)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipes, mountpoint):
        counts = []
        for name in ("plain", "again"):
            sha256(os.path.join(mountpoint, name, "model.safetensors"))
            status = json.loads(run(CTL, "status", "--json", mountpoint, check=True).stdout)
            counts.append(status["blocks"]["computed"])
        assert counts[0] == counts[1] > 0, counts


def test_directory_without_mount(folder):
    recipes = make_directory(folder)
    done = run(CTL, "check", recipes)
    assert done.returncode == 1 and "1 of 4 recipes refused" in done.stderr, done.stderr
    assert "plain.yaml: linear of" in done.stdout and "stages.yaml: slerp of" in done.stdout
    told = json.loads(run(CTL, "check", "--json", recipes).stdout)
    assert len(told["recipes"]) == 3 and len(told["refused"]) == 1
    os.remove(os.path.join(recipes, "bad.yaml"))
    run(CTL, "check", recipes, check=True)
    out = os.path.join(folder, "out")
    export(recipes, out)
    assert sorted(os.listdir(out)) == ["other", "plain", "stages"]
    done = run(CTL, "explain", recipes)
    assert done.returncode == 1 and "one of its recipes" in done.stderr
    cache = os.path.join(folder, "cache")
    run(CTL, "warm", "--cache", cache, recipes, check=True)


def test_directory_of_nothing_good(folder):
    empty = os.path.join(folder, "empty")
    os.mkdir(empty)
    done = run(CTL, "check", empty)
    assert done.returncode == 1 and "no recipe in this directory" in done.stderr
    write(empty, "a.yaml", "merge_method: liner\n")
    write(empty, "b.yaml", "merge_method: linear\n")
    done = run(CTL, "check", empty)
    assert done.returncode == 1 and "a.yaml:1: no method" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


def test_names_that_clash(folder):
    recipes = make_directory(folder)
    write(recipes, "plain.yml", LINEAR % 3)
    done = run(CTL, "check", recipes)
    assert "plain.yml: another recipe has the name plain" in done.stderr, done.stderr


main(globals())
