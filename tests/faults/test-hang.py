"""A source that hangs: it is on another mount, whose daemon is stopped."""
import errno
import os
import signal
import threading
import time

from support import *


class Hanging:
    """A mount whose reads wait for ever, and a thread that waits for one."""

    def __init__(self, folder):
        inner = os.path.join(folder, "inner")
        os.mkdir(inner)
        self.source = Daemon(make_recipe(inner),
                             os.path.join(folder, "source"))
        recipe = os.path.join(folder, "recipe.yaml")
        with open(recipe, "w") as file:
            file.write("merge_method: linear\nmodels:\n"
                       "  - model: source\n    parameters: {weight: 1}\n"
                       "  - model: inner/one\n    parameters: {weight: 1}\n"
                       "dtype: float32\n")
        self.outer = Daemon(recipe, os.path.join(folder, "outer"))
        self.weights = os.path.join(self.outer.path, "model.safetensors")
        self.fd = os.open(self.weights, os.O_RDONLY)
        self.result = None
        self.source.process.send_signal(signal.SIGSTOP)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        time.sleep(0.3)
        assert self.reader.is_alive()

    def read(self):
        try:
            self.result = os.pread(self.fd, 1 << 20, 1 << 20)
        except OSError as error:
            self.result = error.errno

    def go_on(self):
        self.source.process.send_signal(signal.SIGCONT)

    def end(self):
        self.go_on()
        self.reader.join(timeout=20)
        assert not self.reader.is_alive()
        os.close(self.fd)
        if self.outer.process.poll() is None:
            self.outer.end()
        self.source.end()


def test_metadata_answers(folder):
    hanging = Hanging(folder)
    try:
        path = hanging.outer.path
        begin = time.monotonic()
        for i in range(100):
            os.statvfs(path)
            expect_errno(errno.ENOENT, os.stat, f"{path}/missing-{i}")
            expect_errno(errno.ENODATA, os.getxattr, hanging.weights,
                         "user.a")
        assert {"config.json", "model.safetensors"} <= set(os.listdir(path))
        os.close(os.open(hanging.weights, os.O_RDONLY))
        assert sha256(os.path.join(path, "config.json"))
        assert time.monotonic() - begin < 2
        assert hanging.reader.is_alive()
    finally:
        hanging.end()
    assert len(hanging.result) == 1 << 20


def test_killed_reader(folder):
    """Who waits for a read can be killed."""
    hanging = Hanging(folder)
    try:
        process = subprocess.Popen(["tail", "-c", "5000000", hanging.weights],
                                   stdout=subprocess.DEVNULL)
        time.sleep(0.2)
        assert process.poll() is None
        begin = time.monotonic()
        process.kill()
        process.wait(timeout=10)
        assert time.monotonic() - begin < 1
    finally:
        hanging.end()


def test_ends_all_the_same(folder):
    hanging = Hanging(folder)
    try:
        seconds = hanging.outer.end()
        print(f"  ended in {seconds:.2f} s")
        assert 4 < seconds < 6
        assert "while reads were being computed" in hanging.outer.lines()
        hanging.reader.join(timeout=5)
        assert hanging.result in (errno.ENOTCONN, errno.ECONNABORTED), (
            hanging.result)
    finally:
        hanging.end()


main(globals())
