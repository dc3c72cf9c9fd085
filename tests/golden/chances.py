"""
Random methods as a whole program: what is kept is independent between models,
tensors and seeds, and scaled to the magnitude of all.
"""
import itertools
import tempfile

import numpy as np

from checkpoint import Tensor, load
from vectors import CONFIG, store, write_recipe

SHAPE = (300, 500)
NAMES = [f"model.layers.{layer}.mlp.{part}_proj.weight" for layer in range(2) for part in ("up", "down")]
# Parameters, and the chances of a row's elements; they are all equal, so that
# their ranks are their places.
METHODS = {
    "dare_linear": ({"density": 0.5}, np.full(SHAPE[1], 0.5)),
    "della_linear": ({"density": 0.5, "epsilon": 0.2}, 0.3 + 0.4 * np.arange(SHAPE[1]) / (SHAPE[1] - 1)),
}


def make_models(folder):
    """Changes of 1 and of 2, so that a sum shows which of them was kept."""
    for model, change in (("b", 0), ("x0", 1), ("x1", 2)):
        values = np.full(SHAPE, change, "f8")
        stored = {name: Tensor.of(values, "F32", SHAPE) for name in NAMES}
        store(f"{folder}/{model}", stored, dict(CONFIG, num_hidden_layers=2))


def masks(tensors):
    """{(tensor, model): which elements were kept}"""
    found = {}
    for name in NAMES:
        values = tensors[name].values()
        found[name, "x0"], found[name, "x1"] = values % 2 == 1, values >= 2
    return found


def compare_masks(case, found, chances, fail):
    n = SHAPE[0] * SHAPE[1]
    expected = (chances**2 + (1 - chances) ** 2).mean()
    for (one, a), (other, b) in itertools.combinations(found.items(), 2):
        alike = (a == b).mean()
        if abs(alike - expected) > 6 * 0.5 / np.sqrt(n):
            fail(case, f"{one} and {other}: {alike:.4f} of the elements alike, {expected:.4f} expected")


def check_scale(case, tensors, fail):
    """One model alone: what is kept sums up to all, by one factor."""
    for name in NAMES:
        values = tensors[name].values()
        kept = values[values != 0]
        if len(set(kept)) != 1 or not abs(kept.sum() / values.size - 1) <= 1e-6:
            fail(case, f"{name}: not scaled to the magnitude of all")


def run(export, fail):
    with tempfile.TemporaryDirectory() as folder:
        make_models(folder)
        recipe = folder + "/recipe.yaml"
        for method, (parameters, chances) in METHODS.items():
            found = {}
            for seed in (0, 1):
                write_recipe(recipe, method, "b", {"x0": 1, "x1": 1}, dict(parameters, rescale=False))
                export(recipe, {"seed": seed}, f"{folder}/{method}{seed}")
                for key, mask in masks(load(f"{folder}/{method}{seed}")).items():
                    found[(*key, seed)] = mask
            compare_masks("independence, " + method, found, chances, fail)
            write_recipe(recipe, method, "b", {"x0": 1}, parameters)
            export(recipe, {}, f"{folder}/{method}")
            check_scale("rescale, " + method, load(f"{folder}/{method}"), fail)
    return len(METHODS)
