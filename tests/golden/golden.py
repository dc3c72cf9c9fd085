"""
Exports every golden recipe and compares with MergeKit's own output, with what
is right where MergeKit is wrong, and with a float64 reference.

Usage: golden.py MKFS_CTL SOURCE_ROOT
"""
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = sys.argv[2]
sys.path.insert(0, ROOT + "/tests")

import interpreter  # noqa: E402

interpreter.need("numpy", "yaml")
import numpy as np  # noqa: E402
import yaml  # noqa: E402

from checkpoint import FLOATS, Tensor, load, round_to, ulp  # noqa: E402
from formulas import Random  # noqa: E402
from reference import Reference, Unserved  # noqa: E402
import chances  # noqa: E402
import odd  # noqa: E402
import vectors  # noqa: E402

HERE = os.path.join(ROOT, "tests/golden")
CTL = sys.argv[1]

# Keys of config.json that MergeKit's transformers writes anew; ours are the
# donor's, as docs/differences.md says. Only these may differ.
REWRITTEN = {
    "transformers_version", "torch_dtype", "dtype", "rope_theta", "rope_scaling", "rope_parameters",
    "temperature", "top_p", "_name_or_path",
}

# What must differ from MergeKit's output, and how. Names are of tensors, or
# templates with N for the layer.
RIGHT_CONFIG = {
    "tied-head": {"tie_word_embeddings": False},
    "dtype-torch": {"dtype": "bfloat16"},
    "depth-opt": {"num_hidden_layers": 3},
}
# Tensors that MergeKit drops and we carry or merge.
CARRIED = {
    "arch-bertmlm": r"cls\.predictions\.",
    "arch-gvl": r"vision_tower\.vision_model\.head\.",
    "extra-tensors": r"model\.mtp\.weight|.*q_proj\.bias",
    "optbase-model_stock": r".*q_proj\.bias",
    "modules-part": r"multi_modal_projector\.|vision_tower\.vision_model\.head\.",
}
# Tensors whose right values are not MergeKit's; the reference judges them.
OTHER_VALUES = {
    "arch-neox-dtype": r".*attention\.bias",  # BOOL is copied
    "depth-opt": r"model\.decoder\.final_layer_norm\.",  # from the last slice, not the first
    "uneven-posts": r"model\.norm\.weight|lm_head\.weight",  # all sources of the last slice
    "dtype64": r".*",  # float32 arithmetic
}
# MergeKit writes these under its own names; ours are the first model's.
RENAMED = {"arch-gpt2": "transformer.", "depth-gpt2": "transformer."}
# MergeKit rounds to 16 bits after every operation, we once.
ROUNDS_INSIDE = re.compile(r"-own$|-own16$|nodtype-")
# ... unless they are loaded as float32, or computed so.
ROUNDS_ONCE = re.compile(r"(linear|slerp|passthrough)-own$")
# MergeKit forgets to round these at the end.
LEFT_AS_F32 = {"arcee_fusion-own", "ramplus-own"}
REFUSED = {
    "int-gradient": "whole number",
}
# Models with more rows than the others. MergeKit refuses, or on request cuts to
# the common rows; we merge those and carry what the donor has beyond.
COMMON_ROWS = {
    "bigvocab": (67, None),
    "bigvocab-karcher": (67, None),
    "bigvocab-truncate": (67, "bigvocab-ft1"),
}
# Tensors that only some models have; where MergeKit fails, we go on and say so.
WARNED = {
    "optft-task_arithmetic": "k_proj.bias: not in the base, copied from ../../models/optft-ft1",
    "optft-ties": "k_proj.bias: not in the base, copied from ../../models/optft-ft1",
    "optft-ram": "k_proj.bias: not in the base, copied from ../../models/optft-ft1",
    "optft-sce": "k_proj.bias: not in the base, copied from ../../models/optft-ft1",
    "optft-nearswap": "q_proj.bias: not in the base, copied from ../../models/optft-ft3",
    "optft-model_stock": "q_proj.bias: not in model ../../models/optft-base",
    "optbase-model_stock": "q_proj.bias: not in model ../../models/optbase-ft2",
    "optbase-nuslerp": "k_proj.bias: too few inputs have it, copied from ../../models/optbase-base",
}
# Methods whose every rounding is MergeKit's, at float32.
EXACT = {
    "linear", "passthrough", "task_arithmetic", "nearswap", "ram",
    "ties", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della_linear", "della",
}
# ... unless its sums over a tensor have a part in it.
SUMS = {"ties-rescale-f32"}
# Nearly opposite vectors, where MergeKit's float32 noise is large: the reference
# judges, and we are no farther from it.
OPPOSITE = re.compile(r"(karcher|nuslerp)-odd-")
# So is it in the limit of arcee_fusion: the reference alone judges.
NOISY = re.compile(OPPOSITE.pattern + "|arcee_fusion-")

