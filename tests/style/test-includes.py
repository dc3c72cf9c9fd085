"""Includes run one way, from the root, each .c file's own header first."""
import os
import re
import sys

LAYERS = ("util", "cache", "merge", "fs")
# Folders of merge/ that know no files.
PURE = ("merge/methods", "merge/kernels")
PURE_MAY = ("merge/methods", "merge/kernels", "merge/tensor", "util")
PURE_MAY_NOT = ("<fcntl.h>", "<stdio.h>", "<unistd.h>", "<sys/stat.h>")
INCLUDE = re.compile(r'^\s*#\s*include\s+(<[^>]+>|"[^"]+"|\w+)', re.M)


def judge(path, text, exists):
    """Sentences about one source file."""
    layer = path.split("/")[0]
    found = INCLUDE.findall(text)
    own = path[:-2] + ".h"
    if path.endswith(".c") and exists(own) and found[:1] != [f'"{own}"']:
        yield f"{path}: should include its own header first: {own}"
    quoted = [name[1:-1] for name in found if name.startswith('"')]
    # The first may be a header of another name that the file implements.
    rest = [name[1:-1] for name in found[1:] if name.startswith('"')]
    others = [name for name in rest if name.endswith(".h")]
    if others != sorted(others):
        yield f"{path}: includes of ours should stand in alphabetical order"
    for name in quoted:
        target = name.split("/")[0]
        if target not in LAYERS:
            yield f'{path}: "{name}" should be written from the root'
        elif LAYERS.index(target) > LAYERS.index(layer):
            yield f"{path}: {layer}/ may not include {name}"
        elif path.startswith(PURE) and not name.startswith(PURE_MAY):
            yield f"{path}: methods and kernels may not include {name}"
    for name in found:
        if "fuse" in name and name.startswith("<") and layer != "fs":
            yield f"{path}: only fs/ may include {name}"
        if path.startswith(PURE) and name in PURE_MAY_NOT:
            yield f"{path}: methods and kernels may not include {name}"


def judge_tree(root):
    for layer in LAYERS:
        for folder, _, names in os.walk(os.path.join(root, layer)):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(folder, name), root)
                if not path.endswith((".c", ".h")):
                    continue
                with open(os.path.join(root, path)) as file:
                    yield from judge(path, file.read(), lambda own:
                                     os.path.exists(os.path.join(root, own)))


def judge_itself():
    """The test can fail: each line breaks one rule."""
    for path, text in (("util/a.c", '#include "cache/block.h"'),
                       ("cache/a.h", '#include "merge/output/image.h"'),
                       ("merge/output/a.c", '#include "fs/log.h"'),
                       ("merge/methods/a.c", '#include "cache/block.h"'),
                       ("merge/kernels/a.c", "#include <stdio.h>"),
                       ("merge/output/a.c", "#include <fuse_lowlevel.h>"),
                       ("util/b.c", '#include <x.h>\n#include "util/b.h"'),
                       ("fs/a.c", '#include <x.h>\n#include "util/a.h"\n'
                                  '#include "fs/b.h"'),
                       ("fs/a.c", '#include "log.h"')):
        assert list(judge(path, text, lambda own: own == "util/b.h")), path


judge_itself()
wrong = list(judge_tree(sys.argv[1]))
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
