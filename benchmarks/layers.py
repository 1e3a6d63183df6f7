"""Where a step's time goes, layer by layer, against what the machine can do; on one thread.

    python benchmarks/layers.py --shared FOLDER [--networks resnet20,kws]

The machine: a measured single-precision matrix product, and the bandwidth of adding two arrays too
large for any cache. Then the fast engine's profiles of each network, and the neuron updates alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import networks
import numpy as np
from engines import simulator

from onnx2snn.runtime.engine.fast.cells.base import Window
from onnx2snn.runtime.engine.fast.cells.blocked import BlockedCell
from onnx2snn.runtime.engine.fast.cells.choose import population_cell
from onnx2snn.runtime.engine.fast.cells.compiled import CompiledPlainCell
from onnx2snn.runtime.engine.fast.cells.events import EventCell
from onnx2snn.runtime.engine.fast.cells.plain import PlainCell
from onnx2snn.runtime.engine.fast.counting import Counter
from onnx2snn.runtime.engine.fast.events.choice import available
from onnx2snn.runtime.engine.fast.events.layers import event_layers
from onnx2snn.runtime.engine.profile import Clock
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.graph import Input, Population, Readout, SpikingGraph
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.parallel.threads import one_blas_thread

SHAPE = (16, 32, 32)
MINIMUM = 13  # bytes of an update: potential read and written, current read, spike written
# What passes of their own read and write (as STREAM counts): current added 12, threshold taken off
# 8, compared 5, spikes counted 1, the smaller bits kept 12; the compiled kernel is one pass.
MOVED = {"plain": 38, "blocked": 38}


def seconds(
    work: Callable[[], object], repeats: int = 5, clock: Callable[[], float] = perf_counter
) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = clock()
        work()
        taken.append(clock() - start)
    return median(taken)


def machine() -> dict:
    """One core's matrix product (GFLOP/s) and memory bandwidth (GB/s), and the neuron updates'."""
    found: dict = {"sgemm_gflops": {}}
    for size in (256, 1024):
        a, out = np.ones((size, size), np.float32), np.empty((size, size), np.float32)
        taken = seconds(lambda a=a, out=out: np.matmul(a, a, out=out), 31)
        found["sgemm_gflops"][size] = 2 * size**3 / taken / 1e9
    x, y = np.ones(32_000_000, np.float32), np.ones(32_000_000, np.float32)
    found["stream_gb_per_s"] = 3 * x.nbytes / seconds(lambda: np.add(x, y, out=y), 11) / 1e9
    updates_of = {"plain": plain_update(), "blocked": blocked_update()}
    if available():
        updates_of["plain_fast"] = plain_update(compiled=True)
        updates_of["blocked_fast"] = blocked_update(compiled=True)
        updates_of["events"] = event_update()
    for name, (work, updates) in updates_of.items():
        taken = seconds(work, 31)
        rate = MINIMUM * updates / taken / 1e9
        found[f"{name}_update"] = {
            "ns_per_neuron_and_step": taken / updates * 1e9,
            "gb_per_s": rate,
            "moved_gb_per_s": rate * MOVED.get(name, MINIMUM) / MINIMUM,
            "of_stream": rate / found["stream_gb_per_s"],
        }
    return found


def population() -> Population:
    theta = np.random.default_rng(0).uniform(0.5, 1, (SHAPE[0], 1, 1)).astype(np.float32)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
    return Population(name="p", shape=SHAPE, inputs=("x",), neuron=neuron)


def plain_update(
    steps: int = 8, lanes: int = 4, *, compiled: bool = False
) -> tuple[Callable[[], object], int]:
    """Eight steps of a layer behind a session, counting included; and how many updates."""
    kind = np.dtype(np.float32)
    counter = Counter(np.full(SHAPE, 144.0), lanes, steps, kind)
    if compiled:
        cell = CompiledPlainCell(population(), lanes, steps, counter, Clock())
    else:
        cell = population_cell(
            population(), lanes, dtype=kind, chunk=steps, counter=counter, clock=Clock()
        )
    assert isinstance(cell, PlainCell)
    current = np.full((1, lanes, *SHAPE), 0.1, np.float32)
    out = np.empty((steps, lanes, *SHAPE), np.int8)
    window = Window(arrives=False, fires=True, first=0, at=0, steps=1)
    cell.reset()
    return lambda: cell.run([current], out, window, False), out.size


def blocked_update(
    steps: int = 8, lanes: int = 12, *, compiled: bool = False
) -> tuple[Callable[[], object], int]:
    """The same for a layer in blocks of channels."""
    counter = Counter(np.full(SHAPE, 144.0).reshape(-1), lanes, steps, np.dtype(np.float32))
    kind = {"constant": True, "compiled": compiled}
    cell = BlockedCell(population(), lanes, 16, counter, Clock(), **kind)
    current = np.full((1, lanes, *SHAPE), 0.1, np.float32)
    out = np.empty((steps, *cell.v.shape), np.int8)
    window = Window(arrives=False, fires=True, first=0, at=0, steps=1)
    cell.reset()
    return lambda: cell.run([current], out, window, False), out.size


def event_update(steps: int = 8, lanes: int = 4) -> tuple[Callable[[], object], int]:
    """The same for a layer driven by spikes, all in one pass."""
    nodes = (
        Input(name="x", shape=SHAPE),
        replace(population(), inputs=("x",)),
        Readout(name="y", shape=SHAPE, inputs=("p",)),
    )
    layer = event_layers(GraphFacts(SpikingGraph(nodes=nodes)), {"p": np.full(SHAPE, 144.0)})["p"]
    counter = Counter(np.full(SHAPE, 144.0), lanes, steps, np.dtype(np.float32))
    cell = EventCell(layer, lanes, steps, counter, Clock())
    current = np.full((1, lanes, *SHAPE), 0.1, np.float32)
    out = np.empty((steps, *cell.v.shape), np.int8)
    window = Window(arrives=False, fires=True, first=0, at=0, steps=1)
    cell.reset()
    return lambda: cell.run([current], out, window, False), out.size


def profile(network: networks.Network, engine: str, steps: int) -> dict:
    """Microseconds per image and step of every layer, and GFLOP/s of its products."""
    plain = simulator(network.graph, engine, threads=1)
    plain.run(network.x, 2)
    whole = seconds(lambda: plain.run(network.x, steps), 3, process_time)
    profiled = simulator(network.graph, engine, threads=1, profile=True)
    profiled.run(network.x, 2)
    result = profiled.run(network.x, steps)
    each = 1e6 / steps / len(network.x)
    layers = [
        {
            "layer": layer.name,
            "synapse": layer.synapse * each,
            "copies": layer.copies * each,
            "neuron": layer.neuron * each,
            "counting": layer.counting * each,
            "gflops": layer.gflop_per_second,
        }
        for layer in result.profile
    ]
    parts = ("synapse", "copies", "neuron", "counting")
    total = {part: sum(layer[part] for layer in layers) for part in parts}
    return {"total_us": whole * each, **total, "layers": layers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--networks")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with one_blas_thread():
        results: dict = {"schema": 1, "machine": machine(), "profiles": {}}
    print(json.dumps(results["machine"]), flush=True)
    names = options.networks or ("resnet20,lenet,mlp,kws" if options.shared else "resnet20_random")
    for name in names.split(","):
        network = networks.load(name, options.batch, options.shared)
        for engine in ("fast", "fast+numba"):
            found = profile(network, engine, options.steps)
            results["profiles"][f"{name} {engine}"] = found
            show(name, engine, found)
        if options.output:
            options.output.write_text(json.dumps(results, indent=1))


def show(name: str, engine: str, found: dict) -> None:
    parts = ("total_us", "synapse", "copies", "neuron", "counting")
    text = "  ".join(f"{part} {found[part]:.1f}" for part in parts)
    rates = sorted(layer["gflops"] for layer in found["layers"] if layer["gflops"])
    span = f"{rates[0]:.0f} to {rates[-1]:.0f} GFLOP/s" if rates else ""
    print(f"{name} {engine}, us per image and step: {text}; products {span}", flush=True)


if __name__ == "__main__":
    main()
