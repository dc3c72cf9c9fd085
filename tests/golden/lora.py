"""
Models with LoRA adapters: MergeKit's and PEFT's own results, a float64
reference of random adapters, and adapters that are refused.

Usage: lora.py MKFS_CTL SOURCE_ROOT
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import golden
from golden import CTL, HERE, fail, failures, one_sentence

import numpy as np

from checkpoint import load, round_to, ulp

CASES = HERE + "/lora/cases"
MODELS = HERE + "/lora/models"
OPTIONS = {"half-base-f32": ["--lora-merge-dtype", "float32"]}
# MergeKit writes an own lm_head and still says that it is tied.
RIGHT_CONFIG = {
    "one-tiedsave": {"tie_word_embeddings": False},
    "one-tiedhead": {"tie_word_embeddings": False},
}


def export(recipe, out, *options):
    return subprocess.run([CTL, "export", "--cache", "none", *options, recipe, out],
                          capture_output=True, text=True, timeout=120)


def compare_f32(case, name, ours, theirs, scale=1e-6):
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        fail(case, f"{name}: {ours.dtype} {ours.shape} against {theirs.dtype} {theirs.shape}")
        return
    a, b = ours.values(), theirs.values()
    if b.size and np.abs(a - b).max() > scale * np.abs(b).max():
        fail(case, f"{name}: off by {np.abs(a - b).max() / np.abs(b).max():.2g} of the largest magnitude")


def compare_bf16(case, pairs):
    """ours are exact bf16 values, perhaps stored as f32."""
    same = total = 0
    for name, ours, theirs in pairs:
        a, b = ours.values(), theirs.values()
        if a.shape != b.shape:
            fail(case, f"{name}: {ours.shape} against {theirs.shape} in bf16")
            continue
        if (np.abs(a - b) > ulp(b, "BF16") * 1.01).any():
            fail(case, f"{name}: more than an ulp of bf16 from PEFT")
        same += (a == b).sum()
        total += a.size
    if total and same / total < 0.999:
        fail(case, f"only {100 * same / total:.3f} % of PEFT's bf16 are met")


def compare_case(case, out, right):
    ours, theirs = load(out), load(right)
    prefix = "transformer." if not set(ours) & set(theirs) else ""
    theirs = {name.removeprefix(prefix): tensor for name, tensor in theirs.items()}
    if set(ours) != set(theirs):
        fail(case, f"names differ: {sorted(set(ours) ^ set(theirs))[:3]}")
    names = sorted(set(ours) & set(theirs))
    if all(theirs[name].dtype == "BF16" for name in names):
        compare_bf16(case, [(name, ours[name], theirs[name]) for name in names])
        return
    for name in names:
        compare_f32(case, name, ours[name], theirs[name])


def compare_peft(case, recipe, theirs):
    """PEFT's own merge into the base loaded as bf16."""
    with tempfile.TemporaryDirectory() as temporary:
        run = export(recipe, temporary + "/out", "--lora-merge-dtype", "bfloat16")
        if run.returncode != 0:
            fail(case, f"in bf16: {run.stderr.strip()}")
            return
        ours = load(temporary + "/out")
        shutil.copy(theirs, temporary + "/peft.safetensors")
        os.makedirs(temporary + "/peft")
        os.rename(temporary + "/peft.safetensors", temporary + "/peft/peft.safetensors")
        theirs = load(temporary + "/peft")
        names = sorted(set(ours) & set(theirs))
        if len(names) != len(theirs):
            fail(case, f"PEFT has {sorted(set(theirs) - set(ours))[:3]}, too")
        compare_bf16(case, [(name, ours[name], theirs[name]) for name in names])


def compare_tokenizer(case, out):
    """The adapter folder's files, byte by byte, where it has some."""
    folder = f"{MODELS}/llama-{case.removeprefix('one-')}"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if os.path.exists(f"{folder}/{name}"):
            if open(f"{folder}/{name}", "rb").read() != open(f"{out}/{name}", "rb").read():
                fail(case, f"{name} is not the adapter's")


