"""mkfs-ctl explain, and the outline of check: how tensors are made."""
import json
import os
import struct

from support import *

UP = "model.layers.1.mlp.up_proj.weight"


def ties_recipe(folder, layers=4):
    for name in ("base", "one", "two"):
        make_model(os.path.join(folder, name), name, layers=layers, hidden=64)
    recipe = os.path.join(folder, "recipe.yaml")
    with open(recipe, "w") as file:
        file.write("""merge_method: ties
base_model: base
models:
  - model: one
    parameters:
      weight: [0.3, 0.7, 0.7, 0.1]
      density:
      - filter: self_attn
        value: 0.2
      - value: 0.5
  - model: two
    parameters: {weight: 0.5, density: 0.5}
parameters: {rescale: true}
""")
    return recipe


def explain(*words):
    return json.loads(run(CTL, "explain", "--json", *words, check=True).stdout)


def header(path):
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), 8 + size


def inputs_of(expression):
    return {row["expression"]["model"]: row for row in expression["inputs"]}


def test_tensor(folder):
    recipe = ties_recipe(folder)
    told = explain("--cache", "none", recipe, UP)
    plain = os.path.join(folder, "plain")
    export(recipe, plain)
    table, start = header(os.path.join(plain, told["file"]))
    assert told["shape"] == table[UP]["shape"] == [128, 64]
    assert told["offset"] == start + table[UP]["data_offsets"][0]
    assert told["dtype"] == "BF16" and told["how"] == "ties"

    merge = told["expression"]
    assert merge["method"] == "ties" and "base + " in merge["formula"]
    assert merge["parameters"]["rescale"] is True and merge["facts"] is None
    inputs = inputs_of(merge)
    assert inputs["base"]["base"] and "parameters" not in inputs["base"]
    assert inputs["two"]["parameters"] == {"weight": 0.5, "density": 0.5}
    assert abs(inputs["one"]["parameters"]["weight"] - 0.7) < 1e-9
    stored = inputs["one"]["expression"]
    table, start = header(os.path.join(folder, "one/model.safetensors"))
    assert stored["offset"] == start + table[UP]["data_offsets"][0]
    assert os.path.samefile(stored["file"],
                            os.path.join(folder, "one/model.safetensors"))


def test_text(folder):
    recipe = ties_recipe(folder)
    said = run(CTL, "explain", "--cache", "none", recipe, UP, check=True)
    for words in (UP, "ties: normalize true", "base + lambda sum",
                  "two: weight 0.5, density 0.5", "base (base)", "BF16",
                  "one/model.safetensors at ", "in model.safetensors at ",
                  "--scan"):
        assert words in said.stdout, (words, said.stdout)


def test_facts(folder):
    """Unknown, gathered, and found again without a scan."""
    recipe = ties_recipe(folder)
    cache = os.path.join(folder, "cache")
    words = ("--cache", cache, recipe, UP)
    assert explain(*words)["expression"]["facts"] is None
    told = explain("--scan", *words)
    facts = {(fact["name"], fact.get("input")): fact["value"]
             for fact in told["expression"]["facts"]}
    assert facts["elements kept", 0] == 4096 and facts["rescaled by", 0] > 1
    assert explain(*words) == told
    text = run(CTL, "explain", *words, check=True).stdout
    assert "elements kept 4096, smallest magnitude kept 0.0" in text, text
    # Another tensor has not been read.
    other = UP.replace("up", "gate")
    assert explain("--cache", cache, recipe, other)["expression"][
        "facts"] is None


def test_not_finite(folder):
    for method, more, word in (("ties", "", "elements not finite"),
                               ("slerp", "{t: 0.3}", "length")):
        place = os.path.join(folder, method)
        os.mkdir(place)
        recipe = ties_recipe(place)
        if method == "slerp":
            with open(recipe, "w") as file:
                file.write("merge_method: slerp\nbase_model: base\nmodels:\n"
                           "- model: one\nparameters: {t: 0.3}\n")
        path = os.path.join(place, "one/model.safetensors")
        table, start = header(path)
        with open(path, "r+b") as file:
            file.seek(start + table[UP]["data_offsets"][0] + 100)
            file.write(b"\xc0\x7f")  # NaN
        facts = explain("--cache", "none", "--scan", recipe,
                        UP)["expression"]["facts"]
        told = [fact["value"] for fact in facts if fact["name"] == word]
        assert told[0] == (1 if method == "ties" else None), facts
        if method == "slerp":
            text = run(CTL, "explain", "--cache", "none", "--scan", recipe,
                       UP, check=True).stdout
            assert "length not finite" in text, text


def test_unknown_tensor(folder):
    recipe = ties_recipe(folder)
    done = run(CTL, "explain", recipe, UP.replace("up_proj", "upproj"))
    assert done.returncode == 1 and "did you mean " in done.stderr, done
    done = run(CTL, "explain", recipe, "zzz")
    assert done.returncode == 1 and "no tensor 'zzz'" in done.stderr, done


def test_groups(folder):
    recipe = ties_recipe(folder)
    groups = explain(recipe)["groups"]
    assert [(group["tensors"], group.get("layers")) for group in groups] == [
        (["lm_head.weight", "model.embed_tokens.weight",
          "model.norm.weight"], None),
        (["model.layers.N.input_layernorm.weight", "model.layers.N.mlp.*",
          "model.layers.N.post_attention_layernorm.weight"], [0, 3]),
        (["model.layers.N.self_attn.*"], [0, 3])], groups
    assert [group["count"] for group in groups] == [3, 20, 16]
    mlp, attention = (inputs_of(group["expression"])["one"]["parameters"]
                      for group in groups[1:])
    assert mlp["density"] == 0.5 and attention["density"] == 0.2
    assert mlp["weight"] == attention["weight"]
    assert [round(x, 9) for x in mlp["weight"]] == [0.3, 0.7, 0.7, 0.1]

    facts = json.loads(run(CTL, "check", "--json", recipe, check=True).stdout)
    assert facts["groups"] == groups
    text = run(CTL, "check", recipe, check=True).stdout
    assert "layers 0 to 3: model.layers.N.self_attn.*\n" in text
    assert "one: weight 0.3 -> 0.7 -> 0.7 -> 0.1, density 0.2\n" in text, text
    assert "base + " not in text
    assert "base + " in run(CTL, "explain", recipe, check=True).stdout


def test_alike(folder):
    """What is made in one way is one group."""
    recipe = make_recipe(folder)
    group, = explain(recipe)["groups"]
    assert group["tensors"] == ["*"] and "layers" not in group
    assert group["count"] == 21 and group["copied"] == 0


def test_stacked(folder):
    """Layers of two models, one after the other."""
    for name in ("base", "one"):
        make_model(os.path.join(folder, name), name, layers=4, hidden=8)
    recipe = os.path.join(folder, "recipe.yaml")
    with open(recipe, "w") as file:
        file.write("merge_method: passthrough\nslices:\n")
        for name, first in (("base", 0), ("one", 1)):
            file.write(f"- sources: [{{model: {name}, "
                       f"layer_range: [{first}, {first + 3}]}}]\n")
    groups = [(group["tensors"], group.get("layers"), group["copied"],
               group["expression"]["inputs"][0]["expression"])
              for group in explain(recipe)["groups"]]
    layers = ["model.layers.N.*"]
    assert groups[-2:] == [
        (layers, [0, 2], 27, {"node": "stored", "model": "base"}),
        (layers, [3, 5], 27, {"node": "stored", "model": "one",
                              "layer": "N-2"})], groups


main(globals(), fuse=False)
