"""Do the engines agree? Spikes and readouts of converted networks, engine against engine.

    python benchmarks/agreement.py --shared FOLDER [--samples 40] [--engine torch]

FOLDER holds ``models/*.onnx`` and ``data/*.npz``. Every network is converted (on few samples: this
is about arithmetic, not accuracy) and run by the definition (the engine "numpy"), by the fast one,
where numba is installed driven by spikes too, where PyTorch is by that, and as the saved file in
ONNX Runtime alone. The table compares them with the definition in tiles of another size: the
largest difference of a readout after any step, relative to the readouts' range; the share of spike
counts (per layer and step) that differ, for the file that of samples with a readout that differs
by 1e-3 of the range; and the spikes of the definition.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import NETWORKS

import onnx2snn
from onnx2snn.runtime.engine import SimulationResult, simulate
from onnx2snn.runtime.file import to_model
from onnx2snn.runtime.graph import Readout, SpikingGraph
from onnx2snn.runtime.onnx_runtime import onnx_runtime

ort = onnx_runtime()
FILE = "file, ONNX Runtime"
BUNDLED = "digits_cnn"  # in the repository's ``models``
MODELS = Path(__file__).resolve().parents[1] / "models"
DIGITS = onnx2snn.Preprocessing(scale=16, layout="NHWC")
CASES = (
    ({"recipe": "binary"}, 16),
    ({"recipe": "signed"}, 16),
    ({"recipe": "graded"}, 4),
    ({"recipe": "differential"}, 8),
    ({"recipe": "differential"}, 11),
    ({"recipe": "synchronous"}, 8),
    ({"recipe": "few-spike"}, 8),
    ({"recipe": "ttfs"}, 16),
    ({"lag": 4}, 8),
    ({"lag": 4, "pace": False}, 8),
)


def difference(a: SimulationResult, b: SimulationResult) -> tuple[float, float]:
    """Largest difference of a readout relative to their range, and share of the spike counts that
    differ."""
    readout = max(float(np.abs(b.readouts[k] - x).max() / np.ptp(x)) for k, x in a.readouts.items())
    spikes = sum(float(np.abs(b.spikes[k] - x).sum()) for k, x in a.spikes.items())
    return readout, spikes / sum(float(x.sum()) for x in a.spikes.values())


def file_difference(
    network: SpikingGraph, inputs: dict[str, np.ndarray], steps: int, result: SimulationResult
) -> tuple[float, float]:
    """The same for the saved file: the largest difference, and the share of samples that differ."""
    session = ort.InferenceSession(to_model(network).SerializeToString())
    answers = session.run(
        [r.name for r in network.of(Readout)], inputs | {"steps": np.array([steps])}
    )
    off = [
        np.abs(answer - result.readouts[r.name]) / np.ptp(result.readouts[r.name])
        for r, answer in zip(network.of(Readout), answers, strict=True)
    ]
    worst = np.max([x.reshape(len(x), len(x[0]), -1).max(axis=(0, 2)) for x in off], axis=0)
    return float(worst.max()), float((worst > 1e-3).mean())


def engines() -> dict[str, dict]:
    """What is compared with the definition: options of ``simulate``."""
    found: dict[str, dict] = {
        "numpy, other tiles": {"engine": "numpy", "tile": 4, "block": 3},
        "fast": {"events": "never"},
    }
    if find_spec("numba") is not None:
        found |= {"fast, chosen": {}, "fast, all events": {"events": "always"}}
    if find_spec("torch") is not None:
        found["torch"] = {"engine": "torch"}
    return found


def loaded(name: str, shared: Path, given: argparse.Namespace) -> tuple[Any, Any, Any]:
    """A model, samples for calibration, and samples."""
    if name == BUNDLED:
        model = onnx2snn.load_onnx(MODELS / f"{name}.onnx")
        file, preprocessing = MODELS / "digits.npz", DIGITS
    else:
        data, preprocessing = NETWORKS[name]
        model = onnx2snn.load_onnx(shared / "models" / f"{name}.onnx")
        file = shared / "data" / f"{data}.npz"
    calib = onnx2snn.load_samples(f"{file}:x_calib", model, preprocessing, limit=given.calib)
    return (
        model,
        calib,
        onnx2snn.load_samples(f"{file}:x_test", model, preprocessing, limit=given.samples),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--calib", type=int, default=64, help="samples to convert on")
    parser.add_argument("--only", action="append", choices=[BUNDLED, *NETWORKS])
    parser.add_argument("--engine", action="append", choices=[*engines(), FILE])
    parser.add_argument("--no-tune", action="store_true", help="convert without calibration")
    given = parser.parse_args()
    head = ("readout", "differ", "spikes")
    print(
        f"{'network':20} {'recipe':13} {'T':>3} {'engine':22} " + " ".join(f"{h:>9}" for h in head)
    )
    tune = not given.no_tune
    for name in given.only or [BUNDLED, *NETWORKS]:
        model, calibration, test = loaded(name, given.shared, given)
        for options, steps in CASES:
            recipe = ", ".join(f"{v}" if k == "recipe" else f"{k} {v}" for k, v in options.items())
            network = onnx2snn.convert(model, calibration, steps=steps, tune=tune, **options)
            first = simulate(network, test.whole(), steps, engine="numpy")
            spikes = sum(int(x.sum()) for x in first.spikes.values())

            for engine in given.engine or [*engines(), FILE]:
                if engine == FILE:
                    found = file_difference(network, test.whole(), steps, first)
                else:
                    other = simulate(network, test.whole(), steps, **engines()[engine])
                    found = difference(first, other)
                numbers = f"{found[0]:9.1e} {found[1]:9.1e} {spikes:9d}"
                print(f"{name:20} {recipe:13} {steps:3d} {engine:22} {numbers}", flush=True)


if __name__ == "__main__":
    main()
