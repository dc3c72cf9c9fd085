"""
Measures mkfs-mount, and prints the tables of docs/benchmarks.md.

Usage: python3 tests/bench/bench.py PART [--build build] [--dir /tmp/mkfs-bench]
           [--rounds 5] [--threads 2] [--methods NAME,NAME]
           [--mergekit PATH/mergekit-yaml] [--json FILE]

Parts: mounts, cache, methods, mergekit; or all. Inputs (up to 10 GB) are made in --dir
once and kept there; numpy is needed for that. Run it on an idle machine.
"""
import argparse

import cache
import mergekit
import methods
import mounts
from common import METHODS, Bench

PARTS = {"mounts": mounts, "cache": cache, "methods": methods, "mergekit": mergekit}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--build", default="build")
    parser.add_argument("--dir", default="/tmp/mkfs-bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods")
    parser.add_argument("--mergekit")
    parser.add_argument("--kind", default="1b", help="checkpoints of parts methods and mergekit, see synth.py")
    parser.add_argument("--json")
    bench = Bench(parser.parse_args())
    unknown = set(bench.methods()) - set(METHODS)
    if unknown:
        parser.error(f"no such method: {', '.join(unknown)}")
    for name, part in PARTS.items():
        if bench.options.part in (name, "all"):
            part.run(bench)
    bench.save()


main()
