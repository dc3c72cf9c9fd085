"""Sources that change or shrink under a mount or an export."""
import errno
import os
import signal
import subprocess
import sys
import time

from support import *

SHAPE = dict(layers=2, hidden=512, vocabulary=4000)
READ_MAPPED = ("import mmap,sys; f=open(sys.argv[1],'rb'); "
               "m=mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); "
               "print(sum(m[::4096]))")


def truncate(path):
    os.truncate(path, 100000)


def rewrite(path):
    """In place, the size kept."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.write(random.Random(1).randbytes(size))


def rewrite_end(path):
    with open(path, "r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"0123456789")


def truncate_and_restore(path):
    """What is there now has other times, and maybe other bytes."""
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data)


def read_all(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        while os.read(fd, 1 << 20):
            pass
    finally:
        os.close(fd)


def check_damage(folder, damage, method):
    recipe = make_recipe(folder, method, **SHAPE)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    with mounted(recipe, os.path.join(folder, "merged")) as daemon:
        weights = os.path.join(daemon.path, "model.safetensors")
        damage(os.path.join(folder, "one", "model.safetensors"))
        for _ in range(3):
            expect_errno(errno.EIO, read_all, weights)
        # The header is known without any source.
        fd = os.open(weights, os.O_RDONLY)
        assert os.pread(fd, 8, 0) == open(plain + "/model.safetensors",
                                          "rb").read(8)
        os.close(fd)
        done = run(sys.executable, "-c", READ_MAPPED, weights)
        assert done.returncode == -signal.SIGBUS, done

        lines = [line for line in daemon.lines().split("\n")
                 if "cannot be read" in line]
        assert len(lines) == 1, lines
        assert "model.safetensors: bytes " in lines[0]
        assert os.path.join("one", "model.safetensors") in lines[0], lines
        for name in files_below(plain):
            if name != "model.safetensors":
                assert (sha256(os.path.join(daemon.path, name)) ==
                        sha256(os.path.join(plain, name))), name
        assert daemon.process.poll() is None


def test_truncated(folder):
    check_damage(folder, truncate, "linear")


def test_truncated_slerp(folder):
    check_damage(folder, truncate, "slerp")


def test_rewritten(folder):
    check_damage(folder, rewrite, "linear")


def test_rewritten_slerp(folder):
    check_damage(folder, rewrite, "slerp")


def test_end_rewritten(folder):
    check_damage(folder, rewrite_end, "task_arithmetic")


def test_written_again(folder):
    check_damage(folder, truncate_and_restore, "linear")


def test_companion(folder):
    """A copied file fails alone."""
    recipe = make_recipe(folder)
    with mounted(recipe, os.path.join(folder, "merged")) as daemon:
        rewrite(os.path.join(folder, "base", "tokenizer.json"))
        expect_errno(errno.EIO, read_all, daemon.path + "/tokenizer.json")
        read_all(daemon.path + "/model.safetensors")
        assert "tokenizer.json: bytes 0 to 70001" in daemon.lines()


def test_truncated_while_reading(folder):
    """Readers in full swing get bytes of before, or an error."""
    recipe = make_recipe(folder, "linear", layers=2, hidden=1024,
                         vocabulary=30000)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    with open(plain + "/model.safetensors", "rb") as file:
        right = file.read()
    with mounted(recipe, os.path.join(folder, "merged"), "--threads",
                 "2") as daemon:
        fd = os.open(daemon.path + "/model.safetensors", os.O_RDONLY)
        failed = 0
        for i, offset in enumerate(range(0, len(right), 1 << 18)):
            if i == 20:
                truncate(os.path.join(folder, "two", "model.safetensors"))
            try:
                piece = os.pread(fd, 1 << 18, offset)
            except OSError as error:
                assert error.errno == errno.EIO
                failed += 1
                continue
            assert piece == right[offset:offset + len(piece)] and piece
        assert failed > 0
        os.close(fd)


def test_removed(folder):
    """An unlinked source is as unfit as a changed one, or is read on."""
    recipe = make_recipe(folder)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    with mounted(recipe, os.path.join(folder, "merged")) as daemon:
        os.unlink(os.path.join(folder, "one", "model.safetensors"))
        name = daemon.path + "/model.safetensors"
        try:
            read_all(name)
        except OSError as error:
            assert error.errno == errno.EIO
        else:
            assert sha256(name) == sha256(plain + "/model.safetensors")


def check_export(folder, damage):
    recipe = make_recipe(folder)
    for name in ("base", "one", "two"):
        write_safetensors(os.path.join(folder, name, "model.safetensors"),
                          llama_tensors(2, 1024, 1 << 19), None)
    before = sorted(os.listdir(folder))
    process = subprocess.Popen([CTL, "export", "--threads", "1", recipe,
                                folder + "/plain"], stderr=subprocess.PIPE,
                               text=True)
    wait_until(lambda: len(os.listdir(folder)) > len(before))
    time.sleep(0.1)
    damage(os.path.join(folder, "two", "model.safetensors"))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1, (process.returncode, said)
    assert said.startswith("mkfs-ctl: model.safetensors: bytes "), said
    assert "two/model.safetensors has changed" in said, said
    assert said.count("\n") == 1
    assert sorted(os.listdir(folder)) == before


def test_export_truncated(folder):
    check_export(folder, truncate)


def test_export_rewritten(folder):
    check_export(folder, rewrite_end)


main(globals())