def run_case(case):
    path = f"{CASES}/{case}"
    with tempfile.TemporaryDirectory() as temporary:
        out = temporary + "/out"
        run = export(path + "/recipe.yaml", out, *OPTIONS.get(case, []))
        if run.returncode != 0:
            fail(case, f"export: {run.stderr.strip()}")
            return
        right = path + ("/right" if os.path.exists(path + "/right") else "/out")
        compare_case(case, out, right)
        if os.path.exists(right + "/config.json"):
            golden.RIGHT_CONFIG[case] = RIGHT_CONFIG.get(case, {})
            golden.compare_config(case, out, right + "/config.json")
        compare_tokenizer(case, out)
    peft = path + "/peft-bf16.safetensors"
    if os.path.exists(peft):
        compare_peft(case, path + "/recipe.yaml", peft)


# Random adapters, against float64.

rng = np.random.default_rng(7)
KINDS = {"F32": "<f4", "F16": "<f2", "BF16": None}


def stored(values, dtype):
    """What is left of values in a dtype (float64), and its bytes."""
    values = round_to(np.asarray(values, "f8"), dtype)
    if dtype == "BF16":
        return values, (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return values, values.astype(KINDS[dtype]).tobytes()


def write_tensors(path, tensors):
    """tensors: name -> (values, dtype). Returns the values as stored."""
    header, data, kept = {}, b"", {}
    for name, (values, dtype) in sorted(tensors.items()):
        kept[name], raw = stored(values, dtype)
        header[name] = {"dtype": dtype, "shape": list(np.shape(values)), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text + data)
    return kept


def normal(*shape):
    return rng.standard_normal(shape)


CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2,
          "hidden_size": 24, "vocab_size": 50, "tie_word_embeddings": False, "dtype": "float32"}
WIDE = "model.layers.0.mlp.up_proj.weight"
SHAPES = {
    "model.embed_tokens.weight": (50, 24),
    WIDE: (700, 1111),
    "model.layers.0.self_attn.q_proj.weight": (24, 24),
    "model.layers.0.self_attn.q_proj.bias": (24,),
    "model.layers.0.mlp.experts.gate_up_proj": (5, 60, 24),
    "model.layers.0.mlp.experts.down_proj": (5, 24, 30),
    "model.layers.1.mlp.experts.gate_up_proj": (3, 24, 26),
    "model.layers.1.self_attn.q_proj.weight": (24, 24),
    "model.norm.weight": (24,),
    "lm_head.weight": (50, 24),
}
PREFIX = "base_model.model."


class Pair:
    """A base and an adapter in a folder."""

    def __init__(self, folder, dtype="F32", config=None, shapes=None):
        self.folder, self.dtype = folder, dtype
        os.makedirs(folder + "/base", exist_ok=True)
        os.makedirs(folder + "/adapter", exist_ok=True)
        json.dump({**CONFIG, **(config or {})}, open(folder + "/base/config.json", "w"))
        self.base = write_tensors(folder + "/base/model.safetensors",
                                  {name: (normal(*shape), dtype) for name, shape in (shapes or SHAPES).items()})
        self.keys, self.config = {}, {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear",
                                      "base_model_name_or_path": "./base"}

    def add(self, module, rank, out, width, kind="lora_A.weight lora_B.weight", dtype="F32"):
        a, b = kind.split()
        self.keys[f"{PREFIX}{module}.{a}"] = (normal(rank, width) / 8, dtype)
        self.keys[f"{PREFIX}{module}.{b}"] = (normal(out, rank) / 8, dtype)

    def write(self):
        kept = write_tensors(self.folder + "/adapter/adapter_model.safetensors", self.keys)
        json.dump(self.config, open(self.folder + "/adapter/adapter_config.json", "w"))
        return {name.removeprefix(PREFIX): values for name, values in kept.items()}

    def run(self, *options, model="./base+./adapter"):
        recipe = self.folder + "/recipe.yaml"
        open(recipe, "w").write(f"merge_method: passthrough\nmodels: [{{model: {model}}}]\n")
        out = self.folder + "/out"
        shutil.rmtree(out, ignore_errors=True)
        return export(recipe, out, *options)


def product(kept, module, scale):
    return scale * kept[module + ".lora_B.weight"] @ kept[module + ".lora_A.weight"]


