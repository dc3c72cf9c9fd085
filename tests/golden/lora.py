"""
Models with LoRA adapters: MergeKit's and PEFT's own results, a float64
reference of random adapters, and adapters that are refused.

Usage: lora.py MKFS_CTL SOURCE_ROOT
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import golden
from golden import CTL, HERE, fail, failures, one_sentence

import numpy as np

from checkpoint import load, round_to, ulp

CASES = HERE + "/lora/cases"
MODELS = HERE + "/lora/models"
OPTIONS = {"half-base-f32": ["--lora-merge-dtype", "float32"]}
REFUSED = {
    "one-bin": "adapter_model.bin: PyTorch pickles are not supported yet",
}
# MergeKit writes an own lm_head and still says that it is tied.
RIGHT_CONFIG = {
    "one-tiedsave": {"tie_word_embeddings": False},
    "one-tiedhead": {"tie_word_embeddings": False},
}


def export(recipe, out, *options):
    return subprocess.run([CTL, "export", "--cache", "none", *options, recipe, out],
                          capture_output=True, text=True, timeout=120)


def compare_f32(case, name, ours, theirs, scale=1e-6):
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        fail(case, f"{name}: {ours.dtype} {ours.shape} against {theirs.dtype} {theirs.shape}")
        return
    a, b = ours.values(), theirs.values()
    if b.size and np.abs(a - b).max() > scale * np.abs(b).max():
        fail(case, f"{name}: off by {np.abs(a - b).max() / np.abs(b).max():.2g} of the largest magnitude")


def compare_bf16(case, pairs):
    """ours are exact bf16 values, perhaps stored as f32."""
    same = total = 0
    for name, ours, theirs in pairs:
        a, b = ours.values(), theirs.values()
        if a.shape != b.shape:
            fail(case, f"{name}: {ours.shape} against {theirs.shape} in bf16")
            continue
        if (np.abs(a - b) > ulp(b, "BF16") * 1.01).any():
            fail(case, f"{name}: more than an ulp of bf16 from PEFT")
        same += (a == b).sum()
        total += a.size
    if total and same / total < 0.999:
        fail(case, f"only {100 * same / total:.3f} % of PEFT's bf16 are met")


def compare_case(case, out, right):
    ours, theirs = load(out), load(right)
    prefix = "transformer." if not set(ours) & set(theirs) else ""
    theirs = {name.removeprefix(prefix): tensor for name, tensor in theirs.items()}
    if set(ours) != set(theirs):
        fail(case, f"names differ: {sorted(set(ours) ^ set(theirs))[:3]}")
    names = sorted(set(ours) & set(theirs))
    if all(theirs[name].dtype == "BF16" for name in names):
        compare_bf16(case, [(name, ours[name], theirs[name]) for name in names])
        return
    for name in names:
        compare_f32(case, name, ours[name], theirs[name])


def compare_peft(case, recipe, theirs):
    """PEFT's own merge into the base loaded as bf16."""
    with tempfile.TemporaryDirectory() as temporary:
        run = export(recipe, temporary + "/out", "--lora-merge-dtype", "bfloat16")
        if run.returncode != 0:
            fail(case, f"in bf16: {run.stderr.strip()}")
            return
        ours = load(temporary + "/out")
        shutil.copy(theirs, temporary + "/peft.safetensors")
        os.makedirs(temporary + "/peft")
        os.rename(temporary + "/peft.safetensors", temporary + "/peft/peft.safetensors")
        theirs = load(temporary + "/peft")
        names = sorted(set(ours) & set(theirs))
        if len(names) != len(theirs):
            fail(case, f"PEFT has {sorted(set(theirs) - set(ours))[:3]}, too")
        compare_bf16(case, [(name, ours[name], theirs[name]) for name in names])


def run_case(case):
    path = f"{CASES}/{case}"
    with tempfile.TemporaryDirectory() as temporary:
        out = temporary + "/out"
        run = export(path + "/recipe.yaml", out, *OPTIONS.get(case, []))
        if case in REFUSED:
            one_sentence(case, run, REFUSED[case])
            return
        if run.returncode != 0:
            fail(case, f"export: {run.stderr.strip()}")
            return
        right = path + ("/right" if os.path.exists(path + "/right") else "/out")
        compare_case(case, out, right)
        if os.path.exists(right + "/config.json"):
            golden.RIGHT_CONFIG[case] = RIGHT_CONFIG.get(case, {})
            golden.compare_config(case, out, right + "/config.json")
    peft = path + "/peft-bf16.safetensors"
    if os.path.exists(peft):
        compare_peft(case, path + "/recipe.yaml", peft)


def main():
    cases = sorted(os.listdir(CASES))
    for case in cases:
        run_case(case)
    print(f"{len(cases)} cases, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
