"""Metadata: what stat, ls and df see, and what may not be done."""
import ctypes
import errno
import os
import stat
import subprocess
import threading
import time

from support import *


def facts(directory):
    seen = {}
    for root, folders, names in os.walk(directory):
        for name in [*folders, *names, "."]:
            path = os.path.normpath(os.path.join(root, name))
            st = os.lstat(path)
            seen[os.path.relpath(path, directory)] = (
                st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid,
                st.st_size, st.st_blocks, st.st_blksize, st.st_atime_ns,
                st.st_mtime_ns, st.st_ctime_ns)
    return seen


def test_same_after_remount(folder):
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    seen = []
    for _ in range(2):
        with mounted(recipe, mountpoint):
            seen.append(facts(mountpoint))
        time.sleep(0.05)
    assert seen[0] == seen[1]
    assert len({row[0] for row in seen[0].values()}) == len(seen[0])


def test_stat(folder):
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint):
        root = os.stat(mountpoint)
        assert stat.S_IMODE(root.st_mode) == 0o555 and root.st_ino == 1
        assert root.st_nlink == 3
        assert os.stat(os.path.join(mountpoint, "extra")).st_nlink == 3
        assert os.stat(os.path.join(mountpoint, "extra/deep")).st_nlink == 2
        st = os.stat(os.path.join(mountpoint, "tokenizer.json"))
        assert stat.S_IMODE(st.st_mode) == 0o444 and st.st_nlink == 1
        assert st.st_size == 70001 and st.st_blocks == 137
        assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid())
        assert st.st_mtime_ns <= time.time_ns()
        total = sum(os.path.getsize(os.path.join(mountpoint, name))
                    for name in files_below(mountpoint))
        fs = os.statvfs(mountpoint)
        assert fs.f_blocks * fs.f_frsize // 4096 == -(-total // 4096)
        assert fs.f_bfree == fs.f_bavail == 0 and fs.f_namemax == 255


