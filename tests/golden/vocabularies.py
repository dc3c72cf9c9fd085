"""
Exports every golden tokenizer case and compares with MergeKit's own output, or
with what is right where MergeKit is wrong: rows, vocabulary, added tokens,
merges, encodings, chat templates, config.json. Then hostile tokenizers, and
random vocabularies against a definition of their rows that is written here.

Usage: vocabularies.py MKFS_CTL SOURCE_ROOT
"""
import glob
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = sys.argv[2]
sys.path.insert(0, ROOT + "/tests")

import interpreter  # noqa: E402

interpreter.need("numpy", "tokenizers", "transformers")
import numpy as np  # noqa: E402
import tokenizers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from checkpoint import load, round_to, ulp  # noqa: E402

HERE = os.path.join(ROOT, "tests/golden/tokenizer")
HOSTILE = os.path.join(ROOT, "tests/golden/hostile-tokenizer")
CTL = sys.argv[1]

REFUSED = {
    "hidden-differ": r"yaml:9: tensor \S+ is \[202, 24\] in \S+plain, but \[202, 32\] in \S+narrow",
    "notok-base": r"yaml:9: \S+none: no tokenizer in it \(tokenizer.json",
    "template-bad": r"yaml:10: no chat template 'no-such-template'",
    "tokens-absent": r"yaml:12: token '<\|im_start\|>': model \S+plain has no token",
    "tokens-outside": r"yaml:12: token 'a': its source \S+chat is not a model of this merge",
    "tokens-id-range": r"yaml:12: token '<q>': id 5000 has no row in model \S+chat, whose embedding has 204 rows",
}
# MergeKit saves these anew by their class, so that text is cut in another way.
REBUILT = {"qwen", "spllama", "spllama-self"}
# Blanks and newlines around expressions, which nobody meant, are not ours.
LOOSE = {"template-exaone", "template-llama3"}
# Ids without a token: the row is free.
FREE = {"gap-base": slice(200, 203)}
TEXTS = [
    "Hello world", "  The quick brown fox\n\tjumps over", "def f(x):\n    return x + 1  # comment",
    "caf\u00e9 gr\u00f6\u00dfer \u6771\u4eac \U0001f642 na\u00efve", "<|im_start|>user\nhi<|im_end|>", "<tool>x <tool> <|endoftext|>",
    "<s>a</s><unk>", "[CLS] house [tool]", "<pad>evening<new> quickly", "", " ", "\r\n\u00a0\u200b",
]
TALKS = [
    [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "yo"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"},
     {"role": "user", "content": "x\ny"}],
    [{"role": "user", "content": "only"}],
]
failures = []


def fail(case, what):
    failures.append(f"{case}: {what}")
    print(f"FAIL {case}: {what}"[:600])


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run(command, recipe, *rest):
    return subprocess.run([CTL, command, recipe, *rest], capture_output=True, text=True, timeout=120)


def one_sentence(case, done, words):
    lines = [line for line in done.stderr.splitlines() if "warning:" not in line]
    if done.returncode != 1 or len(lines) != 1 or not lines[0].startswith("mkfs-ctl: "):
        fail(case, f"wanted status 1 and one sentence, got {done.returncode}: {done.stderr!r}")
    elif not re.search(words, lines[0]):
        fail(case, f"the sentence lacks {words!r}: {lines[0]}")


