"""A cache that fails never fails a reader."""
import os
import random
import shutil

from support import *

SHAPE = dict(layers=2, hidden=512, vocabulary=4000)


def pair(folder):
    recipe = make_recipe(folder, "slerp", **SHAPE)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    return recipe, sums(plain)


def read(recipe, folder, right, between=None):
    """Mounts and reads everything; `between` runs while mounted."""
    cache = os.path.join(folder, "cache")
    with mounted(recipe, os.path.join(folder, "merged"),
                 cache=cache) as daemon:
        if between:
            between(cache)
        assert sums(daemon.path) == right


def blocks(cache):
    return [os.path.join(cache, name) for name in files_below(cache)
            if name not in ("format", "lock")]


def test_blocks_are_kept(folder):
    recipe, right = pair(folder)
    read(recipe, folder, right)
    assert len(blocks(os.path.join(folder, "cache"))) > 5


def test_flipped_bits(folder):
    recipe, right = pair(folder)
    read(recipe, folder, right)
    for i, path in enumerate(blocks(os.path.join(folder, "cache"))):
        with open(path, "r+b") as file:
            file.seek(random.Random(i).randrange(os.path.getsize(path)))
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1 << i % 8]))
    read(recipe, folder, right)


def test_cut_blocks(folder):
    recipe, right = pair(folder)
    read(recipe, folder, right)
    for i, path in enumerate(blocks(os.path.join(folder, "cache"))):
        os.truncate(path, random.Random(i).randrange(os.path.getsize(path)))
    read(recipe, folder, right)


def test_removed_under_the_mount(folder):
    recipe, right = pair(folder)
    read(recipe, folder, right, shutil.rmtree)


def test_full(folder):
    if os.getuid() != 0:
        return
    recipe, right = pair(folder)
    cache = os.path.join(folder, "cache")
    os.mkdir(cache, 0o700)
    done = run("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none",
               cache)
    if done.returncode != 0:
        return
    try:
        read(recipe, folder, right)
    finally:
        run("umount", cache)


def test_read_only_for_a_while(folder):
    """What could not be stored meanwhile is, without being read again."""
    if os.getuid() != 0:
        return
    recipe = make_recipe(folder, **SHAPE)
    disk = os.path.join(folder, "disk")
    os.mkdir(disk)
    if run("mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "none", disk).returncode:
        return
    try:
        with mounted(recipe, os.path.join(folder, "merged"), "--no-whole",
                     cache=os.path.join(disk, "cache")) as daemon:
            assert run("mount", "-o", "remount,ro", disk).returncode == 0
            sums(daemon.path)
            wait_until(lambda: status(daemon.path)["now"]["waiting"] == 0)
            found = status(daemon.path)
            refused = found["blocks"]["refused"]
            assert found["now"]["paused"] > 0 and refused > 5 and found["blocks"]["stored"] == 0, found
            assert run("mount", "-o", "remount,rw", disk).returncode == 0
            wait_until(lambda: status(daemon.path)["blocks"]["stored"] >= refused, 45)
    finally:
        run("umount", "-l", disk)


def other_than_files(cache):
    for i, path in enumerate(blocks(cache)):
        os.unlink(path)
        if i % 2:
            os.mkfifo(path)
        else:
            os.symlink("../format", path)


def test_no_files(folder):
    """Nobody waits for a pipe, or reads what a link leads to."""
    recipe, right = pair(folder)
    read(recipe, folder, right)
    read(recipe, folder, right, other_than_files)
    assert not any(os.path.islink(path) for path in blocks(os.path.join(folder, "cache")))


def test_refused(folder):
    """A directory that is not a cache is left alone."""
    recipe = make_recipe(folder)
    os.mkdir(os.path.join(folder, "merged"))
    for cache in ("one", "recipe.yaml"):
        cache = os.path.join(folder, cache)
        done = run(MOUNT, "--cache", cache, recipe,
                   os.path.join(folder, "merged"))
        assert done.returncode == 1 and cache in done.stderr, done
        assert done.stderr.count("\n") == 1
    assert sorted(os.listdir(os.path.join(folder, "one"))) == [
        "config.json", "extra", "model.safetensors", "tokenizer.json"]


main(globals())