def check(case, pair, run, expected):
    """expected: name -> exact values; what is not named is the base's."""
    if run.returncode != 0:
        fail(case, run.stderr.strip())
        return
    ours = load(pair.folder + "/out")
    for name, base in pair.base.items():
        exact = expected.get(name, base)
        got = ours[name].values().reshape(exact.shape)
        allowed = 0.5 * ulp(exact, pair.dtype) + 2e-6 * np.abs(exact).max()
        if name not in expected:
            allowed = 0
        elif ".experts" in name or "embed" in name:
            allowed = allowed + 0.5 * ulp(exact - base, pair.dtype)  # rounds what it adds
        if (np.abs(got - exact) > allowed).any():
            fail(case, f"{name}: off the reference by {(np.abs(got - exact) / np.maximum(allowed, 1e-300)).max():.3g}"
                       " of what is allowed")


def random_matrices(folder, dtype):
    """Ranks beyond one block of terms, ragged panels, several units, embeddings, bias."""
    pair = Pair(folder, dtype)
    wide, q = WIDE.removesuffix(".weight"), "model.layers.0.self_attn.q_proj"
    pair.config.update(rank_pattern={"up_proj": 300}, alpha_pattern={r"mlp\..*": 150, "self_attn.q_proj": 3},
                       use_rslora=True)
    pair.add(wide, 300, 700, 1111, dtype="BF16")
    pair.add(q, 4, 24, 24)
    pair.add("model.embed_tokens", 4, 24, 50, "lora_embedding_A lora_embedding_B")
    pair.add("lm_head", 4, 50, 24, dtype="F16")
    pair.keys[f"{PREFIX}{q}.lora_B.bias"] = (normal(24), "F32")
    pair.config["lora_bias"] = True
    kept = pair.write()
    embedding = kept["model.embed_tokens.lora_embedding_B"] @ kept["model.embed_tokens.lora_embedding_A"]
    check("random-" + dtype, pair, pair.run(), {
        WIDE: pair.base[WIDE] + product(kept, wide, 150 / np.sqrt(300)),
        q + ".weight": pair.base[q + ".weight"] + product(kept, q, 3 / 2),
        q + ".bias": pair.base[q + ".bias"] + 3 / 2 * kept[q + ".lora_B.bias"],
        "model.embed_tokens.weight": pair.base["model.embed_tokens.weight"] + 4 * embedding.T,
        "lm_head.weight": pair.base["lm_head.weight"] + product(kept, "lm_head", 4),
    })


def random_dora(folder, turned):
    """Lengths of rows, or of columns, of a matrix of several pieces."""
    width, out = (700, 1111) if turned else (1111, 700)
    pair = Pair(folder)
    wide = WIDE.removesuffix(".weight")
    pair.config["use_dora"] = True
    pair.add(wide, 4, out, width)
    pair.keys[f"{PREFIX}{wide}.lora_magnitude_vector"] = (normal(out), "F32")
    kept = pair.write()
    delta = product(kept, wide, 2)
    total = pair.base[WIDE] + (delta.T if turned else delta)
    factor = kept[wide + ".lora_magnitude_vector"] / np.linalg.norm(total, axis=0 if turned else 1)
    check("dora", pair, pair.run(), {WIDE: total * (factor[None] if turned else factor[:, None])})


def random_experts(folder, dtype):
    """Both nestings and both ways round of tensors for all experts."""
    pair = Pair(folder, dtype)
    pair.config.update(target_modules=None, target_parameters=["experts.gate_up_proj", "mlp.experts.down_proj"])
    first, last = "model.layers.0.mlp.experts", "model.layers.1.mlp.experts"
    pair.add(first + ".base_layer", 5 * 4, 60, 24)
    pair.add(first, 5 * 4, 24, 30)
    pair.add(last, 3 * 4, 26, 24)
    # Only gate_up_proj is there in the last layer.
    pair.config["target_parameters"] = ["experts.gate_up_proj"]
    del pair.keys[f"{PREFIX}{first}.lora_A.weight"], pair.keys[f"{PREFIX}{first}.lora_B.weight"]
    pair.keys = {key.replace(".base_layer", ""): value for key, value in pair.keys.items()}
    kept = pair.write()

    def deltas(module, n):
        a = kept[module + ".lora_A.weight"].reshape(n, 4, -1)
        b = kept[module + ".lora_B.weight"].reshape(-1, 4, n)
        return 2 * np.einsum("ore,eri->eoi", b, a)
    name, other = first + ".gate_up_proj", last + ".gate_up_proj"
    check("experts-" + dtype, pair, pair.run(), {
        name: pair.base[name] + deltas(first, 5),
        other: pair.base[other] + deltas(last, 3).swapaxes(1, 2),
    })


