"""The road to the reader: passthrough, status, and warming."""
import errno
import json
import mmap
import os
import subprocess

from support import *

SHAPE = dict(layers=2, hidden=512, vocabulary=6001)
NOBODY = 65534


def may_pass(mountpoint):
    """Does the kernel let us? If not, the same bytes come by the usual road."""
    return status(mountpoint)["now"]["passthrough_allowed"] == 1


def test_companions(folder):
    recipe = make_recipe(folder)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint):
        path = os.path.join(mountpoint, "tokenizer.json")
        with open(path, "rb") as one, open(path, "rb") as two:
            bytes_there = open(os.path.join(plain, "tokenizer.json"), "rb").read()
            assert one.read() == two.read() == bytes_there
            assert mmap.mmap(one.fileno(), 0, prot=mmap.PROT_READ)[:] == bytes_there
            before = status(mountpoint)
            if may_pass(mountpoint):
                assert before["now"]["passthrough_files"] == 1
                assert before["counts"]["passthrough_opens"] == 2
                assert before["bytes"]["copied"] == 0
        assert sums(mountpoint) == sums(plain)
        wait_until(lambda: status(mountpoint)["now"]["passthrough_files"] == 0)


def test_changed_companion(folder):
    """A source that has changed is not passed through: it gives EIO."""
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint):
        path = os.path.join(mountpoint, "tokenizer.json")
        with open(path, "rb") as file:
            assert len(file.read()) == 70001
        source = os.path.join(folder, "base", "tokenizer.json")
        with open(source, "r+b") as file:
            file.write(b"other")
        with open(path, "rb", buffering=0) as file:
            expect_errno(errno.EIO, file.read, 4096)
        assert status(mountpoint)["now"]["passthrough_files"] == 0


def test_status(folder):
    recipe = make_recipe(folder, "slerp", **SHAPE)
    mountpoint = os.path.join(folder, "merged")
    cache = os.path.join(folder, "cache")
    with mounted(recipe, mountpoint, cache=cache) as daemon:
        path = os.path.join(mountpoint, "model.safetensors")
        with open(path, "rb") as file:
            size = len(file.read())
        # A read is counted when it has been answered, which its reader may see sooner.
        wait_until(lambda: sum(status(mountpoint)["bytes"][how] for how in ("read", "pushed")) == size)
        now = status(mountpoint)
        assert now["pid"] == daemon.process.pid
        assert now["recipe"] == os.path.realpath(recipe)
        assert now["mountpoint"] == daemon.path
        assert now["cache"] == cache
        header = now["bytes"]["pushed"]
        tensors = now["methods"]["slerp"]["bytes"]
        assert header + tensors == size == now["bytes"]["computed"] + header
        assert now["bytes"]["memory"] + now["bytes"]["waited"] == tensors
        assert now["counts"]["scans"] > 10 and now["methods"]["slerp"]["seconds"] > 0
        text = run(CTL, "status", mountpoint).stdout
        assert "slerp" in text and "computed" in text, text
        text = run(CTL, "status", "--prometheus", mountpoint).stdout
        assert f'mkfs_mount_bytes_read_total{{mountpoint="{daemon.path}"}} {tensors}\n' in text, text
        for line in text.splitlines():
            assert line.startswith("# TYPE ") or float(line.rsplit(" ", 1)[1]) >= 0
        assert daemon.path in run(CTL, "status").stdout.splitlines()
    done = run(CTL, "status", mountpoint)
    assert done.returncode == 1 and "no merge is mounted here" in done.stderr


