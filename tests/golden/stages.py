"""
Recipes of several documents: MergeKit's own cases, random graphs of stages
against numpy, what --fuse is worth, and what is refused.

Usage: stages.py MKFS_CTL SOURCE_ROOT
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import golden
from golden import CTL, HERE, fail, failures, one_sentence

import numpy as np

from checkpoint import load, round_to, ulp

CASES = HERE + "/multi/cases"
REFUSED = {
    "cycle": r"recipe\.yaml:\d+: stages need each other: b needs a needs b",
    "duplicate": r"recipe\.yaml:10: a second recipe of name 'a'",
    "two-unnamed": r"recipe\.yaml:9: a second recipe without name",
    "unknown-stage": r"recipe\.yaml:11: no stage 'nosuch' in this recipe",
}
INPUTS = [load(f"{HERE}/multi/models/{name}") for name in ("ft1", "ft2", "ft3")]
RESULT = {"method-name": "right", "named-only": "stages/two"}


def export(recipe, out, *options):
    return subprocess.run([CTL, "export", "--cache", "none", *options, recipe, out],
                          capture_output=True, text=True, timeout=120)


def near(case, name, ours, theirs):
    """
    Float32 of other summation orders: 5e-7 of the largest magnitude at most;
    after rounding to bf16 nearly all bits are equal.
    """
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        fail(case, f"{name}: {ours.dtype} {ours.shape} against {theirs.dtype} {theirs.shape}")
        return
    a, b = ours.values(), theirs.values()
    if not np.abs(a - b).max() <= 1e-6 * np.abs(b).max():
        fail(case, f"{name}: off by {np.abs(a - b).max() / np.abs(b).max():.2g} of the largest magnitude")
    x, y = round_to(a, "BF16"), round_to(b, "BF16")
    if (x == y).mean() < 0.999 - 1 / a.size or (np.abs(x - y) > ulp(y, "BF16") * 1.01).any():
        fail(case, f"{name}: differs after rounding to bf16")


def nearer(name, ours, theirs):
    """
    A stage of dtype bfloat16: MergeKit rounds its float32 inputs, too. We only
    round what it saves, and are nearer to the exact result.
    """
    one, two, three = (models[name].values() for models in INPUTS)
    low = 0.6 * one + 0.4 * two
    if not np.abs(ours.values() - slerp(0.35, round_to(low, "BF16"), three)).max() <= 1e-6 * np.abs(low).max():
        fail("rounding", f"{name}: not slerp of a stage rounded to bf16")
    exact = slerp(0.35, low, three)
    if np.abs(ours.values() - exact).sum() > np.abs(theirs.values() - exact).sum():
        fail("rounding", f"{name}: farther from the exact result than MergeKit")


def run_case(case):
    path = f"{CASES}/{case}"
    with tempfile.TemporaryDirectory() as temporary:
        out = temporary + "/out"
        run = export(path + "/recipe.yaml", out)
        if case in REFUSED:
            one_sentence(case, run, REFUSED[case])
            return
        if run.returncode != 0:
            fail(case, f"export: {run.stderr.strip()}")
            return
        right = f"{path}/{RESULT.get(case, 'out')}"
        ours, theirs = load(out), load(right)
        if set(ours) != set(theirs):
            fail(case, f"names differ: {sorted(set(ours) ^ set(theirs))[:3]}")
        for name in sorted(set(ours) & set(theirs)):
            if case == "rounding":
                nearer(name, ours[name], theirs[name])
            else:
                near(case, name, ours[name], theirs[name])
        if os.path.exists(right + "/config.json"):
            golden.compare_config(case, out, right + "/config.json")


# Random graphs.

TENSORS = {
    "model.embed_tokens.weight": (24, 16),
    "model.layers.0.self_attn.q_proj.weight": (16, 16),
    "model.layers.0.mlp.up_proj.weight": (40, 16),
    "model.layers.1.self_attn.q_proj.weight": (16, 16),
    "model.layers.1.mlp.up_proj.weight": (40, 16),
    "model.norm.weight": (16,),
    "lm_head.weight": (24, 16),
}
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2,
          "hidden_size": 16, "vocab_size": 24, "tie_word_embeddings": False, "dtype": "float32"}
DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def write_model(folder, values):
    """values: name -> float32 array."""
    os.makedirs(folder)
    json.dump(CONFIG, open(folder + "/config.json", "w"))
    header, data = {}, b""
    for name, array in values.items():
        raw = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder + "/model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def slerp(t, a, b):
    x, y = a / (np.linalg.norm(a) + 1e-8), b / (np.linalg.norm(b) + 1e-8)
    dot = np.clip((x * y).sum(), -1, 1)
    if abs(dot) > 0.9995:
        return (1 - t) * a + t * b
    theta = np.arccos(dot)
    return np.sin((1 - t) * theta) / np.sin(theta) * a + np.sin(t * theta) / np.sin(theta) * b


def formula(stage, inputs):
    """Float64 values of one tensor from those of its models."""
    method, weights = stage["method"], stage["weights"]
    if method == "slerp":
        return slerp(weights[0], inputs[0], inputs[1])
    if method == "task_arithmetic":
        return inputs[0] + sum(w * (x - inputs[0]) for w, x in zip(weights, inputs[1:]))
    return sum(w * x for w, x in zip(weights, inputs)) / sum(weights)


def random_stages(draw, n, models, dtypes):
    names, stages = list(models), []
    for i in range(n):
        method = draw.choice(["linear", "slerp", "task_arithmetic"])
        k = 2 if method == "slerp" else draw.randint(2, 3)
        # The last ones made are liked most, so that graphs are deep.
        used = draw.sample(names[-5:], k)
        stages.append({"name": f"s{i}", "method": method, "models": used, "dtype": draw.choice(dtypes),
                       "weights": [round(draw.uniform(0.2, 0.8), 2) for _ in used]})
        names.append(f"s{i}")
    return stages


def as_yaml(stage, last):
    lines = [] if last else [f"name: {stage['name']}"]
    lines += [f"merge_method: {stage['method']}", f"dtype: {stage['dtype']}"]
    models, weights = stage["models"], stage["weights"]
    if stage["method"] == "slerp":
        lines += [f"parameters: {{t: {weights[0]}}}"]
    if stage["method"] != "linear":
        lines += [f"base_model: {models[0]}"]
    lines += ["models:"]
    rest = models if stage["method"] != "task_arithmetic" else models[1:]
    for model, weight in zip(rest, weights):
        lines += [f"  - model: {model}", f"    parameters: {{weight: {weight}}}"] if stage["method"] != "slerp" else \
            [f"  - model: {model}"]
    return "\n".join(lines) + "\n"


def expected(stages, models, rounding):
    """Of the last stage, exact but for the rounding that saving each does."""
    known = {name: {k: v.astype("f8") for k, v in model.items()} for name, model in models.items()}
    for stage in stages:
        result = {}
        for name in TENSORS:
            value = formula(stage, [known[model][name] for model in stage["models"]])
            result[name] = round_to(value, DTYPES[stage["dtype"]]) if rounding else value
        known[stage["name"]] = result
    return known[stages[-1]["name"]]


def write_recipe(folder, stages, draw):
    documents = [as_yaml(stage, stage is stages[-1]) for stage in stages]
    draw.shuffle(documents)
    path = folder + "/recipe.yaml"
    open(path, "w").write("---\n".join(documents))
    return path


def run_graph(folder, seed):
    draw, numbers = random.Random(seed), np.random.default_rng(seed)
    models = {}
    for name in ("a", "b", "c"):
        models[name] = {k: numbers.normal(size=s).astype("f4") for k, s in TENSORS.items()}
        write_model(f"{folder}/{name}", models[name])
    stages = random_stages(draw, draw.randint(2, 9), models, ["float32"])
    recipe = write_recipe(folder, stages, draw)
    run = export(recipe, folder + "/out", "--threads", str(draw.choice([1, 3])))
    if run.returncode != 0:
        fail(f"graph {seed}", run.stderr)
        return
    ours, right = load(folder + "/out"), expected(stages, models, True)
    for name in TENSORS:
        error = np.abs(ours[name].values() - right[name].ravel()).max() / np.abs(right[name]).max()
        if error > 3e-6:
            fail(f"graph {seed}", f"{name}: off by {error:.2g}\n{open(recipe).read()}")


def run_rounding(folder, seed):
    """
    Stages that are saved in bf16: ours are rounded as MergeKit's, but for rare
    ties; fused, the result is nearer to the exact one.
    """
    draw, numbers = random.Random(seed), np.random.default_rng(seed)
    models = {}
    for name in ("a", "b", "c"):
        models[name] = {k: numbers.normal(size=s).astype("f4") for k, s in TENSORS.items()}
        write_model(f"{folder}/{name}", models[name])
    stages = random_stages(draw, 4, models, ["bfloat16"])
    stages[-1]["models"] = ["s2", "s1", "s0"][:2 if stages[-1]["method"] == "slerp" else 3]
    stages[-1]["weights"] = [0.4, 0.35, 0.3][:len(stages[-1]["models"])]
    stages[-1]["dtype"] = "float32"
    recipe = write_recipe(folder, stages, draw)
    errors = {}
    exact = expected(stages, models, False)
    for options in ((), ("--fuse",)):
        out = f"{folder}/out{len(options)}"
        run = export(recipe, out, *options)
        if run.returncode != 0:
            fail(f"rounding {seed}", run.stderr)
            return
        ours = load(out)
        errors[options] = sum(np.abs(ours[k].values() - exact[k].ravel()).sum() for k in TENSORS)
        if not options:
            right = expected(stages, models, True)
            for name in TENSORS:
                equal = np.abs(ours[name].values() - right[name].ravel()) <= 3e-6 * np.abs(right[name]).max()
                if equal.mean() < 0.97:
                    fail(f"rounding {seed}", f"{name}: only {equal.mean():.3f} are as MergeKit would round them")
    if not errors[("--fuse",)] < 0.01 * errors[()]:
        fail(f"rounding {seed}", f"--fuse is not nearer: {errors}")


# What is refused, and what is only remarked.

LINEAR = "merge_method: linear\nmodels: [{model: %s, parameters: {weight: 1}}, {model: %s, parameters: {weight: 1}}]\n"


def check(folder, text):
    path = folder + "/recipe.yaml"
    open(path, "w").write(text)
    return subprocess.run([CTL, "check", path], capture_output=True, text=True, timeout=60)


def run_words(folder):
    for name in ("a", "b", "both"):
        write_model(f"{folder}/{name}", {k: np.zeros(s, "f4") for k, s in TENSORS.items()})
    stage = "name: %s\n" + LINEAR
    refused = {
        "self": (stage % ("x", "x", "a") + "---\n" + LINEAR % ("x", "a"), r":3: stages need each other: x needs x"),
        "long": ("---\n".join(stage % (f"s{i}", f"s{(i + 1) % 5}", "a") for i in range(5)),
                 r"s0 needs s1 needs s2 needs s3 needs s4 needs s0"),
        "aside": (stage % ("x", "y", "a") + "---\n" + stage % ("y", "x", "b") + "---\n" + LINEAR % ("a", "b"),
                  r"stages need each other"),
        "revision": (stage % ("x", "a", "b") + "---\n" + LINEAR % ("x@main", "a"), r":6: x is a stage .* no revision"),
        "typing": (stage % ("left", "a", "b") + "---\n" + LINEAR % ("letf", "a"), r"did you mean left\?"),
        "inside": (stage % ("x", "a", "nowhere") + "---\n" + LINEAR % ("x", "a"), r":3: .*nowhere was not found"),
        "layers": (stage % ("x", "a", "b") + "---\nmerge_method: passthrough\nslices:\n"
                   "- sources: [{model: x, layer_range: [0, 3]}]\n", r"outside model x, which has 2 layers"),
    }
    for case, (text, words) in refused.items():
        one_sentence("words/" + case, check(folder, text), words)
    remarks = {
        "both": (stage % ("both", "a", "b") + "---\n" + LINEAR % ("both", "a"), "a directory"),
        "unused": (stage % ("x", "a", "b") + "---\n" + LINEAR % ("a", "b"), "stage x is not used"),
    }
    for case, (text, words) in remarks.items():
        run = check(folder, text)
        if run.returncode != 0 or words not in run.stderr:
            fail("words/" + case, f"{run.returncode}: {run.stderr}")


def tokens(folder):
    whole = json.load(open(folder + "/tokenizer.json"))
    words = {word: i for i, (word, _) in enumerate(whole["model"]["vocab"])}
    return {**words, **{t["content"]: t["id"] for t in whole["added_tokens"]}}


def run_tokenizer_of_stage(folder):
    """A stage's computed tokenizer is what those above it read."""
    text = open(CASES + "/tokenizer/recipe.yaml").read().replace("../..", HERE + "/multi")
    sizes = []
    for i, more in enumerate(("", "tokenizer_source: vocab\n", "tokenizer_source: union\n")):
        recipe, out = f"{folder}/recipe{i}.yaml", f"{folder}/out{i}"
        open(recipe, "w").write(text + more)
        run = export(recipe, out)
        if run.returncode != 0:
            fail("tokenizer of a stage", run.stderr)
            return
        rows = load(out)["model.embed_tokens.weight"].shape[0]
        sizes.append((rows, len(tokens(out)), json.load(open(out + "/config.json"))["vocab_size"]))
    if len(set(sizes)) != 1 or len(tokens(folder + "/out0")) <= len(tokens(HERE + "/multi/models/base")):
        fail("tokenizer of a stage", f"rows, tokens, vocab_size: {sizes}")
    if tokens(folder + "/out0") != tokens(folder + "/out1"):
        fail("tokenizer of a stage", "the stage's own tokenizer is not the result's")


