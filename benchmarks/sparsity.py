"""What sparse spikes save, measured on one thread.

    python benchmarks/sparsity.py --shared FOLDER

1. What a product could leave out: the share of steps in which a sample, a channel of a tile, or a
   row of a channel of a tile (what one row of a matrix product's operand covers) has no spike, on
   real networks and images.
2. A layer's step driven by its spikes (the extra ``fast``) against the same layer as a product in
   NumPy and in ONNX Runtime, neurons included, at several rates of its source; and the rate at
   which they cost the same, interpolated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import networks
import numpy as np

from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine.fast.planning.plan import Plan
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.parallel.threads import one_blas_thread

LANES = 4
DENSITIES = (0.01, 0.03, 0.1, 0.2, 0.4, 1.0)


def seconds(work: Callable[[], object], repeats: int = 15) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = process_time()
        work()
        taken.append(process_time() - start)
    return median(taken)


def silent_shares(network: networks.Network, steps: int = 32) -> dict:
    """Shares of silence over all layers with spikes in, weighted by their neurons."""
    simulator = Simulator(network.graph, tile=LANES, block=steps, threads=1, events="never")
    seen: dict[str, list[np.ndarray]] = {}
    run = Plan.run

    def watched(plan: Plan, t0: int, count: int, total: int, by_lane: bool) -> None:
        for segment in plan.segments:
            if segment.node.name in plan.signals and segment.cell is not None:
                run_segment(plan, segment, t0, count=count, steps=total)
                spikes = plan.signals[segment.node.name][:count]
                seen.setdefault(segment.node.name, []).append(spikes.astype(np.int8).copy())
            else:
                run_segment(plan, segment, t0, count=count, steps=total)

    run_segment = Plan._run_segment
    Plan.run = watched
    try:
        simulator.run(network.x[: 4 * LANES], steps)
    finally:
        Plan.run = run
    weights, rows = [], []
    for parts in seen.values():
        spikes = np.stack(parts)  # (tiles, time, lanes, *shape)
        flat = spikes.reshape(*spikes.shape[:4], -1)  # ... channels, positions
        channel = flat.any(axis=(2, 4))  # (tiles, time, channels)
        line = spikes.any(axis=(2, -1)) if spikes.ndim == 6 else channel
        weights.append(np.prod(spikes.shape[3:]))
        rows.append(
            (
                spikes.mean(),
                1 - flat.any(axis=(3, 4)).mean(),
                1 - channel.mean(),
                1 - channel.any(axis=1).mean(),
                1 - line.mean(),
            )
        )
    names = ("rate", "sample", "channel_of_tile", "channel_all_steps", "row_of_channel_of_tile")
    means = np.average(np.array(rows), axis=0, weights=weights)
    return dict(zip(names, map(float, means), strict=True))


def layer(op: ops.Conv | ops.Linear, shape: tuple[int, ...]) -> g.SpikingGraph:
    """One layer of neurons behind another."""
    theta = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0.5))
    out = op.output_shape(shape)
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=shape),
            g.Population(name="p", shape=shape, inputs=("x",), neuron=theta),
            g.Synapse(name="s", shape=out, inputs=("p",), op=op),
            g.Population(name="q", shape=out, inputs=("s",), neuron=theta),
            g.Readout(name="y", shape=out, inputs=("q",)),
        )
    )


def conv(channels: int, out: int, kernel: int = 3, groups: int = 1, stride: int = 1) -> ops.Conv:
    shape = (out, channels // groups, kernel, kernel)
    weight = np.random.default_rng(0).normal(0, (channels * kernel**2 / groups) ** -0.5, shape)
    return ops.Conv(
        weight=weight.astype(np.float32),
        strides=(stride, stride),
        dilations=(1, 1),
        pads=(kernel // 2,) * 4,
        groups=groups,
    )


def linear(features: int, out: int) -> ops.Linear:
    weight = np.random.default_rng(0).normal(0, features**-0.5, (out, features))
    return ops.Linear(weight=weight.astype(np.float32))


WAYS = {"events": "always", "products": "never"}


def cost(graph: g.SpikingGraph, samples: int = 8, steps: int = 8) -> dict:
    """Microseconds of a sample's step at each rate, and the rates where ways meet (1: never)."""
    found: dict = {"density": DENSITIES}
    spikes = np.random.default_rng(1).random(samples * steps * 4 * np.prod(graph["p"].shape))
    for way, events in WAYS.items():
        simulator = Simulator(
            graph,
            tile=samples,
            block=steps,
            threads=1,
            events=events,
        )
        simulator.run(np.zeros((samples, *graph["x"].shape), np.float32), steps)
        plan = next(iter(simulator._plans.values()))[0]
        segment = next(s for s in plan.segments if s.node.name == "q")
        held = plan.signals["p"].reshape(-1)
        plan.silent["p"] = False
        found[way] = []
        for density in DENSITIES:
            held[...] = spikes[: held.size] < density
            taken = seconds(lambda: plan._run_segment(segment, 0, count=steps, steps=steps), 5)  # noqa: B023
            found[way].append(taken / samples / steps * 1e6)
    ratio = np.log(np.array(found["events"]) / found["products"])
    meets = np.exp(np.interp(0, ratio, np.log(DENSITIES))) if ratio[-1] > 0 else 1.0
    found["equal_at"] = float(meets)
    return found


CASES = {
    "conv 3 x 3, 16 on 32 x 32": (conv(16, 16), (16, 32, 32)),
    "conv 3 x 3, 32 on 16 x 16": (conv(32, 32), (32, 16, 16)),
    "conv 3 x 3, 64 on 8 x 8": (conv(64, 64), (64, 8, 8)),
    "conv 3 x 3, 128 on 16 x 16": (conv(128, 128), (128, 16, 16)),
    "conv 3 x 3, 256 on 8 x 8": (conv(256, 256), (256, 8, 8)),
    "conv 3 x 3, 512 on 4 x 4": (conv(512, 512), (512, 4, 4)),
    "conv 3 x 3, 512 on 2 x 2": (conv(512, 512), (512, 2, 2)),
    "conv 1 x 1, 64 on 25 x 5": (conv(64, 64, 1), (64, 25, 5)),
    "depthwise 3 x 3, 64 on 25 x 5": (conv(64, 64, 3, groups=64), (64, 25, 5)),
    "linear 256 -> 128": (linear(256, 128), (256,)),
    "linear 4096 -> 1024": (linear(4096, 1024), (4096,)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results: dict = {"schema": 2, "silent": {}, "events": {}}
    for name in networks.REAL if options.shared else ("resnet20_random",):
        network = networks.load(name, 4 * LANES, options.shared)
        results["silent"][name] = silent_shares(network)
        print(name, {k: f"{v:.2%}" for k, v in results["silent"][name].items()}, flush=True)
    with one_blas_thread():
        for name, (op, shape) in CASES.items():
            results["events"][name] = found = cost(layer(op, shape))
            at = DENSITIES.index(0.1)
            each = ", ".join(f"{way} {found[way][at]:.1f}" for way in WAYS)
            print(
                f"{name}, us at a rate of 10 %: {each}; the same at {found['equal_at']:.0%}",
                flush=True,
            )
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
