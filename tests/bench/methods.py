"""The engine alone, method by method: every byte of a merge is computed and
thrown away (sink.c), inputs in the page cache, beside a probe of how fast the
same number of threads reads memory (probe.c).

share: bytes that the engine touched (all that it read of its inputs, over all
passes, and what it made) in a second, as a part of the probe's. By CPU time: the
same for one thread, its second being one of its own CPU time, so that other
programs on the machine matter less. Of adding up: bytes that the engine read in
a second, as a part of what the probe reads of the same files in the page cache,
mapped piece by piece, by the same number of threads: a single pass over inputs
cannot be faster, a second one may find them mapped.
Probes and engine take turns; the best of the rounds counts for each.
"""
import glob
import json
import os
import subprocess

FAMILIES = {
    "elementwise": (60, "linear task_arithmetic passthrough nearswap ram ramplus_tl"),
    "gram": (60, "slerp nuslerp multislerp karcher model_stock"),
    "select": (25, "ties breadcrumbs breadcrumbs_ties sce arcee_fusion"),
    "random": (30, "dare_linear dare_ties della della_linear"),
}


def family(method):
    return next(name for name, (_, methods) in FAMILIES.items() if method in methods.split())


def sink(bench, recipe, threads):
    tool = bench.build + "/tests/bench/sink"
    done = subprocess.run([tool, recipe, str(threads)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def probe(bench, threads, files=()):
    """GB/s, and GB in a second of CPU time."""
    tool = bench.build + "/tests/bench/probe"
    done = subprocess.run([tool, str(threads), *files], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def run(bench):
    kind = bench.options.kind
    bench.prepare(kind, "small", "large")
    threads = bench.options.threads
    bench.table("method", "family", f"output, {threads} threads", "read of inputs", "share of the probe", "wanted",
                "by CPU time", "of adding up", f"1 -> {threads} threads", "peak, 2^25 elements", "peak, 2^27 elements")
    for method in bench.methods():
        recipe = bench.write_recipe(method, kind, scaled=True)
        inputs = input_folders(recipe)
        files = [file for folder in inputs for file in glob.glob(folder + "/*.safetensors")]
        probes, single_probes, file_probes, many, one = [], [], [], [], []
        for _ in range(bench.options.rounds):
            probes.append(probe(bench, threads)[0])
            single_probes.append(probe(bench, 1)[1])
            file_probes.append(probe(bench, threads, files)[0])
            many.append(sink(bench, recipe, threads))
            one.append(sink(bench, recipe, 1))
        best = min(many, key=lambda figures: figures["seconds"])
        single = min(figures["seconds"] for figures in one)
        touched = (best["read"] + best["written"]) / 1e9
        busy = min(figures["cpu"] for figures in one)
        peaks = [sink(bench, bench.write_recipe(method, shape, scaled=True), threads)["peak"]
                 for shape in ("small", "large")]
        bench.row(method, family(method), f"{best['written'] / best['seconds'] / 1e9:.2f} GB/s",
                  f"{best['read'] / best['written'] / len(inputs):.1f} times",
                  f"{100 * touched / best['seconds'] / max(probes):.0f} %", f"{FAMILIES[family(method)][0]} %",
                  f"{100 * touched / busy / max(single_probes):.0f} %",
                  f"{100 * best['read'] / 1e9 / best['seconds'] / max(file_probes):.0f} %",
                  f"{single / best['seconds']:.2f}", *(f"{peak / 1e6:.0f} MB" for peak in peaks))


def input_folders(recipe):
    """Different models that a recipe names."""
    with open(recipe) as file:
        names = {line.split()[-1] for line in file if "./" in line}
    return [os.path.join(os.path.dirname(recipe), name) for name in names]
