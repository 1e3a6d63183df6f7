"""Layers that learn on converted networks: what they name right, and what learning took.

    python benchmarks/learning.py --shared FOLDER [--choose]

MNIST: a layer of 400 neurons on the last hidden population of the converted LeNets learns from the
512 calibration images by `stdp`, is named with the same, and is tested on the 2,000 test images.

fsdd: a layer of prototypes on a network trained on the digits 0 to 7 learns these from the
calibration samples, then 8 and 9 from five samples each (five draws), tested before and after on
all test samples of the old digits and of the new ones. Beside it a network that was trained on all
ten digits from the same values: what full training on them gives.

``--choose`` looks at calibration data only: settings on parts of it that are held back. The
defaults were chosen so; the test data were looked at once, with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

import onnx2snn
from onnx2snn import Preprocessing, Samples
from onnx2snn.runtime.graph import SpikingGraph
from onnx2snn.runtime.semantics.intervals import wilson

MNIST = Preprocessing(scale=255.0, layout="NHWC")
LENETS = ("mnist_lenet_avgpool", "mnist_lenet_maxpool")
OLD, NEW, SHOTS, DRAWS = range(8), (8, 9), 5, 5
FOLDS = 5
STDP: tuple[Mapping[str, float], ...] = (
    {},
    {"depression": 0.0},
    {"recovery": 0.001},
    {"rise": 0.1},
    {"total": 20.0},
)
PROTOTYPE: tuple[Mapping[str, float], ...] = (
    {},
    {"threshold": 4.0},
    {"threshold": 4.0, "inhibition": 8.0},
    {"novelty": 0.5},
    {"penalty": 0.5},
    {"rate": 0.3},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shared", type=Path, required=True, help="with models/ and data/")
    parser.add_argument("--choose", action="store_true", help="calibration data only")
    given = parser.parse_args()
    parts = (choose_stdp, choose_prototype) if given.choose else (mnist, fsdd)
    for part in parts:
        for row in part(given.shared):
            print(row, flush=True)


def converted(shared: Path, model: str, data: str, pre: Preprocessing, steps: int) -> SpikingGraph:
    loaded = onnx2snn.load_onnx(shared / "models" / f"{model}.onnx")
    calib = onnx2snn.load_samples(f"{shared}/data/{data}.npz:x_calib", loaded, pre)
    return onnx2snn.convert(loaded, calib, steps=steps, recipe="binary")


def samples(shared: Path, data: str, part: str, network: SpikingGraph) -> Samples:
    return onnx2snn.load_samples(f"{shared}/data/{data}.npz:x_{part},y_{part}", network)


def right(network: SpikingGraph, shown: Samples, steps: int) -> int:
    """How many of the samples it names right after its last step."""
    accuracy = onnx2snn.evaluate(network, shown, steps, first=steps).points[-1].accuracy
    assert accuracy is not None
    return round(accuracy * len(shown))


def share(count: int, total: int) -> str:
    low, high = wilson(count, count=total)
    return f"{100 * count / total:.1f} % of {total} ({100 * low:.1f}-{100 * high:.1f} %)"


def mnist(shared: Path) -> Iterator[str]:
    for model in LENETS:
        network = converted(shared, model, "mnist", MNIST, 16)
        calib = samples(shared, "mnist", "calib", network)
        test = samples(shared, "mnist", "test", network)
        done = onnx2snn.learn(network, calib, rule="stdp")
        shown, events = done.samples * done.passes, done.events
        yield (
            f"{model}, stdp, {done.neurons} neurons ({done.named} named): "
            f"{share(right(done.network, test, 16), len(test))}; learned from {done.samples} "
            f"images {done.passes} times in {done.seconds:.1f} s; per presentation "
            f"{events.spikes_in / shown:.0f} spikes in, {events.spikes_out / shown:.1f} out, "
            f"{events.updates / shown:.0f} weights written; the converted network itself: "
            f"{share(right(network, test, 16), len(test))}"
        )


def fsdd(shared: Path) -> Iterator[str]:
    network = converted(shared, "fsdd_mlp16_63x2_8cls", "fsdd_band16", Preprocessing(), 32)
    calib = samples(shared, "fsdd_band16", "calib", network)
    test = samples(shared, "fsdd_band16", "test", network)
    old, new = of_classes(test, OLD), of_classes(test, NEW)
    first = onnx2snn.learn(network, of_classes(calib, OLD), rule="prototype", neurons=128)
    before = right(first.network, old, 32)
    yield (
        f"fsdd, digits 0 to 7: converted network {share(right(network, old, 32), len(old))}; "
        f"{first.named} prototypes {share(before, len(old))}, {first.events.updates} weights "
        "written"
    )
    kept, named = [], []
    for draw in range(DRAWS):
        late = onnx2snn.learn(first.network, shots(calib, draw))
        kept.append(right(late.network, old, 32))
        named.append(right(late.network, new, 32))
        yield (
            f"  digits 8 and 9 from {SHOTS} samples each, draw {draw}: "
            f"{share(named[-1], len(new))}, {late.events.new_neurons} new prototypes; old digits "
            f"{100 * (before - kept[-1]) / len(old):+.1f} points lost"
        )
    yield (
        f"  mean of {DRAWS} draws: {100 * np.mean(named) / len(new):.1f} % of the new digits, "
        f"{100 * (before - np.mean(kept)) / len(old):.1f} points of the old ones lost"
    )
    ten = onnx2snn.load_onnx(shared / "models" / "fsdd_mlp16_63.onnx")
    calibrated = onnx2snn.convert(
        ten, onnx2snn.load_samples(f"{shared}/data/fsdd_band16.npz:x_calib", ten), steps=32
    )
    yield (
        "  a network trained on all ten digits, converted: "
        f"{share(right(calibrated, new, 32), len(new))} of the new digits, "
        f"{share(right(calibrated, old, 32), len(old))} of the old ones"
    )


def choose_stdp(shared: Path) -> Iterator[str]:
    """Cross-validation on the calibration images."""
    network = converted(shared, LENETS[0], "mnist", MNIST, 16)
    calib = samples(shared, "mnist", "calib", network)
    fold = np.arange(len(calib)) % FOLDS
    for settings in STDP:
        count = 0
        for held in range(FOLDS):
            done = onnx2snn.learn(
                network, calib.at(fold != held), rule="stdp", settings=settings, seed=held
            )
            count += right(done.network, calib.at(fold == held), 16)
        yield f"stdp {dict(settings) or 'as it is'}: {share(count, len(calib))} held back"


def choose_prototype(shared: Path) -> Iterator[str]:
    """15 samples of every old digit and 5 of every new one are learned, the others held back."""
    network = converted(shared, "fsdd_mlp16_63x2_8cls", "fsdd_band16", Preprocessing(), 32)
    calib = samples(shared, "fsdd_band16", "calib", network)
    for at in ("/4/Relu", "/1/Relu"):
        for settings in PROTOTYPE:
            found = np.array([_held_back(network, calib, at, settings, n) for n in range(DRAWS)])
            old, lost, new = 100 * found.mean(axis=0)
            yield (
                f"prototype at {at} {dict(settings) or 'as it is'}: old {old:.1f} %, "
                f"{lost:.1f} points of them lost, new {new:.1f} %"
            )


def _held_back(
    network: SpikingGraph, calib: Samples, at: str, settings: Mapping[str, float], seed: int
) -> tuple[float, float, float]:
    few = drawn(calib, OLD, 15, seed)
    late = drawn(calib, NEW, SHOTS, seed)
    rest = np.setdiff1d(np.arange(len(calib)), np.concatenate([few, late]))
    old, new = (of_classes(calib.at(rest), which) for which in (OLD, NEW))
    first = onnx2snn.learn(
        network, calib.at(few), rule="prototype", at=at, neurons=128, settings=settings
    )
    then = onnx2snn.learn(first.network, calib.at(late))
    before, after = (right(n.network, old, 32) / len(old) for n in (first, then))
    return before, before - after, right(then.network, new, 32) / len(new)


def of_classes(all_samples: Samples, which: range | tuple[int, ...]) -> Samples:
    return all_samples.at(np.isin(all_samples.labels, [*which]))


def drawn(all_samples: Samples, which: range | tuple[int, ...], each: int, seed: int) -> np.ndarray:
    """The numbers of ``each`` samples of every class."""
    rng = np.random.default_rng(seed)
    numbers = [np.flatnonzero(all_samples.labels == c) for c in which]
    return np.concatenate([rng.permutation(of_class)[:each] for of_class in numbers])


def shots(calib: Samples, draw: int) -> Samples:
    return calib.at(drawn(calib, NEW, SHOTS, draw))


if __name__ == "__main__":
    main()
