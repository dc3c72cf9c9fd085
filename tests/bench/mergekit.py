"""mkfs-ctl export of a 1B-shaped merge beside mergekit-yaml: the same recipe,
one after the other, seconds and peak memory of both.

mergekit-yaml is --mergekit, else that of a venv which is made in --dir.
"""
import os
import shutil
import subprocess
import sys
import time

VERSION = "mergekit==0.1.5"
# Methods that take MergeKit more than 50 s at this size, on two cores.
SLOW = ("multislerp ram dare_linear ramplus_tl dare_ties ties breadcrumbs breadcrumbs_ties sce della_linear "
        "della").split()


def wanted(method):
    return 3 if method == "passthrough" else 25 if method in SLOW else 10


def find_mergekit(bench):
    if bench.options.mergekit:
        return bench.options.mergekit
    venv = bench.path("venv")
    tool = venv + "/bin/mergekit-yaml"
    if not os.path.exists(tool):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv + "/bin/pip", "install", "-q", VERSION], check=True)
    return tool


def measured(command, folder):
    """Seconds and peak bytes of a program."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.execv(command[0], command)
        finally:
            os._exit(127)
    start = time.monotonic()
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def run(bench):
    kind = bench.options.kind
    bench.prepare(kind)
    tool = find_mergekit(bench)
    out = bench.path("out")
    bench.table("method", "mergekit-yaml", "mkfs-ctl export", "faster", "wanted", "its memory", "ours", "less")
    for method in bench.methods():
        recipe = bench.write_recipe(method, kind)
        ours = []
        for _ in range(2):
            shutil.rmtree(out, ignore_errors=True)
            ours.append(measured([bench.ctl, "export", recipe, out], bench.dir))
        shutil.rmtree(out, ignore_errors=True)
        seconds, peak = min(ours)[0], max(ours, key=lambda pair: pair[1])[1]
        theirs, their_peak = measured([tool, recipe, out, "--no-copy-tokenizer"], bench.dir)
        shutil.rmtree(out, ignore_errors=True)
        bench.row(method, f"{theirs:.1f} s", f"{seconds:.2f} s", f"{theirs / seconds:.1f}", wanted(method),
                  f"{their_peak / 1e9:.2f} GB", f"{peak / 1e6:.0f} MB", f"{their_peak / peak:.0f}")
