"""
Measures mkfs-mount against a null FUSE daemon, cp and MergeKit, as ratios
within one run. Prints a table and writes JSON.

Usage: python3 tests/bench/bench.py [--build build] [--dir /tmp/mkfs-bench]
           [--rounds 5] [--mergekit PATH/mergekit-yaml] [--json FILE]

The checkpoints (about 7.5 GB) are made in --dir once and kept there; numpy is
needed for that. Run it on an idle machine, as root (for readahead).
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))

RECIPES = {
    "linear": """merge_method: linear
models:
  - {model: ./1b-ft1, parameters: {weight: 0.6}}
  - {model: ./1b-ft2, parameters: {weight: 0.4}}
dtype: bfloat16
""",
    "slerp": """merge_method: slerp
base_model: ./1b-ft1
models:
  - model: ./1b-ft1
  - model: ./1b-ft2
parameters: {t: 0.4}
dtype: bfloat16
""",
    "8b": """merge_method: task_arithmetic
base_model: ./8b-base
models:
  - {model: ./8b-ft1, parameters: {weight: 0.6}}
  - {model: ./8b-ft2, parameters: {weight: 0.4}}
dtype: bfloat16
""",
}
MEMORY = 512 * 10**6
SLACK = 64 << 20


class Bench:
    def __init__(self, options):
        self.dir = os.path.abspath(options.dir)
        self.build = os.path.abspath(options.build)
        self.options = options
        self.mount_tool = self.build + "/fs/mkfs-mount"
        self.ctl = self.build + "/fs/mkfs-ctl"
        self.mountpoint = self.dir + "/mnt"
        self.rows = []

    def path(self, name):
        return f"{self.dir}/{name}"

    def row(self, what, figure, ratio="", wanted=""):
        self.rows.append({"what": what, "figure": figure, "ratio": ratio, "wanted": wanted})
        print(f"{what:58} {figure:>22} {ratio:>8} {wanted}", flush=True)

    def prepare(self):
        os.makedirs(self.mountpoint, exist_ok=True)
        if not os.path.exists(self.path("8b-ft2/config.json")):
            subprocess.run([sys.executable, HERE + "/synth.py", self.dir], check=True)
        for name, text in RECIPES.items():
            open(self.path(name + ".yaml"), "w").write(text)
        for name in ("ft1", "ft2"):
            subprocess.run(["cat", self.path(f"1b-{name}/model.safetensors")], stdout=subprocess.DEVNULL, check=True)

    def unmount(self):
        subprocess.run(["fusermount3", "-u", self.mountpoint], check=True)

    def mount(self, recipe):
        start = time.monotonic()
        subprocess.run([self.mount_tool, self.path(recipe + ".yaml"), self.mountpoint, "--cache", "none"], check=True)
        return time.monotonic() - start

    def read(self, mode, path, size):
        reader = [self.build + "/tests/bench/reader", mode, path, str(size)]
        return float(subprocess.run(reader, check=True, capture_output=True, text=True).stdout)

    def daemon_peak(self):
        found = subprocess.run(["pgrep", "-f", "mkfs-mount .*" + self.mountpoint], capture_output=True, text=True)
        for pid in found.stdout.split():
            for line in open(f"/proc/{pid}/status"):
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
        return 0

    def cold_null(self, mode, size):
        null = subprocess.Popen([self.build + "/tests/bench/nullfs", self.mountpoint, str(size)])
        while not os.path.ismount(self.mountpoint):
            time.sleep(0.01)
        time.sleep(0.1)
        seconds = self.read(mode, self.mountpoint + "/file", size)
        self.unmount()
        null.wait()
        return seconds

    def cold_merge(self, mode, recipe):
        self.mount(recipe)
        path = self.mountpoint + "/model.safetensors"
        seconds = self.read(mode, path, os.path.getsize(path))
        peak = self.daemon_peak()
        self.unmount()
        time.sleep(0.2)
        return seconds, peak

    def cold_reads(self):
        self.mount("linear")
        size = os.path.getsize(self.mountpoint + "/model.safetensors")
        self.unmount()
        time.sleep(0.2)
        peaks = []
        for mode in ("read", "mmap"):
            times = {"null": [], "linear": [], "slerp": []}
            for _ in range(self.options.rounds):
                times["null"].append(self.cold_null(mode, size))
                for recipe in ("linear", "slerp"):
                    seconds, peak = self.cold_merge(mode, recipe)
                    times[recipe].append(seconds)
                    peaks.append(peak)
            middle = {name: statistics.median(values) for name, values in times.items()}
            self.row(f"null daemon, {mode}", f"{size / middle['null'] / 1e9:.2f} GB/s")
            for recipe in ("linear", "slerp"):
                self.row(f"cold {recipe}, {mode}", f"{size / middle[recipe] / 1e9:.2f} GB/s",
                         f"{middle['null'] / middle[recipe]:.2f}", "of null; wanted 0.6")
        self.row("peak memory of the daemon", f"{max(peaks) / 1e6:.0f} MB", f"{max(peaks) / (MEMORY + SLACK):.2f}",
                 "of --memory + 64 MiB; wanted at most 1")

    def timed(self, command):
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.dir)
        return time.monotonic() - start

    def exports(self):
        out, copy = self.path("out"), self.path("copy")
        times = {"linear": [], "slerp": [], "cp": []}
        for _ in range(self.options.rounds):
            for recipe in ("linear", "slerp"):
                shutil.rmtree(out, ignore_errors=True)
                times[recipe].append(self.timed([self.ctl, "export", self.path(recipe + ".yaml"), out]))
            shutil.rmtree(copy, ignore_errors=True)
            times["cp"].append(self.timed(["cp", "-r", out, copy]))
        size = os.path.getsize(out + "/model.safetensors")
        middle = {name: statistics.median(values) for name, values in times.items()}
        self.row("cp -r of the same size", f"{size / middle['cp'] / 1e9:.2f} GB/s")
        for recipe in ("linear", "slerp"):
            self.row(f"export {recipe}", f"{size / middle[recipe] / 1e9:.2f} GB/s",
                     f"{middle['cp'] / middle[recipe]:.2f}", "of cp")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        return middle

    def mergekit(self, ours):
        tool = self.options.mergekit or shutil.which("mergekit-yaml")
        if not tool:
            self.row("mergekit-yaml", "not installed")
            return
        for recipe in ("linear", "slerp"):
            seconds = self.timed([tool, self.path(recipe + ".yaml"), self.path("out"), "--no-copy-tokenizer"])
            shutil.rmtree(self.path("out"), ignore_errors=True)
            self.row(f"mergekit-yaml {recipe}", f"{seconds:.1f} s", f"{seconds / ours[recipe]:.1f}",
                     "times our export's" + ("; wanted 8" if recipe == "linear" else ""))

    def mounts(self):
        times = []
        for _ in range(3 * self.options.rounds):
            times.append(self.mount("8b"))
            self.unmount()
            time.sleep(0.1)
        self.row("mount of three 8B-shaped inputs", f"{statistics.median(times) * 1000:.1f} ms", "", "wanted under 50 ms")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--dir", default="/tmp/mkfs-bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mergekit")
    parser.add_argument("--json")
    bench = Bench(parser.parse_args())
    bench.prepare()
    bench.mounts()
    bench.cold_reads()
    bench.mergekit(bench.exports())
    if bench.options.json:
        json.dump(bench.rows, open(bench.options.json, "w"), indent=2)


main()
