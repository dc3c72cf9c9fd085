"""
Odd inputs: tensors that are parallel, opposite, zero, equal, empty, of one
element, of long rows, too small or large to be squared, or with NaN and
infinities in them; each merged by every method and compared with its formula.
"""
import tempfile
import warnings

import numpy as np

from checkpoint import Tensor, load
from formulas import BASE_IS_NEEDED, METHODS, Random
from vectors import CONFIG, by_formula, store, write_recipe

NAMES = ["b", "x0", "x1", "x2"]


def make_tensors():
    """{name: the four models' arrays}"""
    random = np.random.default_rng(7)

    def noise(*shape, scale=1.0):
        return (scale * random.standard_normal(shape)).astype("f4")

    def tunes(*shape, scale=1.0):
        base = noise(*shape, scale=scale)
        return [base] + [base + noise(*shape, scale=0.05 * scale) for _ in NAMES[1:]]

    a, z = noise(9, 40), np.zeros((9, 40), "f4")
    made = {
        "parallel": [a, 2 * a, 3 * a, a],
        "nearly_parallel": [a] + [a + noise(9, 40, scale=1e-5) for _ in NAMES[1:]],
        "opposite": [z, a, -a, noise(9, 40)],
        "nearly_opposite": [z, a, -a + noise(9, 40, scale=1e-3), noise(9, 40)],
        "opposite_changes": [a, a + 0.25, a - 0.25, a],
        "one_zero": [a, z, a + noise(9, 40), z],
        "all_zero": [z, z, z, z],
        "minus_zero": [-z, z, -z, z],
        "equal": [a, a, a, a],
        "equal_tunes": [a, a + 1, a + 1, a + 1],
        "few_values": [np.sign(noise(9, 40)) for _ in NAMES],
        "small_changes": [a] + [a + noise(9, 40, scale=i * 1e-4) for i in (1, 3, 5)],
        "one_element": tunes(1),
        "scalar": tunes(),
        "one_row": tunes(1, 130),
        "one_column": tunes(130, 1),
        "convolution": tunes(6, 1, 4),
        "four_dimensions": tunes(3, 2, 4, 5),
        "empty": tunes(0),
        "no_rows": tunes(0, 5),
        "no_columns": tunes(5, 0),
        "long_rows": tunes(4, 50001),
        "tiny": tunes(9, 40, scale=1e-36),
        "huge": tunes(9, 40, scale=1e36),
    }
    for name, where, value in (
        ("nan_in_one", 1, np.nan), ("nan_in_base", 0, np.nan), ("infinity_in_one", 2, np.inf),
        ("infinity_in_base", 0, -np.inf), ("infinity_in_all", slice(0, 4), np.inf),
    ):
        arrays = np.array(tunes(9, 40))
        arrays[where, 3, 5], arrays[where, 7, 39] = value, -value
        made[name] = list(arrays)
    return made


# Every method, and those of its parameters that choose another way.
VARIANTS = {
    "linear": [{}, {"normalize": False}],
    "slerp": [{"t": 0.3}],
    "nuslerp": [{}, {"nuslerp_flatten": False}, {"nuslerp_flatten": False, "nuslerp_row_wise": True}],
    "model_stock": [{}, {"filter_wise": True}],
    "ties": [{"density": 0.3}, {"density": 0.7, "rescale": True}],
    "breadcrumbs": [{"density": 0.6, "gamma": 0.1}],
    "breadcrumbs_ties": [{"density": 0.6, "gamma": 0.1}],
    "dare_linear": [{"density": 0.5}],
    "dare_ties": [{"density": 0.5, "rescale": False}],
    "della_linear": [{"density": 0.5, "epsilon": 0.2}],
    "della": [{"density": 0.5, "epsilon": 0.2, "rescale": False}],
    "sce": [{}, {"select_topk": 0.4}],
    "nearswap": [{"t": 0.01}],
}
# Other ways to compute the same bytes.
WAYS = [{"threads": 1, "isa": "base"}, {"threads": 7, "isa": "avx2"}]
PAIRS = {"slerp", "nearswap", "arcee_fusion"}


