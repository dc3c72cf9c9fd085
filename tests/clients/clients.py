"""
Reads merges of docs/example as its users do, with safetensors, transformers
and tokenizers, from a mount and from an export.

Usage: clients.py MKFS_MOUNT MKFS_CTL SOURCE_ROOT
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

MOUNT, CTL, ROOT = sys.argv[1:]
sys.path.insert(0, ROOT + "/tests")

import interpreter  # noqa: E402

interpreter.need("torch", "transformers")
os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors import safe_open  # noqa: E402

EXAMPLE = ROOT + "/docs/example"
PROMPTS = ("Q: What does the fox eat?\nA:", "The fox is", "Once the seal")
TEXTS = PROMPTS + ("Where does the octopus sleep? Ünïcode, 42 \t<s></s>\n",)


def run(*command):
    done = subprocess.run(command, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, (command, done.stderr)


def why_no_fuse():
    """A sentence when nothing can be mounted here, else None. Other failures
    to mount are for the checks to find."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {error}"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([MOUNT, "--cache", "none", EXAMPLE + "/recipe.yaml", folder],
                              text=True, capture_output=True, timeout=60)
        if done.returncode == 0:
            run(CTL, "umount", folder)
        elif "not permitted" in done.stderr:
            return done.stderr.strip()
    return None


def shards(directory):
    return sorted(glob.glob(directory + "/*.safetensors"))


def tensors(directory):
    """Name to (file, tensor)."""
    found = {}
    for path in shards(directory):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                assert name not in found, name
                found[name] = os.path.basename(path), file.get_tensor(name)
    return found


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def check_safetensors(mounted, exported):
    ours, theirs = tensors(mounted), tensors(exported)
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    assert ours
    for name, (file, tensor) in ours.items():
        other_file, other = theirs[name]
        assert file == other_file, name
        assert tensor.dtype == other.dtype and tensor.shape == other.shape, name
        assert torch.equal(bits(tensor), bits(other)), name
        with safe_open(f"{mounted}/{file}", framework="pt") as opened:
            part = opened.get_slice(name)
            assert part.get_shape() == list(other.shape), name
            third = other.shape[0] // 3
            rows = part[third:2 * third]
            assert torch.equal(bits(rows), bits(other[third:2 * third])), name
            if other.dim() == 2:
                columns = part[:, 1:5]
                assert torch.equal(bits(columns), bits(other[:, 1:5])), name


def check_index(directory):
    """Several shards, and an index that says where everything is."""
    with open(directory + "/model.safetensors.index.json") as file:
        index = json.load(file)
    found = tensors(directory)
    assert len(shards(directory)) > 1
    assert index["weight_map"] == {name: file for name, (file, _) in found.items()}
    size = sum(tensor.nbytes for _, tensor in found.values())
    assert index["metadata"]["total_size"] == size, (index["metadata"], size)


def load(directory):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[what], (directory, what, info[what])
    assert not info.get("error_msgs"), info["error_msgs"]
    return model


def generate(directory, model):
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    found = []
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt")
        tokens = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                                do_sample=False, max_new_tokens=30)
        found.append(tokens[0].tolist())
    return found


def check_tokenizer(directory, donor):
    ours = transformers.AutoTokenizer.from_pretrained(directory)
    theirs = transformers.AutoTokenizer.from_pretrained(donor)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.chat_template == theirs.chat_template
    for text in TEXTS:
        tokens = theirs(text)["input_ids"]
        assert ours(text)["input_ids"] == tokens, text
        assert ours.decode(tokens) == theirs.decode(tokens), text


def check_skills(directory, tokens):
    """The merge answers, as questions does, and like pirate."""
    said = transformers.AutoTokenizer.from_pretrained(directory).decode(tokens)
    assert "A: The fox eats mice, me hearty!" in said, said


def check_export(exported, donor):
    """What was exported is whole, whether or not it can be mounted."""
    check_tokenizer(exported, donor)
    model = load(exported)
    tokens = generate(exported, model)
    layers = model.config.num_hidden_layers
    assert all(f"model.layers.{i}.mlp.up_proj.weight" in tensors(exported) for i in range(layers))
    assert all(f.dtype == torch.bfloat16 for _, f in tensors(exported).values())
    return tokens


def check(recipe, donor, folder, fuse, *options):
    recipe, donor = f"{EXAMPLE}/{recipe}", f"{EXAMPLE}/{donor}"
    exported, mounted = folder + "/export", folder + "/mount"
    run(CTL, "export", *options, recipe, exported)
    tokens = check_export(exported, donor)
    if recipe.endswith(("/recipe.yaml", "/recipe-stages.yaml")):
        check_skills(exported, tokens[0])
    if options:
        check_index(exported)
    if not fuse:
        return
    os.mkdir(mounted)
    run(MOUNT, "--cache", "none", *options, recipe, mounted)
    try:
        check_safetensors(mounted, exported)
        if options:
            check_index(mounted)
        check_tokenizer(mounted, donor)
        assert generate(mounted, load(mounted)) == tokens
    except BaseException:
        # What failed may still hold a file open.
        subprocess.run(["umount", "--lazy", mounted])
        raise
    run(CTL, "umount", mounted)


def check_adapted(directory, donor):
    check_tokenizer(directory, donor)
    model = load(directory)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    assert model.config.vocab_size == model.get_input_embeddings().weight.shape[0] >= len(tokenizer)
    last = tokenizer.convert_ids_to_tokens(len(tokenizer) - 1)
    inputs = tokenizer(last, return_tensors="pt", add_special_tokens=False)
    assert inputs["input_ids"].tolist() == [[len(tokenizer) - 1]], inputs
    tokens = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                            do_sample=False, max_new_tokens=8)
    assert tokens.shape[1] > 1


def check_adapter(case, adapter, folder, fuse):
    """A base with an adapter whose folder has a tokenizer of its own."""
    golden = ROOT + "/tests/golden/lora"
    recipe, donor = f"{golden}/cases/{case}/recipe.yaml", f"{golden}/models/{adapter}"
    seen = [folder + "/export"]
    run(CTL, "export", "--cache", "none", recipe, seen[0])
    if fuse:
        seen.append(folder + "/mount")
        os.mkdir(seen[1])
        run(MOUNT, "--cache", "none", recipe, seen[1])
    try:
        for directory in seen:
            check_adapted(directory, donor)
        if fuse:
            check_safetensors(seen[1], seen[0])
    except BaseException:
        if fuse:
            subprocess.run(["umount", "--lazy", seen[1]])
        raise
    if fuse:
        run(CTL, "umount", seen[1])


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(2)
    reason = why_no_fuse()
    if reason:
        print(f"{reason}: only exports are checked, nothing is mounted")
    for case in (("recipe.yaml", "base"),
                 ("recipe.yaml", "base", "--shard-size", "200K"),
                 ("recipe-slerp.yaml", "questions"),
                 ("recipe-stages.yaml", "base"),
                 ("recipe-stack.yaml", "questions")):
        with tempfile.TemporaryDirectory() as folder:
            check(*case[:2], folder, not reason, *case[2:])
        print("ok", *case, flush=True)
    for case in (("one-tok", "llama-tok"), ("one-tokonly", "llama-tokonly")):
        with tempfile.TemporaryDirectory() as folder:
            check_adapter(*case, folder, not reason)
        print("ok", *case, flush=True)


main()
