"""Two runs beside each other: paired where both answered the same samples, else said why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from graphs import dyadic, residual_cnn

from onnx2snn.cli import main
from onnx2snn.data import Preprocessing, Samples
from onnx2snn.errors import DataError
from onnx2snn.evaluation import answers
from onnx2snn.evaluation.ann import analog_ann
from onnx2snn.evaluation.evaluate import evaluate
from onnx2snn.evaluation.sweep import Sweep, SweepRun
from onnx2snn.experiments import saving
from onnx2snn.experiments.comparison import Comparison, compare
from onnx2snn.experiments.comparison.finished import finished
from onnx2snn.experiments.comparison.text import text
from onnx2snn.reports import documents
from onnx2snn.results import claim
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.semantics.intervals import paired_points, unpaired_score, wilson

pytestmark = pytest.mark.usefixtures("blank_pictures")

ANN = analog_ann(residual_cnn(np.random.default_rng(1)))
BINARY = residual_cnn(np.random.default_rng(1))
OTHER = residual_cnn(np.random.default_rng(3))
SAMPLES = Samples(
    arrays={"x": dyadic(np.random.default_rng(0), (30, 2, 8, 8))},
    labels=np.arange(30) % 3,
    preprocessing=Preprocessing(),
    source="data.npz",
)
STEPS = 5


def keep(folder: Path, graph: object, samples: Samples = SAMPLES, name: str = "binary") -> Path:
    """What a sweep of one curve leaves in ``folder``."""
    values = samples.labels is not None and samples.labels.dtype.kind == "f"
    found = evaluate(graph, samples, STEPS, ANN, regression=values)
    run = SweepRun(recipe=name, steps=STEPS, evaluation=found, notes=(), network=graph)
    sweep = Sweep(model="m.onnx", data="data.npz", samples=len(samples), runs=(run,))
    results = claim(folder, saving.chart_kinds("sweep"), inputs=(), force=False)
    saving.write_chart(sweep, documents.sweep(sweep), results, "sweep")
    return folder


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving.plot, "available", lambda: False)


def compared(a: Path, b: Path) -> Comparison:
    return compare(finished(a), finished(b))


def right(graph: object) -> np.ndarray:
    """(steps, samples), by a simulation that keeps nothing else."""
    said = simulate(graph, SAMPLES.whole(), STEPS).readouts["out"].argmax(-1)
    return said == SAMPLES.labels


def test_samples_are_compared_one_by_one(tmp_path: Path) -> None:
    a = keep(tmp_path / "a", BINARY)
    b = keep(tmp_path / "b", OTHER, name="other")
    (pair,) = compared(a, b / "sweep.json").curves  # the only curves, whatever their names
    assert pair.unpaired == ""
    assert [p.T for p in pair.points] == [(t, t) for t in range(1, STEPS + 1)]
    for point, one, other in zip(pair.points, right(BINARY), right(OTHER), strict=True):
        found = point.shares["accuracy"]
        lost, won = sum(one & ~other), sum(other & ~one)
        assert (found.only_first, found.only_second) == (lost, won)
        assert (found.first, found.second) == (one.mean(), other.mean())
        drop, least, most = paired_points(lost=int(lost), won=int(won), count=30)
        expected = (-drop / 100, -most / 100, -least / 100)  # as `run` has it
        assert (found.difference, found.low, found.high) == expected
        assert set(point.costs) >= {"latency", "spikes_per_neuron", "energy_to_ann"}
        assert lost and won


def other_data(x: np.ndarray) -> Samples:
    return replace(SAMPLES, arrays={"x": x})


def without_answers(folder: Path) -> None:
    (folder / "sweep.answers.npz").unlink()


def of_another_run(folder: Path) -> None:
    kept = answers.read((folder / "sweep.answers.npz").read_bytes())
    one = kept["binary"]
    other = {t: (said + 1) % 3 for t, said in one.said.items()}
    content = answers.written({"binary": replace(one, said=other)})
    (folder / "sweep.answers.npz").write_bytes(content)


def damaged(folder: Path) -> None:
    (folder / "sweep.answers.npz").write_bytes(b"PK\x03\x04")


def of_an_old_version(folder: Path) -> None:
    document = json.loads((folder / "sweep.json").read_text())
    for name in ("samples_sha256", "labels_sha256", "simulation"):
        del document[name]
    (folder / "sweep.json").write_text(json.dumps(document))


X = SAMPLES.arrays["x"]


@pytest.mark.parametrize(
    ("samples", "change", "why"),
    [
        (other_data(np.concatenate([X[:29], X[29:] + 1])), None, "other samples, 29 in both"),
        (SAMPLES.at(np.arange(30)[::-1]), None, "the same samples in another order"),
        (SAMPLES.section(0, 20), None, "30 and 20 samples, 20 in both"),
        (replace(SAMPLES, labels=(SAMPLES.labels > 0) * 1), None, "other labels: 10 of 30 differ"),
        (replace(SAMPLES, labels=None), None, "B has no labels"),
        (SAMPLES, without_answers, "B: there is no sweep.answers.npz"),
        (SAMPLES, damaged, "B: sweep.answers.npz is damaged"),
        (SAMPLES, of_another_run, "B: the answers beside the JSON are of another run"),
        (SAMPLES, of_an_old_version, "B: it was written by a version that did not keep"),
    ],
    ids=["data", "order", "count", "labels", "unlabelled", "alone", "damaged", "stale", "old"],
)
def test_what_cannot_be_paired_says_why(
    tmp_path: Path, samples: Samples, change: object, why: str
) -> None:
    a, b = keep(tmp_path / "a", BINARY), keep(tmp_path / "b", OTHER, samples)
    if change is not None:
        change(b)  # type: ignore[operator]
    found = compared(a, b)
    (pair,) = found.curves
    assert pair.unpaired.startswith(why)
    assert all(c.second is not None for c in pair.changes)  # what one does not say is no change
    assert f"NOT paired by sample ({why}" in text(found)
    assert f"not paired by sample ({why}" in text(found).splitlines()[0]  # the headline is no trap
    last = pair.points[-1]
    assert last.same is None
    if samples.labels is not None:
        d = last.shares["accuracy"]
        each = ((d.first, 30), (d.second, len(samples)))
        shares = [(p, *wilson(round(p * n), count=n)) for p, n in each]
        assert (d.difference, d.low, d.high) == pytest.approx(unpaired_score(*shares))
        assert d.only_first is None


def test_only_differences_are_changes_and_no_change_is_none(tmp_path: Path) -> None:
    a = keep(tmp_path / "a", BINARY)
    same = compared(a, keep(tmp_path / "b", BINARY))
    assert same.changes == () and same.curves[0].changes == ()
    d = same.curves[0].points[-1].shares["accuracy"]
    assert d.difference == 0 and d.low < 0 < d.high
    assert "no difference of accuracy that these samples tell" in text(same)
    fewer = compared(a, keep(tmp_path / "c", BINARY, SAMPLES.section(0, 20)))
    changed = {c.what: (c.first, c.second) for c in fewer.curves[0].changes}
    assert changed["samples"] == (30, 20)
    assert set(changed) == {"samples", "samples_sha256", "labels_sha256"}


def test_networks_of_values_are_compared_by_their_error(tmp_path: Path) -> None:
    valued = replace(SAMPLES, labels=np.linspace(0, 1, 90).reshape(30, 3))
    a, b = keep(tmp_path / "a", BINARY, valued), keep(tmp_path / "b", OTHER, valued)
    found = compared(a, b)
    (pair,) = found.curves
    one, other = pair.points[-1].costs["error"]
    assert one < other and pair.points[-1].judged is None
    said = text(found)
    assert f"error of the outputs {one:.4g} in A, {other:.4g} in B, without an interval" in said
    assert pair.unpaired == "A: its outputs are values, of which single answers are not kept"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "has no sweep.json or run.json"),
        ({"sweep.json": "{}", "run.json": "{}"}, "has both sweep.json and run.json"),
        ({"run.json": "no JSON"}, "is no JSON of run or sweep"),
        ({"run.json": '{"schema": "onnx2snn.check/1"}'}, "is no JSON of run or sweep"),
        ({"run.json": '{"schema": "onnx2snn.run/1"}'}, "is no JSON of run or sweep"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        finished(tmp_path)
    assert caught.value.code == "E209"


def test_the_command_writes_a_page_and_its_json(tmp_path: Path) -> None:
    a, b = keep(tmp_path / "a", BINARY), keep(tmp_path / "b", OTHER)
    given = ["compare", str(a), str(b), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("binary, T=5: ")  # the answer first
    made = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert made["schema"] == "onnx2snn.compare/1"
    assert made == json.loads(CliRunner().invoke(main, [*given, "--json"]).stdout)
    assert "<svg" in (tmp_path / "out" / "compare.html").read_text()