def list_in_steps(directory, room):
    """Names of a directory by getdents64() with a small buffer."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(room)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    names = []
    while (used := libc.getdents64(fd, buffer, room)) > 0:
        at = 0
        while at < used:
            length = int.from_bytes(buffer.raw[at + 16:at + 18], "little")
            entry = buffer.raw[at + 19:at + length]
            names.append(entry[:entry.index(b"\0")].decode())
            at += length
    assert used == 0, os.strerror(ctypes.get_errno())
    os.close(fd)
    return names


def test_listing(folder):
    """A folder that does not fit one reply, resumed in the middle."""
    recipe = make_recipe(folder)
    many = {f"companion-{i:04}-{'x' * 60}.json" for i in range(1500)}
    for name in many:
        with open(os.path.join(folder, "base", "extra", name), "w") as file:
            file.write(name)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint):
        extra = os.path.join(mountpoint, "extra")
        stepwise = list_in_steps(extra, 1000)
        names = os.listdir(extra)
        assert stepwise[:2] == [".", ".."]
        assert stepwise[2:] == sorted(names)
        assert len(names) == len(set(names)) == len(many) + 2
        assert many < set(names)
        with os.scandir(extra) as entries:
            inodes = {entry.name: entry.inode() for entry in entries}
        assert all(os.stat(os.path.join(extra, name)).st_ino == inode
                   for name, inode in inodes.items())
        with open(os.path.join(extra, max(many))) as file:
            assert file.read() == max(many)
        listed = run("ls", "-fa", extra, check=True).stdout.split("\n")
        assert listed[:2] == [".", ".."]


def test_errors(folder):
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint):
        def path(name):
            return os.path.join(mountpoint, name)

        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
            expect_errno(errno.EROFS, os.open, path("config.json"), flags)
        expect_errno(errno.EROFS, os.open, path("new"),
                     os.O_CREAT | os.O_WRONLY)
        expect_errno(errno.EROFS, os.mkdir, path("new"))
        expect_errno(errno.EROFS, os.rmdir, path("extra"))
        expect_errno(errno.EROFS, os.unlink, path("config.json"))
        expect_errno(errno.EROFS, os.rename, path("config.json"), path("new"))
        expect_errno(errno.EROFS, os.link, path("config.json"), path("new"))
        expect_errno(errno.EROFS, os.symlink, "config.json", path("new"))
        expect_errno(errno.EROFS, os.mkfifo, path("new"))
        expect_errno(errno.EROFS, os.chmod, path("config.json"), 0o600)
        expect_errno(errno.EROFS, os.utime, path("config.json"))
        expect_errno(errno.EROFS, os.truncate, path("config.json"), 0)
        expect_errno(errno.EROFS, os.setxattr, path("config.json"), "user.a",
                     b"1")
        expect_errno(errno.ENOENT, os.stat, path("missing"))
        expect_errno(errno.ENOENT, os.stat, path("missing"))
        expect_errno(errno.ENOTDIR, os.stat, path("config.json/below"))
        expect_errno(errno.ENOTDIR, os.listdir, path("config.json"))
        expect_errno(errno.EISDIR, os.open, path("extra"), os.O_WRONLY)
        expect_errno(errno.EISDIR, os.read,
                     os.open(path("extra"), os.O_RDONLY), 1)
        expect_errno(errno.EINVAL, os.readlink, path("config.json"))
        expect_errno(errno.ENAMETOOLONG, os.stat, path("n" * 256))
        expect_errno(errno.ENODATA, os.getxattr, path("config.json"), "user.a")
        assert os.listxattr(path("config.json")) == []


def test_remounted_writable(folder):
    """root may remount it rw; it stays as it is."""
    if os.getuid() != 0:
        return
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint):
        done = run("mount", "-i", "-o", "remount,rw", mountpoint)
        if done.returncode != 0:
            return
        expect_errno(errno.EROFS, os.mkdir, os.path.join(mountpoint, "new"))
        expect_errno(errno.EROFS, os.open,
                     os.path.join(mountpoint, "config.json"), os.O_WRONLY)
        expect_errno(errno.EROFS, os.unlink,
                     os.path.join(mountpoint, "config.json"))


def sparse_recipe(folder, gigabytes):
    """Weights that are holes: cheap to store, as slow to merge as any."""
    recipe = make_recipe(folder)
    for name in ("base", "one", "two"):
        path = os.path.join(folder, name, "model.safetensors")
        write_safetensors(path, llama_tensors(2, 1024, gigabytes << 17), None)
    return recipe


def test_answers_while_reading(folder):
    """Requests that need the daemon, while it has a queue of cold reads."""
    recipe = sparse_recipe(folder, 2)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, "--threads", "1"):
        name = os.path.join(mountpoint, "model.safetensors")
        step = os.path.getsize(name) // 16
        readers = [subprocess.Popen(
            ["dd", f"if={name}", "of=/dev/null", "bs=1M", "count=2000",
             f"skip={i * step >> 20}"], stderr=subprocess.DEVNULL)
            for i in range(16)]
        time.sleep(0.2)
        took = []
        for i in range(60):
            begin = time.monotonic()
            os.statvfs(mountpoint)
            expect_errno(errno.ENOENT, os.stat, f"{mountpoint}/missing-{i}")
            expect_errno(errno.ENODATA, os.getxattr, name, "user.a")
            took.append(time.monotonic() - begin)
            time.sleep(0.005)
        busy = sum(reader.poll() is None for reader in readers)
        for reader in readers:
            reader.kill()
            reader.wait()
        assert busy >= 8, "the reads ended before the measurement did"
        took.sort()
        print(f"  three requests: median {took[30] * 1e3:.1f} ms, "
              f"worst {took[-1] * 1e3:.1f} ms")
        assert took[30] < 0.1 and took[-1] < 1, took


main(globals())
