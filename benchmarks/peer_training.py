"""Conversion, `finetune` and SpikingJelly's training from one start, in one amount of time.

    python benchmarks/peer_training.py --shared FOLDER --work FOLDER [--model NAME] [-T STEPS]
        [--epochs N] [--python PYTHON]

Converts the model (`binary`) on seven of eight calibration samples and trains what comes out in two
ways: with `finetune`, and with SpikingJelly's IF neurons (``peer_trainer.py``, in an environment of
its own), both with the ANN as teacher, the same samples, variations and held-out eighth. `finetune`
trains for ``--epochs``, the peer for as much processor time, on one thread each. The peer's network
is ours with thresholds folded into weights (``peers.unit_thresholds``), so both begin alike (the
peer's right answers before training are printed too). Test data are looked at once, at the end.
What is done is kept in ``--work``; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from finetune import IMAGES
from learning import share
from networks import REAL
from peers import environment, unit_thresholds, write

import onnx2snn
from onnx2snn import Samples
from onnx2snn.runtime.graph import SpikingGraph
from onnx2snn.runtime.semantics.samples import spread_over

HELD, PEER_RATE = 8, 1e-4


@dataclass(frozen=True, eq=False)
class Start:
    """What both train: the network, samples of which every ``HELD``-th judges, and test data."""

    network: SpikingGraph
    teacher: SpikingGraph
    calib: Samples
    test: Samples
    steps: int


def started(shared: Path, model: str, steps: int) -> Start:
    name, data, preprocessing = REAL[model]
    ann = onnx2snn.load_onnx(shared / "models" / name)
    calib = onnx2snn.load_samples(f"{shared / 'data' / data}:x_calib", ann, preprocessing)
    learn = calib.at(~held(calib))
    options = {"recipe": "binary", "steps": steps, "copies": 1}
    network = onnx2snn.convert(ann, learn, **options)
    test = onnx2snn.load_samples(f"{shared / 'data' / data}:x_test,y_test", ann, preprocessing)
    return Start(network, onnx2snn.convert(ann, learn, tune=False, **options), calib, test, steps)


def held(samples: Samples) -> np.ndarray:
    """Marks of what `finetune` holds back with a share of 1 / HELD."""
    marks = np.zeros(len(samples), bool)
    marks[spread_over(len(samples), most=round(len(samples) / HELD))] = True
    return marks


def handed_over(start: Start, folder: Path, images: bool) -> None:
    write(unit_thresholds(start.network), folder / "start")
    write(unit_thresholds(start.teacher), folder / "teacher")
    x, marks = next(iter(start.calib.whole().values())), held(start.calib)
    test = next(iter(start.test.whole().values()))
    np.savez(folder / "data.npz", learn=x[~marks], held=x[marks], test=test)
    (folder / "about.json").write_text(json.dumps({"steps": start.steps, "images": images}))


def ours(start: Start, folder: Path, epochs: int, augment: tuple[str, ...]) -> dict[str, float]:
    """Right answers of the network before and after, and the processor time that training took."""
    kept = folder / "ours.json"
    if kept.exists():
        return json.loads(kept.read_text())
    options = {
        "epochs": epochs,
        "patience": epochs,
        "augment": augment,
        "hold_out": 1 / HELD,
        "checkpoint": folder / "ours",
    }
    done = onnx2snn.finetune(start.network, start.calib, threads=1, **options)
    before, after = (_right(network, start) for network in (start.network, done.network))
    found = {"before": before, "after": after, "seconds": done.processor_seconds}
    kept.write_text(json.dumps(found))
    return found


def _right(network: SpikingGraph, start: Start) -> int:
    point = onnx2snn.evaluate(network, start.test, start.steps, first=start.steps).points[-1]
    assert point.accuracy is not None
    return round(point.accuracy * len(start.test))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shared", type=Path, required=True, help="with models/ and data/")
    parser.add_argument("--work", type=Path, required=True, help="what is done is kept here")
    parser.add_argument("--model", choices=[*REAL], default="resnet20")
    parser.add_argument("-T", "--steps", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=6, help="of finetune")
    parser.add_argument("--rate", type=float, default=PEER_RATE, help="of the peer")
    parser.add_argument("--python", type=Path, help="of the peer's environment [made in --work]")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    start = started(given.shared, given.model, given.steps)
    augment = IMAGES if given.model.startswith("resnet") else ()
    mine = ours(start, given.work, given.epochs, augment)
    if not (given.work / "answers.npz").exists():
        handed_over(start, given.work, images=bool(augment))
        python = given.python or environment(given.work / "peer")
        trainer = Path(__file__).with_name("peer_trainer.py")
        command = [python, trainer, given.work, mine["seconds"], given.rate]
        subprocess.run([str(part) for part in command], check=True)
    answers, labels = np.load(given.work / "answers.npz"), start.test.labels
    theirs = {k: int((answers[k].argmax(1) == labels).sum()) for k in answers.files}
    total = len(start.test)
    print(f"{given.model}, T={given.steps}: ANN {share(theirs['ann'], total)}")
    print(f"  conversion alone: {share(mine['before'], total)} (the peer: {theirs['before']})")
    print(f"  finetune, {mine['seconds']:.0f} s of processor time: {share(mine['after'], total)}")
    print(f"  SpikingJelly, as long: {share(theirs['after'], total)}")


if __name__ == "__main__":
    main()
