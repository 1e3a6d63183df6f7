"""Outputs that are no class scores, and several outputs: error and agreement, by the book."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import dyadic, residual_cnn
from hypothesis import given
from hypothesis import strategies as st

from onnx2snn.data import Preprocessing, Samples
from onnx2snn.evaluation import outputs
from onnx2snn.evaluation.ann import analog_ann
from onnx2snn.evaluation.evaluate import Evaluation, evaluate
from onnx2snn.evaluation.sweep import knee
from onnx2snn.reports import text as render
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.semantics.intervals import wilson

PLAIN = residual_cnn(np.random.default_rng(1))


def with_second_output() -> snn.SpikingGraph:
    """The features of the last population as a second output: no class scores."""
    last = PLAIN.of(snn.Population)[-1]
    second = snn.Readout(
        name="features", inputs=(last.name,), shape=last.shape, bias=np.zeros((), np.float32)
    )
    return replace(PLAIN, nodes=(*PLAIN.nodes, second))


def make(labels: np.ndarray | None = None, count: int = 7) -> Samples:
    x = dyadic(np.random.default_rng(0), (count, 2, 8, 8))
    return Samples(arrays={"x": x}, labels=labels, preprocessing=Preprocessing(), source="t")


def score(graph: snn.SpikingGraph, samples: Samples, steps: int = 6) -> Evaluation:
    return evaluate(graph, samples, steps, analog_ann(graph), chunk=3)


def lin(x: np.ndarray, y: np.ndarray) -> float:
    """Lin 1989, equation 2, from NumPy's own moments."""
    x, y = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    covariance = np.cov(x, y, bias=True)
    apart = (x.mean() - y.mean()) ** 2
    return float(2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + apart))


@given(st.integers(2, 40), st.floats(-3, 3), st.floats(0.1, 3), st.integers(0, 99))
def test_concordance_is_lins_and_one_only_for_equal_values(
    count: int, shift: float, scale: float, seed: int
) -> None:
    y = np.random.default_rng(seed).normal(size=(count, 3))
    x = np.stack([y, scale * y + shift, -y])
    got = outputs.concordance(outputs.sums(x, wanted=y))
    assert got[0] == pytest.approx(1)
    for value, one in zip(got, x, strict=True):
        assert value == pytest.approx(lin(one, y), abs=1e-6)
        assert value <= 1 + 1e-9


def test_every_output_of_a_network_with_two_is_scored_by_itself() -> None:
    graph, samples = with_second_output(), make()
    got = score(graph, samples)
    result, ann = simulate(graph, samples.whole(), 6), analog_ann(graph)(samples.whole())
    assert [o.name for o in got.outputs] == ["out", "features"]
    for o in got.outputs:
        last, wanted = result.readouts[o.name][-1], ann[o.name]
        off = np.linalg.norm(last - wanted) / np.linalg.norm(wanted)
        assert o.error == pytest.approx(off, rel=1e-5)
        assert o.concordance == pytest.approx(lin(last, wanted), rel=1e-5)
    agree = (result.readouts["out"][-1].argmax(-1) == ann["out"].argmax(-1)).mean()
    assert [o.agreement for o in got.outputs] == [agree, None]
    assert got.points[-1].concordance == min(o.concordance for o in got.outputs)
    assert "features" in render.run_text("net", got)


def test_labels_that_are_no_classes_make_it_a_regression() -> None:
    targets = np.random.default_rng(3).normal(size=(7, 3))
    got = score(PLAIN, make(targets))
    assert not got.classes
    assert got.ann_accuracy is None
    unlabelled = score(PLAIN, make())
    assert unlabelled.classes
    last = unlabelled.points[-1]
    assert last.agreement is not None
    assert render.bounds_of(unlabelled, last) == wilson(round(7 * last.agreement), count=7)
    text = render.run_text("net", got)
    assert "concordance" in text
    assert "output error" in text
    assert render.bounds_of(got, got.points[-1]) is None


def test_the_knee_of_a_regression_is_where_its_error_stays_below_the_limit() -> None:
    got = score(PLAIN, make(np.zeros((7, 3))), steps=12)
    errors = [p.error for p in got.points]
    limit = sorted(errors)[len(errors) // 2]
    found = knee(got, limit)
    stays = [t for t in range(1, 13) if all(e <= limit + 1e-12 for e in errors[t - 1 :])]
    assert (found and found["T"]) == (stays[0] if stays else None)
