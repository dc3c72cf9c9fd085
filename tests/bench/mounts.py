"""Mounts and exports against a null FUSE daemon and cp, as ratios within one
run. Run it as root (for readahead)."""
import os
import shutil
import statistics
import subprocess
import time

from common import Bench

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


class Mounts(Bench):
    def prepare_mounts(self):
        self.mountpoint = self.dir + "/mnt"
        self.mount_tool = self.build + "/fs/mkfs-mount"
        self.prepare("1b", "8b")
        os.makedirs(self.mountpoint, exist_ok=True)
        for name, text in RECIPES.items():
            with open(self.path(name + ".yaml"), "w") as file:
                file.write(text)
        self.table("what", "figure", "ratio", "")

    def line(self, what, figure, ratio="", wanted=""):
        self.row(what, figure, ratio, wanted)

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
            self.line(f"null daemon, {mode}", f"{size / middle['null'] / 1e9:.2f} GB/s")
            for recipe in ("linear", "slerp"):
                self.line(f"cold {recipe}, {mode}", f"{size / middle[recipe] / 1e9:.2f} GB/s",
                         f"{middle['null'] / middle[recipe]:.2f}", "of null; wanted 0.6")
        self.line("peak memory of the daemon", f"{max(peaks) / 1e6:.0f} MB", f"{max(peaks) / (MEMORY + SLACK):.2f}",
                 "of --memory + 64 MiB; wanted at most 1")

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
        self.line("cp -r of the same size", f"{size / middle['cp'] / 1e9:.2f} GB/s")
        for recipe in ("linear", "slerp"):
            self.line(f"export {recipe}", f"{size / middle[recipe] / 1e9:.2f} GB/s",
                     f"{middle['cp'] / middle[recipe]:.2f}", "of cp")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)

    def mounts(self):
        times = []
        for _ in range(3 * self.options.rounds):
            times.append(self.mount("8b"))
            self.unmount()
            time.sleep(0.1)
        self.line("mount of three 8B-shaped inputs", f"{statistics.median(times) * 1000:.1f} ms", "", "wanted under 50 ms")


def run(bench):
    mounts = Mounts(bench.options)
    mounts.prepare_mounts()
    mounts.mounts()
    mounts.cold_reads()
    mounts.exports()
    bench.rows += mounts.rows