def run_tokenizer_only(folder):
    """A stage of which only the tokenizer is wanted; and one that is wanted in a circle."""
    models = HERE + "/multi/models/"
    text = (f"name: words\nmerge_method: linear\nbase_model: {models}base\nmodels:\n"
            f"  - {{model: {models}base, parameters: {{weight: 0.6}}}}\n"
            f"  - {{model: {models}chat, parameters: {{weight: 0.4}}}}\ntokenizer_source: %s\n---\n"
            f"merge_method: passthrough\nmodels: [{{model: {models}ft1}}]\ntokenizer_source: words\n")
    recipe, first = folder + "/recipe.yaml", folder + "/stage"
    open(recipe, "w").write(text.split("---")[0] % "union")
    export(recipe, first)
    open(recipe, "w").write(text % "union")
    run = export(recipe, folder + "/out")
    if run.returncode != 0:
        fail("tokenizer only", run.stderr)
    elif tokens(folder + "/out") != tokens(first):
        fail("tokenizer only", "not the stage's")
    one_sentence("tokenizer only", check(folder, text % "words"), r":7: stages need each other: words needs words")


def run_deep(folder):
    """Stages by the hundred, each used twice by the next: linear in them."""
    for name in ("a", "b"):
        write_model(f"{folder}/{name}", {k: np.ones(s, "f4") for k, s in TENSORS.items()})
    documents, before = [], ["a", "b"]
    for i in range(400):
        documents.append(f"name: s{i}\n" + LINEAR % (before[-1], before[-2]))
        before.append(f"s{i}")
    path = folder + "/recipe.yaml"
    open(path, "w").write("---\n".join(reversed(documents[:-1])) + "---\n" + documents[-1])
    begin = time.monotonic()
    run = export(path, folder + "/out", "--threads", "2")
    took = time.monotonic() - begin
    if run.returncode != 0:
        fail("deep", run.stderr)
    elif any((tensor.values() != 1).any() for tensor in load(folder + "/out").values()):
        fail("deep", "the mean of ones is not one")
    if took > 30:
        fail("deep", f"{took:.1f} s")


def main():
    cases = sorted(os.listdir(CASES))
    for case in cases:
        run_case(case)
    for seed in range(20):
        with tempfile.TemporaryDirectory() as folder:
            run_graph(folder, seed)
    for seed in range(4):
        with tempfile.TemporaryDirectory() as folder:
            run_rounding(folder, seed)
    for run in (run_words, run_tokenizer_of_stage, run_tokenizer_only, run_deep):
        with tempfile.TemporaryDirectory() as folder:
            run(folder)
    print(f"{len(cases)} cases, {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
