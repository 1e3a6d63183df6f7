"""Accuracy on the chips' integers against the floating-point SNN: the table, a row at a time.

    python benchmarks/chips.py --shared FOLDER [--only TEXT ...] [--samples N] [--held-back]
        [--option KEY=VALUE ...] [-o FOLDER]

FOLDER of ``--shared`` holds ``models/*.onnx`` and ``data/*.npz`` with x_test, y_test and x_calib. A
row is a network, chip, recipe and T: the conversion and the chip's integers see x_calib only, and
no labels. ``--held-back`` judges on the last third of x_calib instead, and converts and fits on the
rest: what settings are chosen by. In the folder of ``-o`` every row is kept as JSON as it is done,
and left out of later runs; converted networks and the answers of the floating-point network are
kept too. ``--only`` takes rows whose names contain all of its words.

Gaps are points below the floating-point SNN with a 95 % interval of the paired difference.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from accuracy import NETWORKS

import onnx2snn
from onnx2snn import Preprocessing
from onnx2snn.hwtargets import chip_view, load_target, mapping_of
from onnx2snn.runtime.engine import make_engine
from onnx2snn.runtime.graph import SpikingGraph
from onnx2snn.runtime.semantics.intervals import paired_points

DATA = {
    **NETWORKS,
    "fsdd_mlp16_63x2_8cls": ("fsdd_band16", Preprocessing()),
    "fsdd_mlp16_63": ("fsdd_band16", Preprocessing()),
}
CONVERSION: dict[str, dict[str, Any]] = {"mnist_lenet_maxpool": {"maxpool": "tree"}}
CALIBRATION = 256  # most samples of a conversion's calibration; the integers take what they want


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is asked: ``bar`` in points below the floating-point SNN; ``samples``: most of them."""

    network: str
    chip: str
    recipe: str
    steps: int
    bar: float
    samples: int = 2000
    options: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.network}.{self.chip}.{self.recipe}.T{self.steps}"


