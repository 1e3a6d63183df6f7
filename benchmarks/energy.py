"""Energy of a spiking network relative to its ANN under each model: the table of docs/energy.md.

    python benchmarks/energy.py --shared FOLDER [--only NETWORK] [--samples 500]

Every row is one conversion by the rule of ``benchmarks/accuracy.py``; events are counted on the
first test samples. 0.31 (0.31-0.52): SNN / ANN, and its range over the model's variants.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from accuracy import NETWORKS

import onnx2snn
from onnx2snn.evaluation.ann import onnx_ann
from onnx2snn.evaluation.energy.models import MODELS
from onnx2snn.evaluation.energy.verdict import Verdict, verdicts

ROWS = (
    ("binary", 8),
    ("binary", 32),
    ("signed", 16),
    ("graded", 4),
    ("differential", 8),
    ("few-spike", 4),
    ("few-spike", 5),
    ("ttfs", 16),
    ("ttfs", 32),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--only", action="append", choices=list(NETWORKS))
    given = parser.parse_args()
    names = "".join(f"{model(8).name:>22}" for model in MODELS)
    print(
        f"{'network':20} {'recipe':13} {'T':>3} {'gap':>6} {'sp/n':>5} {'sp/syn':>6}{names}  turns"
    )
    for network in given.only or ("resnet20", "mnist_lenet_avgpool", "kws_dscnn"):
        data, preprocessing = NETWORKS[network]
        model = onnx2snn.load_onnx(given.shared / "models" / f"{network}.onnx")
        file = given.shared / "data" / f"{data}.npz"
        calibration = onnx2snn.load_samples(f"{file}:x_calib", model, preprocessing)
        test = onnx2snn.load_samples(
            f"{file}:x_test,y_test", model, preprocessing, limit=given.samples
        )
        for recipe, steps in ROWS:
            options: dict[str, Any] = {"recipe": recipe, "steps": steps}
            net = onnx2snn.convert(model, calibration, **options)
            found = onnx2snn.evaluate(net, test, steps, onnx_ann(model, net), first=steps)
            judged, point = verdicts(found.events), found.points[-1]
            assert found.ann_accuracy is not None and point.accuracy is not None
            print(
                f"{network:20} {recipe:13} {steps:3d} "
                f"{100 * (found.ann_accuracy - point.accuracy):6.2f} "
                f"{found.events.spikes_per_neuron:5.2f} {found.events.spikes_per_synapse:6.2f}"
                f"{''.join(map(_cell, judged))}  {judged[-1].turns_at:.2f}",
                flush=True,
            )


def _cell(verdict: Verdict) -> str:
    return f"{verdict.ratio:8.2f} ({verdict.low:5.2f}-{verdict.high:5.2f})"


if __name__ == "__main__":
    main()
