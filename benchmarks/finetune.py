"""Fine-tuning with surrogate gradients: what it wins back from calibration samples without labels.

    python benchmarks/finetune.py --shared FOLDER [--only NAME] [--epochs N] [--test N] [--choose]
    python benchmarks/finetune.py --shared FOLDER --front [--epochs N] [--test N]

Every row converts a model on those of its calibration samples that are learned from, fine-tunes the
network on them with the ANN inside it as teacher, and runs both on the test data. An eighth of the
calibration samples is held out: they choose the epoch, and the conversion did not see them.
``--choose`` looks at held-out calibration samples of the keywords only: surrogates, widths and what
else was compared. ``--front``: the row resnet20-ttfs at several prices of a spike, and its
conversion, on held-out calibration samples and on test data. ``--epochs``: fewer than the row's
own, for a look; ``--test``: so many of the test samples, the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from networks import REAL

import onnx2snn
from onnx2snn.converter.finetuning.settings import Settings
from onnx2snn.evaluation.evaluate import Point
from onnx2snn.provenance.finetuned import split
from onnx2snn.runtime.graph import SpikingGraph

IMAGES = ("flip", "shift:2", "cut:0.5")

NEAR = {"average": 0.9, "rate": 0.0005, "augment": IMAGES}  # conversion lost little


@dataclass(frozen=True)
class Row:
    """``model``: of ``networks.REAL``; ``options``: of `finetune`."""

    model: str
    recipe: str
    steps: int
    options: Mapping[str, Any]


ROWS: Mapping[str, Row] = {
    "resnet20-4": Row(
        "resnet20",
        "binary",
        4,
        {"epochs": 14, "patience": 14, "average": 0.9, "rate": 0.003, "augment": IMAGES},
    ),
    "resnet20-8": Row("resnet20", "binary", 8, {"epochs": 24, **NEAR}),
    "resnet32-8": Row("resnet32", "binary", 8, {"epochs": 14, **NEAR}),
    "kws-4": Row(
        "kws",
        "signed",
        4,
        {"epochs": 60, "patience": 60, "augment": ("mix:0.8", "noise:0.2")},
    ),
    "resnet20-ttfs": Row(
        "resnet20",
        "ttfs",
        16,
        {
            "epochs": 10,
            "patience": 10,
            "rate": 0.001,
            "match": 0.0,
            "average": 0.9,
            "spike_target": 0.3,
            "spike_penalty": 20.0,
            "augment": IMAGES,
        },
    ),
}
PRICES = (5.0, 20.0, 80.0)  # of the front
COMPARED: tuple[Mapping[str, Any], ...] = (
    {"width": 0.5},
    {"width": 0.25},
    {"width": 1.0},
    {"width": 0.5, "surrogate": "triangle"},
    {"width": 0.5, "surrogate": "sigmoid"},
    {"width": 0.5, "detach": True},
    {"width": 0.5, "match": 0.0},
    {"width": 0.5, "rate": 0.005},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shared", type=Path, required=True, help="with models/ and data/")
    parser.add_argument("--only", choices=[*ROWS], help="one row")
    parser.add_argument("--epochs", type=int, help="at most")
    parser.add_argument("--choose", action="store_true", help="calibration data only")
    parser.add_argument("--threads", type=int, help="of PyTorch")
    parser.add_argument("--test", type=int, help="so many test samples")
    parser.add_argument("--front", action="store_true", help="accuracy against spikes")
    given = parser.parse_args()
    more = {"epochs": given.epochs, "threads": given.threads}
    more = {key: value for key, value in more.items() if value}
    if given.choose:
        lines = choose(given.shared)
    elif given.front:
        lines = front(given.shared, more, given.test)
    else:
        lines = rows(given.shared, given.only, more, given.test)
    for line in lines:
        print(line, flush=True)


def converted(shared: Path, row: Row) -> tuple[SpikingGraph, str]:
    """The network, and where its data are."""
    name, data, preprocessing = REAL[row.model]
    model = onnx2snn.load_onnx(shared / "models" / name)
    where = f"{shared / 'data' / data}"
    samples = onnx2snn.load_samples(f"{where}:x_calib", model, preprocessing)
    learned, _ = split(samples, row.options.get("hold_out", Settings().hold_out))
    return onnx2snn.convert(model, samples.at(learned), recipe=row.recipe, steps=row.steps), where


def rows(
    shared: Path, only: str | None, more: Mapping[str, int], limit: int | None
) -> Iterator[str]:
    for name in [only] if only else ROWS:
        row = ROWS[name]
        network, where = converted(shared, row)
        done = onnx2snn.finetune(network, f"{where}:x_calib", **{**row.options, **more})
        test = onnx2snn.load_samples(f"{where}:x_test,y_test", network, limit=limit)
        ann, before = judged(network, test, row.steps)
        after = judged(done.network, test, row.steps)[1]
        yield (
            f"{name}: ANN {100 * ann:.1f}, converted {shown(before)}, fine-tuned {shown(after)}; "
            f"{len(done.history) - 1} epochs, {done.processor_seconds:.0f} s of processor time, "
            f"{done.seconds:.0f} s{', kept as it was' if done.kept else ''}"
        )


def front(shared: Path, more: Mapping[str, int], limit: int | None) -> Iterator[str]:
    """What the spikes of a time code cost: each price from the same conversion."""
    row = ROWS["resnet20-ttfs"]
    network, where = converted(shared, row)
    test = onnx2snn.load_samples(f"{where}:x_test,y_test", network, limit=limit)
    ann, point = judged(network, test, row.steps)
    yield f"ANN {100 * ann:.1f}, converted {shown(point)}"
    for price in PRICES:
        options = {**row.options, **more, "spike_penalty": price}
        done = onnx2snn.finetune(network, f"{where}:x_calib", **options)
        before, after = done.before, done.after
        yield (
            f"price {price:g}: held out as the ANN {100 * before.agreement:.1f} -> "
            f"{100 * after.agreement:.1f}, {before.spikes_per_neuron:.3f} -> "
            f"{after.spikes_per_neuron:.3f} spikes per neuron; test "
            f"{shown(judged(done.network, test, row.steps)[1])}; "
            f"{done.processor_seconds:.0f} s of processor time"
        )


def judged(network: SpikingGraph, test: Any, steps: int) -> tuple[float, Point]:
    found = onnx2snn.evaluate(network, test, steps, first=steps)
    assert found.ann_accuracy is not None
    return found.ann_accuracy, found.points[-1]


def shown(point: Point) -> str:
    assert point.accuracy is not None
    return f"{100 * point.accuracy:.1f} ({point.spikes_per_neuron:.2f} spikes per neuron)"


def choose(shared: Path) -> Iterator[str]:
    """Held-out loss and agreement after twelve epochs on the keywords, a quarter held out."""
    network, where = converted(shared, ROWS["kws-4"])
    for options in COMPARED:
        done = onnx2snn.finetune(
            network,
            f"{where}:x_calib",
            **{"epochs": 12, "average": 0, "hold_out": 0.25, "augment": ("mix:0.5",), **options},
        )
        last = done.history[-1]
        yield f"{options}: loss {last.held_loss:.3f}, agreement {100 * (last.held_score or 0):.1f}"


if __name__ == "__main__":
    main()
