"""Points below the ANN per network, recipe and T: the accuracy table, as text and JSON.

    python benchmarks/accuracy.py --shared FOLDER [--only NETWORK] [--seed 0] [-o FILE]
        [--row RECIPE:T ...] [--with OPTION=VALUE ...]

FOLDER holds ``models/*.onnx`` and ``data/*.npz`` with x_test, y_test and x_calib. Every row is one
conversion with the same rule for every network; calibration sees x_calib only, and no labels.
``--row`` measures these instead (a row without a bar has 'nan' there), ``--with`` converts with
other options, such as ``--with encoding=population:16``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import onnx2snn
from onnx2snn import Preprocessing
from onnx2snn.evaluation.ann import onnx_ann
from onnx2snn.experiments.plan import parse_grid

CIFAR = Preprocessing(
    scale=255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), layout="NHWC"
)
IMAGENET = Preprocessing(scale=255, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, layout="NHWC")
MNIST = Preprocessing(scale=255, layout="NHWC")
NETWORKS = {
    "resnet20": ("cifar10", CIFAR),
    "resnet20_bn": ("cifar10", CIFAR),
    "resnet32": ("cifar10", CIFAR),
    "mnist_lenet_avgpool": ("mnist", MNIST),
    "mnist_lenet_maxpool": ("mnist", MNIST),
    "mnist_mlp": ("mnist", MNIST),
    "kws_dscnn": ("kws_dscnn", Preprocessing()),
    "efficientnet_lite0": ("imagenet_sample", IMAGENET),
}
# (recipe, T, lag): bar in points below the ANN
RESNETS = {
    ("binary", 8, 0): 12.0,
    ("binary", 16, 0): 4.0,
    ("binary", 32, 0): 1.0,
    ("binary", 8, 4): 2.5,
    ("binary", 16, 8): 1.0,
    ("binary", 32, 16): 0.5,
    ("signed", 8, 0): 3.0,
    ("signed", 16, 0): 1.0,
    ("signed", 32, 0): 0.5,
    ("graded", 2, 0): 1.5,
    ("graded", 4, 0): 0.7,
    ("graded", 8, 0): 0.3,
    ("differential", 4, 0): 1.5,
    ("differential", 8, 0): 0.7,
    ("differential", 16, 0): 0.4,
}
SMALL_DROP = {3: 0.3, 4: 0.2, 5: 0.1, 8: 0.1}, {8: 0.3, 16: 0.2, 32: 0.1}
CODES: dict[str, tuple[dict[int, float], dict[int, float]]] = {  # few-spike, ttfs: bars by T
    "resnet20": ({3: 1.5, 4: 0.5, 5: 0.3, 8: 0.2}, {8: 1.5, 16: 0.5, 32: 0.3}),
    "resnet32": ({3: 2.5, 4: 0.6, 5: 0.4, 8: 0.2}, {8: 2.5, 16: 0.6, 32: 0.4}),
    "kws": ({3: 2.0, 4: 1.0, 5: 0.5, 8: 0.3}, {8: 2.0, 16: 1.0, 32: 0.5}),
    "mnist": SMALL_DROP,
    "efficientnet": ({4: 2.5, 5: 1.0, 8: 0.5}, {16: 2.5, 32: 1.0}),
}
BARS: dict[str, dict[tuple[str, int, int], float]] = {
    "resnet": RESNETS,
    "mnist": {("binary", 4, 0): 0.7, ("binary", 8, 0): 0.3, ("binary", 16, 0): 0.2},
    "kws": {
        ("binary", 16, 0): 3.0,
        ("binary", 32, 0): 1.5,
        ("signed", 8, 0): 2.0,
        ("signed", 16, 0): 1.0,
        ("signed", 32, 0): 0.5,
    },
    "efficientnet": {
        ("binary", 32, 0): 6.0,
        ("binary", 64, 0): 3.0,
        ("binary", 16, 8): 2.0,
        ("signed", 16, 0): 3.0,
        ("graded", 4, 0): 1.0,
        ("differential", 8, 0): 1.0,
    },
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured point. ``gap`` and ``bar`` in points below the ANN; ``latency`` in steps."""

    network: str
    recipe: str
    T: int
    lag: int
    gap: float
    bar: float
    agreement: float
    spikes_per_neuron: float
    synops_per_sample: float
    latency: int
    samples: int
    seconds: float


