"""The daemon's memory stays within --memory and 64 MiB, whatever it serves."""
import json
import mmap
import os
import threading

from support import *

SLACK = 64 << 20


def peak(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no peak")


def heaps(daemon):
    """Those of single threads, which glibc begins at multiples of 64 MiB and
    reserves more for: what a thread gives back there others cannot use."""
    with open(f"/proc/{daemon.process.pid}/maps") as file:
        maps = [line.split() for line in file]
    ends = {line[0].split("-")[0] for line in maps if line[1] == "---p"}
    return [line for line in maps if line[1] == "rw-p" and len(line) == 5 and
            int(line[0].split("-")[0], 16) % (64 << 20) == 0 and line[0].split("-")[1] in ends]


def sanitized():
    """Sanitizers have memory of their own."""
    with open(MOUNT, "rb") as file:
        data = file.read()
    return b"__asan_init" in data or b"__tsan_init" in data


def check(folder, method, memory, *options, **shape):
    known = method in ("linear", "slerp")
    recipe = make_recipe(folder, method if known else "task_arithmetic", **shape)
    with open(recipe) as file:
        text = file.read()
    with open(recipe, "w") as file:
        file.write(text.replace("task_arithmetic", method))
    cache = os.path.join(folder, "cache")
    for _ in range(2):
        with mounted(recipe, os.path.join(folder, "merged"), "--memory",
                     str(memory), *options, cache=cache) as daemon:
            # Many at once, so that much is in flight.
            readers = [subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
                       for path in 3 * [os.path.join(daemon.path, name)
                                        for name in files_below(daemon.path)]]
            assert not any(reader.wait() for reader in readers)
            found = peak(daemon)
            print(f"  {method}: {found >> 20} MiB of {(memory + SLACK) >> 20}")
            assert sanitized() or found <= memory + SLACK
            assert sanitized() or not heaps(daemon)


def test_large_tensors(folder):
    for i, method in enumerate(("linear", "ties", "sce", "model_stock")):
        place = os.path.join(folder, str(i))
        os.mkdir(place)
        check(place, method, 32 * 10**6, "--threads", "4", layers=1, hidden=512,
              vocabulary=16000)


def test_large_inputs(folder):
    """So much --memory for two threads that inputs are looked at."""
    check(folder, "linear", 72 * 10**6, "--threads", "2", layers=1, hidden=1024,
          vocabulary=5000 if sanitized() else 30000)


def test_many_tensors(folder):
    check(folder, "slerp", 48 * 10**6, "--shard-size", "8M", layers=500,
          hidden=32, vocabulary=64)


def test_many_threads(folder):
    check(folder, "linear", 64 * 10**6, "--threads", "32", layers=1,
          hidden=512, vocabulary=20000)


def test_small_after_large(folder):
    """Blocks that nobody has had wholly, and buffers that large ones leave."""
    for name in ("one", "two"):
        os.mkdir(os.path.join(folder, name))
        with open(os.path.join(folder, name, "config.json"), "w") as file:
            json.dump({"model_type": "llama", "num_hidden_layers": 1}, file)
        write_safetensors(os.path.join(folder, name, "model.safetensors"),
                          {"a": (60 * 512, 1024)} | {f"b{i:03}": (256, 1000) for i in range(120)}, None)
    recipe = os.path.join(folder, "recipe.yaml")
    with open(recipe, "w") as file:
        file.write("merge_method: linear\ndtype: bfloat16\nparameters: {weight: 0.5}\n"
                   "models: [{model: one}, {model: two}]\n")
    memory = 80 * 10**6
    with mounted(recipe, os.path.join(folder, "merged"), "--memory", str(memory),
                 "--threads", "1") as daemon:
        with open(daemon.path + "/model.safetensors", "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for offset in range(0, os.fstat(file.fileno()).st_size, 1 << 19):
                os.pread(file.fileno(), 4096, offset)
        found = peak(daemon)
        print(f"  {found >> 20} MiB of {memory >> 20}")
        assert sanitized() or found <= memory + SLACK // 4


def read_directly(path, first):
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 1 << 20) as data:
        for i in range(4):
            assert os.preadv(file, [data], (first + i << 20) + (1 << 19)) == 1 << 20
    os.close(file)


def test_many_copies(folder):
    """Reads that wait for their turn take no memory."""
    recipe = make_recipe(folder, layers=1, hidden=512, vocabulary=8000)
    with open(recipe, "w") as file:
        file.write("merge_method: passthrough\nmodels: [{model: base}]\ndtype: bfloat16\n")
    memory = 32 * 10**6
    with mounted(recipe, os.path.join(folder, "merged"), "--memory", str(memory),
                 "--no-whole") as daemon:
        path = daemon.path + "/model.safetensors"
        size = os.path.getsize(path) >> 20
        readers = [threading.Thread(target=read_directly, args=(path, i * 4 % (size - 5)))
                   for i in range(400)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert status(daemon.path)["bytes"]["copied"] > 1000 << 20
        found = peak(daemon)
        print(f"  {found >> 20} MiB of {memory >> 20}")
        assert sanitized() or found <= memory + SLACK // 4


def say_memory(path, available):
    with open(path, "w") as file:
        file.write(f"MemTotal: 16000000 kB\nMemFree: 1000 kB\nMemAvailable: {available} kB\n")


def run_of_reads(root, mountpoint, first):
    """Four small reads, without readahead by the kernel."""
    with open(f"{root}{mountpoint}/model.safetensors", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for i in range(4):
            os.pread(file.fileno(), 1 << 16, first + (i << 16))


def bytes_computed(root, mountpoint):
    with open(f"{root}{mountpoint}/.mkfs-mount") as file:
        return json.load(file)["bytes"]["computed"]


def test_machine_is_short_of_memory(folder):
    """Then nothing is computed ahead. The daemon gets figures of ours, in a
    mount namespace of its own."""
    if os.geteuid() != 0:
        return
    recipe = make_recipe(folder, layers=1, hidden=512, vocabulary=32000)
    figures, mountpoint = os.path.join(folder, "meminfo"), os.path.join(folder, "merged")
    os.mkdir(mountpoint)
    say_memory(figures, 900_000)
    daemon = subprocess.Popen(["unshare", "--mount", "setpriv", "--pdeathsig", "KILL", "sh", "-c",
                               'mount --bind "$0" /proc/meminfo && exec "$@"', figures,
                               MOUNT, "-f", "--cache", "none", recipe, mountpoint],
                              stderr=subprocess.PIPE, text=True)
    root = f"/proc/{daemon.pid}/root"
    try:
        line = daemon.stderr.readline()
        if "is mounted on" not in line:
            print("  left out:", line)
            return
        run_of_reads(root, mountpoint, 1 << 20)
        time.sleep(0.5)
        few = bytes_computed(root, mountpoint)
        assert few <= 2 << 20, few
        say_memory(figures, 1_000_000)
        time.sleep(1.1)
        run_of_reads(root, mountpoint, 8 << 20)
        wait_until(lambda: bytes_computed(root, mountpoint) >= 8 << 20)
    finally:
        daemon.terminate()
        daemon.wait(timeout=20)


main(globals())