def _cases() -> Iterator[Case]:
    forms = {"loihi2": (("binary", 32), ("signed", 32), ("graded", 8)), "loihi1": (("binary", 32),)}
    bars = {
        "mnist_lenet_avgpool": 0.5, "mnist_lenet_maxpool": 0.5, "kws_dscnn": 1.0,
        "resnet20": 0.5, "resnet32": 0.5,
    }  # fmt: skip
    for network, bar in bars.items():
        for chip, rows in forms.items():  # Loihi 1 has neither signed nor graded spikes
            for recipe, steps in rows:
                yield Case(network=network, chip=chip, recipe=recipe, steps=steps, bar=bar)
    for network, chip in (
        ("fsdd_mlp16_63x2_8cls", "xylo-audio2"),
        ("fsdd_mlp16_63", "xylo-audio3"),
        ("fsdd_mlp16_63", "xylo-imu"),
    ):
        yield Case(network=network, chip=chip, recipe="binary", steps=32, bar=2.0)
    yield Case(
        network="resnet20", chip="truenorth", recipe="binary", steps=128, bar=3.0, samples=500,
        options=(("coding", "axons4"), ("calibration", "64"), ("emit", "0"), ("compare", "false")),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sets:
    """Samples as the network takes them: to calibrate on, and to judge by with their labels."""

    calibration: np.ndarray
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Row:
    """``ann``, ``snn``, ``chip``: accuracy, fractions; ``gap``, ``low``, ``high``: points of the
    chip below the SNN; ``agreement``: share of samples with the SNN's class on the chip."""

    case: Case
    ann: float
    snn: float
    chip: float
    gap: float
    low: float
    high: float
    agreement: float
    samples: int
    held_back: bool
    seconds: float

    @property
    def line(self) -> str:
        case = self.case
        verdict = "within" if self.gap <= case.bar else "OVER"
        return (
            f"{case.network:21} {case.chip:12} {case.recipe:7} {case.steps:4d} "
            f"{100 * self.ann:7.2f} {100 * self.snn:7.2f} {100 * self.chip:7.2f} "
            f"{self.gap:6.2f} [{self.low:5.2f}, {self.high:5.2f}] {case.bar:4.1f} {verdict:6} "
            f"{100 * self.agreement:6.1f} {self.samples:5d} {self.seconds:6.0f}"
        )


HEAD = (
    f"{'network':21} {'chip':12} {'recipe':7} {'T':>4} {'ANN':>7} {'SNN':>7} {'chip':>7} "
    f"{'gap':>6} {'95 %':>14} {'bar':>4} {'':6} {'agree':>6} {'n':>5} {'s':>6}"
)


def read(shared: Path, case: Case, *, held_back: bool, samples: int) -> tuple[Any, Sets]:
    """The model, and its samples."""
    data, preprocessing = DATA[case.network]
    model = onnx2snn.load_onnx(shared / "models" / f"{case.network}.onnx")
    file = shared / "data" / f"{data}.npz"

    def load(keys: str, limit: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        found = onnx2snn.load_samples(f"{file}:{keys}", model, preprocessing, limit=limit)
        return next(iter(found.whole().values())), found.labels

    calibration, hints = load("x_calib,y_calib")
    if case.network.endswith("8cls"):
        calibration, hints = calibration[hints < 8], hints[hints < 8]
    if held_back:
        kept = 2 * len(calibration) // 3
        x, y = calibration[kept:], hints[kept:]
        calibration = calibration[:kept]
    else:
        x, y = load("x_test,y_test")
        if case.network.endswith("8cls"):
            x, y = x[y < 8], y[y < 8]
    return model, Sets(calibration, x[:samples], np.asarray(y)[:samples].reshape(-1))


def converted(model: Any, case: Case, sets: Sets, path: Path) -> SpikingGraph:
    """The conversion, or what an earlier run of it left at ``path``."""
    if path.exists():
        return onnx2snn.load(path)
    options = CONVERSION.get(case.network, {})
    x = sets.calibration if case.chip.startswith("xylo") else sets.calibration[:CALIBRATION]
    graph = onnx2snn.convert(model, x, recipe=case.recipe, steps=case.steps, **options)
    onnx2snn.save(graph, path)
    return graph


def answered(graph: SpikingGraph, case: Case, x: np.ndarray, path: Path) -> np.ndarray:
    """Classes of the floating-point network on samples, or those kept at ``path``."""
    if path.exists() and len(kept := np.load(path)) >= len(x):
        return kept[: len(x)]
    engine = make_engine("fast", threads=1)
    parts = [
        classes(next(iter(found.readouts.values()))[-1])
        for i in range(0, len(x), 100)
        for found in [engine.run(graph, x[i : i + 100], case.steps, at=[case.steps])]
    ]
    np.save(path, np.concatenate(parts))
    return np.concatenate(parts)


def classes(answers: np.ndarray) -> np.ndarray:
    return answers.reshape(len(answers), -1).argmax(1)


def measure(shared: Path, case: Case, folder: Path, *, held_back: bool, samples: int) -> Row:
    """Convert, fit and run one row."""
    began = perf_counter()
    model, sets = read(shared, case, held_back=held_back, samples=min(samples, case.samples))
    half = ".held_back" if held_back else ""
    stem = folder / f"{case.network}.{case.recipe}.T{case.steps}{half}"
    graph = converted(model, case, sets, stem.with_name(stem.name + ".snn.onnx"))
    snn = answered(graph, case, sets.x, stem.with_name(stem.name + ".npy"))
    (scores,) = onnx2snn.onnx_ann(model, graph)({"input": sets.x}).values()
    target = load_target(case.chip)
    mapping = mapping_of(target)
    request = mapping.request(
        target, dict(case.options), steps=case.steps, calib=sets.calibration, x=None
    )
    found = mapping.step(chip_view(graph), target, request)
    if found.run is None:
        raise SystemExit(
            f"{case.name}: " + "; ".join(f"{v.node} {v.rule}" for v in found.violations)
        )
    chip = np.concatenate(
        [
            classes(found.run(sets.x[i : i + 100], case.steps).readout[-1])
            for i in range(0, len(sets.x), 100)
        ]
    )
    right = snn == sets.y, chip == sets.y
    lost, won = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    gap, low, high = paired_points(lost=lost, won=won, count=len(sets.x))
    return Row(
        case=case,
        ann=float(np.mean(classes(scores) == sets.y)),
        snn=float(right[0].mean()),
        chip=float(right[1].mean()),
        gap=gap,
        low=low,
        high=high,
        agreement=float(np.mean(snn == chip)),
        samples=len(sets.x),
        held_back=held_back,
        seconds=perf_counter() - began,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD")
    parser.add_argument("--samples", type=int, default=2000, help="most samples of a row")
    parser.add_argument("--held-back", action="store_true", help="judge on calibration samples")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    more = tuple(tuple(option.split("=", 1)) for option in given.option)
    with TemporaryDirectory() as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(HEAD)
        for case in _cases():
            if all(word in case.name for word in given.only):
                print(row(given, case, folder, more).line, flush=True)


def row(given: argparse.Namespace, case: Case, folder: Path, more: tuple[Any, ...]) -> Row:
    """From the folder, or measured now and put there."""
    said = "".join(f".{key}-{value}" for key, value in more) + ".held_back" * given.held_back
    path = folder / f"{case.name}{said}.n{min(given.samples, case.samples)}.json"
    if path.exists():
        kept = json.loads(path.read_text())
        return Row(**{**kept, "case": case})
    case = Case(**{**asdict(case), "options": (*case.options, *more)})
    found = measure(given.shared, case, folder, held_back=given.held_back, samples=given.samples)
    path.write_text(json.dumps(asdict(found), indent=1) + "\n")
    return found


if __name__ == "__main__":
    main()
