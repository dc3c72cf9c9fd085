"""
Measures a recipe of three stages against mergekit-multi. Prints markdown rows.

Usage: python3 tests/bench/stages.py [--build build] [--dir /tmp/mkfs-bench]
           [--rounds 3] [--small] [--venv PATH]

--venv has bin/mergekit-multi; without it only our own figures are taken. The
1B-shaped inputs are those of bench.py (numpy makes them); --small takes those
of 0.3b.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import time

import common
import synth

RECIPE = """name: left
merge_method: linear
models:
  - {model: %(d)s/%(n)s-ft1, parameters: {weight: 0.6}}
  - {model: %(d)s/%(n)s-ft2, parameters: {weight: 0.4}}
dtype: bfloat16
---
name: right
merge_method: ties
base_model: %(d)s/%(n)s-base
models:
  - {model: %(d)s/%(n)s-ft1, parameters: {weight: 0.6, density: 0.5}}
  - {model: %(d)s/%(n)s-ft2, parameters: {weight: 0.4, density: 0.8}}
dtype: bfloat16
---
merge_method: slerp
base_model: left
models: [{model: left}, {model: right}]
parameters: {t: 0.35}
dtype: bfloat16
"""


def prepare(options):
    name = "0.3b" if options.small else "1b"
    synth.make(options.dir, [name])
    recipe = options.dir + "/stages.yaml"
    with open(recipe, "w") as file:
        file.write(RECIPE % {"d": options.dir, "n": name})
    return recipe, common.inputs(options.dir, name)


def timed(command, folder):
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    return time.monotonic() - start


def export(options, recipe):
    times = []
    for _ in range(options.rounds):
        shutil.rmtree(options.dir + "/out", ignore_errors=True)
        times.append(timed([options.build + "/fs/mkfs-ctl", "export", recipe, options.dir + "/out"], options.dir))
    shutil.rmtree(options.dir + "/out")
    return statistics.median(times)


def multi(options, recipe):
    tool = options.venv + "/bin/mergekit-multi"
    place, out = options.dir + "/intermediate", options.dir + "/out"
    seconds = timed([tool, recipe, "-I", place, "--out-path", out, "--no-lazy", "--no-copy-tokenizer"], options.dir)
    temporary = sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(place) for name in names)
    shutil.rmtree(place)
    shutil.rmtree(out)
    return seconds, temporary


def counters(pid):
    with open(f"/proc/{pid}/io") as file:
        return {key: int(value) for key, value in (line.split(": ") for line in file)}


def reads(options, recipe, inputs):
    """Bytes that a daemon reads for one whole cold read, from disk and in all."""
    mountpoint = options.dir + "/mnt"
    os.makedirs(mountpoint, exist_ok=True)
    common.forget(inputs)
    daemon = subprocess.Popen([options.build + "/fs/mkfs-mount", "-f", "--cache", "none", recipe, mountpoint],
                              stderr=subprocess.DEVNULL)
    while not os.path.ismount(mountpoint):
        time.sleep(0.01)
    before = counters(daemon.pid)
    with open(mountpoint + "/model.safetensors", "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    after = counters(daemon.pid)
    told = subprocess.run([options.build + "/fs/mkfs-ctl", "status", "--json", mountpoint], check=True,
                          capture_output=True, text=True).stdout
    daemon.terminate()
    daemon.wait()
    return {key: after[key] - before[key] for key in after} | {"inputs": json.loads(told)["bytes"]["inputs"]}


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--dir", default="/tmp/mkfs-bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--venv")
    options = parser.parse_args()
    options.build, options.dir = os.path.abspath(options.build), os.path.abspath(options.dir)
    os.makedirs(options.dir, exist_ok=True)
    recipe, inputs = prepare(options)
    size = sum(os.path.getsize(path) for path in inputs)

    count = reads(options, recipe, inputs)
    row("three stages, cold read: input bytes from disk", f"{count['read_bytes'] / 1e9:.2f} GB",
        f"{count['read_bytes'] / size:.2f} of the inputs; wanted at most 2")
    row("the same, over all passes", f"{count['inputs'] / 1e9:.2f} GB", f"{count['inputs'] / size:.2f} of the inputs")
    row("written", f"{count['write_bytes'] / 1e9:.2f} GB", "wanted none")
    common.read_again(inputs)
    ours = export(options, recipe)
    row("three stages, export", f"{ours:.2f} s", "")
    if options.venv:
        theirs, temporary = multi(options, recipe)
        again = export(options, recipe)
        row("our export, again", f"{again:.2f} s", "")
        ours = statistics.mean([ours, again])
        row("mergekit-multi", f"{theirs:.1f} s, {temporary / 1e9:.2f} GB of temporary files",
            f"{theirs / ours:.1f} times the mean of ours; wanted 5")


main()
