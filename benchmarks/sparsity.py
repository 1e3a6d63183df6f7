"""Would it pay to leave out what is silent? Measured, on one thread.

    python benchmarks/sparsity.py --shared FOLDER

1. What could be left out: the share of steps in which a sample, a channel of a tile, or a row of a
   channel of a tile (what one row of a matrix product's operand covers) has no spike, on real
   networks and images.
2. What gathering costs: a layer's current by adding up the weight rows of the neurons that fired
   (take and reduceat, the fastest way found in NumPy), against the dense product, at several input
   densities; and the density below which gathering is cheaper, interpolated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import networks
import numpy as np

from onnx2snn.runtime.engine import Simulator
from onnx2snn.runtime.plan import Plan
from onnx2snn.runtime.threads import one_blas_thread

LANES = 4
DENSITIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


def seconds(work: Callable[[], object], repeats: int = 15) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        taken.append(perf_counter() - start)
    return median(taken)


def silent_shares(network: networks.Network, steps: int = 32) -> dict:
    """Shares of silence over all layers with spikes in, weighted by their neurons."""
    simulator = Simulator(network.graph, tile=LANES, block=steps, threads=1)
    seen: dict[str, list[np.ndarray]] = {}
    run = Plan.run

    def watched(plan: Plan, t0: int, count: int, total: int, by_lane: bool) -> None:
        for segment in plan.segments:
            if segment.node.name in plan.signals and segment.cell is not None:
                run_segment(plan, segment, t0, count, total)
                spikes = plan.layout.natural(plan.signals[segment.node.name][:count])
                seen.setdefault(segment.node.name, []).append(spikes.astype(np.int8).copy())
            else:
                run_segment(plan, segment, t0, count, total)

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


def linear_case(features: int, outputs: int, samples: int) -> tuple[Callable, Callable]:
    """Dense product and gathering for a fully connected layer: x (samples, features) of int8."""
    weight = np.random.default_rng(0).normal(size=(features, outputs)).astype(np.float32)
    operand = np.empty((samples, features), np.float32)
    out = np.empty((samples, outputs), np.float32)

    def dense(x: np.ndarray) -> None:
        np.copyto(operand, x)
        np.matmul(operand, weight, out=out)

    def gather(x: np.ndarray) -> None:
        sample, feature = np.nonzero(x)
        out[...] = 0
        starts = np.flatnonzero(np.diff(sample, prepend=-1))
        if len(starts):
            out[sample[starts]] = np.add.reduceat(weight[feature], starts, axis=0)

    return dense, gather


def conv_case(channels: int, size: int, samples: int) -> tuple[Callable, Callable]:
    """The same for a 3 x 3 convolution with as many channels out, x (samples, H, W, C); dense:
    the engine's own kernel would be faster still than im2col here."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(9, channels, channels)).astype(np.float32)
    padded = np.zeros((samples, size + 2, size + 2, channels), np.float32)
    columns = np.empty((samples, size, size, 9, channels), np.float32)
    out = np.zeros((samples, size + 2, size + 2, channels), np.float32)
    flat = out.reshape(-1, channels)
    matrix = weight.reshape(9 * channels, channels)
    shifts = [(1 - dy) * (size + 2) + (1 - dx) for dy in range(3) for dx in range(3)]

    def dense(x: np.ndarray) -> None:
        padded[:, 1:-1, 1:-1] = x
        for k in range(9):
            dy, dx = divmod(k, 3)
            columns[:, :, :, k] = padded[:, dy : dy + size, dx : dx + size]
        np.matmul(columns.reshape(-1, 9 * channels), matrix)

    def gather(x: np.ndarray) -> None:
        flat[...] = 0
        sample, row, column, channel = np.nonzero(x)
        position = (sample * (size + 2) + row + 1) * (size + 2) + column + 1
        starts = np.flatnonzero(np.diff(position, prepend=-1))
        if not len(starts):
            return
        at = position[starts]
        for k in range(9):
            flat[at + shifts[k]] += np.add.reduceat(weight[k][channel], starts, axis=0)

    return dense, gather


def cost(case: tuple[Callable, Callable], shape: tuple[int, ...]) -> dict:
    """Milliseconds of both ways at each density, and the density where they meet (0: nowhere)."""
    rng = np.random.default_rng(1)
    dense_ms, gather_ms = [], []
    for density in DENSITIES:
        x = (rng.random(shape) < density).astype(np.int8)
        dense_ms.append(1e3 * seconds(lambda x=x: case[0](x)))
        gather_ms.append(1e3 * seconds(lambda x=x: case[1](x)))
    ratio = np.log(np.array(gather_ms) / dense_ms)
    meets = 0.0
    if ratio[0] < 0 < ratio[-1]:
        meets = float(np.exp(np.interp(0, ratio, np.log(DENSITIES))))
    return {"density": DENSITIES, "dense_ms": dense_ms, "gather_ms": gather_ms, "equal_at": meets}


CASES = {
    "linear 784 -> 300": (lambda: linear_case(784, 300, 128), (128, 784)),
    "linear 4096 -> 1024": (lambda: linear_case(4096, 1024, 128), (128, 4096)),
    "conv 16, 32 x 32": (lambda: conv_case(16, 32, LANES), (LANES, 32, 32, 16)),
    "conv 64, 8 x 8": (lambda: conv_case(64, 8, LANES * 4), (LANES * 4, 8, 8, 64)),
    "conv 256, 8 x 8": (lambda: conv_case(256, 8, LANES * 4), (LANES * 4, 8, 8, 256)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results: dict = {"schema": 1, "silent": {}, "gather": {}}
    for name in networks.REAL if options.shared else ("resnet20_random",):
        network = networks.load(name, 4 * LANES, options.shared)
        results["silent"][name] = silent_shares(network)
        print(name, {k: f"{v:.2%}" for k, v in results["silent"][name].items()}, flush=True)
    with one_blas_thread():
        for name, (make, shape) in CASES.items():
            results["gather"][name] = cost(make(), shape)
            found = results["gather"][name]
            print(name, f"equal at {found['equal_at']:.2%};", end=" ")
            at = DENSITIES.index(0.1)
            print(f"at 10 %: {found['gather_ms'][at] / found['dense_ms'][at]:.1f} x", flush=True)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
