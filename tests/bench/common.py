"""What the parts of the bench share: where things are, recipes, table rows."""
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# Of each method its parameters: shared, of every model.
METHODS = {
    "linear": ("", "weight: 0.5"),
    "slerp": ("t: 0.4", ""),
    "nuslerp": ("", "weight: 0.5"),
    "multislerp": ("", "weight: 0.5"),
    "karcher": ("", ""),
    "passthrough": ("", ""),
    "model_stock": ("", ""),
    "task_arithmetic": ("", "weight: 0.5"),
    "ties": ("", "weight: 0.5, density: 0.5"),
    "dare_linear": ("", "weight: 0.5, density: 0.5"),
    "dare_ties": ("", "weight: 0.5, density: 0.5"),
    "breadcrumbs": ("", "weight: 0.5, density: 0.5, gamma: 0.01"),
    "breadcrumbs_ties": ("", "weight: 0.5, density: 0.5, gamma: 0.01"),
    "della": ("", "weight: 0.5, density: 0.5, epsilon: 0.1"),
    "della_linear": ("", "weight: 0.5, density: 0.5, epsilon: 0.1"),
    "sce": ("select_topk: 0.5", ""),
    "nearswap": ("t: 0.001", ""),
    "ram": ("", ""),
    "ramplus_tl": ("", ""),
    "arcee_fusion": ("", ""),
}
# The base and two fine-tunes, or what fewer models the method takes.
WITHOUT_BASE = ("linear", "passthrough", "karcher")
ONE_OTHER = ("slerp", "nearswap", "arcee_fusion")


def recipe(method, kind, scaled=False):
    """scaled: not a mere copy, where it could be one."""
    shared, own = METHODS[method]
    names = ["ft1"] if method in ONE_OTHER else ["ft1", "ft2"]
    if method == "passthrough":
        names = ["ft1"]
        own = "scale: 0.9" if scaled else ""
    if method == "slerp":
        names = ["base", "ft1"]
    lines = [f"merge_method: {method}", "dtype: bfloat16"]
    if method not in WITHOUT_BASE:
        lines.append(f"base_model: ./{kind}-base")
    lines.append("models:")
    for name in names:
        lines.append(f"- model: ./{kind}-{name}")
        if own and name != "base":
            lines.append(f"  parameters: {{{own}}}")
    if shared:
        lines.append(f"parameters: {{{shared}}}")
    return "\n".join(lines) + "\n"


def inputs(folder, kind):
    """The checkpoints' files."""
    return [f"{folder}/{kind}-{name}/model.safetensors" for name in ("base", "ft1", "ft2")]


def forget(paths):
    """Out of the page cache, as far as the kernel obliges."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def read_again(paths):
    """Into the page cache as who reads them from disk has them: in folios of the kernel's choice. How they
    were written would choose others, up to three times as slow to map."""
    forget(paths)
    subprocess.run(["cat", *paths], stdout=subprocess.DEVNULL, check=True)


class Bench:
    def __init__(self, options):
        self.dir = os.path.abspath(options.dir)
        self.build = os.path.abspath(options.build)
        self.options = options
        self.ctl = self.build + "/fs/mkfs-ctl"
        self.rows = []

    def path(self, name):
        return f"{self.dir}/{name}"

    def methods(self):
        wanted = self.options.methods
        return wanted.split(",") if wanted else list(METHODS)

    def table(self, *columns):
        """Begins a markdown table."""
        self.columns = columns
        print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)

    def row(self, *cells):
        self.rows.append(dict(zip(self.columns, cells)))
        print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)

    def prepare(self, *kinds):
        """Makes the checkpoints, and has them in the page cache."""
        os.makedirs(self.dir, exist_ok=True)
        # In a process of its own: one that is forked from a large one seems as large.
        subprocess.run([sys.executable, HERE + "/synth.py", self.dir, *kinds], check=True)
        for kind in kinds:
            if kind != "8b":
                read_again(inputs(self.dir, kind))

    def write_recipe(self, method, kind, **more):
        path = self.path(f"{kind}-{method}.yaml")
        with open(path, "w") as file:
            file.write(recipe(method, kind, **more))
        return path

    def timed(self, command):
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.dir)
        return time.monotonic() - start

    def save(self):
        if self.options.json:
            with open(self.options.json, "w") as file:
                json.dump(self.rows, file, indent=2)
