"""Runs a test by an interpreter that has the packages it needs."""
import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIP = 77


def need(*packages):
    """Goes on, or begins the script again with another python, or skips it."""
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    if not missing:
        return
    for python in (os.environ.get("MKFS_TEST_PYTHON"), ROOT + "/.venv/bin/python"):
        if python and os.path.exists(python) and python != sys.executable and "MKFS_TEST_AGAIN" not in os.environ:
            os.environ["MKFS_TEST_AGAIN"] = "1"
            os.execv(python, [python] + sys.argv)
    print(f"no python with {' and '.join(missing)} (sh tests/venv.sh makes one): skipped")
    sys.exit(SKIP)