def compare_rows(case, ours, theirs):
    if set(ours) != set(theirs):
        fail(case, f"other tensors: {set(ours) ^ set(theirs)}")
    for name in sorted(set(ours) & set(theirs)):
        a, b = ours[name], theirs[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            fail(case, f"{name}: {a.dtype} {a.shape} against {b.dtype} {b.shape}")
            continue
        x, y = a.values(), b.values()
        # MergeKit rounds each term to bf16, too.
        allowed = 2 * ulp(y, "BF16") + ulp(np.array([0.06]), "BF16") if a.dtype == "BF16" else 2e-6
        wrong = (np.abs(x - y) > allowed).reshape(a.shape)
        if len(a.shape) == 2 and case in FREE and ("embed" in name or "head" in name):
            wrong[FREE[case]] = False
        if wrong.any():
            fail(case, f"{name}: {int(wrong.sum())} elements differ")


def compare_tokenizers(case, out, right, basis):
    ours = tokenizers.Tokenizer.from_file(out + "/tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(right + "/tokenizer.json")
    a, b = json.loads(ours.to_str()), json.loads(theirs.to_str())
    if ours.get_vocab() != theirs.get_vocab():
        fail(case, f"vocabulary: {set(ours.get_vocab().items()) ^ set(theirs.get_vocab().items())}")
    if a["added_tokens"] != b["added_tokens"]:
        fail(case, f"added tokens: {a['added_tokens']} against {b['added_tokens']}")
    for key in ("vocab", "merges"):
        if a["model"].get(key) != b["model"].get(key):
            fail(case, f"{key} of the model")
    for text in TEXTS:
        if case not in REBUILT and ours.encode(text).ids != theirs.encode(text).ids:
            fail(case, f"encoding of {text!r}")
    # All but tokens is the basis', whatever it is.
    raw, kept = read_json(out + "/tokenizer.json"), read_json(basis + "/tokenizer.json")
    for document in (raw, kept):
        document.pop("added_tokens")
        for key in ("vocab", "merges"):
            document["model"].pop(key, None)
    if raw != kept:
        fail(case, "tokenizer.json is not the basis' with tokens added")


def compare_templates(case, out, right):
    if os.path.exists(right + "/chat_template.jinja") != os.path.exists(out + "/chat_template.jinja"):
        config = read_json(out + "/tokenizer_config.json")
        if "chat_template" not in config:
            fail(case, "chat_template.jinja")
    if not os.path.exists(right + "/chat_template.jinja"):
        return
    ours, theirs = (AutoTokenizer.from_pretrained(folder) for folder in (out, right))
    for talk in TALKS:
        for prompt in (False, True):
            a, b = (t.apply_chat_template(talk, tokenize=False, add_generation_prompt=prompt) for t in (ours, theirs))
            if case in LOOSE:
                a, b = (re.sub(r"\s", "", text) for text in (a, b))
            if a != b:
                fail(case, f"template: {a!r} against {b!r}")


def compare_config(case, out, right):
    ours, theirs = read_json(out + "/config.json"), read_json(right + "/config.json")
    if case == "tied-untied":
        theirs["tie_word_embeddings"] = False
    for key in sorted(set(ours) | set(theirs)):
        if ours.get(key) != theirs.get(key):
            fail(case, f"config {key}: {ours.get(key)!r} against {theirs.get(key)!r}")


def basis_of(recipe):
    """Directory of the model whose tokenizer the output's is made from."""
    text = open(recipe).read()
    for pattern in (r"tokenizer_source: '(.*?)'", r"tokenizer: \{source: '(.*?)'", r"base_model: '(.*?)'", r"model: '(.*?)'"):
        found = re.search(pattern, text)
        if found:
            return os.path.join(os.path.dirname(recipe), found[1])


def run_case(case):
    path = f"{HERE}/cases/{case}"
    with tempfile.TemporaryDirectory() as temporary:
        out = temporary + "/out"
        done = run("export", path + "/recipe.yaml", out, "--cache", "none")
        if case in REFUSED:
            one_sentence(case, done, REFUSED[case])
            return
        if done.returncode != 0:
            fail(case, f"export: {done.stderr.strip()}")
            return
        right = path + ("/right" if os.path.exists(path + "/right/model.safetensors") else "/out")
        if os.path.exists(right + "/model.safetensors"):
            compare_rows(case, load(out), load(right))
        if os.path.exists(right + "/vocab.json"):
            vocab = tokenizers.Tokenizer.from_file(out + "/tokenizer.json").get_vocab()
            if vocab != read_json(right + "/vocab.json"):
                fail(case, "vocabulary")
        if os.path.exists(path + "/out/config.json") and right.endswith("/out"):
            compare_config(case, out, path + "/out")
        if os.path.exists(path + "/out/tokenizer.json"):
            compare_tokenizers(case, out, path + "/out", basis_of(path + "/recipe.yaml"))
            compare_templates(case, out, path + "/out")
            loaded = AutoTokenizer.from_pretrained(out)
            if loaded.get_vocab() != tokenizers.Tokenizer.from_file(out + "/tokenizer.json").get_vocab():
                fail(case, "AutoTokenizer sees another vocabulary")


def run_hostile():
    for name in sorted(os.listdir(HOSTILE)):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as recipe:
            recipe.write(f"merge_method: passthrough\nmodels: [{{model: '{HOSTILE}/{name}'}}]\ntokenizer_source: base\n")
            recipe.flush()
            one_sentence("hostile/" + name, run("check", recipe.name), re.escape(name) + "/tokenizer.json")


def run_told():
    """What check and explain say of a tokenizer."""
    recipe = HERE + "/cases/union-three/recipe.yaml"
    told = json.loads(run("check", recipe, "--json").stdout)["tokenizer"]
    if (told["source"], told["ids"], told["n_new"], told["new"][0]) != ("union", 205, 3, {"token": "<|im_start|>", "id": 202}):
        fail("check", told)
    if [row["own"] for row in told["rows_of"]] != [202, 204, 205]:
        fail("check", told["rows_of"])
    told = json.loads(run("explain", recipe, "--token", "<|im_start|>", "--json").stdout)
    if [row["row"] for row in told["rows"]] != [None, 202, 204] or "mean of the 2 models" not in told["otherwise"]:
        fail("explain", told)
    one_sentence("explain", run("explain", recipe, "--token", "nosuch"), "no token 'nosuch'")
    told = run("check", HERE + "/cases/template-auto/recipe.yaml").stdout
    if "Chat template: auto, that of ../../models/chat" not in told:
        fail("check", told)


def run_ids():
    """Ids in config.json and generation_config.json follow their tokens."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        words = {"a": ["x", "y", "end", "only"], "b": ["end", "y", "x", "z"]}
        for name, tokens in words.items():
            vocab = {token: i for i, token in enumerate(["t0"] + tokens)}
            write_model(f"{folder}/{name}", rng, vocab, [], 5, 3, False)
            config = read_json(f"{folder}/{name}/config.json")
            config |= {"eos_token_id": [vocab["end"], vocab["x"]], "bos_token_id": vocab.get("only", 4), "pad_token_id": None,
                       "text_config": {"image_token_index": vocab["y"], "hidden_size": 3}}
            json.dump(config, open(f"{folder}/{name}/config.json", "w"))
        json.dump({"eos_token_id": 3, "top_k": 7}, open(f"{folder}/a/generation_config.json", "w"))
        recipe = folder + "/recipe.yaml"
        open(recipe, "w").write("merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 1}}\n"
                                "- {model: b, parameters: {weight: 1}}\ntokenizer_source: b\n")
        done = run("export", recipe, folder + "/out", "--cache", "none")
        config = read_json(folder + "/out/config.json")
        have = [config[key] for key in ("eos_token_id", "bos_token_id", "pad_token_id", "vocab_size")]
        if have != [[1, 3], 4, None, 5] or config["text_config"]["image_token_index"] != 2:
            fail("ids", f"{config}")
        if read_json(folder + "/out/generation_config.json") != {"eos_token_id": 1, "top_k": 7}:
            fail("ids", "generation_config.json")
        if "bos_token_id is of a token that the output's vocabulary lacks; now as in b" not in done.stderr:
            fail("ids", done.stderr)


def bytes_read(*command):
    """What a run gives, and how many bytes it read on the way."""
    def so_far():
        with open("/proc/self/io") as file:
            return int(file.readline().split()[1])

    before = so_far()
    done = run(*command)
    return done, so_far() - before


def run_kept():
    """The second time, what was found of tokenizers comes from the cache, and nothing of it stays when a file changes."""
    with tempfile.TemporaryDirectory() as folder:
        rng, space = np.random.default_rng(0), " " * 3_000_000
        for name, tokens in {"a": ["x", "y"], "b": ["y", "z"]}.items():
            write_model(f"{folder}/{name}", rng, {token: i for i, token in enumerate(["t0"] + tokens)}, [], 3, 3, False)
            open(f"{folder}/{name}/tokenizer.json", "a").write(space)
        recipe, cache = folder + "/recipe.yaml", folder + "/cache"
        open(recipe, "w").write("merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 1}}\n"
                                "- {model: b, parameters: {weight: 1}}\ntokenizer_source: union\n")
        plain = run("check", recipe, "--cache", cache)
        if os.path.exists(cache):
            fail("kept", "check made a cache")
        run("export", recipe, folder + "/first", "--cache", cache)
        again, n = bytes_read("check", recipe, "--cache", cache)
        if (again.stdout, again.stderr) != (plain.stdout, plain.stderr):
            fail("kept", f"{plain.stdout}{plain.stderr} is now {again.stdout}{again.stderr}")
        if n > 1_000_000:
            fail("kept", f"tokenizers were read again: {n} bytes")
        if bytes_read("check", recipe, "--cache", "none")[1] < 6_000_000:
            fail("kept", "reading is not counted")
        for kept in glob.glob(cache + "/??/*"):
            with open(kept, "r+b") as file:
                file.seek(60)
                byte = file.read(1)[0]
                file.seek(60)
                file.write(bytes([byte ^ 1]))
        run("export", recipe, folder + "/second", "--cache", cache)
        run("export", recipe, folder + "/third", "--cache", cache)
        for name in sorted(os.listdir(folder + "/first")):
            with open(f"{folder}/first/{name}", "rb") as file:
                first = file.read()
            for other in ("second", "third"):
                if open(f"{folder}/{other}/{name}", "rb").read() != first:
                    fail("kept", f"{name} of the {other} export is not that of the first")
        text = open(folder + "/b/tokenizer.json").read()
        open(folder + "/b/tokenizer.json", "w").write(text.replace('"z"', '"w"'))
        run("export", recipe, folder + "/fourth", "--cache", cache)
        if sorted(tokenizers.Tokenizer.from_file(folder + "/fourth/tokenizer.json").get_vocab()) != ["t0", "w", "x", "y"]:
            fail("kept", "a tokenizer that changed")


# Random vocabularies.

def write_model(folder, rng, vocab, added, rows, hidden, tied):
    """A model of embeddings alone; tokens: text -> id."""
    os.makedirs(folder)
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "t0"}
    entries = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": not special,
                "special": special} for t, i, special in added]
    json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": entries, "normalizer": None,
               "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None, "model": model},
              open(folder + "/tokenizer.json", "w"))
    json.dump({"architectures": ["LlamaForCausalLM"], "vocab_size": rows, "hidden_size": hidden, "num_hidden_layers": 0,
               "tie_word_embeddings": tied}, open(folder + "/config.json", "w"))
    tensors = {"model.embed_tokens.weight": rng.standard_normal((rows, hidden)).astype("<f4")}
    if not tied:
        tensors["lm_head.weight"] = rng.standard_normal((rows, hidden)).astype("<f4")
        tensors["lm_head.bias"] = rng.standard_normal(rows).astype("<f4")
    write_tensors(folder + "/model.safetensors", tensors)
    return tensors


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_adapter(folder, rng, tensors):
    """Of embedding and head; tensors become what it makes of them."""
    os.makedirs(folder)
    rows, hidden = tensors["model.embed_tokens.weight"].shape
    json.dump({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["embed_tokens", "lm_head"]},
              open(folder + "/adapter_config.json", "w"))
    of = lambda *shape: rng.standard_normal(shape).astype("<f4")  # noqa: E731
    a, b, c, d = of(2, rows), of(hidden, 2), of(2, hidden), of(rows, 2)
    prefix = "base_model.model."
    write_tensors(folder + "/adapter_model.safetensors", {
        prefix + "lm_head.lora_A.weight": c, prefix + "lm_head.lora_B.weight": d,
        prefix + "model.embed_tokens.lora_embedding_A": a, prefix + "model.embed_tokens.lora_embedding_B": b})
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"] + (b @ a).T
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + d @ c


def random_model(folder, dice, rng, hidden, tied):
    names = [f"t{i}" for i in dice.sample(range(40), dice.randint(5, 30))]
    names = ["t0"] + [n for n in names if n != "t0"]
    holes = dice.random() < 0.3
    ids, at = {}, 0
    for name in names:
        at += dice.randint(0, 2) if holes else 0
        ids[name] = at
        at += 1
    vocab = dict(ids)
    added = []
    if not holes:
        for name in dice.sample(["<a>", "<b>", "<c>", "t1", "t2", "t3"], dice.randint(0, 4)):
            known = name in ids
            ids.setdefault(name, at)
            at += not known
            added.append((name, ids[name], dice.random() < 0.5))
    rows = at + dice.choice([0, 0, 3, -2])
    tensors = write_model(folder, rng, vocab, added, rows, hidden, tied)
    return {"ids": {t: i for t, i in ids.items()}, "added": [t for t, _, _ in added], "rows": rows, "tensors": tensors}


def union(models):
    """Token -> id of the output, written from the definition."""
    base = models[0]
    out = {t: i for t, i in base["ids"].items() if i < base["rows"]}

    def put(token):
        if token not in out:
            out[token] = max(out.values()) + 1

    for added in (False, True):
        for model in models:
            for token, i in sorted(model["ids"].items(), key=lambda pair: pair[1]):
                if i < model["rows"] and (token in model["added"]) == added:
                    put(token)
    return out


def expected(models, out, name, multiple, has_base, weights):
    n = max(out.values()) + 1
    total = -(-n // multiple) * multiple
    takers = [m for m in models if name in m["tensors"]]
    mean, by_id = 0, {i: t for t, i in out.items()}
    for model, weight in zip(takers, weights):
        width = model["tensors"][name].shape[1:]
        matrix = np.zeros((total,) + width)
        for i in range(n):
            token = by_id.get(i)
            if token is None:
                holders = [models[0]] if i < models[0]["rows"] and models[0] in takers else []
                rows = {id(m): i for m in holders}
            else:
                holders = [m for m in takers if m["ids"].get(token, 1 << 30) < m["rows"]]
                rows = {id(m): m["ids"][token] for m in holders}
            row = lambda m: m["tensors"][name][rows[id(m)]].astype("f8")  # noqa: E731
            if any(m is model for m in holders):
                matrix[i] = row(model)
            elif len(holders) == 1 or (holders and has_base and holders[0] is models[0]):
                matrix[i] = row(holders[0])
            elif holders:
                matrix[i] = sum(row(m) for m in holders) / len(holders)
        matrix[n:] = matrix[:n].mean(0)
        mean = mean + weight * matrix
    return mean / sum(weights[: len(takers)])


def run_random(seed, kind="stored"):
    """kind: what the inputs are, files or expressions that are worth the same."""
    case = f"random {seed} {kind}"
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        hidden = dice.choice([1, 3, 8, 64])
        n = dice.randint(2, 4)
        models = [random_model(f"{folder}/m{i}", dice, rng, hidden, False) for i in range(n)]
        multiple, has_base = dice.choice([1, 1, 8, 32]), dice.random() < 0.6
        weights = [round(dice.uniform(0.2, 1), 2) for _ in models]
        names = [f"m{i}" for i in range(n)]
        if kind == "adapted":
            for i, model in enumerate(models):
                write_adapter(f"{folder}/a{i}", rng, model["tensors"])
            names = [f"m{i}+a{i}" for i in range(n)]
        text = ""
        if kind == "fused":
            names = [f"s{i}" for i in range(n)]
            text = "".join(f"name: s{i}\nmerge_method: passthrough\ndtype: bfloat16\nmodels: [model: m{i}]\n---\n"
                           for i in range(n))
        text += "merge_method: linear\ndtype: float32\nmodels:\n"
        for name, weight in zip(names, weights):
            text += f"  - {{model: {name}, parameters: {{weight: {weight}}}}}\n"
        text += f"base_model: {names[0]}\n" if has_base else ""
        text += f"tokenizer: {{source: union, pad_to_multiple_of: {multiple}}}\n"
        open(folder + "/recipe.yaml", "w").write(text)
        done = run("export", folder + "/recipe.yaml", folder + "/out", "--cache", "none", "--fuse")
        if done.returncode != 0:
            return fail(case, done.stderr)
        out = union(models)
        loaded = tokenizers.Tokenizer.from_file(folder + "/out/tokenizer.json")
        if loaded.get_vocab() != out:
            fail(case, f"vocabulary: {set(loaded.get_vocab().items()) ^ set(out.items())}")
        ours = load(folder + "/out")
        for name in models[0]["tensors"]:
            want = expected(models, out, name, multiple, has_base, weights)
            have = ours[name].values().reshape(want.shape) if ours[name].shape == want.shape else None
            if have is None or np.abs(have - want).max() > 3e-6:
                fail(case, f"{name}: {ours[name].shape} against {want.shape}" if have is None else
                     f"{name}: rows {sorted(set(np.argwhere(np.abs(have - want) > 3e-6)[:, 0].tolist()))}")
        if read_json(folder + "/out/config.json")["vocab_size"] != want.shape[0]:
            fail(case, "vocab_size")


def run_types():
    """The rows of one input alone, beside a wider type and beside its own."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(1)
        write_model(folder + "/a", rng, {"t1": 0, "t0": 1}, [], 2, 64, False)
        write_model(folder + "/b", rng, {"t0": 0, "t1": 1}, [], 2, 64, False)
        half = "name: %s\nmerge_method: passthrough\ndtype: float16\nmodels: [model: %s]\n---\n"
        both = ("%smerge_method: linear\nmodels: [{model: %s, parameters: {weight: %d}}, {model: %s, parameters: {weight: 1}}]\n"
                "base_model: %s\ntokenizer_source: union\n")
        text = half % ("ha", "a") + half % ("hb", "b")
        text += both % ("name: wide\n", "b", 1, "ha", "b") + "---\n" + both % ("name: narrow\n", "hb", 1, "ha", "hb")
        text += "---\ndtype: float32\n" + both % ("", "wide", 0, "narrow", "wide")
        open(folder + "/recipe.yaml", "w").write(text)
        done = run("export", folder + "/recipe.yaml", folder + "/out", "--cache", "none")
        if done.returncode != 0:
            return fail("types", done.stderr)
        values = load(folder + "/out")["model.embed_tokens.weight"].values()
        if (values != round_to(values, "F16")).any():
            fail("types", "a stage of half precision is not rounded to it")


def run_heads():
    """A head that is not of the embedding's rows cannot follow its tokens."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(1)
        write_model(folder + "/a", rng, {"t0": 0, "t1": 1, "t2": 2}, [], 3, 8, False)
        tensors = write_model(folder + "/b", rng, {"t0": 0, "t1": 1}, [], 4, 8, False)
        tensors["lm_head.weight"] = tensors["lm_head.weight"][:2].copy()
        write_tensors(folder + "/b/model.safetensors", tensors)
        open(folder + "/recipe.yaml", "w").write(
            "merge_method: linear\ntokenizer_source: union\nmodels: [{model: a, parameters: {weight: 1}}, "
            "{model: b, parameters: {weight: 1}}]\n")
        done = run("check", folder + "/recipe.yaml")
        if done.returncode == 0 or not re.search(r"yaml:3: tensor lm_head.weight is \[3, 8\] in a, but \[2, 8\] in b", done.stderr):
            fail("heads", f"{done.returncode} {done.stderr}")


def main():
    cases = sorted(os.listdir(HERE + "/cases"))
    for case in cases:
        run_case(case)
    run_hostile()
    run_told()
    run_ids()
    run_types()
    run_heads()
    run_kept()
    for seed in range(60):
        run_random(seed)
    for seed in range(60, 80):
        run_random(seed, "adapted")
        run_random(seed, "fused")
    print(f"{len(cases)} cases, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