failures = []
rivals = []  # (case, tensor, our error, MergeKit's)


def fail(case, what):
    failures.append(f"{case}: {what}")
    print(f"FAIL {case}: {what}")


def export(recipe, options, folder):
    command = [CTL, "export", recipe, folder]
    if "out_shard_size" in options:
        command += ["--shard-size", str(options["out_shard_size"])]
    if options.get("allow_crimes"):
        command += ["--allow-crimes"]
    for option in ("seed", "threads"):
        if option in options:
            command += ["--" + option, str(options[option])]
    environment = dict(os.environ, **({"MKFS_MOUNT_ISA": options["isa"]} if "isa" in options else {}))
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def one_sentence(case, run, words):
    lines = [line for line in run.stderr.splitlines() if "warning:" not in line]
    if run.returncode != 1 or len(lines) != 1 or not lines[0].startswith("mkfs-ctl: "):
        fail(case, f"wanted status 1 and one sentence, got {run.returncode}: {run.stderr!r}")
    elif not re.search(words, lines[0]):
        fail(case, f"the sentence lacks {words!r}: {lines[0]}")


def rounds_inside(case):
    return ROUNDS_INSIDE.search(case) and not ROUNDS_ONCE.match(case)


def compare_values(case, method, name, ours, theirs, exact):
    if ours.raw == theirs.raw:
        return
    a, b = ours.values(), theirs.values()
    if not exact:
        if not (np.abs(a - b) <= ulp(b, ours.dtype) * 1.01).all() or (a != b).sum() > max(3, 0.02 * a.size):
            fail(case, f"{name}: more than an ulp from what is right")
        return
    if method in EXACT and case not in SUMS:
        fail(case, f"{name}: {int((a != b).sum())} of {a.size} elements differ")
        return
    if ours.dtype == "F32" and not np.abs(a - b).max() <= 5e-7 * np.abs(b).max():
        fail(case, f"{name}: {np.abs(a - b).max() / np.abs(b).max():.2g} of the largest magnitude")
    x, y = round_to(a, "BF16"), round_to(b, "BF16")
    if (x == y).mean() < 0.999 - 1 / a.size or not (np.abs(x - y) <= ulp(y, "BF16") * 1.01).all():
        fail(case, f"{name}: differs after rounding to bf16")


def compare(case, method, ours, theirs, exact):
    """
    Names, shapes, dtypes, values. MergeKit's own values are to be met exactly;
    right/ was computed in float64 and rounded once.
    """
    prefix = RENAMED.get(case, "")
    theirs = {name.removeprefix(prefix): tensor for name, tensor in theirs.items()}
    carried = re.compile(CARRIED.get(case, r"(?!)"))
    other = re.compile(OTHER_VALUES.get(case, r"(?!)"))
    for name in sorted(set(ours) ^ set(theirs)):
        if name in theirs or not carried.match(name):
            fail(case, f"{name} is only in {'MergeKit' if name in theirs else 'our'} output")
    for name in sorted(set(ours) & set(theirs)):
        if other.match(name):
            continue
        a, b = ours[name], theirs[name]
        if case in COMMON_ROWS and a.shape != b.shape:
            a = Tensor(a.dtype, b.shape, a.raw[: len(b.raw)])
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            fail(case, f"{name}: {a.dtype} {a.shape} against {b.dtype} {b.shape}")
        elif not NOISY.search(case) and not rounds_inside(case):
            compare_values(case, method, name, a, b, exact)


def compare_common_rows(case, ours):
    """Rows beyond the common ones are the donor's, bit for bit."""
    common, donor = COMMON_ROWS[case]
    theirs = load(f"{HERE}/models/{donor}") if donor else {}
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        rows = ours[name].shape[0]
        if rows != (theirs[name].shape[0] if donor else common):
            fail(case, f"{name} has {rows} rows")
        elif donor and (ours[name].values()[common * 12 :] != theirs[name].values()[common * 12 :]).any():
            fail(case, f"{name}: the rows beyond are not the donor's")


