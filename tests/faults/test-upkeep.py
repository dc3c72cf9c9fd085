"""mkfs-ctl cache: what it shows and removes; two exports share a cache."""
import json
import os
import time

from support import *

SHAPE = dict(layers=2, hidden=512, vocabulary=4000)


def filled(folder):
    """A recipe, its cache, and the sums of what it makes."""
    recipe = make_recipe(folder, "slerp", **SHAPE)
    cache = os.path.join(folder, "cache")
    plain = os.path.join(folder, "plain")
    export(recipe, plain, "--cache", cache)
    return recipe, cache, sums(plain)


def ctl(cache, action, *options):
    return run(CTL, "cache", action, "--cache", cache, *options)


def listed(cache):
    done = ctl(cache, "ls", "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def blocks(cache):
    return sorted(os.path.join(cache, name) for name in files_below(cache)
                  if name not in ("format", "lock"))


def test_ls(folder):
    _, cache, right = filled(folder)
    found = listed(cache)
    paths = blocks(cache)
    assert found["directory"] == cache
    assert found["blocks"] == len(paths) > 5
    assert found["bytes"] == sum(os.stat(path).st_blocks * 512
                                 for path in paths)
    assert found["bytes"] <= 0.75 * found["bytes_raw"]
    assert found["used_within"]["hour"]["blocks"] == len(paths)
    assert found["temporary"] == found["foreign"] == 0
    os.utime(paths[0], (1, 1))
    with open(os.path.join(os.path.dirname(paths[0]), "mine"), "w"):
        pass
    found = listed(cache)
    assert found["used_within"]["older"]["blocks"] == 1
    assert found["foreign"] == 1
    said = ctl(cache, "ls").stdout
    assert f"{len(paths)} blocks" in said and "somebody else" in said


def test_verify(folder):
    recipe, cache, right = filled(folder)
    done = ctl(cache, "verify")
    assert done.returncode == 0 and "all good" in done.stdout, done
    bad = blocks(cache)[1:4]
    with open(bad[0], "r+b") as file:
        file.seek(60)
        file.write(b"!")
    os.truncate(bad[1], 1000)
    os.rename(blocks(cache)[0], bad[2])
    done = ctl(cache, "verify")
    assert done.returncode == 1 and "3 bad blocks and files removed" in done.stderr
    assert not any(map(os.path.exists, bad))
    assert ctl(cache, "verify").returncode == 0
    plain = os.path.join(folder, "again")
    export(recipe, plain, "--cache", cache)
    assert sums(plain) == right


def test_gc(folder):
    _, cache, right = filled(folder)
    paths = blocks(cache)[::-1]  # not as they are walked
    for i, path in enumerate(paths):
        # Apart by more than a sixteenth of an octave, within which ages count as equal.
        used = time.time() - 60 * 1.1 ** (len(paths) - i)
        os.utime(path, (used, used))
    left = os.path.join(os.path.dirname(paths[0]), ".0123456789abcdef.1")
    mine = os.path.join(os.path.dirname(paths[0]), ".mine")
    for path in (left, mine):
        with open(path, "w"):
            pass
    size = listed(cache)["bytes"]
    done = ctl(cache, "gc", "--cache-size", str(size // 2))
    assert done.returncode == 0, done
    assert not os.path.exists(left)
    os.unlink(mine)
    kept = blocks(cache)[::-1]
    assert size * 0.3 <= listed(cache)["bytes"] <= size // 2
    assert kept == paths[-len(kept):], "the oldest go"
    assert ctl(cache, "gc", "--cache-free", "1000T").returncode == 0
    assert listed(cache)["blocks"] == 0


def test_clear(folder):
    recipe, cache, right = filled(folder)
    assert ctl(cache, "clear").returncode == 0
    assert blocks(cache) == [] and listed(cache)["blocks"] == 0
    plain = os.path.join(folder, "again")
    export(recipe, plain, "--cache", cache)
    assert sums(plain) == right and blocks(cache)


def test_refused(folder):
    for name, text in (("missing", "No such file"), ("", "not a cache")):
        path = os.path.join(folder, name)
        before = sorted(os.listdir(folder))
        for action in ("ls", "gc", "verify", "clear"):
            done = ctl(path, action)
            assert done.returncode == 1 and text in done.stderr, done
        assert sorted(os.listdir(folder)) == before
    done = ctl(folder, "cleer")
    assert done.returncode == 1 and "did you mean cache clear?" in done.stderr


main(globals(), fuse=False)
