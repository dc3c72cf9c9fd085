"""
An independent reference: recipes resolved and merged in float64, written from
MergeKit's documented behaviour and not from this project's code. It serves
recipes of models: and slices: form on one stack of layers.
"""
import json
import os
import re

import numpy as np
import yaml

from checkpoint import FLOATS, load
from formulas import BASE_IS_NEEDED, BASE_IS_OPTIONAL, BASE_IS_ORDINARY, LEAST, METHODS, PARAMETERS

LAYER = re.compile(r"^(.*?\.)(\d+)(\..*)$")
WIDTH = {"F64": 4, "F32": 3, "F16": 1, "BF16": 1}
TORCH = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class Unserved(Exception):
    pass


def number(value):
    if isinstance(value, str):
        words = {"yes": 1.0, "true": 1.0, "on": 1.0, "no": 0.0, "false": 0.0, "off": 0.0}
        return words.get(value.lower(), None) if value.lower() in words else float(value)
    return float(value)


def is_bool(value):
    return isinstance(value, bool) or str(value).lower() in ("yes", "no", "on", "off", "true", "false")


def gradient(value, t, boolean):
    if not isinstance(value, list):
        return number(value)
    if not value:
        return None
    if boolean:
        return number(value[int(t * (len(value) - 1))])
    x = t * (len(value) - 1)
    low = int(x)
    high = min(len(value) - 1, low + 1)
    return (1 - (x - low)) * number(value[low]) + (x - low) * number(value[high])


def evaluate(setting, name, t, boolean):
    cases = setting if isinstance(setting, list) and setting and isinstance(setting[0], dict) else [setting]
    for case in cases:
        if not isinstance(case, dict):
            return gradient(case, t, boolean)
        wanted = case.get("filter")
        if wanted in (None, "*") or wanted in name:
            return gradient(case["value"], t, boolean)
    return None


def spelling(name):
    """Some fine-tunes lack a wrapper's prefix, or have older LayerNorm names."""
    name = re.sub(r"^(transformer|bert)\.", "", name)
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


class Model:
    def __init__(self, recipe_folder, reference):
        while isinstance(reference, dict):
            reference = reference.get("model", reference.get("path"))
        self.name = reference
        self.folder = os.path.join(recipe_folder, reference)
        self.tensors = {spelling(name): tensor for name, tensor in load(self.folder).items()}
        self.config = json.load(open(self.folder + "/config.json"))
        text = self.config.get("text_config", self.config)
        self.layers = text.get("num_hidden_layers", text.get("n_layer"))
        if self.layers is None:
            raise Unserved("no count of layers")

    def tensor(self, name):
        found = self.tensors.get(spelling(name))
        if found is None and name == "lm_head.weight" and self.config.get("tie_word_embeddings") is not False:
            found = self.tensors.get("model.embed_tokens.weight")
        return found


class Reference:
    """expected(name) gives (float64 values, dtype) of an output tensor."""

    def __init__(self, path):
        self.folder = os.path.dirname(path)
        self.recipe = yaml.safe_load(open(path))
        if "modules" in self.recipe:
            raise Unserved("modules")
        self.models = {}
        self.slices = self.recipe.get("slices") or [{"sources": self.recipe["models"], "parameters": {}}]
        self.base = self.recipe.get("base_model")
        self.stack = None
        self.number_layers()

    def model(self, reference):
        key = json.dumps(reference)
        if key not in self.models:
            self.models[key] = Model(self.folder, reference)
        return self.models[key]

    def number_layers(self):
        first = 0
        for part in self.slices:
            sources = part["sources"]
            ranged = "layer_range" in sources[0]
            length = (sources[0]["layer_range"][1] - sources[0]["layer_range"][0] if ranged
                      else self.model(sources[0]["model"]).layers)
            part["first"], part["length"] = first, length
            first += length

    def inputs(self, part):
        """(source or None for the appended base, model, first layer, is base)"""
        base = part.get("base_model", self.base)
        found = [(s, self.model(s["model"]), s.get("layer_range", [0])[0], s["model"] == base) for s in part["sources"]]
        if base is not None and "slices" not in self.recipe and not any(i[3] for i in found):
            found.append((None, self.model(base), 0, True))
        return found

    def value(self, part, source, key, name, t, default=None, boolean=False):
        levels = [source or {}, part, self.recipe]
        for level in levels:
            parameters = level.get("parameters") or {}
            if key not in parameters:
                continue
            value = evaluate(parameters[key], name, t, boolean)
            if value is not None:
                return value
        return default

    def locate(self, name):
        found = LAYER.match(name)
        for part in self.slices:
            if found and part["first"] <= int(found[2]) < part["first"] + part["length"]:
                offset = int(found[2]) - part["first"]
                t = offset / (part["length"] - 1) if part["length"] > 1 else 1.0
                return part, offset, t, found
        part = self.slices[0] if "emb" in name or "wte" in name or "wpe" in name else self.slices[-1]
        return part, 0, 0.0, None

    def expected(self, name):
        part, offset, t, layered = self.locate(name)
        present = []
        for source, model, first, is_base in self.inputs(part):
            there = f"{layered[1]}{first + offset}{layered[3]}" if layered else name
            tensor = model.tensor(there)
            if tensor is not None:
                present.append((source, there, tensor, is_base))
        if not present:
            raise Unserved(name)
        dtype = None
        if len({tensor.shape for _, _, tensor, _ in present}) > 1:
            raise Unserved("rows of different numbers")
        for _, _, tensor, _ in present:
            if tensor.dtype not in FLOATS:
                raise Unserved(tensor.dtype)
            if dtype is None or (WIDTH[tensor.dtype] > WIDTH[dtype]):
                dtype = tensor.dtype
            elif WIDTH[tensor.dtype] == WIDTH[dtype] and tensor.dtype != dtype:
                dtype = "F32"
        wanted = self.recipe.get("out_dtype") or self.recipe.get("dtype")
        dtype = TORCH[wanted.removeprefix("torch.")] if wanted else dtype
        return self.merge(part, name, t, present), dtype

    def merge(self, part, name, t, present):
        method = self.recipe["merge_method"]
        base = [i for i, (_, _, _, is_base) in enumerate(present) if is_base]
        base = base[0] if base and method not in BASE_IS_ORDINARY else None
        counted = len(present) - (base is not None and method in BASE_IS_OPTIONAL)
        if (base is None and method in BASE_IS_NEEDED) or counted < LEAST.get(method, 1):
            return present[base or 0][2].values()
        p = {}
        for key, (default, kind) in PARAMETERS[method].items():
            p[key] = (
                [self.value(part, s, key, there, t, default) for s, there, _, _ in present]
                if kind == "model"
                else self.value(part, None, key, name, t, default, kind == "flag")
            )
        x = [tensor.values().reshape(tensor.shape or 1) for _, _, tensor, _ in present]
        return METHODS[method](x, base, p).ravel()
