"""As a plain user. Run by root, it makes itself a /dev/fuse that is open to
all, seen by nobody else, and becomes nobody."""
import errno
import os
import subprocess
import sys

from support import *

NOBODY = 65534


def as_nobody(*command, **more):
    # /proc/PID of a process that changed its user is closed to it.
    return run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
               "--clear-groups", *command,
               env={**os.environ, "HOME": "/nonexistent",
                    "XDG_CACHE_HOME": ""}, **more)


def open_device(folder):
    private = os.path.join(folder, "dev")
    os.mkdir(private)
    subprocess.run(["mount", "-t", "tmpfs", "none", private], check=True)
    device = os.path.join(private, "fuse")
    subprocess.run(["mknod", device, "c", "10", "229"], check=True)
    os.chmod(device, 0o666)
    subprocess.run(["mount", "--bind", device, "/dev/fuse"], check=True)


def user_folder(folder):
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    os.mkdir(mountpoint)
    for root, folders, names in os.walk(folder):
        for name in [*folders, *names, "."]:
            os.chown(os.path.join(root, name), NOBODY, NOBODY)
    return recipe, mountpoint


def test_user(folder):
    recipe, mountpoint = user_folder(folder)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    os.chmod("/dev/fuse", 0o600)
    done = as_nobody(MOUNT, recipe, mountpoint)
    assert done.returncode == 1 and "chmod 666 /dev/fuse" in done.stderr
    os.chmod("/dev/fuse", 0o666)

    done = as_nobody(MOUNT, "-o", "allow_other", recipe, mountpoint)
    assert done.returncode == 1 and "needs the line" in done.stderr, done

    done = as_nobody(MOUNT, "--cache", "none", recipe, mountpoint)
    assert done.returncode == 0, done.stderr
    try:
        expect_errno(errno.EACCES, os.listdir, mountpoint)
        done = as_nobody("diff", "-r", plain, mountpoint)
        assert done.returncode == 0, done
        done = as_nobody("stat", "-c", "%u %g", mountpoint)
        assert done.stdout.split() == [str(NOBODY)] * 2
    finally:
        done = as_nobody(CTL, "umount", mountpoint)
    assert done.returncode == 0, done.stderr
    assert os.path.realpath(mountpoint) not in mounts()


def test_directory_of_others(folder):
    recipe, mountpoint = user_folder(folder)
    os.chown(mountpoint, 0, 0)
    done = as_nobody(MOUNT, "--cache", "none", recipe, mountpoint)
    assert done.returncode == 1 and "write access" in done.stderr, done
    assert done.stderr.count("\n") == 1


def test_no_fusermount(folder):
    recipe, mountpoint = user_folder(folder)
    empty = os.path.join(folder, "empty")
    os.mknod(empty)
    subprocess.run(["mount", "--bind", empty, "/usr/bin/fusermount3"],
                   check=True)
    done = as_nobody(MOUNT, "--cache", "none", recipe, mountpoint)
    subprocess.run(["umount", "/usr/bin/fusermount3"], check=True)
    assert done.returncode == 1 and "apt-get install fuse3" in done.stderr


def test_no_device(folder):
    """mkfs-ctl needs none; mkfs-mount says so."""
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    os.mkdir(mountpoint)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/dev"], check=True)
    done = run(MOUNT, "--cache", "none", recipe, mountpoint)
    assert done.returncode == 1 and "modprobe fuse" in done.stderr, done
    export(recipe, os.path.join(folder, "plain"))
    subprocess.run(["umount", "/dev"], check=True)


if os.getuid() != 0 or run("unshare", "-m", "true").returncode != 0:
    print("needs root, and its own mount namespace")
    sys.exit(SKIP)
if "private" not in sys.argv:
    os.execvp("unshare", ["unshare", "-m", sys.executable, __file__, "private"])
private = tempfile.mkdtemp(prefix="mkfs-test-")
open_device(private)
main(globals())
