"""Whoever is killed while it stores leaves no bad byte behind."""
import os
import random

from support import *

SHAPE = dict(layers=2, hidden=512, vocabulary=12000)
ROUNDS = 8


def pair(folder):
    recipe = make_recipe(folder, "slerp", **SHAPE)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    return recipe, os.path.join(folder, "cache"), sums(plain)


def temporaries(cache):
    return [name for name in files_below(cache)
            if os.path.basename(name).startswith(".")]


def check_cache(cache):
    """Nothing is bad, and what was left behind goes."""
    done = run(CTL, "cache", "verify", "--cache", cache)
    assert done.returncode == 0, done
    done = run(CTL, "cache", "gc", "--cache", cache)
    assert done.returncode == 0, done
    assert temporaries(cache) == []


def kill_reader_and_daemon(recipe, folder, cache, seconds):
    daemon = Daemon(recipe, os.path.join(folder, "merged"), cache=cache)
    reader = subprocess.Popen(["cat", daemon.path + "/model.safetensors"],
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    daemon.process.kill()
    daemon.process.wait()
    reader.wait(timeout=20)
    run("umount", "-l", daemon.path) if os.getuid() == 0 else run(
        "fusermount3", "-uz", daemon.path)


def test_daemon_killed(folder):
    recipe, cache, right = pair(folder)
    left = 0
    for i in range(ROUNDS):
        kill_reader_and_daemon(recipe, folder, cache,
                               random.Random(i).random() * 0.25)
        left += len(temporaries(cache))
        with mounted(recipe, os.path.join(folder, "merged"),
                     cache=cache) as daemon:
            with open(daemon.path + "/model.safetensors", "rb") as file:
                file.seek(random.Random(i).randrange(1 << 20))
                file.read(1 << 20)
            assert status(daemon.path)["blocks"]["dropped"] == 0
        if i % 3 == 2:
            run(CTL, "cache", "clear", "--cache", cache)
    print(f"  {left} files were left behind")
    check_cache(cache)
    with mounted(recipe, os.path.join(folder, "merged"),
                 cache=cache) as daemon:
        assert sums(daemon.path) == right


def test_writer_killed(folder):
    recipe, cache, right = pair(folder)
    for i in range(ROUNDS):
        writer = subprocess.Popen([CTL, "warm", "--cache", cache, recipe],
                                  stderr=subprocess.DEVNULL)
        time.sleep(0.02 + random.Random(i).random() * 0.2)
        writer.kill()
        writer.wait()
        check_cache(cache)
        if i % 3 == 2:
            run(CTL, "cache", "clear", "--cache", cache)
    # A lock outlives nobody: a live writer's file stays, as does the block.
    done = run(CTL, "warm", "--cache", cache, recipe)
    assert done.returncode == 0, done
    check_cache(cache)
    plain = os.path.join(folder, "again", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain, "--cache", cache)
    assert sums(plain) == right


main(globals())