def random_single_experts(folder):
    """Matrices of single experts onto a tensor for all."""
    pair = Pair(folder)
    pair.config["target_modules"] = ["w1", "w2", "w3"]
    expected = {}
    block = "model.layers.0.block_sparse_moe.experts"
    up, down = "model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"
    pair.add(f"{block}.0.w1", 4, 30, 24)
    pair.add(f"{block}.3.w3", 4, 30, 24)
    pair.add(f"{block}.4.w2", 4, 24, 30)
    kept = pair.write()
    expected[up], expected[down] = pair.base[up].copy(), pair.base[down].copy()
    expected[up][0, :30] += product(kept, f"{block}.0.w1", 2)
    expected[up][3, 30:] += product(kept, f"{block}.3.w3", 2)
    expected[down][4] += product(kept, f"{block}.4.w2", 2)
    check("single-experts", pair, pair.run(), expected)


def random_gate(folder, listed):
    """What chooses experts, in a block that is called otherwise on disk; as a
    parameter, PEFT rounds what it adds to it."""
    module, gate = "model.layers.0.mlp.gate", "model.layers.0.block_sparse_moe.gate.weight"
    pair = Pair(folder, "BF16", shapes={**SHAPES, gate: (60, 24)})
    pair.config["target_parameters"] = ["gate.weight"] if listed else None
    pair.add(module, 4, 60, 24)
    kept = pair.write()
    added = product(kept, module, 2)
    run = pair.run()
    if run.returncode != 0:
        fail("gate", run.stderr)
        return
    right = round_to(pair.base[gate] + (round_to(added, "BF16") if listed else added), "BF16")
    if (load(folder + "/out")[gate].values() == right.ravel()).mean() < 0.99:
        fail("gate", f"rounded otherwise than PEFT does, {listed}")


def random_all():
    with tempfile.TemporaryDirectory() as temporary:
        for dtype in KINDS:
            random_matrices(f"{temporary}/matrices-{dtype}", dtype)
            random_experts(f"{temporary}/experts-{dtype}", dtype)
        for turned in (False, True):
            random_dora(f"{temporary}/dora-{turned}", turned)
        random_single_experts(temporary + "/single")
        for listed in (False, True):
            random_gate(f"{temporary}/gate-{listed}", listed)


# The same bytes however they are made; and what is opened, kept, refused.

def whole(folder):
    return open(folder + "/model.safetensors", "rb").read()


def check_same_bytes():
    with tempfile.TemporaryDirectory() as temporary:
        pair = Pair(temporary, "BF16")
        wide = WIDE.removesuffix(".weight")
        pair.config.update(r=300, use_dora=True)
        pair.add(wide, 300, 700, 1111)
        pair.keys[f"{PREFIX}{wide}.lora_magnitude_vector"] = (normal(700), "F32")
        pair.write()
        first = None
        for options, isa in (([], None), (["--threads", "1"], None), (["--threads", "7", "--memory", "32M"], None),
                             (["--threads", "3"], "base")):
            os.environ.pop("MKFS_MOUNT_ISA", None)
            if isa:
                os.environ["MKFS_MOUNT_ISA"] = isa
            run = pair.run(*options)
            os.environ.pop("MKFS_MOUNT_ISA", None)
            if run.returncode != 0:
                fail("same-bytes", run.stderr)
                return
            first = first or whole(temporary + "/out")
            if whole(temporary + "/out") != first:
                fail("same-bytes", f"{options} {isa}: other bytes")


