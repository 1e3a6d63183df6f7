"""How the accuracy of each recipe falls when spikes are lost, or come one step late.

    python benchmarks/noise.py --shared FOLDER [--network resnet20] [--samples 300] [-o FILE]

Every spike of every neuron is lost (or late) with the given probability, whatever the others are;
one that is late at the end of its neuron's window is lost. Calibration knows nothing of it. The
engine is the definition, whose neurons' spikes are changed on the way to their readers; of networks
that send one number per window it is the fast one, and what the changed spikes say is the number.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import NETWORKS

import onnx2snn
from onnx2snn.evaluation.ann import onnx_ann
from onnx2snn.runtime.engine import definition, simulate
from onnx2snn.runtime.engine.fast import windows
from onnx2snn.runtime.graph import Population
from onnx2snn.runtime.neurons import windowed

ROWS: tuple[dict[str, Any], ...] = (
    {"recipe": "few-spike", "steps": 4},
    {"recipe": "few-spike", "steps": 8},
    {"recipe": "ttfs", "steps": 16},
    {"recipe": "binary", "steps": 16},
    {"recipe": "graded", "steps": 4},
    {"recipe": "signed", "steps": 16},
    {"recipe": "binary", "steps": 16, "lag": 8},
)
FAULTS = (("none", 0.0), ("lost", 0.01), ("lost", 0.05), ("late", 0.01), ("late", 0.05))


class Faults:
    """Changes spikes (steps, samples, *shape) of whole runs."""

    def __init__(self, kind: str, share: float, seed: int) -> None:
        self.kind, self.share = kind, share
        self.rng = np.random.default_rng(seed)

    def apply(self, spikes: np.ndarray) -> np.ndarray:
        hit = (spikes != 0) & (self.rng.random(spikes.shape, np.float32) < self.share)
        out = np.where(hit, 0, spikes).astype(spikes.dtype)
        if self.kind == "late":
            out[1:] += np.where(hit, spikes, 0)[:-1].astype(spikes.dtype)
        return out


def measure(graph: Any, x: np.ndarray, steps: int, faults: Faults) -> np.ndarray:
    """Answers (samples, classes) with faulty spikes."""
    fire, count = definition._Tile.fire, windows._Tile._count

    def faulty(self: Any, *arguments: Any) -> np.ndarray:
        return faults.apply(fire(self, *arguments))

    def faulty_numbers(self: Any, name: str, numbers: np.ndarray) -> np.ndarray:
        sent = np.moveaxis(self.code[numbers.astype(np.int64)], -1, 0)
        weights = self.neuron.weight(np.arange(steps), steps)
        said = np.tensordot(weights, faults.apply(sent.astype(np.int64)), axes=1)
        return count(self, name, said.astype(np.float64))

    definition._Tile.fire = faulty  # type: ignore[method-assign]
    windows._Tile._count = faulty_numbers  # type: ignore[method-assign]
    numbers = any(windowed(p.neuron) for p in graph.of(Population))
    try:
        # One block of all steps, so that late spikes arrive; one thread, so that draws repeat.
        found = simulate(
            graph,
            x,
            steps,
            engine="fast" if numbers else "numpy",
            at=[steps],
            block=None if numbers else 1 << 16,
            tile=20,
            threads=1,
        )
    finally:
        definition._Tile.fire = fire  # type: ignore[method-assign]
        windows._Tile._count = count  # type: ignore[method-assign]
    return next(iter(found.readouts.values()))[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--network", default="resnet20", choices=list(NETWORKS))
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    data, preprocessing = NETWORKS[given.network]
    model = onnx2snn.load_onnx(given.shared / "models" / f"{given.network}.onnx")
    file = given.shared / "data" / f"{data}.npz"
    calibration = onnx2snn.load_samples(f"{file}:x_calib", model, preprocessing)
    test = onnx2snn.load_samples(f"{file}:x_test,y_test", model, preprocessing, limit=given.samples)
    arrays, labels = test.whole(), test.labels
    (name,) = arrays
    rows = []
    for options in ROWS:
        graph = onnx2snn.convert(model, calibration, **options)
        ann = next(iter(onnx_ann(model, graph)(arrays).values()))
        right = 100 * float((ann.argmax(axis=1) == labels).mean())
        row = {**options, "ann": right}
        for kind, share in FAULTS:
            answer = measure(graph, arrays[name], options["steps"], Faults(kind, share, seed=0))
            row[f"{kind} {share:g}"] = 100 * float((answer.argmax(axis=1) == labels).mean()) - right
        rows.append(row)
        print(row, flush=True)
    if given.output:
        given.output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