def models_of(method):
    weights = {"x0": 0.6, "x1": 0.5, "x2": -0.2}
    if method == "passthrough":
        return {"x1": 0.7}
    if method in PAIRS:
        return ["x1"]
    if method == "nuslerp":
        return {"x0": 0.6, "x1": 0.5}
    return weights


def compare(case, name, method, ours, exact, inputs):
    """NaN where the formula has it; elsewhere near it, by the inputs' size."""
    if method == "arcee_fusion":  # where the limit is too near, NaN is any
        ours = np.where(np.isnan(exact), exact, ours)
    if (np.isnan(ours) != np.isnan(exact)).any():
        return f"{name}: NaN in {np.isnan(ours).sum()} elements, the formula has it in {np.isnan(exact).sum()}"
    known = np.isfinite(exact)
    if (ours[~known & ~np.isnan(exact)] != exact[~known & ~np.isnan(exact)]).any():
        return f"{name}: other infinities"
    most = max([np.abs(x[np.isfinite(x)]).max(initial=0) for x in inputs])
    if (np.abs(ours - exact)[known] > 1e-6 * most + 1e-44).any():
        return f"{name}: off the formula by {(np.abs(ours - exact)[known]).max() / most:.2g} of the largest magnitude"
    return None


def judge(case, method, base, models, parameters, tensors, out, fail):
    for name, arrays in tensors.items():
        ours = out[f"model.layers.0.{name}.weight"]
        x = dict(zip(NAMES, (a.astype("f8") for a in arrays)))
        if ours.shape != arrays[0].shape:
            fail(case, f"{name} has shape {ours.shape}")
            continue
        if not arrays[0].size:
            continue
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exact = by_formula(method, base, models, parameters, x).reshape(ours.shape)
        except Random:
            if np.isfinite(arrays).all() and not np.isfinite(ours.values()).all():
                fail(case, f"{name} is not finite")
            continue
        used = [x[n] for n in list(models) + [base] * bool(base)]
        with np.errstate(invalid="ignore", over="ignore"):
            exact = exact.astype("f4").astype("f8")
            what = compare(case, name, method, ours.values().reshape(exact.shape), exact, used)
        if what:
            fail(case, what)


def read(folder):
    with open(folder + "/model.safetensors", "rb") as file:
        return file.read()


def run(export, fail):
    tensors, count = make_tensors(), 0
    with tempfile.TemporaryDirectory() as folder:
        for i, model in enumerate(NAMES):
            stored = {f"model.layers.0.{name}.weight": Tensor.of(a[i], "F32", a[i].shape) for name, a in tensors.items()}
            store(f"{folder}/{model}", stored, CONFIG)
        for method in METHODS:
            bases = ["b"] if method in BASE_IS_NEEDED | {"model_stock"} else [None]
            bases = [None, "b"] if method in ("nuslerp", "multislerp") else bases
            for base in bases:
                for parameters in VARIANTS.get(method, [{}]):
                    case = f"odd {method} {base or ''} {parameters or ''}"
                    models = models_of(method)
                    write_recipe(folder + "/recipe.yaml", method, base, models, parameters)
                    answer = export(folder + "/recipe.yaml", {}, f"{folder}/out{count}")
                    if answer.returncode != 0:
                        fail(case, answer.stderr.strip())
                        continue
                    judge(case, method, base, models, parameters, tensors, load(f"{folder}/out{count}"), fail)
                    for i, way in enumerate(WAYS):
                        export(folder + "/recipe.yaml", way, f"{folder}/out{count}.{i}")
                        if read(f"{folder}/out{count}") != read(f"{folder}/out{count}.{i}"):
                            fail(case, f"other bytes with {way}")
                    count += 1
    return count
