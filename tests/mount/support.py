"""What the mount and fault tests share: checkpoints made from nothing, the
programs, a runner. A test is a function test_*(folder); its folder is fresh."""
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

MOUNT = os.environ["MKFS_MOUNT"]
CTL = os.environ["MKFS_CTL"]
SKIP = 77
# Else the thread sanitizer makes every end a second longer.
os.environ.setdefault("TSAN_OPTIONS", "atexit_sleep_ms=0")

# High bytes of a bf16 that is an ordinary small number.
HIGH = bytes((b & 0x80) | 0x3C | (b & 1) for b in range(256))


def random_bf16(count, seed):
    data = bytearray(random.Random(seed).randbytes(2 * count))
    data[1::2] = bytes(data[1::2]).translate(HIGH)
    return bytes(data)


def write_safetensors(path, tensors, seed):
    """tensors: name -> shape. seed None leaves the data a hole of zeros."""
    header, offset = {}, 0
    for name, shape in tensors.items():
        size = 2
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "BF16", "shape": list(shape),
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if seed is None:
            file.truncate(file.tell() + offset)
            return
        for i, item in enumerate(header.values()):
            begin, end = item["data_offsets"]
            file.write(random_bf16((end - begin) // 2, f"{seed}/{i}"))


def llama_tensors(layers, hidden, vocabulary):
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for i in range(layers):
        layer = f"model.layers.{i}."
        shapes[layer + "input_layernorm.weight"] = (hidden,)
        for name in "qkvo":
            shapes[layer + f"self_attn.{name}_proj.weight"] = (hidden, hidden)
        shapes[layer + "post_attention_layernorm.weight"] = (hidden,)
        for name in ("gate", "up"):
            shapes[layer + f"mlp.{name}_proj.weight"] = (2 * hidden, hidden)
        shapes[layer + "mlp.down_proj.weight"] = (hidden, 2 * hidden)
    shapes["model.norm.weight"] = (hidden,)
    shapes["lm_head.weight"] = (vocabulary, hidden)
    return shapes


def make_model(path, seed, layers=2, hidden=256, vocabulary=1000):
    os.makedirs(os.path.join(path, "extra", "deep"))
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
              "hidden_size": hidden, "intermediate_size": 2 * hidden,
              "num_attention_heads": 4, "num_key_value_heads": 4,
              "num_hidden_layers": layers, "vocab_size": vocabulary,
              "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    write_safetensors(os.path.join(path, "model.safetensors"),
                      llama_tensors(layers, hidden, vocabulary), seed)
    # Companions: one of odd size, one in folders, an empty one.
    for name, size in (("tokenizer.json", 70001), ("extra/deep/note.txt", 12),
                       ("extra/empty.txt", 0)):
        with open(os.path.join(path, name), "wb") as file:
            file.write(random.Random(f"{seed}{name}").randbytes(size))


def make_recipe(folder, method="linear", more="", **shape):
    """Three models and recipe.yaml in folder; returns the recipe's path."""
    for name in ("base", "one", "two"):
        make_model(os.path.join(folder, name), name, **shape)
    entries = {"linear": ("base", "one", "two"), "slerp": ("base", "one"),
               "task_arithmetic": ("one", "two")}[method]
    lines = [f"merge_method: {method}", "models:"]
    for name in entries:
        lines.append(f"  - model: {name}")
        if method != "slerp":
            lines.append("    parameters: {weight: 0.4}")
    if method != "linear":
        lines.append("base_model: base")
    if method == "slerp":
        lines.append("parameters: {t: 0.3}")
    lines += ["dtype: bfloat16", more]
    recipe = os.path.join(folder, "recipe.yaml")
    with open(recipe, "w") as file:
        file.write("\n".join(lines) + "\n")
    return recipe


def run(*command, **more):
    return subprocess.run(command, text=True, capture_output=True, timeout=120,
                          **more)


def export(recipe, directory, *options):
    done = run(CTL, "export", *options, recipe, directory)
    assert done.returncode == 0, done.stderr


def mounts():
    with open("/proc/self/mountinfo") as file:
        return {line.split()[4] for line in file if "fuse.mkfs-mount" in line}


def wait_until(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


class Daemon:
    """A mount in the foreground, its log kept."""

    def __init__(self, recipe, mountpoint, *options, cache="none"):
        os.makedirs(mountpoint, exist_ok=True)
        self.path = os.path.realpath(mountpoint)
        self.log = tempfile.TemporaryFile("w+")
        # A test that is killed leaves no daemon behind.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", MOUNT, "-f", "--cache", cache,
             *options, recipe, mountpoint], stderr=self.log)
        wait_until(lambda: "is mounted on" in self.lines() or
                   self.process.poll() is not None)
        assert self.process.poll() is None, self.lines()

    def files(self):
        """Paths of what it has open. Some may be closed meanwhile."""
        folder = f"/proc/{self.process.pid}/fd"
        paths = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                paths.append(os.readlink(os.path.join(folder, name)))
        return paths

    def lines(self):
        self.log.seek(0)
        return self.log.read()

    def end(self, number=signal.SIGTERM):
        """Seconds that the end took."""
        begin = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(timeout=20)
        assert status == 0, (status, self.lines())
        assert self.path not in mounts()
        return time.monotonic() - begin


@contextlib.contextmanager
def mounted(recipe, mountpoint, *options, **more):
    daemon = Daemon(recipe, mountpoint, *options, **more)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.end()


def files_below(directory):
    for root, _, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(os.path.join(root, name), directory)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def sums(directory):
    return {name: sha256(os.path.join(directory, name))
            for name in files_below(directory)}


def status(mountpoint):
    done = run(CTL, "status", "--json", mountpoint)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def expect_errno(number, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == number, (call, error)
        return
    raise AssertionError(f"{call} succeeded")


def why_no_fuse():
    """A sentence when this machine lets nobody mount, else None."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {error}"
    with tempfile.TemporaryDirectory() as folder:
        recipe = make_recipe(folder, layers=1, hidden=8, vocabulary=8)
        mountpoint = os.path.join(folder, "mnt")
        os.mkdir(mountpoint)
        done = run(MOUNT, "--cache", "none", recipe, mountpoint)
        if done.returncode == 0:
            run(CTL, "umount", mountpoint)
        elif "not permitted" in done.stderr:
            return done.stderr
    return None


def main(tests, fuse=True):
    """Runs every test_* of a module's globals; exits like a meson test."""
    reason = why_no_fuse() if fuse else None
    if reason:
        print(reason)
        sys.exit(SKIP)
    failed = 0
    for name, test in sorted(tests.items()):
        if not name.startswith("test_"):
            continue
        folder = tempfile.mkdtemp(prefix="mkfs-test-")
        begin = time.monotonic()
        try:
            test(folder)
            word = "ok"
        except Exception:
            traceback.print_exc()
            word = "FAILED"
            failed += 1
        print(f"{word} {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        for path in mounts():
            if path.startswith(os.path.realpath(folder)):
                subprocess.run(["umount", "-l", path])
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)
