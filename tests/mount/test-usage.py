"""Command lines: what passes, and the sentence for what does not."""
import os
import subprocess

from support import *


def fails(status, words, *arguments):
    done = run(MOUNT, *arguments)
    assert done.returncode == status, (arguments, done)
    first = done.stderr.split("\n")[0]
    assert first.startswith("mkfs-mount: ") and words in first, done.stderr
    if status == 2:
        assert "--help" in done.stderr
    else:
        assert done.stderr.count("\n") == 1, done.stderr


def test_wrong_usage(folder):
    fails(2, "arguments are missing")
    fails(2, "arguments are missing", "recipe.yaml")
    fails(2, "one argument too many", "a", "b", "c")
    fails(2, "did you mean --memory", "--memry", "3", "a", "b")
    fails(2, "like 512M", "--memory", "much", "a", "b")
    fails(2, "needs a value", "a", "b", "--cache")
    fails(2, "takes no value", "--lax=1", "a", "b")
    fails(2, "needs a value", "-o", "cache", "a", "b")
    fails(2, "no option '-x'", "-x", "a", "b")


def test_wrong_places(folder):
    recipe = make_recipe(folder)
    missing = os.path.join(folder, "missing")
    fails(1, "no such directory", recipe, missing)
    fails(1, "is not a directory", recipe, recipe)
    fails(1, "-o nonempty", recipe, folder)
    fails(1, "would hide it", recipe, folder, "-o", "nonempty")
    mountpoint = os.path.join(folder, "merged")
    os.mkdir(mountpoint)
    fails(1, "would hide it", "--cache", os.path.join(mountpoint, "c"), recipe,
          mountpoint)
    fails(1, missing, missing, mountpoint)
    with mounted(recipe, mountpoint):
        fails(1, "fusermount3 -u", recipe, mountpoint)
    for command in ("status", "umount"):
        done = run(CTL, command, missing)
        assert done.returncode == 1 and "mkdir" not in done.stderr, done
    fails(1, "-o frobnicate: no such mount option", "--cache", "none", recipe,
          mountpoint, "-o", "frobnicate")
    assert not mounts() or mountpoint not in mounts()


def test_nonempty(folder):
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    os.makedirs(os.path.join(mountpoint, "hidden"))
    with mounted(recipe, mountpoint, "-o", "nonempty"):
        assert "hidden" not in os.listdir(mountpoint)
    assert os.listdir(mountpoint) == ["hidden"]


def options_of(path):
    with open("/proc/self/mountinfo") as file:
        for line in file:
            if line.split()[4] == path:
                return line
    raise AssertionError(f"{path} is not mounted")


def test_options(folder):
    """Everything that a line of fstab may hold."""
    recipe = make_recipe(folder)
    cache = os.path.join(folder, "a,cache")
    os.mkdir(os.path.join(folder, "merged"))
    options = ("rw,ro,dev,suid,exec,auto,noauto,user,nofail,_netdev,defaults,"
               "x-systemd.automount,x-systemd.mount-timeout=30,"
               "noexec,shard-size=100k,threads=2,memory=64M,seed=3,lax,"
               "offline," + "cache=" + cache.replace(",", "\\,"))
    if os.getuid() == 0:
        options += ",allow_other"
    done = run(MOUNT, recipe, os.path.join(folder, "merged"), "-o", options)
    assert done.returncode == 0, done.stderr
    path = os.path.realpath(os.path.join(folder, "merged"))
    line = options_of(path)
    for word in ("ro", "nosuid", "nodev", "noatime", "noexec",
                 "default_permissions", "max_read=1048576",
                 "fuse.mkfs-mount", os.path.realpath(recipe)):
        assert word in line, (word, line)
    assert os.getuid() != 0 or "allow_other" in line
    assert any(name.startswith("model-00002") for name in os.listdir(path))
    assert os.path.isdir(cache)
    assert run(CTL, "umount", path).returncode == 0


def test_recipe_with_comma(folder):
    recipe = make_recipe(folder)
    odd = os.path.join(folder, "a,b \\c.yaml")
    os.rename(recipe, odd)
    with mounted(odd, os.path.join(folder, "merged")):
        assert os.listdir(os.path.join(folder, "merged"))


def test_mount_command(folder):
    """By mount(8), and by the helper that it calls for a line of fstab."""
    if os.getuid() != 0 or not os.path.exists("/sbin/mount.fuse3"):
        return
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    os.mkdir(mountpoint)
    options = ("-o", "rw,cache=none,defaults,_netdev,allow_other,dev,suid")
    path = os.path.dirname(MOUNT) + ":" + os.environ["PATH"]
    for command in (("mount", "-t", "fuse", f"{MOUNT}#{recipe}", mountpoint),
                    ("/sbin/mount.fuse3", recipe, mountpoint, "-t",
                     "fuse.mkfs-mount")):
        done = run(*command, *options, env={**os.environ, "PATH": path})
        assert done.returncode == 0, done.stderr
        assert "config.json" in os.listdir(mountpoint)
        assert run("umount", mountpoint).returncode == 0


main(globals())
