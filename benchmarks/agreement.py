"""Do the engines agree? Spikes and readouts of converted networks, engine against engine.

    python benchmarks/agreement.py --shared FOLDER [--samples 40]

FOLDER holds ``models/*.onnx`` and ``data/*.npz``. Every network is converted (on few samples: this
is about arithmetic, not accuracy) and run by the NumPy engine, by ONNX Runtime's kernels, and where
numba is installed driven by spikes; the table has the largest difference of a readout after any
step, relative to the readouts' range, and the spike counts (per layer and step) that differ.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from accuracy import NETWORKS

import onnx2snn
from onnx2snn.converter.onnxfile import synapse_models
from onnx2snn.runtime.engine import SimulationResult, Simulator

CASES = (("binary", 16), ("signed", 16), ("graded", 4), ("differential", 8))


def difference(a: SimulationResult, b: SimulationResult) -> tuple[float, float]:
    """Largest difference of a readout relative to their range, and share of the spike counts that
    differ."""
    readout = max(float(np.abs(b.readouts[k] - x).max() / np.ptp(x)) for k, x in a.readouts.items())
    spikes = sum(float(np.abs(b.spikes[k] - x).sum()) for k, x in a.spikes.items())
    return readout, spikes / sum(float(x.sum()) for x in a.spikes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--only", action="append", choices=list(NETWORKS))
    given = parser.parse_args()
    print(f"{'network':20} {'recipe':13} {'T':>3} {'engine':22} {'readout':>9} {'spikes':>9}")
    for name in given.only or NETWORKS:
        data, preprocessing = NETWORKS[name]
        model = onnx2snn.load_onnx(given.shared / "models" / f"{name}.onnx")
        file = given.shared / "data" / f"{data}.npz"
        calibration = onnx2snn.load_samples(f"{file}:x_calib", model, preprocessing, limit=64)
        test = onnx2snn.load_samples(f"{file}:x_test", model, preprocessing, limit=given.samples)
        for recipe, steps in CASES:
            network = onnx2snn.convert(model, calibration, recipe=recipe, steps=steps)
            kernels = synapse_models(network)
            engines = {
                "numpy, other tiles": Simulator(network, events="never", tile=4, block=3),
                "onnxruntime": Simulator(network, events="never", kernels=kernels),
            }
            if find_spec("numba") is not None:
                engines["numpy, events"] = Simulator(network, events="always")
            first = Simulator(network, events="never").run(test.whole(), steps)
            for engine, simulator in engines.items():
                readout, spikes = difference(first, simulator.run(test.whole(), steps))
                print(
                    f"{name:20} {recipe:13} {steps:3d} {engine:22} {readout:9.1e} {spikes:9.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