def bars_of(network: str) -> dict[tuple[str, int, int], float]:
    """By recipe, T and lag."""
    bars = next((bars for prefix, bars in BARS.items() if network.startswith(prefix)), {})
    codes = next(codes for prefix, codes in CODES.items() if network.startswith(prefix))
    windows = zip(("few-spike", "ttfs"), codes, strict=True)
    return {**bars, **{(name, t, 0): bar for name, by_t in windows for t, bar in by_t.items()}}


def measure(
    shared: Path,
    network: str,
    samples: int,
    seed: int,
    *,
    recipes: tuple[str, ...] = (),
    chosen: tuple[tuple[str, int], ...] = (),
    others: dict[str, Any] | None = None,
) -> Iterator[Row]:
    """All rows of one network; ``recipes``: of these only; ``chosen``: these, whether they have a
    bar or not; ``others``: further options of the conversion."""
    data, preprocessing = NETWORKS[network]
    model = onnx2snn.load_onnx(shared / "models" / f"{network}.onnx")
    file = shared / "data" / f"{data}.npz"
    calibration = onnx2snn.load_samples(f"{file}:x_calib", model, preprocessing)
    test = onnx2snn.load_samples(f"{file}:x_test,y_test", model, preprocessing, limit=samples)
    rows = bars_of(network)
    if chosen:
        rows = {(*row, 0): rows.get((*row, 0), float("nan")) for row in chosen}
    for (recipe, steps, lag), bar in rows.items():
        if recipes and recipe not in recipes:
            continue
        began = perf_counter()
        options: dict[str, Any] = {"recipe": recipe, "steps": steps, "lag": lag, "seed": seed}
        options |= others or {}
        net = onnx2snn.convert(model, calibration, **options)
        found = onnx2snn.evaluate(net, test, steps, onnx_ann(model, net), first=steps)
        point = found.points[-1]
        assert found.ann_accuracy is not None and point.accuracy is not None
        yield Row(
            network=network,
            recipe=recipe,
            T=steps,
            lag=lag,
            gap=100 * (found.ann_accuracy - point.accuracy),
            bar=bar,
            agreement=point.agreement or 0.0,
            spikes_per_neuron=point.spikes_per_neuron,
            synops_per_sample=point.synops_per_sample,
            latency=point.latency,
            samples=found.samples,
            seconds=perf_counter() - began,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", action="append", choices=list(NETWORKS))
    parser.add_argument("--recipe", action="append", default=[], help="of this recipe only")
    parser.add_argument("--row", action="append", default=[], metavar="RECIPE:T")
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0, help="of what calibration draws")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    recipes = tuple(given.recipe)
    chosen = tuple((r, int(t)) for r, t in (row.split(":") for row in given.row))
    others = {name: values[0] for name, values in parse_grid(given.others).items()}
    print(
        f"{'network':20} {'recipe':13} {'T':>3} {'lag':>3} {'gap':>6} {'bar':>5} {'agree':>6} "
        f"{'spikes/n':>8} {'Msynops':>8} {'latency':>7} {'s':>5}"
    )
    rows = []
    for network in given.only or NETWORKS:
        for row in measure(
            given.shared,
            network,
            given.samples,
            given.seed,
            recipes=recipes,
            chosen=chosen,
            others=others,
        ):
            rows.append(row)
            print(
                f"{row.network:20} {row.recipe:13} {row.T:3d} {row.lag:3d} {row.gap:6.2f} "
                f"{row.bar:5.1f} {100 * row.agreement:6.1f} {row.spikes_per_neuron:8.2f} "
                f"{row.synops_per_sample / 1e6:8.1f} {row.latency:7d} {row.seconds:5.0f}",
                flush=True,
            )
    if given.output:
        given.output.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
