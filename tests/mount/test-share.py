"""What is computed again and what is not, told by the counters."""
import os
import re

from support import *

SHAPE = dict(layers=2, hidden=512, vocabulary=4000)
# With these shapes: blocks that are worth a place on disk. The embedding and
# the head take 4 each; q k v o half of one each, gate up down one each.
BLOCKS = 2 * 4 + 2 * 7


class Mounts:
    """Mounts of one folder over one cache, one after the other."""

    def __init__(self, folder, method="linear"):
        self.folder = folder
        self.recipe = make_recipe(folder, method, **SHAPE)
        self.cache = os.path.join(folder, "cache")

    def edit(self, old, new):
        with open(self.recipe) as file:
            text = file.read()
        assert old in text
        with open(self.recipe, "w") as file:
            file.write(text.replace(old, new, 1))

    def read(self, *options, recipe=None):
        """Counters of a mount that is read once."""
        mountpoint = os.path.join(self.folder, "merged")
        with mounted(recipe or self.recipe, mountpoint, "--no-whole", *options,
                     cache=self.cache):
            sums(mountpoint)
            wait_until(lambda: status(mountpoint)["now"]["waiting"] == 0)
            found = status(mountpoint)
        blocks = found["blocks"]
        assert blocks["dropped"] == blocks["failed"] == 0
        # Norms are small: computed always, never stored.
        self.scans = found["counts"]["scans"]
        print("  stored, loaded:", blocks["stored"], blocks["loaded"])
        return blocks["stored"], blocks["loaded"]


def test_remount(folder):
    mounts = Mounts(folder)
    assert mounts.read() == (BLOCKS, 0)
    assert mounts.read() == (0, BLOCKS)
    assert mounts.read("--threads", "3", "--memory", "40M",
                       "--shard-size", "5M") == (0, BLOCKS)


def test_facts_are_kept(folder):
    mounts = Mounts(folder, "slerp")
    stored, loaded = mounts.read()
    scans = mounts.scans
    assert scans > 15 and stored == BLOCKS + scans and loaded == 0
    # Small tensors are computed again, with facts from the disk.
    stored, loaded = mounts.read()
    assert mounts.scans == 0 and stored == 0 and loaded > BLOCKS


def test_one_weight(folder):
    """Another weight for one kind of tensor: the others are shared."""
    mounts = Mounts(folder)
    mounts.read()
    mounts.edit("weight: 0.4", "weight: [{filter: down_proj, value: 0.5}, "
                "{value: 0.4}]")
    assert mounts.read() == (2, BLOCKS - 2)


def test_another_recipe(folder):
    """Half of the layers are those of the other merge."""
    mounts = Mounts(folder)
    mounts.read()
    with open(mounts.recipe) as file:
        text = file.read()
    other = os.path.join(folder, "other.yaml")
    with open(other, "w") as file:
        file.write(re.sub("weight: 0.4", "weight: [0.4, 0.7]", text, count=1))
    assert mounts.read(recipe=other) == (7, BLOCKS - 7)


def test_changed_input(folder):
    mounts = Mounts(folder)
    mounts.read()
    # A companion is no input of any tensor.
    with open(os.path.join(folder, "base", "tokenizer.json"), "ab") as file:
        file.write(b"\n")
    assert mounts.read() == (0, BLOCKS)
    os.utime(os.path.join(folder, "one", "model.safetensors"), (1, 1))
    assert mounts.read() == (BLOCKS, 0)


def test_seed(folder):
    mounts = Mounts(folder)
    mounts.read()
    assert mounts.read("--seed", "5") == (0, BLOCKS), "linear knows no chance"

    mounts.edit("merge_method: linear", "merge_method: dare_linear\n"
                "base_model: base\nparameters: {density: 0.5}")
    mounts.edit("  - model: base\n    parameters: {weight: 0.4}\n", "")
    for seed in ("0", "5"):
        stored, loaded = mounts.read("--seed", seed)
        assert stored == BLOCKS + mounts.scans and loaded == 0
        assert mounts.read("--seed", seed)[0] == 0 == mounts.scans


def test_copies_are_not_stored(folder):
    mounts = Mounts(folder)
    mounts.edit("merge_method: linear", "merge_method: passthrough")
    mounts.edit("  - model: one\n    parameters: {weight: 0.4}\n", "")
    mounts.edit("  - model: two\n    parameters: {weight: 0.4}\n", "")
    mounts.edit("    parameters: {weight: 0.4}\n", "")
    assert mounts.read() == (0, 0)


main(globals())
