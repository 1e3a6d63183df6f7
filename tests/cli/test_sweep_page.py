"""The page of a sweep: charts against T, latency, spikes and energy; in a real browser."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from graphs import dyadic, residual_cnn

from onnx2snn.data import Preprocessing, Samples
from onnx2snn.evaluation.ann import analog_ann
from onnx2snn.evaluation.energy.models import MODELS
from onnx2snn.evaluation.energy.verdict import ratio_at, verdicts
from onnx2snn.evaluation.evaluate import evaluate
from onnx2snn.evaluation.sweep import Sweep, SweepRun
from onnx2snn.reports import documents
from onnx2snn.reports.pages import curves, svg
from onnx2snn.reports.pages.sweep import sweep_html


def a_run(name: str, **neurons: object) -> SweepRun:
    graph = residual_cnn(np.random.default_rng(1), **neurons)
    samples = Samples(
        arrays={"x": dyadic(np.random.default_rng(0), (12, 2, 8, 8))},
        labels=np.arange(12) % 3,
        preprocessing=Preprocessing(),
        source="t",
    )
    found = evaluate(graph, samples, 8, analog_ann(graph))
    return SweepRun(recipe=name, steps=8, evaluation=found, notes=("a note",), network=graph)


RUNS = (a_run("binary"), a_run("graded", levels=3))
SWEEP = Sweep(model="m.onnx", data="<d>", samples=12, runs=RUNS)


@pytest.mark.parametrize("run", RUNS, ids=lambda r: r.recipe)
def test_the_energy_of_the_last_answer_is_that_of_the_verdict(run: SweepRun) -> None:
    found = run.evaluation.events
    for make, verdict in zip(MODELS, verdicts(found), strict=True):
        prices = make(found.bits).prices
        assert ratio_at(prices, found, run.evaluation.points[-1]) == pytest.approx(verdict.ratio)
    early = [ratio_at(prices, found, p) for p in run.evaluation.points]
    assert early == sorted(early)
    written = documents.points(run.evaluation)[-1]["energy_to_ann"]
    memory = next(v.ratio for v in verdicts(found) if v.model.name == "memory")
    assert written == pytest.approx(memory)


def test_charts_have_every_answer_and_mark_the_front() -> None:
    made = dict(curves.charts(SWEEP))
    assert list(made) == ["time steps", "latency", "spikes", "energy"]
    for name, drawn in made.items():
        assert drawn.count("<circle") == 16
        ringed = re.findall(r'<circle [^>]*stroke-width="1.5"[^>]*><title>([^<]*)<', drawn)
        assert bool(ringed) == (name != "time steps")
    values = [(p.spikes_per_neuron, p.accuracy) for r in RUNS for p in r.evaluation.points]
    best = [v for v in values if not any(w[0] <= v[0] and w[1] > v[1] for w in values)]
    front = re.findall(r"(\d\.\d\d) spikes per neuron", str(re.findall(
        r'stroke-width="1.5"[^>]*><title>([^<]*)<', made["spikes"])))  # fmt: skip
    assert {float(s) for s in front} <= {round(v[0], 2) for v in best}


def test_ticks_are_few_and_round() -> None:
    assert svg.round_values(1, last=1024, whole=True) == [1, 4, 16, 64, 256, 1024]
    assert svg.round_values(0.3, last=4, whole=False) == [0.5, 1, 2]
    assert svg.round_values(0.72, last=1.47, whole=False) == pytest.approx([0.8, 0.9, 1])
    frame = svg.framed([0.5, 1], low=0, high=1)
    texts = [p for p in svg.columns(frame, "", whole=False)[1:] if p.startswith("<text")]
    assert len(texts) > 1
    at = [(float(t.split('"')[1]), len(t.split(">")[1].partition("<")[0])) for t in texts]
    for (x, n), (y, m) in itertools.pairwise(at):
        assert x + 4 * n < y - 4 * m
    assert svg.round_values(0.55, last=1.65, whole=False) == pytest.approx([0.7, 1, 1.5])
    for first, last in ((0.55, 0.65), (1.02, 1.09), (5.01, 5.3), (97.0, 104.0)):
        found = svg.round_values(first, last=last, whole=False)
        assert 2 <= len(found) <= 8 and first <= min(found) and max(found) <= last, found


def test_names_do_not_run_and_the_command_is_there() -> None:
    page = sweep_html(SWEEP, command="onnx2snn sweep '<m>.onnx'")
    assert "<d>" not in page and "<m>" not in page
    assert "onnx2snn sweep &#39;&lt;m&gt;.onnx&#39;" in page
