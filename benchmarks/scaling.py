"""How the engines scale with threads, width, depth and input sparsity, on random networks.

    python benchmarks/scaling.py

Prints a table and, with --output, JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import networks
import numpy as np
import onnx
from speed import ENGINES, Ann, simulator

import onnx2snn
from onnx2snn.runtime.graph import Input
from onnx2snn.runtime.parallel.threads import available_threads


def seconds(work: Callable[[], object], clock: Callable[[], float], repeats: int = 5) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = clock()
        work()
        taken.append(clock() - start)
    return median(taken)


def network(layers: list, encoding: str = "constant", size: int = 32):
    path = Path(tempfile.mkdtemp()) / "net.onnx"
    onnx.save(networks.random_network(layers, size=size), path)
    x = np.random.default_rng(1).uniform(0, 1, (16, 3, size, size)).astype(np.float32)
    graph = onnx2snn.convert(onnx2snn.load_onnx(path), x, steps=16, tune=False)
    coded = [replace(i, encoding=encoding) for i in graph.of(Input)]
    return graph.with_nodes(coded), x


def step_cost(graph, x, repeats: int = 3) -> dict:
    """Milliseconds per image and step of every engine, and spikes per neuron and step."""
    found: dict = {}
    for engine in ENGINES:
        made = simulator(graph, engine, threads=1)
        taken = seconds(lambda made=made: made.run(x, 16), process_time, repeats)
        found[engine] = taken / len(x) / 16 * 1e3
    found["rate"] = float(made.run(x, 16).spikes_per_neuron[-1]) / 16
    return found


def thread_scaling() -> dict:
    """The ANN in ONNX Runtime and all engines on 1, 2, ... threads, interleaved."""
    name, batch, steps = "resnet20_random", 96, 8
    loaded = networks.load(name, batch, None)
    each = 1e3 / batch / steps
    found: dict = {}
    for threads in range(1, available_threads() + 1):
        ann = Ann(loaded, threads)
        row = {"ann": median(ann.seconds(steps) for _ in range(6)) * each}
        for engine in ENGINES:
            made = simulator(loaded.graph, engine, threads=threads)
            row[engine] = each * seconds(lambda made=made: made.run(loaded.x, steps), perf_counter)
        found[threads] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results: dict = {"schema": 1, "threads": thread_scaling()}
    print("threads, ms per image and step", results["threads"], flush=True)
    cases = {
        "width": {c: [c, *[f"R{c}"] * 3, "P"] for c in (8, 16, 32, 64, 128)},
        "depth": {d: [16, *["R16"] * d, "P"] for d in (1, 3, 6, 12)},
    }
    for kind, variants in cases.items():
        results[kind] = {n: step_cost(*network(layers, size=16)) for n, layers in variants.items()}
        print(kind, results[kind], flush=True)
    graph, x = network([32, "R32", "P"], encoding="poisson", size=16)
    scales = (0.01, 0.03, 0.1, 0.3, 1.0)
    results["input_rate"] = {s: step_cost(graph, np.full_like(x, s)) for s in scales}
    print("input_rate", results["input_rate"], flush=True)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
