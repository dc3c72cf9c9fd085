"""docs/methods.md says of each method what the code declares, and its recipes
are good. Usage: test-methods.py TABLE METHODS.MD; --print shows the part of
every section that comes from the code."""
import json
import os
import re
import subprocess
import sys

from support import CTL, main, make_model, run

METHODS = json.loads(subprocess.run([sys.argv[1]], check=True, text=True,
                                    capture_output=True).stdout)


def default_of(param):
    if param["required"]:
        return "required"
    if param["type"] == "bool":
        return "true" if param["value"] else "false"
    return f"{param['value']:g}"


def declared(method):
    """The beginning of a section."""
    title = method["title"]
    if "url" in method:
        title = f"[{title}]({method['url']})"
    lines = [f"## {method['name']}", "", f"{title}: {method['summary']}.", "",
             f"    {method['formula']}", ""]
    if method["params"]:
        lines += ["| parameter | of | default | |", "|---|---|---|---|"]
    for param in method["params"]:
        of = "each model" if param["per_model"] else "all"
        lines.append(f"| `{param['name']}` | {of} | {default_of(param)} | "
                     f"{param['summary']} |")
    return "\n".join(lines) + "\n"


def sections():
    with open(sys.argv[2]) as file:
        parts = re.split(r"^(?=## )", file.read(), flags=re.M)[1:]
    return {part.split("\n")[0][3:]: part for part in parts}


def test_sections(folder):
    found = sections()
    assert list(found) == [method["name"] for method in METHODS]
    for method in METHODS:
        part = found[method["name"]]
        assert part.startswith(declared(method)), declared(method)
        rest = part[len(declared(method)):].split("```")[0]
        assert len(rest.split()) >= 8, f"{method['name']}: when is it used?"


def test_recipes(folder):
    for name in ("base", "one", "two"):
        make_model(os.path.join(folder, name), name, hidden=8, vocabulary=16)
    for name, part in sections().items():
        recipes = re.findall(r"```yaml\n(.*?)```", part, re.S)
        assert recipes, name
        for recipe in recipes:
            assert f"merge_method: {name}\n" in recipe, name
            path = os.path.join(folder, "recipe.yaml")
            with open(path, "w") as file:
                file.write(recipe)
            done = run(CTL, "check", path)
            assert done.returncode == 0 and not done.stderr, (name, done)


if sys.argv[3:] == ["--print"]:
    print("\n".join(map(declared, METHODS)))
else:
    main(globals(), fuse=False)
