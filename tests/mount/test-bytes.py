"""Whatever the road of a read, the bytes are those of the export."""
import mmap
import os
import random
import subprocess
import threading

from support import *

SHAPE = dict(layers=2, hidden=512, vocabulary=6001)


def pair(folder, method="linear", options=()):
    """A recipe, and its export under the name that the mount will have."""
    recipe = make_recipe(folder, method, **SHAPE)
    directory = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(directory))
    export(recipe, directory, *options)
    return recipe, directory, os.path.join(folder, "merged")


def check_sums(folder, method):
    options = ("--shard-size", "8M")
    recipe, plain, mountpoint = pair(folder, method, options)
    with mounted(recipe, mountpoint, *options):
        assert len(list(files_below(plain))) > 6
        assert sums(mountpoint) == sums(plain)


def test_sums_linear(folder):
    check_sums(folder, "linear")


def test_sums_slerp(folder):
    check_sums(folder, "slerp")


def test_sums_task_arithmetic(folder):
    check_sums(folder, "task_arithmetic")


def test_little_memory(folder):
    recipe, plain, mountpoint = pair(folder)
    with mounted(recipe, mountpoint, "--memory", "32M", "--threads", "1"):
        assert sums(mountpoint) == sums(plain)


def test_cache_on_disk(folder):
    recipe, plain, mountpoint = pair(folder, "slerp")
    cache = os.path.join(folder, "cache")
    for _ in range(2):
        with mounted(recipe, mountpoint, cache=cache):
            assert sums(mountpoint) == sums(plain)


def weights(directory):
    return os.path.join(directory, "model.safetensors")


def in_threads(n, work):
    wrong = []

    def guarded(i):
        try:
            work(i)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def test_random_preads(folder):
    recipe, plain, mountpoint = pair(folder, "slerp")
    with open(weights(plain), "rb") as file:
        right = file.read()
    with mounted(recipe, mountpoint):
        fd = os.open(weights(mountpoint), os.O_RDONLY)

        def work(i):
            draw = random.Random(i)
            for _ in range(150):
                size = draw.choice((1, 7, 4096, 100001, 3 << 20))
                offset = draw.randrange(len(right) + 10)
                piece = os.pread(fd, size, offset)
                assert piece == right[offset:offset + size], (offset, size)

        in_threads(8, work)
        assert os.pread(fd, 10, len(right)) == b""
        os.close(fd)


def check_mmap(folder, flags, direct=False):
    recipe, plain, mountpoint = pair(folder)
    with open(weights(plain), "rb") as file:
        right = file.read()
    with mounted(recipe, mountpoint):
        with open(weights(mountpoint), "rb") as file:
            with mmap.mmap(file.fileno(), 0, flags=flags,
                           prot=mmap.PROT_READ) as data:
                def work(i):
                    draw = random.Random(i)
                    for _ in range(300):
                        offset = draw.randrange(len(right))
                        assert (data[offset:offset + 5000] ==
                                right[offset:offset + 5000])

                in_threads(8, work)
                assert data[:] == right


def test_mmap_shared(folder):
    check_mmap(folder, mmap.MAP_SHARED)


def test_mmap_private(folder):
    check_mmap(folder, mmap.MAP_PRIVATE)


def test_direct_io(folder):
    recipe, plain, mountpoint = pair(folder)
    with open(weights(plain), "rb") as file:
        right = file.read()
    with mounted(recipe, mountpoint):
        fd = os.open(weights(mountpoint), os.O_RDONLY | os.O_DIRECT)
        room = mmap.mmap(-1, 4 << 20)
        for offset in (0, 4096, 5 << 20, 1234567):
            n = os.preadv(fd, [room], offset)
            assert room[:n] == right[offset:offset + n] and n == 4 << 20
        os.close(fd)


def test_plain_users_window(folder):
    """Small requests, as where the kernel's readahead cannot be raised."""
    recipe, plain, mountpoint = pair(folder)
    with mounted(recipe, mountpoint):
        number = os.stat(mountpoint).st_dev
        setting = (f"/sys/class/bdi/{os.major(number)}:{os.minor(number)}"
                   "/read_ahead_kb")
        if os.access(setting, os.W_OK):
            with open(setting, "w") as file:
                file.write("128")
        assert sums(mountpoint) == sums(plain)


def test_cp_and_find(folder):
    recipe, plain, mountpoint = pair(folder)
    with mounted(recipe, mountpoint):
        copy = os.path.join(folder, "copy")
        subprocess.run(["cp", "-r", mountpoint, copy], check=True)
        subprocess.run(["diff", "-r", plain, copy], check=True)
        names = {where: run("find", ".", cwd=where, check=True).stdout
                 for where in (plain, mountpoint)}
        assert (sorted(names[plain].split("\n")) ==
                sorted(names[mountpoint].split("\n")))


main(globals())
