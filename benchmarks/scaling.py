"""How the NumPy engine scales, and how close its parts come to what the machine can do.

    python benchmarks/scaling.py

Threads, width, depth and input sparsity on random networks; matrix product and memory bandwidth
measured beside them. Processor time is used where one thread runs, so that other work on the
machine shows less. Prints a table and, with --output, JSON.
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

import onnx2snn
from onnx2snn.runtime.cells import PlainCell, Window, population_cell
from onnx2snn.runtime.counting import Counter
from onnx2snn.runtime.engine import Simulator
from onnx2snn.runtime.graph import Input, Population
from onnx2snn.runtime.layout import Layout
from onnx2snn.runtime.neuron import NeuronParams
from onnx2snn.runtime.profile import Clock
from onnx2snn.runtime.threads import available_threads, one_blas_thread


def seconds(work: Callable[[], object], clock: Callable[[], float], repeats: int = 5) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = clock()
        work()
        taken.append(clock() - start)
    return median(taken)


def machine() -> dict:
    """One core's matrix product (GFLOP/s), memory bandwidth (GB/s), and the neuron update's."""
    a, out = np.ones((1024, 1024), np.float32), np.empty((1024, 1024), np.float32)
    x, y = np.ones(32_000_000, np.float32), np.ones(32_000_000, np.float32)
    product = seconds(lambda: np.matmul(a, a, out=out), process_time, 15)
    stream = seconds(lambda: np.add(x, y, out=y), process_time)
    update = seconds(neuron_update(), process_time, 15)
    steps_of_neurons = 8 * 16 * 32 * 32 * 4
    return {
        "sgemm_gflops": 2 * 1024**3 / product / 1e9,
        "stream_gb_per_s": 3 * x.nbytes / stream / 1e9,
        # potential read and written, current read, spike written: 13 bytes at the least
        "neuron_update_gb_per_s": 13 * steps_of_neurons / update / 1e9,
        "ns_per_neuron_and_step": update / steps_of_neurons * 1e9,
    }


def neuron_update() -> Callable[[], object]:
    """Eight steps of a layer of 16 x 32 x 32 integrate-and-fire neurons, four samples."""
    shape, layout, kind = (16, 32, 32), Layout(4), np.dtype(np.float32)
    theta = np.random.default_rng(0).uniform(0.5, 1, (16, 1, 1)).astype(np.float32)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
    node = Population(name="p", shape=shape, inputs=("x",), neuron=neuron)
    counter = Counter(np.full(shape, 144.0), layout, 8, kind)
    cell = population_cell(node, layout, kind, 8, counter, Clock())
    assert isinstance(cell, PlainCell)
    current = np.full((1, *layout.inner(shape)), 0.1, np.float32)
    out = np.empty((8, *layout.inner(shape)), np.int8)
    window = Window(arrives=False, fires=True, first=0, at=0)
    cell.reset()
    return lambda: cell.run([current], out, window, False)


def network(layers: list, encoding: str = "constant", size: int = 32):
    path = Path(tempfile.mkdtemp()) / "net.onnx"
    onnx.save(networks.random_network(layers, size=size), path)
    x = np.random.default_rng(1).uniform(0, 1, (32, 3, size, size)).astype(np.float32)
    graph = onnx2snn.convert(onnx2snn.load_onnx(path), x, steps=16, tune=False)
    coded = [replace(i, encoding=encoding) for i in graph.of(Input)]
    return graph.with_nodes(coded), x


def step_cost(graph, x, threads: int = 1) -> dict:
    """Milliseconds per image and step, and spikes per neuron and step."""
    simulator = Simulator(graph, threads=threads)
    clock = process_time if threads == 1 else perf_counter
    taken = seconds(lambda: simulator.run(x, 16), clock, 3)
    rate = float(simulator.run(x, 16).spikes_per_neuron[-1]) / 16
    return {"ms": taken / len(x) / 16 * 1e3, "rate": rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with one_blas_thread():
        results: dict = {"machine": machine()}
    print(results["machine"], flush=True)
    cases = {
        "width": {c: [c, *[f"R{c}"] * 3, "P"] for c in (8, 16, 32, 64, 128)},
        "depth": {d: [16, *["R16"] * d, "P"] for d in (1, 3, 6, 12)},
    }
    for kind, variants in cases.items():
        results[kind] = {n: step_cost(*network(layers, size=16)) for n, layers in variants.items()}
        print(kind, results[kind], flush=True)
    graph, x = network(networks.RESNET20)
    results["threads"] = {n: step_cost(graph, x, n) for n in range(1, available_threads() + 1)}
    print("threads", results["threads"], flush=True)
    graph, x = network([32, "R32", "P"], encoding="poisson", size=16)
    scales = (0.01, 0.03, 0.1, 0.3, 1.0)
    results["input_rate"] = {s: step_cost(graph, np.full_like(x, s)) for s in scales}
    print("input_rate", results["input_rate"], flush=True)
    if options.output:
        options.output.write_text(json.dumps({"schema": 1, **results}, indent=1))


if __name__ == "__main__":
    main()
