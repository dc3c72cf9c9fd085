"""Two mounts over one cache against the export, whatever happens to them: reads
of any range by any road, remounts, kills, evictions, and damage of all kinds.
MKFS_SEED and MKFS_STEPS choose another or a longer story."""
import mmap
import os
import random
import shutil

from support import *

SEED = int(os.environ.get("MKFS_SEED", "1"))
STEPS = int(os.environ.get("MKFS_STEPS", "150"))
SHAPE = dict(layers=2, hidden=512, vocabulary=6001)


class Story:
    def __init__(self, folder, method, seed):
        self.draw = random.Random(seed)
        self.folder = folder
        self.recipe = make_recipe(folder, method, **SHAPE)
        plain = os.path.join(folder, "plain", "merged")
        os.mkdir(os.path.dirname(plain))
        export(self.recipe, plain, "--shard-size", "6M")
        self.right = {name: open(os.path.join(plain, name), "rb").read()
                      for name in files_below(plain)}
        self.names = sorted(self.right)
        self.cache = os.path.join(folder, "cache")
        self.daemons = [None, None]
        self.dropped = 0
        for i in range(2):
            self.start(i)

    def start(self, i):
        # The budget is too small for everything.
        self.daemons[i] = Daemon(
            self.recipe, os.path.join(self.folder, f"mnt{i}", "merged"),
            "--shard-size", "6M", "--cache-size", self.draw.choice(("3M", "8M", "1G")),
            "--memory", self.draw.choice(("32M", "100M")), cache=self.cache)

    def choose(self):
        """A mount, and a file of it."""
        weights = [name for name in self.names if name.endswith(".safetensors")]
        name = self.draw.choice(weights if self.draw.random() < 0.8 else self.names)
        return os.path.join(self.draw.choice(self.daemons).path, name), self.right[name]

    def read(self):
        path, right = self.choose()
        size = self.draw.choice((1, 4096, 100001, 1 << 20, len(right)))
        offset = self.draw.randrange(len(right) + 1)
        direct = os.O_DIRECT if self.draw.random() < 0.2 else 0
        fd = os.open(path, os.O_RDONLY)
        # Half of the time the page cache does not help.
        if self.draw.random() < 0.5:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(fd, size, offset) == right[offset:offset + size]
        os.close(fd)
        if direct and right:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
            offset, room = offset // 4096 * 4096, mmap.mmap(-1, 1 << 20)
            n = os.preadv(fd, [room], offset)
            assert room[:n] == right[offset:offset + n]
            os.close(fd)

    def map(self):
        path, right = self.choose()
        if not right:
            return
        with open(path, "rb") as file, mmap.mmap(
                file.fileno(), 0, prot=mmap.PROT_READ) as data:
            for _ in range(20):
                offset = self.draw.randrange(len(right))
                assert data[offset:offset + 9999] == right[offset:offset + 9999]

    def note_drops(self, i):
        self.dropped += status(self.daemons[i].path)["blocks"]["dropped"]

    def remount(self):
        i = self.draw.randrange(2)
        self.note_drops(i)
        self.daemons[i].end()
        self.start(i)

    def kill(self):
        i = self.draw.randrange(2)
        self.note_drops(i)
        self.daemons[i].process.kill()
        self.daemons[i].process.wait()
        run("fusermount3", "-uz", self.daemons[i].path)
        self.start(i)

    def blocks(self):
        return [os.path.join(self.cache, name) for name in files_below(self.cache)
                if len(os.path.basename(name)) == 30]

    def damage(self):
        paths = self.blocks()
        self.draw.shuffle(paths)
        for path in paths[:self.draw.randrange(8)]:
            try:
                self.damage_one(path, self.draw.choice(paths))
            except FileNotFoundError:
                pass  # evicted meanwhile

    def damage_one(self, path, other):
        size = os.path.getsize(path)
        kind = self.draw.randrange(6)
        if kind == 0:
            os.truncate(path, self.draw.randrange(size + 1))
        elif kind == 1:
            os.unlink(path)
        elif kind == 2 and path != other:
            shutil.copyfile(other, path)
        elif kind == 3:
            with open(path, "ab") as file:
                file.write(b"more")
        else:
            with open(path, "r+b") as file:
                file.seek(self.draw.randrange(size + 1))
                file.write(bytes(self.draw.choice((1, 4096))) if kind == 4
                           else self.draw.randbytes(3))

    def remove_cache(self):
        shutil.rmtree(self.cache, ignore_errors=True)

    def hide_folders(self):
        """Somebody puts files where folders should be."""
        there = os.path.exists(self.cache)
        for name in os.listdir(self.cache)[:20] if there else ():
            path = os.path.join(self.cache, name)
            if len(name) == 2 and os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
                if not os.path.exists(path):
                    open(path, "w").close()

    def upkeep(self):
        if os.path.exists(os.path.join(self.cache, "format")):
            done = run(CTL, "cache", *self.draw.choice(
                (("gc", "--cache-size", "2M"), ("clear",), ("verify",), ("ls",))),
                "--cache", self.cache)
            assert done.returncode == 0 or "removed; they" in done.stderr, done

    def step(self):
        ops = [self.read] * 60 + [self.map] * 10 + [self.damage] * 12 + [
            self.remount] * 4 + [self.kill] * 2 + [self.upkeep] * 4 + [
            self.remove_cache] + [self.hide_folders]
        self.draw.choice(ops)()

    def end(self):
        for i, daemon in enumerate(self.daemons):
            for name, right in self.right.items():
                with open(os.path.join(daemon.path, name), "rb") as file:
                    assert file.read() == right
            self.note_drops(i)
            daemon.end()
        return self.dropped


def test_story(folder):
    dropped = 0
    for method in ("linear", "slerp"):
        place = os.path.join(folder, method)
        os.mkdir(place)
        story = Story(place, method, SEED)
        for _ in range(STEPS):
            story.step()
        dropped += story.end()
    print(f"  {dropped} bad blocks were dropped")
    assert dropped > 0


main(globals())
