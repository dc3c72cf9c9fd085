"""The cache on disk: what filling it costs, what it takes, how fast it is read
again, and what several readers of one cold model cost. As root, since the page
cache is dropped; --dir should be on the disk that is meant."""
import json
import os
import shutil
import statistics
import subprocess
import time

from mounts import Mounts

SLERP_8B = """merge_method: slerp
base_model: ./8b-ft1
models:
  - model: ./8b-ft1
  - model: ./8b-ft2
parameters: {t: 0.4}
dtype: bfloat16
"""


class Cache(Mounts):
    def prepare_cache(self):
        self.prepare_mounts()
        self.cache = self.path("cache")
        with open(self.path("8b-slerp.yaml"), "w") as file:
            file.write(SLERP_8B)

    def mount_cached(self, recipe, cache):
        start = time.monotonic()
        subprocess.run([self.mount_tool, self.path(recipe + ".yaml"), self.mountpoint, "--cache", cache], check=True)
        return time.monotonic() - start

    def status(self):
        done = subprocess.run([self.ctl, "status", "--json", self.mountpoint], check=True, capture_output=True)
        return json.loads(done.stdout)

    def weights(self):
        path = self.mountpoint + "/model.safetensors"
        return path, os.path.getsize(path)

    def empty(self):
        shutil.rmtree(self.cache, ignore_errors=True)

    def settle(self):
        """Until nothing more is stored."""
        before = None
        while before != (now := self.status()["blocks"]["stored"]) or self.status()["now"]["waiting"]:
            before = now
            time.sleep(3)

    def drop_pages(self):
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3\n")

    def cold(self, recipe, cache, n_readers=1):
        """Seconds until all readers have everything, of a fresh mount."""
        self.empty()
        self.mount_cached(recipe, cache)
        path, size = self.weights()
        reader = [self.build + "/tests/bench/reader", "read", path, str(size)]
        start = time.monotonic()
        readers = [subprocess.Popen(reader, stdout=subprocess.DEVNULL) for _ in range(n_readers)]
        assert not any(process.wait() for process in readers)
        return time.monotonic() - start

    def fills(self, recipe):
        times = {"none": [], self.cache: []}
        for _ in range(self.options.rounds):
            for cache, seconds in times.items():
                seconds.append(self.cold(recipe, cache))
                self.unmount()
                time.sleep(0.5)
        _, size = self.mount_cached(recipe, "none"), self.weights()[1]
        self.unmount()
        none, filling = (statistics.median(seconds) for seconds in times.values())
        self.line(f"cold {recipe}, nothing stored", f"{size / none / 1e9:.2f} GB/s")
        self.line(f"cold {recipe}, stored compressed", f"{size / filling / 1e9:.2f} GB/s", f"{none / filling:.2f}",
                  "of that; wanted 0.9")

    def warm(self, recipe):
        self.cold(recipe, self.cache)
        self.settle()
        plain = self.path("plain.safetensors")
        path, size = self.weights()
        shutil.copyfile(path, plain)
        found = subprocess.run([self.ctl, "cache", "ls", "--json", "--cache", self.cache], check=True,
                               capture_output=True)
        found = json.loads(found.stdout)
        self.line(f"cached {recipe} on disk", f"{found['bytes'] / 1e9:.2f} GB",
                  f"{found['bytes'] / found['bytes_raw']:.2f}", "of its weights; wanted at most 0.75")
        self.unmount()
        times = {"plain": [], "warm": []}
        for _ in range(self.options.rounds):
            self.drop_pages()
            times["plain"].append(self.read("read", plain, size))
            self.mount_cached(recipe, self.cache)
            self.drop_pages()
            times["warm"].append(self.read("read", path, size))
            assert self.status()["blocks"]["dropped"] == 0
            computed = self.status()["bytes"]["computed"]
            self.unmount()
            time.sleep(0.3)
        middle = {name: statistics.median(values) for name, values in times.items()}
        self.line("plain file, page cache dropped", f"{size / middle['plain'] / 1e9:.2f} GB/s")
        self.line(f"warm {recipe}, page cache dropped", f"{size / middle['warm'] / 1e9:.2f} GB/s",
                  f"{middle['plain'] / middle['warm']:.2f}",
                  f"of that; wanted 0.8 ({computed / size:.3f} of it computed)")
        os.unlink(plain)

    def crowd(self, recipe):
        times = {1: [], 4: []}
        for _ in range(self.options.rounds):
            for n, seconds in times.items():
                seconds.append(self.cold(recipe, "none", n))
                computed, size = self.status()["bytes"]["computed"], self.weights()[1]
                assert computed <= size
                self.unmount()
                time.sleep(0.3)
        one, four = (statistics.median(seconds) for seconds in times.values())
        self.line(f"four readers of one cold {recipe}", f"{four:.2f} s", f"{four / one:.2f}",
                  f"of one reader's; wanted at most 1.3; {computed / size:.3f} of the bytes computed")

    def warm_mount(self):
        self.empty()
        subprocess.run([self.ctl, "warm", self.path("8b-slerp.yaml"), "--cache", self.cache], check=True,
                       stderr=subprocess.DEVNULL)
        times = []
        for _ in range(3 * self.options.rounds):
            times.append(self.mount_cached("8b-slerp", self.cache))
            shard = sorted(name for name in os.listdir(self.mountpoint) if name.endswith(".safetensors"))[0]
            with open(f"{self.mountpoint}/{shard}", "rb") as file:
                file.read(32 << 20)
            scans = self.status()["counts"]["scans"]
            self.unmount()
            time.sleep(0.1)
        self.line("mount over a warm cache, 8B-shaped slerp", f"{statistics.median(times) * 1000:.1f} ms", "",
                  f"wanted under 50 ms and no scan; {scans} scans")
        self.empty()


def run(bench):
    cache = Cache(bench.options)
    cache.prepare_cache()
    for recipe in ("linear", "slerp"):
        cache.fills(recipe)
        cache.warm(recipe)
        cache.crowd(recipe)
    cache.warm_mount()
    bench.rows += cache.rows
