"""mkfs-ctl: check and export, which need no FUSE."""
import json
import os
import pty
import signal
import stat
import subprocess
import time

from support import *


def test_check(folder):
    recipe = make_recipe(folder)
    done = run(CTL, "check", recipe)
    assert done.returncode == 0 and not done.stderr, done
    for word in ("linear", "BF16", "config.json", "extra/deep/note.txt"):
        assert word in done.stdout, word


def test_check_json(folder):
    recipe = make_recipe(folder)
    facts = json.loads(run(CTL, "check", "--json", recipe, check=True).stdout)
    plain = os.path.join(folder, "plain")
    export(recipe, plain)
    sizes = {row["path"]: row["size"] for row in facts["files"]}
    assert sizes == {name: os.path.getsize(os.path.join(plain, name))
                     for name in files_below(plain)}
    assert [row["model"] for row in facts["models"]] == ["base", "one", "two"]
    assert facts["merge_method"] == "linear" and facts["warnings"] == []
    assert sum(row["count"] for row in facts["tensors"]) == 21


def test_check_reads_no_data(folder):
    """A terabyte of holes is judged at once."""
    recipe = make_recipe(folder)
    for name in ("base", "one", "two"):
        write_safetensors(os.path.join(folder, name, "model.safetensors"),
                          llama_tensors(2, 1024, 1 << 26), None)
    begin = time.monotonic()
    facts = json.loads(run(CTL, "check", "--json", recipe, check=True).stdout)
    assert time.monotonic() - begin < 5
    assert facts["size"] > 1 << 38


def test_warnings(folder):
    recipe = make_recipe(folder, more="parameters: {density: 0.5}")
    done = run(CTL, "check", recipe)
    assert done.returncode == 0
    assert done.stderr.startswith("mkfs-ctl: warning: "), done.stderr
    facts = json.loads(run(CTL, "check", "--json", recipe, check=True).stdout)
    assert len(facts["warnings"]) == 1


def test_bad_recipe(folder):
    recipe = os.path.join(folder, "recipe.yaml")
    with open(recipe, "w") as file:
        file.write("merge_method: linaer\nmodels: []\n")
    for command in (["check", recipe], ["export", recipe, folder + "/x"]):
        done = run(CTL, *command)
        assert done.returncode == 1 and "did you mean linear" in done.stderr
        assert done.stderr.startswith(f"mkfs-ctl: {recipe}:1: "), done.stderr
        assert done.stderr.count("\n") == 1


def test_usage(folder):
    for words, wanted in (([], "command is missing"),
                          (["chek"], "did you mean check"),
                          (["check"], "arguments are missing"),
                          (["check", "--jsn", "x"], "did you mean --json")):
        done = run(CTL, *words)
        assert done.returncode == 2 and wanted in done.stderr, done
    for words in (["--help"], ["export", "--help"], ["--version"]):
        done = run(CTL, *words)
        assert done.returncode == 0 and done.stdout and not done.stderr


def test_export(folder):
    recipe = make_recipe(folder)
    umask = os.umask(0o022)
    export(recipe, os.path.join(folder, "plain") + "/")
    os.umask(umask)
    plain = os.path.join(folder, "plain")
    assert stat.S_IMODE(os.stat(plain).st_mode) == 0o755
    for name in files_below(plain):
        mode = os.stat(os.path.join(plain, name)).st_mode
        assert stat.S_IMODE(mode) == 0o644, name
    others = [os.path.join(folder, f"x{i}", "plain") for i in range(3)]
    for other, option in zip(others, ("--threads=1", "--threads=7",
                                      "--memory=32M")):
        os.mkdir(os.path.dirname(other))
        export(recipe, other, option)
        assert sums(other) == sums(plain)


def test_export_refuses(folder):
    recipe = make_recipe(folder)
    os.mkdir(os.path.join(folder, "taken"))
    for name, words in (("taken", "exists already"),
                        ("missing/plain", "No such file")):
        done = run(CTL, "export", recipe, os.path.join(folder, name))
        assert done.returncode == 1 and words in done.stderr, done
    assert os.listdir(os.path.join(folder, "taken")) == []


def slow_recipe(folder):
    recipe = make_recipe(folder)
    for name in ("base", "one", "two"):
        write_safetensors(os.path.join(folder, name, "model.safetensors"),
                          llama_tensors(2, 1024, 1 << 20), None)
    return recipe


def test_export_interrupted(folder):
    recipe = slow_recipe(folder)
    before = sorted(os.listdir(folder))
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [CTL, "export", "--threads", "1", recipe, folder + "/plain"],
            stderr=subprocess.PIPE, text=True)
        wait_until(lambda: any(".partial-" in name
                               for name in os.listdir(folder)))
        time.sleep(0.2)
        process.send_signal(number)
        begin = time.monotonic()
        said = process.communicate(timeout=20)[1]
        assert time.monotonic() - begin < 3
        assert process.returncode in (1, 130), (process.returncode, said)
        assert "interrupted" in said
        assert sorted(os.listdir(folder)) == before


def test_export_no_space(folder):
    """A file system of its own, too small, and one that fills up."""
    if os.getuid() != 0:
        return
    recipe = make_recipe(folder, hidden=512)
    small = os.path.join(folder, "small")
    os.mkdir(small)
    done = run("mount", "-t", "tmpfs", "-o", "size=1m", "none", small)
    if done.returncode != 0:
        return
    try:
        done = run(CTL, "export", recipe, small + "/plain")
        assert done.returncode == 1 and "no room" in done.stderr, done
        # Room for the bytes, but not for as many files.
        run("mount", "-o", "remount,size=100m,nr_inodes=4", small, check=True)
        done = run(CTL, "export", recipe, small + "/plain")
        assert done.returncode == 1 and "No space left" in done.stderr, done
        assert done.stderr.count("\n") == 1 and os.listdir(small) == []
    finally:
        run("umount", small)


def test_progress_bar(folder):
    recipe = slow_recipe(folder)
    leader, terminal = pty.openpty()
    process = subprocess.Popen([CTL, "export", "--threads", "1", recipe,
                                folder + "/plain"], stderr=terminal)
    os.close(terminal)
    seen = b""
    while b" left" not in seen:
        seen += os.read(leader, 1000)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    os.close(leader)
    assert b"%" in seen and b"/s" in seen


main(globals(), fuse=False)