def check_alone():
    """An adapter without its base, which is here, and which is not."""
    with tempfile.TemporaryDirectory() as temporary:
        pair = Pair(temporary)
        pair.add("model.layers.0.self_attn.q_proj", 4, 24, 24)
        pair.write()
        run = pair.run()
        bytes_of_pair = whole(temporary + "/out")
        run = pair.run(model="./adapter")
        if run.returncode != 0 or whole(temporary + "/out") != bytes_of_pair:
            fail("alone", f"{run.returncode} {run.stderr}")
        if "taken as ./base+./adapter" not in run.stderr:
            fail("alone", f"not said: {run.stderr}")
        config = json.load(open(temporary + "/base/config.json"))
        json.dump({**config, "quantization_config": {}}, open(temporary + "/base/config.json", "w"))
        one_sentence("alone", pair.run(model="./adapter"), r"model \S+/base is quantised")
        json.dump(config, open(temporary + "/base/config.json", "w"))
        pair.config["base_model_name_or_path"] = "org/nowhere"
        pair.write()
        one_sentence("alone", pair.run(model="./adapter"),
                     r"adapter is a LoRA adapter of org/nowhere, not a model; write model: org/nowhere\+\./adapter")
        check_json = subprocess.run([CTL, "check", "--json", temporary + "/recipe.yaml"], capture_output=True, text=True)
        if check_json.returncode == 0:
            fail("alone", "check accepts what export refuses")


def check_stage():
    """An adapter on a stage that is its base."""
    with tempfile.TemporaryDirectory() as temporary:
        pair = Pair(temporary)
        pair.add(Q, 4, 24, 24)
        pair.write()
        pair.run()
        first = whole(temporary + "/out")
        stages = temporary + "/stages.yaml"
        open(stages, "w").write("name: low\nmerge_method: passthrough\nmodels: [{model: ./base}]\n---\n"
                                "merge_method: passthrough\nmodels: [{model: low+./adapter}]\n")
        run = export(stages, temporary + "/staged")
        if run.returncode != 0 or whole(temporary + "/staged") != first:
            fail("stage", f"{run.returncode} {run.stderr}")


def check_copies():
    """What no adapter touches is the base's own bytes."""
    with tempfile.TemporaryDirectory() as temporary:
        pair = Pair(temporary)
        pair.add("model.layers.0.self_attn.q_proj", 4, 24, 24)
        pair.write()
        pair.run()
        run = subprocess.run([CTL, "check", "--json", temporary + "/recipe.yaml"], capture_output=True, text=True)
        groups = {group["how"]: group["count"] for group in json.loads(run.stdout)["tensors"]}
        if groups != {"copied": len(SHAPES) - 1, "passthrough": 1}:
            fail("copies", f"{groups}")


Q = "model.layers.0.self_attn.q_proj"


def broken(change, words):
    with tempfile.TemporaryDirectory() as temporary:
        pair = Pair(temporary)
        pair.add(Q, 4, 24, 24)
        again = change(pair)
        pair.write()
        if again:
            again()
        one_sentence(change.__name__, pair.run(), words)


def no_b(pair):
    del pair.keys[f"{PREFIX}{Q}.lora_B.weight"]


def ranks_differ(pair):
    pair.keys[f"{PREFIX}{Q}.lora_B.weight"] = (normal(24, 3), "F32")


def rank_of_config(pair):
    pair.config["r"] = 16


def other_shape(pair):
    pair.add(Q, 4, 32, 24)


def no_such_module(pair):
    pair.add("model.layers.7.self_attn.q_proj", 4, 24, 24)


def no_target(pair):
    pair.config["target_modules"] = ["c_attn"]


def other_type(pair):
    pair.config["peft_type"] = "LOHA"


def pissa(pair):
    pair.config["init_lora_weights"] = "pissa_niter_4"


def alora(pair):
    pair.config["alora_invocation_tokens"] = [1, 2]


def no_weights(pair):
    return lambda: os.remove(pair.folder + "/adapter/adapter_model.safetensors")


def no_config(pair):
    return lambda: os.remove(pair.folder + "/adapter/adapter_config.json")


def foreign_key(pair):
    pair.keys["transformer.q.weight"] = (normal(2, 2), "F32")


def lost_key(pair):
    pair.keys[f"{PREFIX}model.extra.weight"] = (normal(2, 2), "F32")


def saved_shape(pair):
    pair.keys[f"{PREFIX}model.norm.weight"] = (normal(25), "F32")


