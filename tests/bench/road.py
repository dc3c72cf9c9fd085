"""
Measures the road to the reader, as ratios within one run against the null
FUSE daemon and a plain file. Prints rows of a Markdown table.

Usage: python3 tests/bench/road.py [PART ...] [--build build] [--rounds 5]
           [--dir /tmp/mkfs-bench] [--recipes linear,slerp,ties] [--bytes N]

Parts: cold (read, mmap, cp, load, and CPU time), server (an inference
server's pattern), warm (from the page cache; from the disk, with passthrough
and without; what is on disk), fill (a cold read that fills a cache), mount (of
an 8B-shaped merge, twice), together (four readers), random (4 KiB). Default:
all. The checkpoints (about 7.5 GB) are made in --dir once; numpy is needed for
that. Run it on an idle machine, as root.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time

import common

HERE = os.path.dirname(os.path.abspath(__file__))
HALVES = "models: [{model: ./1b-ft1, parameters: {weight: 0.6%s}}, {model: ./1b-ft2, parameters: {weight: 0.4%s}}]\n"
RECIPES = {
    "linear": "merge_method: linear\n" + HALVES % ("", "") + "dtype: bfloat16\n",
    "slerp": "merge_method: slerp\nbase_model: ./1b-ft1\nmodels: [{model: ./1b-ft1}, {model: ./1b-ft2}]\n"
             "parameters: {t: 0.4}\ndtype: bfloat16\n",
    "ties": "merge_method: ties\nbase_model: ./1b-base\n" + HALVES % (", density: 0.5", ", density: 0.5") +
            "dtype: bfloat16\n",
}
RECIPES["8b"] = RECIPES["ties"].replace("1b-", "8b-")


class Served:
    """A daemon with one large file; mount and file are paths."""

    def __init__(self, bench, what, *options, cache="none"):
        self.mount = bench.path("mnt-null" if what == "null" else "mnt")
        os.makedirs(self.mount, exist_ok=True)
        if what == "null":
            command = [bench.build + "/tests/bench/nullfs", self.mount, str(bench.size)]
            self.file = self.mount + "/file"
        else:
            command = [bench.build + "/fs/mkfs-mount", "-f", *options, "--cache", cache,
                       bench.path(what + ".yaml"), self.mount]
            self.file = self.mount + "/model.safetensors"
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not os.path.exists(self.file):
            assert self.process.poll() is None, command
            time.sleep(0.01)
        time.sleep(0.1)

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *what):
        subprocess.run(["umount", "-l", self.mount], check=True)
        self.process.wait()


class Bench:
    def __init__(self, options):
        self.options = options
        self.dir, self.build = os.path.abspath(options.dir), os.path.abspath(options.build)
        self.recipes = options.recipes.split(",")
        if not os.path.exists(self.path("1b-ft2/config.json")):
            subprocess.run([sys.executable, HERE + "/synth.py", self.dir, "1b"], check=True)
        for name, text in RECIPES.items():
            open(self.path(name + ".yaml"), "w").write(text)
        common.read_again(common.inputs(self.dir, "1b"))
        self.size = 1 << 20
        with Served(self, "linear") as served:
            self.size = min(os.path.getsize(served.file), options.bytes)
            self.tensors = [(a, n) for a, n in self.ranges(served.file) if a + n <= self.size]
        print("| what | figure | ratio | wanted |\n|---|---|---|---|")

    def path(self, name):
        return f"{self.dir}/{name}"

    @staticmethod
    def ranges(path):
        with open(path, "rb") as file:
            [length] = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        return [(8 + length + a, b - a) for a, b in (item["data_offsets"] for item in header.values())]

    def row(self, what, figure, ratio="", wanted=""):
        print(f"| {what} | {figure} | {ratio} | {wanted} |", flush=True)

    def start(self, mode, path, ranges=None):
        command = [self.build + "/tests/bench/reader", mode, path, str(self.size)]
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        reader.stdin.write("".join(f"{a} {n}\n" for a, n in ranges or ()))
        reader.stdin.close()
        return reader

    def read(self, mode, path, ranges=None):
        reader = self.start(mode, path, ranges)
        figures = [float(word) for word in reader.stdout.read().split()]
        assert reader.wait() == 0
        return figures

    def copy(self, path):
        """cp -r of the model to a disk, by its seconds."""
        target = self.path("copy")
        shutil.rmtree(target, ignore_errors=True)
        begin = time.monotonic()
        subprocess.run(["cp", "-r", os.path.dirname(path), target], check=True)
        seconds = time.monotonic() - begin
        shutil.rmtree(target)
        return seconds

    def cold_one(self, what, mode):
        """Seconds, and CPU seconds of reader and daemon."""
        with Served(self, what) as served:
            cpu, own = served.cpu(), resource.getrusage(resource.RUSAGE_CHILDREN)
            if mode == "cp":
                seconds = self.copy(served.file)
            else:
                [seconds] = self.read(mode, served.file, self.tensors)
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = served.cpu() - cpu + now.ru_utime - own.ru_utime + now.ru_stime - own.ru_stime
        return seconds, cpu

    def compare(self, name, measure):
        """Medians of interleaved rounds; each row against the null daemon."""
        results = {what: [] for what in ["null", *self.recipes]}
        for _ in range(self.options.rounds):
            for what in results:
                results[what].append(measure(what))
        middle = {what: [statistics.median(column) for column in zip(*rows)] for what, rows in results.items()}
        for what, (seconds, cpu) in middle.items():
            figure = f"{self.size / seconds / 1e9:.2f} GB/s, {cpu / self.size * 1e9:.2f} s CPU per GB"
            ratio = f"{middle['null'][0] / seconds:.2f}" if what != "null" else ""
            self.row(f"{what}, {name}", figure, ratio, "of null: 0.9" if ratio else "")

    def cold(self):
        for mode in ("read", "mmap", "load", *(["cp"] if self.size > 2e9 else [])):
            self.compare(f"cold {mode}", lambda what, mode=mode: self.cold_one(what, mode))

    def server_one(self, what, n):
        """n processes, each of which maps its part of every tensor in order."""
        with Served(self, what) as served:
            own = resource.getrusage(resource.RUSAGE_CHILDREN)
            begin = time.monotonic()
            parts = [[(a + i * (size // n), size // n) for a, size in self.tensors] for i in range(n)]
            readers = [self.start("touch", served.file, part) for part in parts]
            assert all(reader.wait() == 0 for reader in readers)
            seconds = time.monotonic() - begin
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            return seconds, served.cpu() + now.ru_utime - own.ru_utime + now.ru_stime - own.ru_stime

    def server(self):
        for n in (1, 2):
            self.compare(f"tensor by tensor, {n} process{'es' * (n > 1)}",
                         lambda what, n=n: self.server_one(what, n))

    @staticmethod
    def drop():
        os.sync()
        open("/proc/sys/vm/drop_caches", "w").write("3")

    def ctl(self, *arguments):
        return subprocess.run([self.build + "/fs/mkfs-ctl", *arguments], capture_output=True, text=True, check=True).stdout

    def status(self):
        return json.loads(self.ctl("status", "--json", self.path("mnt")))

    def ratios(self, name, times, wanted):
        """Rows of medians; each against that of a plain file."""
        middle = {what: statistics.median(values) for what, values in times.items()}
        for what, seconds in middle.items():
            ratio = f"{middle['plain file'] / seconds:.2f}" if what != "plain file" else ""
            self.row(f"{what}, {name}", f"{self.size / seconds / 1e9:.2f} GB/s", ratio,
                     f"of a plain file likewise: {wanted[what]}" if what in wanted else "")

    def warm(self):
        cache, plain = self.path("cache"), self.path("copy.safetensors")
        shutil.rmtree(cache, ignore_errors=True)
        with Served(self, "linear", "--no-whole", cache=cache) as served, Served(self, "null") as null:
            # Bytes that were written just now: a disk is not equally fast everywhere.
            shutil.copyfile(served.file, plain)
            files = {"plain file": plain, "null": null.file, "linear": served.file}
            for mode in ("read", "mmap"):
                times = {what: [] for what in files}
                for _ in range(self.options.rounds):
                    for what, path in files.items():
                        self.read("keep-read", path)
                        times[what] += self.read("keep-" + mode, path)
                self.ratios(f"{mode} from the page cache", times, {"linear": 0.95})
            self.ctl("warm", served.mount)
        listed = json.loads(self.ctl("cache", "ls", "--json", "--cache", cache))
        self.row("blocks on disk", f"{listed['bytes'] / 1e9:.2f} GB", f"{listed['bytes'] / listed['bytes_raw']:.3f}",
                 "of their bytes: 0.75 at most")
        for name, options, wanted in (("without passthrough", ["--no-whole"], 0.8), ("with passthrough", [], 0.95)):
            with Served(self, "linear", *options, cache=cache) as served, Served(self, "null") as null:
                files = {"plain file": plain, "null": null.file, "linear": served.file}
                for _ in range(0 if options else 600):
                    with open(served.file, "rb"):
                        if self.status()["now"]["passthrough_files"]:
                            break
                    time.sleep(0.5)
                times = {what: [] for what in files}
                for _ in range(self.options.rounds):
                    for what, path in files.items():
                        self.drop()
                        times[what] += self.read("keep-read", path)
                self.ratios(f"page cache dropped, {name}", times, {"linear": wanted})
        os.unlink(plain)
        shutil.rmtree(cache)

    def fill(self):
        """A cold read while the cache is filled behind it, and without one."""
        cache = self.path("cache")
        for recipe in self.recipes:
            rows = {"none": [], cache: []}
            for _ in range(self.options.rounds):
                for where, results in rows.items():
                    shutil.rmtree(cache, ignore_errors=True)
                    with Served(self, recipe, cache=where) as served:
                        results += self.read("read", served.file)
            without, filling = (statistics.median(results) for results in rows.values())
            self.row(f"cold {recipe}, filling a cache", f"{filling:.2f} s; without: {without:.2f} s",
                     f"{without / filling:.2f}", "0.9")
        shutil.rmtree(cache)

    def mount(self):
        """Until mkfs-mount has returned: with an empty cache, and again."""
        if not os.path.exists(self.path("8b-ft2/config.json")):
            subprocess.run([sys.executable, HERE + "/synth.py", self.dir, "8b"], check=True)
        cache, seconds = self.path("cache"), {"first": [], "warm": []}
        for _ in range(self.options.rounds):
            shutil.rmtree(cache, ignore_errors=True)
            for times in seconds.values():
                begin = time.monotonic()
                subprocess.run([self.build + "/fs/mkfs-mount", "--cache", cache, self.path("8b.yaml"), self.path("mnt")],
                               check=True, stderr=subprocess.DEVNULL)
                times.append(time.monotonic() - begin)
                self.ctl("umount", self.path("mnt"))
        shutil.rmtree(cache)
        for what, times in seconds.items():
            self.row(f"{what} mount of an 8B-shaped merge", f"{1e3 * statistics.median(times):.1f} ms", "",
                     "50 ms" if what == "warm" else "")

    def together_one(self, what, n):
        with Served(self, what) as served:
            begin = time.monotonic()
            readers = [self.start("keep-read", served.file) for _ in range(n)]
            assert all(reader.wait() == 0 for reader in readers)
            seconds = time.monotonic() - begin
            return seconds, self.status()["bytes"]["computed"] if what != "null" else 1

    def together(self):
        rows = {(what, n): [] for what in ("null", self.recipes[0]) for n in (1, 4)}
        for _ in range(self.options.rounds):
            for key, results in rows.items():
                results.append(self.together_one(*key))
        for what in ("null", self.recipes[0]):
            one, four = (statistics.median(seconds for seconds, _ in rows[what, n]) for n in (1, 4))
            self.row(f"{what}, four readers at once", f"{four:.2f} s; one: {one:.2f} s", f"{four / one:.2f}",
                     "1.3 at most" if what != "null" else "")
        one, four = (max(computed for _, computed in rows[what, n]) for n in (1, 4))
        self.row("bytes computed for the four", f"{four / 1e9:.3f} GB", f"{four / one:.3f} of those for one",
                 "1: each once")

    def random(self):
        results = {what: [] for what in ["null", *self.recipes]}
        for _ in range(self.options.rounds):
            for what in results:
                with Served(self, what) as served:
                    cold = self.read("random", served.file)
                    results[what].append(cold[:2] + self.read("keep-random", served.file)[:2])
        for what, rows in results.items():
            figures = [1e6 * statistics.median(column) for column in zip(*rows)]
            self.row(f"{what}, random 4 KiB", "cold p50 {:.0f} us, p99 {:.0f} us; again p50 {:.0f} us, p99 {:.0f} us".format(*figures))


PARTS = ("cold", "server", "warm", "fill", "mount", "together", "random")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=PARTS)
    parser.add_argument("--build", default="build")
    parser.add_argument("--dir", default="/tmp/mkfs-bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipes", default="linear,slerp,ties")
    parser.add_argument("--bytes", type=int, default=1 << 60, help="of the file, at most")
    options = parser.parse_args()
    bench = Bench(options)
    for part in options.parts or PARTS:
        getattr(bench, part)()


main()