def compare_config(case, folder, theirs_path):
    ours, theirs = (json.load(open(path)) for path in (folder + "/config.json", theirs_path))
    right = RIGHT_CONFIG.get(case, {})
    for key in sorted(set(ours) | set(theirs)):
        if key in right:
            if ours.get(key) != right[key]:
                fail(case, f"config {key}: {ours.get(key)!r} is not {right[key]!r}")
        elif key in REWRITTEN and case.startswith("config-"):
            continue
        elif ours.get(key) != theirs.get(key) and key in ours and key != "transformers_version":
            fail(case, f"config {key}: {ours.get(key)!r} against {theirs.get(key)!r}")
        elif key not in ours and not case.startswith("config-") and "paddleocr" not in case:
            fail(case, f"config {key} is missing")


def compare_reference(case, recipe, ours, theirs):
    """Half an ulp of the output and a little for float32's own rounding."""
    try:
        reference = Reference(recipe)
    except Unserved:
        return
    for name, tensor in ours.items():
        if tensor.dtype not in FLOATS:
            continue
        try:
            exact, dtype = reference.expected(name)
        except (Unserved, Random, TypeError):
            continue
        if dtype != tensor.dtype:
            fail(case, f"{name} is {tensor.dtype}, the reference says {dtype}")
            continue
        if exact.size == 0:
            continue
        error = error_of(tensor, exact)
        allowed = 0.5 * ulp(exact, "F32" if dtype == "F64" else dtype) + 1e-6 * np.nanmax(np.abs(exact))
        if OPPOSITE.search(case) and theirs:
            allowed = np.maximum(allowed, np.nanmax(error_of(theirs[name], exact)))
        if not (error <= allowed)[~np.isnan(exact)].all():
            fail(case, f"{name}: off the reference by {np.nanmax(error / allowed):.3g} of what is allowed")
        if theirs and name in theirs and ROUNDS_INSIDE.search(case):
            rivals.append((case, name, np.nanmax(error), np.nanmax(error_of(theirs[name], exact))))


def error_of(tensor, exact):
    """NaN in exact: either of two is right, so nothing is known."""
    values = tensor.values()
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(values - exact)
        error[values == round_to(exact, tensor.dtype)] = 0
    return error


def compare_rivals():
    """No farther from the reference than MergeKit, on 99 of 100 tensors."""
    worse = [r for r in rivals if r[2] > r[3]]
    print(f"farther from the reference than MergeKit: {len(worse)} of {len(rivals)} tensors")
    if len(worse) > 0.01 * len(rivals):
        for case, name, ours, theirs in worse:
            fail(case, f"{name}: off by {ours:.3g}, MergeKit by {theirs:.3g}")


# Statistics of random methods.

def describe(tensor, base):
    delta = tensor.values() - base.values()
    return [(delta != 0).mean(), delta.mean(), delta.var(), np.abs(delta).sum()]


def compare_statistics(case, recipe, path):
    """The mean over seeds, and how far seeds are apart, are MergeKit's."""
    wanted = json.load(open(path))
    seeds = wanted["seeds"]
    base = load(os.path.join(os.path.dirname(recipe), yaml.safe_load(open(recipe))["base_model"]))
    found = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as temporary:
            run = export(recipe, {"seed": seed}, temporary + "/out")
            if run.returncode != 0:
                fail(case, f"export: {run.stderr.strip()}")
                return
            for name, tensor in load(temporary + "/out").items():
                found.setdefault(name, []).append(describe(tensor, base[name]))
    for name, theirs in wanted["tensors"].items():
        ours = np.array(found[name])
        for i, what in enumerate(("changed_fraction", "delta_mean", "delta_var", "delta_l1")):
            mean, deviation = ours[:, i].mean(), ours[:, i].std(ddof=1)
            spread = np.hypot(deviation, theirs[what + "_sd"]) / np.sqrt(seeds)
            if not abs(mean - theirs[what]) <= 6 * spread + 1e-5 * abs(mean):
                fail(case, f"{name}: {what} is {mean:.6g}, MergeKit's {theirs[what]:.6g}, standard error {spread:.2g}")


def load_theirs(case, folder):
    """
    out_stable/: the same MergeKit with stable sorts; without, its choice among
    equal elements is arbitrary.
    """
    stable = folder + "_stable"
    tensors = load(stable if os.path.isdir(stable) else folder)
    for name, tensor in tensors.items() if case in LEFT_AS_F32 else ():
        tensors[name] = Tensor.of(round_to(tensor.values(), "BF16"), "BF16", tensor.shape)
    return tensors


