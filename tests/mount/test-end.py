"""How mounts begin and end."""
import mmap
import os
import signal
import subprocess
import threading
import time

from support import *


def background(recipe, mountpoint, *options):
    os.makedirs(mountpoint, exist_ok=True)
    done = run(MOUNT, "--cache", "none", *options, recipe, mountpoint)
    assert done.returncode == 0, done.stderr
    return os.path.realpath(mountpoint)


def daemons(mountpoint):
    """Processes of mkfs-mount for a mount point."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{name}/stat") as file:
                dead = file.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        if mountpoint.encode() in words and not dead:
            found.append(int(name))
    return found


def gone(mountpoint):
    return not daemons(mountpoint) and mountpoint not in mounts()


def test_background(folder):
    """The command returns once the mount answers, and keeps nothing open."""
    recipe = make_recipe(folder)
    mountpoint = background(recipe, os.path.join(folder, "merged"))
    assert "config.json" in os.listdir(mountpoint)
    (pid,) = daemons(mountpoint)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid
    for fd in range(3):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"
    done = run(CTL, "umount", mountpoint)
    assert done.returncode == 0, done.stderr
    assert mountpoint not in mounts()
    wait_until(lambda: gone(mountpoint))


def test_closed_descriptors(folder):
    """No file that is needed gets the number of one that is to be closed."""
    recipe = make_recipe(folder)
    export(recipe, os.path.join(folder, "plain"))
    mountpoint = os.path.join(folder, "merged")
    os.mkdir(mountpoint)
    done = run("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", MOUNT, "--cache",
               os.path.join(folder, "cache"), recipe, mountpoint)
    assert done.returncode == 0
    assert sums(mountpoint) == sums(os.path.join(folder, "plain"))
    assert run(CTL, "umount", mountpoint).returncode == 0
    # What is said goes nowhere, and not into a file of the cache.
    done = run("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", MOUNT, "--cache",
               os.path.join(folder, "cache"), recipe, folder)
    assert done.returncode == 1


def test_fusermount(folder):
    recipe = make_recipe(folder)
    mountpoint = background(recipe, os.path.join(folder, "merged"))
    sums(mountpoint)
    subprocess.run(["fusermount3", "-u", mountpoint], check=True)
    wait_until(lambda: gone(mountpoint))


def test_signals(folder):
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        daemon = Daemon(recipe, mountpoint)
        assert daemon.end(number) < 2


def start_load(mountpoint, n=8):
    """Threads that read and map for ever; errors are theirs to bear."""
    stop = threading.Event()

    def work(i):
        path = os.path.join(mountpoint, "model.safetensors")
        offset = i << 24
        while not stop.is_set():
            try:
                fd = os.open(path, os.O_RDONLY)
            except OSError:
                return
            try:
                for _ in range(20):
                    os.pread(fd, 1 << 20, offset)
                    offset += 1 << 20
            except OSError:
                return
            finally:
                os.close(fd)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()

    def end():
        stop.set()
        for thread in threads:
            thread.join(timeout=30)
            assert not thread.is_alive()

    return end


def big_recipe(folder):
    recipe = make_recipe(folder)
    for name in ("base", "one", "two"):
        write_safetensors(os.path.join(folder, name, "model.safetensors"),
                          llama_tensors(2, 1024, 1 << 17), None)
    return recipe


def test_sigterm_under_load(folder):
    recipe = big_recipe(folder)
    daemon = Daemon(recipe, os.path.join(folder, "merged"), "--threads", "1")
    end = start_load(daemon.path)
    held = os.open(os.path.join(daemon.path, "config.json"), os.O_RDONLY)
    time.sleep(0.5)
    seconds = daemon.end()
    print(f"  ended in {seconds:.2f} s")
    assert seconds < 6
    end()
    os.close(held)


def test_lazy_unmount_under_load(folder):
    """Who has files open goes on; then the daemon ends."""
    recipe = big_recipe(folder)
    daemon = Daemon(recipe, os.path.join(folder, "merged"))
    path = os.path.join(daemon.path, "tokenizer.json")
    held = os.open(path, os.O_RDONLY)
    end = start_load(daemon.path)
    time.sleep(0.3)
    subprocess.run(["fusermount3", "-u", "-z", daemon.path], check=True)
    assert daemon.path not in mounts() and not os.listdir(daemon.path)
    end()
    assert len(os.pread(held, 1 << 20, 0)) == 70001
    assert daemon.process.poll() is None
    os.close(held)
    assert daemon.process.wait(timeout=10) == 0


def test_busy(folder):
    recipe = make_recipe(folder)
    with mounted(recipe, os.path.join(folder, "merged")) as daemon:
        held = os.open(os.path.join(daemon.path, "config.json"), os.O_RDONLY)
        done = run(CTL, "umount", daemon.path)
        assert done.returncode == 1 and "is in use" in done.stderr
        os.close(held)
        assert run(CTL, "umount", daemon.path).returncode == 0
        assert daemon.process.wait(timeout=10) == 0


def test_killed(folder):
    """A mount whose daemon was killed is told apart, and can be taken away."""
    recipe = make_recipe(folder)
    daemon = Daemon(recipe, os.path.join(folder, "merged"))
    daemon.process.kill()
    daemon.process.wait()
    done = run(MOUNT, "--cache", "none", recipe, daemon.path)
    assert done.returncode == 1 and "fusermount3 -u" in done.stderr, done
    done = run(CTL, "umount", daemon.path)
    assert done.returncode == 0, done.stderr
    assert daemon.path not in mounts()


def test_ctl_umount_of_others(folder):
    for path in ("/proc", folder):
        done = run(CTL, "umount", path)
        assert done.returncode == 1
        assert "no merge is mounted here" in done.stderr


def test_many_rounds(folder):
    recipe = make_recipe(folder, layers=1, hidden=16, vocabulary=16)
    mountpoint = os.path.join(folder, "merged")
    for _ in range(10):
        path = background(recipe, mountpoint)
        with open(os.path.join(path, "config.json")) as file:
            assert file.read(1) == "{"
        assert run(CTL, "umount", path).returncode == 0
    wait_until(lambda: gone(path))


main(globals())
