"""
Models whose weights PyTorch has pickled: MergeKit's own results, and files that
are refused.

Usage: pickles.py MKFS_CTL SOURCE_ROOT
"""
import os
import sys
import tempfile

import golden
from golden import HERE, export, fail, failures, one_sentence
from lora import compare_f32

from checkpoint import load

CASES = HERE + "/pickles/cases"
REFUSED = {
    "bin-legacy": r"pytorch_model.bin: not an archive of PyTorch 1.6 or later",
    "bin-views": r"pytorch_model.bin: tensor lm_head.weight: its elements do not lie in their order",
}
# MergeKit writes an own lm_head and still says that it is tied.
RIGHT_CONFIG = {"bin-tied": {"tie_word_embeddings": False}}
# MergeKit leaves out what only one model has.
MORE = {"bin-extra": {"model.ids", "model.mask", "model.rotary.inv_freq"}}


def run_case(case):
    path = f"{CASES}/{case}"
    with tempfile.TemporaryDirectory() as temporary:
        run = export(path + "/recipe.yaml", {}, temporary + "/out")
        if case in REFUSED:
            one_sentence(case, run, REFUSED[case])
            return
        if run.returncode != 0:
            fail(case, f"export: {run.stderr.strip()}")
            return
        right = path + ("/right" if os.path.isdir(path + "/right") else "/out")
        ours, theirs = load(temporary + "/out"), load(right)
        if set(ours) - MORE.get(case, set()) != set(theirs):
            fail(case, f"names differ: {sorted(set(ours) ^ set(theirs))[:3]}")
        for name in set(ours) & set(theirs):
            compare_f32(case, name, ours[name], theirs[name])
        if os.path.exists(right + "/config.json"):
            golden.RIGHT_CONFIG[case] = RIGHT_CONFIG.get(case, {})
            golden.compare_config(case, temporary + "/out", right + "/config.json")


def main():
    cases = sorted(os.listdir(CASES))
    for case in cases:
        run_case(case)
    print(f"{len(cases)} cases, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
