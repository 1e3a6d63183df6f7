"""Early exit on a real network: steps used, accuracy, spikes and time, against running all steps.

python benchmarks/early_exit.py --shared FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter

import networks
import numpy as np
from engines import simulator

from onnx2snn.runtime.engine import EarlyExit

RULES = {
    "all steps": None,
    "margin 0.1": EarlyExit(margin=0.1),
    "margin 0.2": EarlyExit(margin=0.2),
    "margin 0.3": EarlyExit(margin=0.3),
    "margin 0.5": EarlyExit(margin=0.5),
}


def measure(network: networks.Network, engine: str, steps: int) -> dict:
    """One row per rule; all share a simulator."""
    made = simulator(network.graph, engine)
    made.run(network.x, 8)
    rows, whole = {}, 0.0
    for name, rule in RULES.items():
        start = perf_counter()
        result = made.run(network.x, steps, early_exit=rule, at=[steps])
        taken = perf_counter() - start
        used = result.steps_used if rule else np.full(len(network.x), steps)
        answers = next(iter(result.readouts.values()))[-1].argmax(-1)
        whole = whole or taken
        rows[name] = {
            "seconds": taken,
            "time_ratio": taken / whole,
            "mean_steps": float(used.mean()),
            "median_steps": float(median(used)),
            "stopped_early": float((used < steps).mean()),
            "accuracy": float((answers == network.labels).mean()),
            "spikes_per_neuron": float(result.spikes_per_neuron[-1]),
        }
        print(engine, name, {k: round(v, 4) for k, v in rows[name].items()}, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--engines", default="fast+numba,fast")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    network = networks.load(
        options.network, options.samples, options.shared, options.steps, tune=True
    )
    results: dict = {
        "schema": 1,
        "network": options.network,
        "samples": options.samples,
        "T": options.steps,
    }
    for engine in options.engines.split(","):
        results[engine] = measure(network, engine, options.steps)
        if options.output:
            options.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