def read_header(path):
    """As safetensors does it, by a map of the file."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as there:
        length = 8 + int.from_bytes(there[:8], "little")
        return there[:length]


def test_header_waits_for_nothing(folder):
    """Nor does it make the kernel read on into the first tensor. Not even when
    others read the file, nor after its pages have been dropped."""
    recipe = make_recipe(folder, "slerp", **SHAPE)
    mountpoint = os.path.join(folder, "merged")
    path = os.path.join(mountpoint, "model.safetensors")
    with mounted(recipe, mountpoint):
        header = read_header(path)
        assert len(header) % 4096 == 0 and json.loads(header[8:])["__metadata__"]
        now = status(mountpoint)
        assert now["bytes"]["pushed"] == len(header) and now["bytes"]["literal"] == 0
        assert now["counts"]["scans"] == 0 and now["bytes"]["read"] == 0
        with open(path, "rb", buffering=0) as file:
            assert os.pread(file.fileno(), 8192, len(header) - 4096)[:4096] == header[-4096:]
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert read_header(path) == header
    with mounted(recipe, mountpoint):
        assert read_header(path) == header


def test_control_is_hidden(folder):
    recipe = make_recipe(folder)
    mountpoint, copy = os.path.join(folder, "merged"), os.path.join(folder, "copy")
    with mounted(recipe, mountpoint):
        control = os.path.join(mountpoint, ".mkfs-mount")
        assert json.load(open(control))["version"]
        assert os.stat(control).st_mode & 0o777 == 0o400
        assert ".mkfs-mount" not in os.listdir(mountpoint)
        subprocess.run(["cp", "-r", mountpoint, copy], check=True)
        assert sums(copy) == sums(mountpoint)


def test_status_of_another_user(folder):
    if os.geteuid() != 0:
        return
    os.chmod(folder, 0o755)
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, "-o", "allow_other"):
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        done = run(*user, "cat", os.path.join(mountpoint, "config.json"))
        assert done.returncode == 0, done.stderr
        for command in ([CTL, "status", mountpoint], ["cat", mountpoint + "/.mkfs-mount"]):
            done = run(*user, *command)
            assert done.returncode == 1 and done.stdout == "", done
        for command in ("status", "warm"):
            assert "only root" in run(*user, CTL, command, mountpoint).stderr


def read_all(mountpoint):
    with open(os.path.join(mountpoint, "model.safetensors"), "rb") as file:
        return file.read()


def warm(*arguments):
    done = run(CTL, "warm", *arguments)
    assert done.returncode == 0, done.stderr


def check_warm(folder, recipe, cache, plain):
    """Reads through a mount compute nothing but what is too small to keep."""
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, cache=cache):
        assert read_all(mountpoint) == read_all(plain)
        now = status(mountpoint)
        assert now["counts"]["scans"] == 0, now
        # Norms: 1 KiB each.
        assert now["bytes"]["computed"] <= 5 * 1024, now
        assert now["bytes"]["loaded"] > 20_000_000, now


def warm_pair(folder):
    recipe = make_recipe(folder, "slerp", **SHAPE)
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    return recipe, plain, os.path.join(folder, "cache")


def test_warm_recipe(folder):
    recipe, plain, cache = warm_pair(folder)
    warm("--cache", cache, recipe)
    check_warm(folder, recipe, cache, plain)


def test_warm_parts(folder):
    recipe, plain, cache = warm_pair(folder)
    parts = [subprocess.Popen([CTL, "warm", "--part", f"{i}/3", "--cache", cache, recipe])
             for i in (1, 2, 3)]
    assert [part.wait(timeout=60) for part in parts] == [0, 0, 0]
    check_warm(folder, recipe, cache, plain)


def test_warm_mount(folder):
    recipe, plain, cache = warm_pair(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, cache=cache):
        warm(mountpoint, "--tensors", "*.layers.1.*_proj.weight")
        some = status(mountpoint)
        assert some["counts"]["scans"] == 7
        assert some["bytes"]["read"] == 0
        warm(mountpoint)
        assert status(mountpoint)["counts"]["scans"] > 14
    check_warm(folder, recipe, cache, plain)


def test_warm_what_is_in_memory(folder):
    """Blocks that are in memory, but not on disk any more, are stored."""
    recipe, plain, cache = warm_pair(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, "--no-whole", cache=cache):
        assert read_all(mountpoint) == read_all(plain)
        wait_until(lambda: status(mountpoint)["now"]["waiting"] == 0)
        computed = status(mountpoint)["bytes"]["computed"]
        assert run(CTL, "cache", "clear", "--cache", cache).returncode == 0
        warm(mountpoint)
        # What was read as a whole stays in memory no longer.
        again = status(mountpoint)["bytes"]["computed"] - computed
        assert 0 < again < computed - 6_000_000, (again, computed)
    listed = json.loads(run(CTL, "cache", "ls", "--json", "--cache", cache).stdout)
    assert listed["bytes_raw"] > 20_000_000, listed


def test_warm_with_little_memory(folder):
    """All is stored though little may wait for it."""
    recipe = make_recipe(folder, "linear", layers=2, hidden=512, vocabulary=40001)
    cache = os.path.join(folder, "cache")
    warm("--cache", cache, "--memory", "32M", "--threads", "2", recipe)
    listed = json.loads(run(CTL, "cache", "ls", "--json", "--cache", cache).stdout)
    # But for the norms.
    size = os.path.getsize(os.path.join(folder, "base", "model.safetensors"))
    assert listed["bytes_raw"] > size - 16_384, (listed, size)


def test_warm_misused(folder):
    recipe = make_recipe(folder)
    mountpoint = os.path.join(folder, "merged")
    for arguments, sentence in (
            (("--part", "4/3", recipe), "should be like 1/3"),
            (("--part", "1/3x", recipe), "should be like 1/3"),
            (("--cache", "none", recipe), "no cache on disk"),
            (("--cache", os.path.join(folder, "cache"), "--tensors", "nothing*", recipe),
             "no tensor that is computed"),
            ((os.path.join(folder, "one"),), "no recipe in this directory")):
        done = run(CTL, "warm", *arguments)
        assert done.returncode == 1 and sentence in done.stderr, done
    with mounted(recipe, mountpoint):
        done = run(CTL, "warm", mountpoint)
        assert done.returncode == 1 and "no cache on disk" in done.stderr, done


def whole_files(cache):
    return [os.path.join(root, name) for root, _, names in os.walk(cache)
            for name in names if name.endswith(".file") and name[0] != "."]


def is_passed(mountpoint):
    """Opens the weights; is that by passthrough?"""
    before = status(mountpoint)["counts"]["passthrough_opens"]
    with open(os.path.join(mountpoint, "model.safetensors"), "rb") as file:
        file.read(1)
        return status(mountpoint)["counts"]["passthrough_opens"] > before


def test_whole_shard(folder):
    """Once all is stored the kernel reads one file, also after a remount; a
    file that something has touched is left alone."""
    recipe, plain, cache = warm_pair(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, cache=cache) as daemon:
        with open(os.path.join(mountpoint, "model.safetensors"), "rb") as file:
            assert file.read() == read_all(plain)
            if not may_pass(mountpoint):
                return
            wait_until(lambda: "is whole in the cache" in daemon.lines(), 30)
            # All opens of a file agree.
            assert not is_passed(mountpoint)
        wait_until(lambda: is_passed(mountpoint))
        read = status(mountpoint)["bytes"]["read"]
        assert read_all(mountpoint) == read_all(plain)
        assert status(mountpoint)["bytes"]["read"] == read
    with mounted(recipe, mountpoint, cache=cache):
        wait_until(lambda: is_passed(mountpoint))
        assert sums(mountpoint) == sums(plain)
    [path] = whole_files(cache)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(1 << 20)
        file.write(b"other")
    with mounted(recipe, mountpoint, cache=cache):
        assert read_all(mountpoint) == read_all(plain)
        # Made again, in its place.
        wait_until(lambda: is_passed(mountpoint), 30)
        assert sums(mountpoint) == sums(plain)
    [path] = whole_files(cache)
    done = run(CTL, "cache", "verify", "--cache", cache)
    assert done.returncode == 0 and "1 whole files" in done.stdout, done
    with open(path, "r+b") as file:
        file.seek(2 << 20)
        file.write(b"other")
    done = run(CTL, "cache", "verify", "--cache", cache)
    assert done.returncode == 1 and "1 bad blocks and files" in done.stderr, done
    assert whole_files(cache) == []


def test_copied_shard(folder):
    """Tensors that are copies need no computing: their shard is put together
    once it has been opened. A file that is held open is in use."""
    recipe = make_recipe(folder, **SHAPE)
    with open(recipe, "w") as file:
        file.write("merge_method: passthrough\nmodels: [{model: one}]\ndtype: bfloat16\n")
    plain = os.path.join(folder, "plain", "merged")
    os.mkdir(os.path.dirname(plain))
    export(recipe, plain)
    cache, mountpoint = os.path.join(folder, "cache"), os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, cache=cache):
        if not may_pass(mountpoint):
            return
        time.sleep(1.5)
        assert whole_files(cache) == []
        assert read_all(mountpoint) == read_all(plain)
        wait_until(lambda: is_passed(mountpoint), 30)
        read = status(mountpoint)["bytes"]["read"]
        assert read_all(mountpoint) == read_all(plain)
        assert status(mountpoint)["bytes"]["read"] == read
        [mark] = [path[:-len("file")] + "mark" for path in whole_files(cache)]
        with open(os.path.join(mountpoint, "model.safetensors"), "rb"):
            time.sleep(1)
            os.utime(mark, (1, 1))
            wait_until(lambda: os.stat(mark).st_mtime > 1)
    done = run(CTL, "cache", "verify", "--cache", cache)
    assert done.returncode == 0 and "1 whole files" in done.stdout, done


def deleted_files(daemon):
    """Files that a daemon holds though they have been removed."""
    return [path for path in daemon.files() if ".file (deleted)" in path]


def test_touched_whole_shard(folder):
    """A whole file is judged whenever it is opened, and let go of when it is
    removed, without a remount."""
    recipe, plain, cache = warm_pair(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, cache=cache) as daemon:
        if not may_pass(mountpoint):
            return
        warm(mountpoint)
        wait_until(lambda: is_passed(mountpoint), 30)
        [path] = whole_files(cache)
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.seek(1 << 20)
            file.write(b"other")
        assert read_all(mountpoint) == read_all(plain)
        wait_until(lambda: is_passed(mountpoint), 30)
        assert read_all(mountpoint) == read_all(plain)
        assert run(CTL, "cache", "clear", "--cache", cache).returncode == 0
        assert not is_passed(mountpoint) and deleted_files(daemon) == []
        assert read_all(mountpoint) == read_all(plain)


def test_no_room_for_whole_shard(folder):
    recipe, plain, cache = warm_pair(folder)
    mountpoint = os.path.join(folder, "merged")
    with mounted(recipe, mountpoint, "--cache-size", "30M", cache=cache):
        assert read_all(mountpoint) == read_all(plain)
        time.sleep(2)
        assert whole_files(cache) == [] and not is_passed(mountpoint)
        assert read_all(mountpoint) == read_all(plain)


main(globals())
