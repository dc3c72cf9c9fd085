"""
Measures exports of a 1B-shaped base with a LoRA adapter on all linear layers
against an export that copies the base, and against PEFT: load, merge, save.
Prints rows of a table.

Usage: python3 tests/bench/lora.py [--build build] [--dir /tmp/mkfs-bench-lora]
           [--rounds 5] [--layers 16] [--peft VENV]

VENV has torch, transformers and peft in it. numpy is needed to make the inputs
(about 3.5 GB, made in --dir once and kept there).
"""
import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import time

import numpy as np

SHAPE = dict(hidden=2048, ff=8192, vocab=128256, kv=512)
MODULES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
RANKS = (16, 256)
MEMORY = 512 * 10**6

PEFT = """
import sys, torch
from transformers import AutoModelForCausalLM
from peft import PeftModel
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
"""


def bf16(values):
    bits = values.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def module_shape(module):
    h, f, kv = SHAPE["hidden"], SHAPE["ff"], SHAPE["kv"]
    return {"q_proj": (h, h), "k_proj": (kv, h), "v_proj": (kv, h), "o_proj": (h, h), "gate_proj": (f, h),
            "up_proj": (f, h), "down_proj": (h, f)}[module.split(".")[-1]]


def base_tensors(layers):
    h = SHAPE["hidden"]
    yield "model.embed_tokens.weight", (SHAPE["vocab"], h)
    for i in range(layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{i}.{norm}.weight", (h,)
        for module in MODULES:
            yield f"model.layers.{i}.{module}.weight", module_shape(module)
    yield "model.norm.weight", (h,)


def adapter_tensors(layers, rank):
    for i in range(layers):
        for module in MODULES:
            out, width = module_shape(module)
            key = f"base_model.model.model.layers.{i}.{module}.lora_"
            yield key + "A.weight", (rank, width)
            yield key + "B.weight", (out, rank)


def write(path, tensors, dtype, values):
    tensors = sorted(tensors)
    size, header, offset = {"BF16": 2, "F32": 4}[dtype], {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        n = size * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + n]}
        offset += n
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        left = offset // size
        while left:
            n = min(left, values.size)
            values[:n].tofile(out)
            left -= n


def make_inputs(folder, layers):
    values = np.random.default_rng(0).standard_normal((1 << 24) - 3, dtype="f4") * np.float32(0.02)
    base = folder + "/base"
    if not os.path.exists(base + "/config.json"):
        os.makedirs(base, exist_ok=True)
        write(base + "/model.safetensors", base_tensors(layers), "BF16", bf16(values))
        json.dump({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": SHAPE["hidden"],
            "intermediate_size": SHAPE["ff"], "num_attention_heads": 32, "num_hidden_layers": layers,
            "num_key_value_heads": 8, "head_dim": 64, "rms_norm_eps": 1e-05, "vocab_size": SHAPE["vocab"],
            "tie_word_embeddings": True, "dtype": "bfloat16",
        }, open(base + "/config.json", "w"), indent=2)
    for rank in RANKS:
        adapter = f"{folder}/r{rank}"
        if os.path.exists(adapter + "/adapter_config.json"):
            continue
        os.makedirs(adapter, exist_ok=True)
        write(adapter + "/adapter_model.safetensors", adapter_tensors(layers, rank), "F32", values)
        json.dump({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": rank,
            "lora_alpha": 2 * rank, "target_modules": [m.split(".")[-1] for m in MODULES], "bias": "none",
        }, open(adapter + "/adapter_config.json", "w"), indent=2)


def write_recipes(folder):
    texts = {
        "copy": "merge_method: passthrough\nmodels: [{model: ./base}]\n",
        "linear": "merge_method: linear\nmodels:\n  - {model: ./base, parameters: {weight: 0.4}}\n"
                  "  - {model: ./base, parameters: {weight: 0.6}}\ndtype: bfloat16\n",
    }
    for rank in RANKS:
        texts[f"r{rank}"] = f"merge_method: passthrough\nmodels: [{{model: ./base+./r{rank}}}]\n"
    for name, text in texts.items():
        open(f"{folder}/{name}.yaml", "w").write(text)
    return list(texts)


def measured(command):
    """Seconds, and the peak memory of the child in bytes."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return time.monotonic() - start, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--dir", default="/tmp/mkfs-bench-lora")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--peft")
    options = parser.parse_args()
    folder, ctl = os.path.abspath(options.dir), os.path.abspath(options.build) + "/fs/mkfs-ctl"
    os.makedirs(folder, exist_ok=True)
    make_inputs(folder, options.layers)
    names = write_recipes(folder)

    out = folder + "/out"
    times, peaks = {name: [] for name in names}, {}
    for _ in range(options.rounds):
        for name in names:
            shutil.rmtree(out, ignore_errors=True)
            seconds, peak = measured([ctl, "export", "--cache", "none", f"{folder}/{name}.yaml", out])
            times[name].append(seconds)
            peaks[name] = max(peak, peaks.get(name, 0))
    size = os.path.getsize(out + "/model.safetensors")
    shutil.rmtree(out)

    middle = {name: statistics.median(values) for name, values in times.items()}
    wanted = {"r16": "; wanted 0.8", "r256": "; wanted 0.3"}
    print("| what | figure | ratio | peak memory |\n|---|---|---|---|")
    for name in names:
        ratio = statistics.median(a / b for a, b in zip(times["copy"], times[name]))
        print(f"| export, {name} | {size / middle[name] / 1e9:.2f} GB/s | {ratio:.2f} of copy{wanted.get(name, '')} | "
              f"{peaks[name] / 1e6:.0f} MB of {MEMORY / 1e6:.0f} |", flush=True)
    for rank in RANKS if options.peft else ():
        seconds, peak = measured([options.peft + "/bin/python", "-c", PEFT, folder + "/base", f"{folder}/r{rank}", out])
        shutil.rmtree(out)
        print(f"| PEFT load, merge, save, r{rank} | {seconds:.1f} s | {seconds / middle[f'r{rank}']:.1f} times ours; "
              f"wanted 10 | {peak / 1e6:.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
