"""Processor time of a whole answer of few-spike and ttfs networks, in steps of the binary one.

    python benchmarks/codes.py --shared FOLDER [--network resnet20] [--batch 64] [--repeats 5]

The networks share thresholds of the same rule (not calibrated: the work is the same); one thread,
processor time, the smallest of the repeats, which alternate between the networks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import process_time

import networks

from onnx2snn.runtime.engine import make_engine
from onnx2snn.runtime.graph import SpikingGraph

BINARY = 16  # steps of the plain network, whose time per step is the unit
CODES = (("few-spike", 4, 6.0), ("few-spike", 8, None), ("ttfs", 16, 12.0), ("ttfs", 32, None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--network", default="resnet20", choices=list(networks.REAL))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rows = [("binary", BINARY, None), *CODES]
    made = [
        networks.load(given.network, given.batch, given.shared, steps, recipe=recipe)
        for recipe, steps, _ in rows
    ]
    engines = [make_engine("fast", threads=1) for _ in rows]
    best = [float("inf")] * len(rows)
    for _ in range(given.repeats + 1):  # the first makes the plans
        for at, (engine, network, (_, steps, _)) in enumerate(
            zip(engines, made, rows, strict=True)
        ):
            best[at] = min(best[at], seconds(engine, network.graph, network.x, steps))
    unit = best[0] / BINARY
    print(
        f"{given.network}, {given.batch} samples: binary {1e3 * unit / given.batch:.3f} ms per step"
    )
    for (recipe, steps, bar), found in zip(rows[1:], best[1:], strict=True):
        said = "" if bar is None else f" (bar {bar:g})"
        print(
            f"{recipe:10} T={steps:<3} {1e3 * found / given.batch:7.3f} ms per answer = "
            f"{found / unit:5.2f} steps of the binary network{said}"
        )


def seconds(engine: object, graph: SpikingGraph, x: object, steps: int) -> float:
    began = process_time()
    engine.run(graph, x, steps, at=[steps])  # type: ignore[attr-defined]
    return process_time() - began


if __name__ == "__main__":
    main()