def half_resized(pair):
    pair.keys[f"{PREFIX}model.embed_tokens.weight"] = (normal(52, 24), "F32")


def no_magnitude(pair):
    pair.config["use_dora"] = True


def magnitude_unasked(pair):
    pair.keys[f"{PREFIX}{Q}.lora_magnitude_vector"] = (normal(24), "F32")


def magnitude_shape(pair):
    pair.config["use_dora"] = True
    pair.keys[f"{PREFIX}{Q}.lora_magnitude_vector"] = (normal(23), "F32")


def bias_of_none(pair):
    pair.add("lm_head", 4, 50, 24)
    pair.keys[f"{PREFIX}lm_head.lora_B.bias"] = (normal(50), "F32")


def replicated_beyond(pair):
    pair.config["layer_replication"] = [[0, 2], [1, 3]]


def tokens_beyond(pair):
    pair.config["trainable_token_indices"] = [3, 50]
    pair.keys[f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"] = (normal(2, 24), "F32")


def tokens_count(pair):
    pair.config["trainable_token_indices"] = [3]
    pair.keys[f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"] = (normal(2, 24), "F32")


def tokens_and_lora(pair):
    """PEFT does not make them: trainable tokens cannot be applied to a module that has LoRA."""
    pair.config["trainable_token_indices"] = [3, 5]
    pair.keys[f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"] = (normal(2, 24), "F32")
    pair.add("model.embed_tokens", 4, 24, 50, "lora_embedding_A lora_embedding_B")


def rank_text(pair):
    pair.config["r"] = "four"


def bad_pattern(pair):
    pair.config["rank_pattern"] = {"(?<=a)b": 4}


def cut_file(pair):
    path = pair.folder + "/adapter/adapter_model.safetensors"
    return lambda: os.truncate(path, os.path.getsize(path) - 8)


BROKEN = {
    no_b: "q_proj has no lora_B",
    ranks_differ: r"ranks of .*q_proj differ: lora_A is \[4, 24\] and lora_B \[24, 3\]",
    rank_of_config: r"lora_A of .*q_proj is \[4, 24\], but r of adapter_config.json says 16",
    other_shape: r"q_proj.weight is \[24, 24\] in ./base, which does not fit the adapter's lora_A \[4, 24\] and "
                 r"lora_B \[32, 4\]",
    no_such_module: r"has no place for 2 of its 4 keys: base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight",
    no_target: "target_modules name none",
    other_type: "adapters of type LOHA are not supported",
    pissa: "init_lora_weights 'pissa_niter_4' has changed the base",
    alora: "alora_invocation_tokens",
    no_weights: "no adapter_model.safetensors in it",
    no_config: "no adapter_config.json in it, so it is not an adapter",
    foreign_key: "key transformer.q.weight does not begin with base_model.model.",
    lost_key: "no place for 1 of its 3 keys: base_model.model.model.extra.weight",
    saved_shape: r"model.norm.weight is \[25\], but model.norm.weight is \[24\]",
    half_resized: r"is \[50, 24\] and model.embed_tokens.weight \[52, 24\]; both must be resized",
    no_magnitude: "no lora_magnitude_vector though use_dora is set",
    magnitude_unasked: "lora_magnitude_vector though use_dora is not set",
    magnitude_shape: r"is \[23\], should be \[24\]",
    bias_of_none: "is for a bias, but ./base has no lm_head.bias",
    replicated_beyond: r"layer_replication \[1, 3\] is outside ./base, which has 2 layers",
    tokens_beyond: "has a token that model.embed_tokens.weight .* has no row for",
    tokens_count: "trainable_token_indices has 1 tokens",
    tokens_and_lora: "has both trainable tokens and LoRA for model.embed_tokens, which PEFT refuses to make",
    rank_text: "r must be a number",
    bad_pattern: r"rank_pattern '\(\?<=a\)b': .* is not understood",
    cut_file: "adapter_model.safetensors",
}


def main():
    cases = sorted(os.listdir(CASES))
    for case in cases:
        run_case(case)
    random_all()
    check_same_bytes()
    check_alone()
    check_stage()
    check_copies()
    for change, words in BROKEN.items():
        broken(change, words)
    print(f"{len(cases)} cases, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