def run_case(folder, case):
    path = f"{folder}/{case}"
    recipe = f"{path}/recipe.yaml"
    method = re.search(r"merge_method: *(\w+)", open(recipe).read())[1]
    options = json.load(open(path + "/options.json")) if os.path.exists(path + "/options.json") else {}
    if os.path.exists(path + "/stats.json"):
        compare_statistics(case, recipe, path + "/stats.json")
        return
    with tempfile.TemporaryDirectory() as temporary:
        out = temporary + "/out"
        run = export(recipe, options, out)
        if case in REFUSED:
            one_sentence(case, run, REFUSED[case])
            return
        if run.returncode != 0:
            fail(case, f"export: {run.stderr.strip()}")
            return
        if WARNED.get(case, "") not in run.stderr:
            fail(case, f"does not warn that it is {WARNED[case]}: {run.stderr!r}")
        ours = load(out)
        if case in COMMON_ROWS:
            compare_common_rows(case, ours)
        # right/ is given where MergeKit's layout or values are not ours.
        right = path + ("/right" if os.path.isdir(path + "/right") else "/out")
        theirs = load_theirs(case, right) if os.path.isdir(right) else None
        if theirs:
            compare(case, method, ours, theirs, right.endswith("/out"))
        if theirs and os.path.exists(right + "/config.json"):
            compare_config(case, out, right + "/config.json")
        compare_reference(case, recipe, ours, theirs)
        check_index(case, out, ours)


def check_index(case, folder, tensors):
    path = folder + "/model.safetensors.index.json"
    if not os.path.exists(path):
        if not os.path.exists(folder + "/model.safetensors"):
            fail(case, "neither model.safetensors nor an index")
        return
    index = json.load(open(path))
    if set(index["weight_map"]) != set(tensors):
        fail(case, "the index does not list the tensors of the shards")
    if index["metadata"]["total_size"] != sum(len(t.raw) for t in tensors.values()):
        fail(case, "total_size of the index is wrong")


def run_bad():
    accepted = {line.split()[0] for line in open(HERE + "/bad/ACCEPT.txt") if line.strip()}
    for name in sorted(os.listdir(HERE + "/bad")):
        if not name.endswith(".yaml"):
            continue
        run = subprocess.run([CTL, "check", f"{HERE}/bad/{name}"], capture_output=True, text=True, timeout=10)
        if name in accepted:
            if run.returncode != 0:
                fail("bad/" + name, f"should be accepted: {run.stderr}")
        else:
            one_sentence("bad/" + name, run, re.escape(name) + r":\d+")


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
    resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))


def restore_links(folder):
    """Links were copied as small files that hold their targets."""
    for path in ("index-symlink/part.safetensors", "index-loop/a.safetensors", "index-loop/b.safetensors"):
        target = open(f"{folder}/{path}").read().strip()
        os.remove(f"{folder}/{path}")
        os.symlink(target, f"{folder}/{path}")


def run_hostile():
    with tempfile.TemporaryDirectory() as temporary:
        folder = temporary + "/hostile"
        shutil.copytree(HERE + "/hostile", folder)
        restore_links(folder)
        run_hostile_in(folder)


def run_hostile_in(folder):
    # Sanitizers need more address space than any limit leaves.
    alive = subprocess.run([CTL, "--version"], capture_output=True, preexec_fn=limit).returncode == 0
    limited = limit if alive else None
    for name in sorted(os.listdir(folder)):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as recipe:
            recipe.write(f"merge_method: passthrough\nmodels: [{{model: '{folder}/{name}'}}]\n")
            recipe.flush()
            run = subprocess.run([CTL, "check", recipe.name], capture_output=True, text=True, timeout=20, preexec_fn=limited)
        if name in ("st-good", "bin-good", "st-name-nul", "st-name-long", "config-surrogate") and run.returncode == 0:
            continue
        one_sentence("hostile/" + name, run, re.escape(name))


def main():
    count = 0
    for folder in ("cases", "inputs/cases"):
        for case in sorted(os.listdir(f"{HERE}/{folder}")):
            run_case(f"{HERE}/{folder}", case)
            count += 1
    compare_rivals()
    count += vectors.run(HERE, export, fail)
    count += odd.run(export, fail)
    count += chances.run(export, fail)
    run_bad()
    run_hostile()
    print(f"{count} cases, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
