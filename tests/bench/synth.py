"""
Makes checkpoints of realistic shape for measuring.

Usage: synth.py DIR KIND...    DIR/KIND-{base,ft1,ft2}, bf16: of 1b and 8b the
shapes of such models (8b: sparse files), of 0.3b the first layers of 1b; small
and large have one tensor each, of 2^25 and 2^27 elements.
"""
import json
import os
import struct
import sys

import numpy as np

SHAPES = {
    "0.3b": dict(hidden=2048, layers=4, ff=8192, vocab=16384, kv=512, tied=True, shard=None),
    "small": dict(hidden=4096, layers=0, ff=0, vocab=1 << 13, kv=0, tied=True, shard=None),
    "large": dict(hidden=4096, layers=0, ff=0, vocab=1 << 15, kv=0, tied=True, shard=None),
    "1b": dict(hidden=2048, layers=16, ff=8192, vocab=128256, kv=512, tied=True, shard=None),
    "8b": dict(hidden=4096, layers=32, ff=14336, vocab=128256, kv=1024, tied=False, shard=5 * 10**9),
}


def tensors(s):
    h, f = s["hidden"], s["ff"]
    yield "model.embed_tokens.weight", (s["vocab"], h)
    for i in range(s["layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (h,)
        yield p + "self_attn.q_proj.weight", (h, h)
        yield p + "self_attn.k_proj.weight", (s["kv"], h)
        yield p + "self_attn.v_proj.weight", (s["kv"], h)
        yield p + "self_attn.o_proj.weight", (h, h)
        yield p + "post_attention_layernorm.weight", (h,)
        yield p + "mlp.gate_proj.weight", (f, h)
        yield p + "mlp.up_proj.weight", (f, h)
        yield p + "mlp.down_proj.weight", (h, f)
    yield "model.norm.weight", (h,)
    if not s["tied"]:
        yield "lm_head.weight", (s["vocab"], h)


def shards(s):
    parts, size = [[]], 0
    for name, shape in tensors(s):
        n = 2 * int(np.prod(shape))
        if s["shard"] and parts[-1] and size + n > s["shard"]:
            parts.append([])
            size = 0
        parts[-1].append((name, shape, n))
        size += n
    return parts


def config(s):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": s["hidden"],
        "intermediate_size": s["ff"], "num_attention_heads": 32, "num_hidden_layers": s["layers"],
        "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "vocab_size": s["vocab"],
        "tie_word_embeddings": s["tied"], "torch_dtype": "bfloat16",
    }


def bf16(values):
    bits = values.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write(folder, s, values):
    os.makedirs(folder, exist_ok=True)
    json.dump(config(s), open(folder + "/config.json", "w"), indent=2)
    parts = shards(s)
    index = {}
    for i, part in enumerate(parts):
        name = f"model-{i + 1:05}-of-{len(parts):05}.safetensors" if len(parts) > 1 else "model.safetensors"
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for tensor, shape, n in sorted(part):
            header[tensor] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + n]}
            offset += n
            index[tensor] = name
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(f"{folder}/{name}", "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            left = offset // 2
            while values is not None and left:
                n = min(left, values.size)
                values[:n].tofile(out)
                left -= n
            out.truncate(8 + len(text) + offset)
    if len(parts) > 1:
        json.dump({"metadata": {}, "weight_map": index}, open(folder + "/model.safetensors.index.json", "w"))


def make(where, kinds):
    missing = [kind for kind in kinds if not os.path.exists(f"{where}/{kind}-ft2/config.json")]
    if not missing:
        return
    base = np.random.default_rng(0).standard_normal(1 << 24, dtype="f4") * np.float32(0.02)
    for i, name in enumerate(("base", "ft1", "ft2")):
        values = base
        if i:
            values = base + np.random.default_rng(i).standard_normal(base.size, dtype="f4") * np.float32(0.002)
        for kind in missing:
            write(f"{where}/{kind}-{name}", SHAPES[kind], None if kind == "8b" else bf16(values))


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2:])
