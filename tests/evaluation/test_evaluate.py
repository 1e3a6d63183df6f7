"""Keeping score: chunks, resuming, labels, regression."""

from dataclasses import asdict
from importlib import import_module

import numpy as np
import pytest
from graphs import dyadic, residual_cnn
from runtime.engine.test_memory import peak

from onnx2snn.data import Preprocessing, Samples
from onnx2snn.errors import UsageError
from onnx2snn.evaluation import answers
from onnx2snn.evaluation.ann import analog_ann
from onnx2snn.evaluation.evaluate import Evaluation, _steps_run, evaluate
from onnx2snn.evaluation.tally import Tally
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import make_engine, simulate
from onnx2snn.runtime.neurons import NeuronParams

evaluation = import_module(
    "onnx2snn.evaluation.evaluate"
)  # the package has a function of that name


def make(count: int, labels: np.ndarray | None = None) -> Samples:
    x = dyadic(np.random.default_rng(0), (count, 2, 8, 8))
    return Samples(arrays={"x": x}, labels=labels, preprocessing=Preprocessing(), source="t")


GRAPH = residual_cnn(np.random.default_rng(1))
ANN = analog_ann(GRAPH)


def test_the_curve_is_that_of_one_simulation() -> None:
    labels = np.random.default_rng(2).integers(0, 3, 10)
    samples = make(10, labels)
    got = evaluate(GRAPH, samples, 6, ANN, chunk=4)
    result = simulate(GRAPH, samples.whole(), 6)
    guesses = result.readouts["out"].argmax(-1)
    ann = ANN(samples.whole())["out"].argmax(-1)
    assert [p.T for p in got.points] == [1, 2, 3, 4, 5, 6]
    for p, guess in zip(got.points, guesses, strict=True):
        assert p.accuracy == (guess == labels).mean()
        assert p.agreement == (guess == ann).mean()
        assert p.low is not None
        assert p.high is not None
        assert p.low <= p.accuracy <= p.high
    assert got.ann_accuracy == (ann == labels).mean()
    assert [p.spikes_per_neuron for p in got.points] == pytest.approx(result.spikes_per_neuron)
    assert [p.synops_per_sample for p in got.points] == pytest.approx(result.synops_per_sample)


def test_an_interrupted_evaluation_goes_on_where_it_stopped() -> None:
    samples = make(9, np.arange(9) % 3)
    whole = evaluate(GRAPH, samples, 5, ANN, chunk=3)

    class KilledError(Exception):
        pass

    class Kept(dict[tuple[int, int], Tally]):
        """Is killed with what it is given second."""

        left = 2

        def get(self, start: int, stop: int) -> Tally | None:  # type: ignore[override]
            return super().get((start, stop))

        def put(self, start: int, stop: int, tally: Tally) -> None:
            self[start, stop] = tally
            self.left -= 1
            if not self.left:
                raise KilledError

    kept = Kept()
    with pytest.raises(KilledError):
        evaluate(GRAPH, samples, 5, ANN, chunk=3, shards=kept)
    assert list(kept) == [(0, 3), (3, 6)]
    resumed = evaluate(GRAPH, samples, 5, ANN, chunk=3, shards=kept)
    assert list(kept) == [(0, 3), (3, 6), (6, 9)]
    without = {"seconds": 0, "answers": None}
    assert asdict(resumed) | without == asdict(whole) | without
    assert resumed.answers is not None and whole.answers is not None
    assert answers.written({"": resumed.answers}) == answers.written({"": whole.answers})


def test_without_class_labels_there_is_agreement_and_error_but_no_accuracy() -> None:
    for labels in (None, np.linspace(0, 1, 6), np.zeros((6, 3))):
        last = evaluate(GRAPH, make(6, labels), 8, ANN).points[-1]
        assert last.accuracy is None
        assert last.low is None
        assert last.agreement is not None
        assert last.error > 0


def test_the_error_is_relative_to_the_ann() -> None:
    samples = make(5)
    result = simulate(GRAPH, samples.whole(), 7)
    ann = ANN(samples.whole())["out"]
    expected = np.linalg.norm(result.readouts["out"][-1] - ann) / np.linalg.norm(ann)
    assert evaluate(GRAPH, samples, 7, ANN).points[-1].error == pytest.approx(expected, rel=1e-5)


def test_an_unknown_engine_is_refused_not_taken_for_numpy() -> None:
    with pytest.raises(UsageError, match=r"'onnxruntim'.*Did you mean 'onnxruntime'"):
        make_engine("onnxruntim")


def test_a_stopped_sample_costs_no_more_multiply_accumulates() -> None:
    """Of four samples one stops after a step and one after two; two run all three."""
    np.testing.assert_array_equal(_steps_run(np.array([0, 1, 1, 2]), 4), [1.0, 1.75, 2.25])
    np.testing.assert_array_equal(_steps_run(np.zeros(4, np.int64), 4), [1, 2, 3])


def maps_out() -> g.SpikingGraph:
    """Spiking maps as outputs: the answers after every step are the largest thing there is."""
    one = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0.5))
    shape = (2, 16, 16)
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=shape),
            g.Population(name="p", shape=shape, inputs=("x",), neuron=one),
            g.Readout(name="y", shape=shape, inputs=("p",)),
        )
    )


def test_an_evaluation_of_large_outputs_takes_fewer_samples_at_once_for_more_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = 2**21
    monkeypatch.setattr(evaluation, "ANSWER_BYTES", budget)
    graph = maps_out()
    x = np.random.default_rng(0).uniform(0, 1, (96, 2, 16, 16)).astype(np.float32)
    samples = Samples(arrays={"x": x}, labels=None, preprocessing=Preprocessing(), source="t")

    def run(steps: int) -> Evaluation:
        return evaluation.evaluate(graph, samples, steps, lambda a: {"y": a["x"]}, threads=1)

    assert peak(lambda: run(64)) < 1.5 * peak(lambda: run(16)) < 3 * budget
    monkeypatch.setattr(evaluation, "ANSWER_BYTES", 2**30)
    assert peak(lambda: run(64)) > 2 * budget
    errors = [p.error for p in run(64).points]
    monkeypatch.setattr(evaluation, "ANSWER_BYTES", budget)
    np.testing.assert_allclose([p.error for p in run(64).points], errors)
