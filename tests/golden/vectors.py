"""
Results of MergeKit's own functions on small matrices (vectors.json), of a
version before 0.1.5: where that was mended, the formula judges.
"""
import json
import os
import struct
import tempfile

import numpy as np

from checkpoint import Tensor, load
from formulas import METHODS, PARAMETERS

NAME = "model.layers.0.mlp.up_proj.weight"
THREE = {"x0": 0.6, "x1": 0.4, "x2": 0.3}
TWO, FAR, SPARSE = {"x0": 0.6, "x1": 0.4}, {"x0": 0.6, "far": 0.4}, ["z0", "z1", "z2"]
HALF = {"density": 0.5}


def nuslerp(flatten, columns, base):
    parameters = {"nuslerp_flatten": flatten, "nuslerp_row_wise": columns}
    of = f"flatten={flatten} row_wise={columns} w=.6,.4 "
    if base:
        return ("nuslerp base=b " + of + "x0,x1", "nuslerp", "b", TWO, parameters)
    return ("nuslerp " + of + "x0,far", "nuslerp", None, FAR, parameters)


# (name of the result, method, base, models with their weights, parameters)
CASES = [
    ("linear normalize w=.6,.4,.3", "linear", None, THREE, {}),
    ("linear nonormalize", "linear", None, THREE, {"normalize": False}),
    ("slerp t=.3 base=b other=x0", "slerp", "b", ["x0"], {"t": 0.3}),
    ("slerp t=.3 base=b other=far", "slerp", "b", ["far"], {"t": 0.3}),
    ("slerp t=1.2 extrapolate other=far", "slerp", "b", ["far"], {"t": 1.2}),
    *[nuslerp(f, c, b) for f in (True, False) for c in (False, True) for b in (False, True)],
    ("multislerp w=.6,.4,.3 nobase", "multislerp", None, THREE, {}),
    ("multislerp w=.6,.4,.3 base=b", "multislerp", "b", THREE, {}),
    ("multislerp w=.6,.4,.3 base=b normalize_weights=false", "multislerp", "b", THREE, {"normalize_weights": False}),
    ("karcher x0,x1,far", "karcher", None, ["x0", "x1", "far"], {}),
    ("model_stock base=b x0,x1,x2 filter_wise=False", "model_stock", "b", ["x0", "x1", "x2"], {}),
    ("model_stock base=b x0,x1,x2 filter_wise=True", "model_stock", "b", ["x0", "x1", "x2"], {"filter_wise": True}),
    ("task_arithmetic w=.6,.4,.3 lambda=.5", "task_arithmetic", "b", THREE, {"lambda": 0.5}),
    ("task_arithmetic normalize", "task_arithmetic", "b", THREE, {"normalize": True}),
    ("ties density=.5 normalize", "ties", "b", THREE, HALF),
    ("ties density=.5 nonormalize", "ties", "b", THREE, dict(HALF, normalize=False)),
    ("ties density=.5 rescale", "ties", "b", THREE, dict(HALF, rescale=True)),
    ("ties density=1 negative weight x2=-.3", "ties", "b", dict(THREE, x2=-0.3), {}),
    ("breadcrumbs density=.5 gamma=.125", "breadcrumbs", "b", THREE, dict(HALF, gamma=0.125)),
    ("breadcrumbs density=.5 gamma=.01 (QUIRK-M22: equals base)", "breadcrumbs", "b", THREE, HALF),
    ("breadcrumbs_ties density=.5 gamma=.125", "breadcrumbs_ties", "b", THREE, dict(HALF, gamma=0.125)),
    ("sce select_topk=1", "sce", "b", ["x0", "x1", "x2"], {}),
    ("sce select_topk=.5", "sce", "b", ["x0", "x1", "x2"], {"select_topk": 0.5}),
    ("sce identical tunes select_topk=.5 (QUIRK-M28: wrong shape)", "sce", "b", ["x0", "x0"], {"select_topk": 0.5}),
    ("nearswap t=.05 other=x0", "nearswap", "b", ["x0"], {"t": 0.05}),
    ("ram sparse", "ram", "b", SPARSE, {}),
    ("ramplus_tl sparse r=.1 alpha=.2", "ramplus_tl", "b", SPARSE, {}),
    ("ramplus_tl sparse r=.05 alpha=1", "ramplus_tl", "b", SPARSE, {"r": 0.05, "alpha": 1}),
    ("arcee_fusion base=b other=x0", "arcee_fusion", "b", ["x0"], {}),
    ("passthrough scale=.5 x0", "passthrough", None, {"x0": 0.5}, {}),
]


def store(folder, tensors, config):
    """A checkpoint of {name: Tensor}."""
    os.makedirs(folder)
    header, end = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + len(tensor.raw)]}
        end += len(tensor.raw)
    text = json.dumps(header).encode()
    with open(folder + "/model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + b"".join(tensor.raw for tensor in tensors.values()))
    json.dump(config, open(folder + "/config.json", "w"))


CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1}


def write_recipe(path, method, base, models, parameters, dtype="float32"):
    """models: names of folders beside it, or {name: weight}."""
    own = "scale" if method == "passthrough" else "weight"
    listed = [{"model": "./" + m, **({"parameters": {own: models[m]}} if isinstance(models, dict) else {})}
              for m in models]
    recipe = {"merge_method": method, "models": listed, "parameters": parameters, "dtype": dtype}
    if base:
        recipe["base_model"] = "./" + base
    json.dump(recipe, open(path, "w"))


def by_formula(method, base, models, parameters, x):
    names = list(models) + ([base] if base else [])
    p = {}
    for key, (default, kind) in PARAMETERS[method].items():
        value = parameters.get(key, default)
        weights = list(models.values()) if isinstance(models, dict) else []
        own = weights + [None] * bool(base) if key in ("weight", "scale") else [value] * len(names)
        p[key] = own if kind == "model" else value
    return METHODS[method]([np.atleast_1d(x[name]) for name in names], len(models) if base else None, p)


def run(here, export, fail):
    known = json.load(open(here + "/vectors.json"))
    shape = known["shape"]
    x = {name: np.array(values).reshape(shape) for name, values in known["inputs"].items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, values in x.items():
            store(f"{folder}/{name}", {NAME: Tensor.of(values, "F32", shape)}, CONFIG)
        for name, method, base, models, parameters in CASES:
            recipe, out = folder + "/recipe.yaml", f"{folder}/out {name.replace('/', '')}"
            write_recipe(recipe, method, base, models, parameters)
            answer = export(recipe, {}, out)
            if answer.returncode != 0:
                fail(name, answer.stderr.strip())
                continue
            ours = load(out)[NAME].values().reshape(shape)
            exact = by_formula(method, base, models, parameters, x)
            theirs = known["results"][name]
            if "QUIRK" not in name and not np.abs(ours - np.array(theirs["values"]).reshape(shape)).max() <= 5e-7:
                fail(name, "is not what MergeKit gives")
            if not np.abs(ours - exact).max() <= 2e-7:
                fail(name, f"is off its formula by {np.abs(ours - exact).max():.2g}")
    missing = set(known["results"]) - {case[0] for case in CASES}
    if missing:
        fail("vectors", f"not compared: {missing}")
    return len(CASES)
