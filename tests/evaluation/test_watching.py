"""What is recorded of single samples is what the engines compute."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from graphs import dyadic, residual_cnn

from onnx2snn.data import Preprocessing, Samples
from onnx2snn.errors import UsageError
from onnx2snn.evaluation import watching
from onnx2snn.evaluation.watching import watch
from onnx2snn.reports.pages.watch import watch_html
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.semantics.analog import run_analog

GRAPH = residual_cnn(np.random.default_rng(1))
STEPS = 6


def samples(labels: np.ndarray | None = None) -> Samples:
    x = dyadic(np.random.default_rng(0), (3, 2, 8, 8))
    return Samples(arrays={"x": x}, labels=labels, preprocessing=Preprocessing(), source="t")


def test_spikes_and_answers_are_those_of_the_engine() -> None:
    found, result = watch(GRAPH, samples(), steps=STEPS), simulate(GRAPH, samples().whole(), STEPS)
    np.testing.assert_allclose(found.answers, result.readouts["out"].transpose(1, 0, 2), rtol=1e-6)
    np.testing.assert_array_equal(found.ann, run_analog(GRAPH, samples().whole())["out"])
    by = {layer.name: layer for layer in found.layers}
    assert list(by) == ["relu1", "max", "relu2"] and not found.left_out
    for name, spikes in result.spikes.items():
        layer = by[name]
        assert layer.shown.tolist() == list(range(layer.neurons))
        np.testing.assert_array_equal((layer.spikes != 0).sum(axis=(0, 2)), spikes)


def test_a_potential_explains_its_spikes() -> None:
    """What a plain neuron of the first layer got, less theta for every spike that it sent."""
    layer = watch(GRAPH, samples(), steps=STEPS).layers[0]
    assert layer.thresholds is not None
    node = GRAPH.of(snn.Population)[0]
    start = np.broadcast_to(node.neuron.v_init, node.shape).reshape(-1)
    current = GRAPH.of(snn.Synapse)[0].op.apply(samples().whole()["x"]) + node.bias
    for i in range(3):
        for at, theta, potential in zip(
            layer.traced[i], layer.thresholds[i], layer.potentials[i], strict=True
        ):
            sent = np.cumsum(layer.spikes[i, :, at])
            drive = current[i].reshape(-1)[layer.shown[at]] * np.arange(1, STEPS + 1)
            expected = start[layer.shown[at]] + drive - sent * theta
            np.testing.assert_allclose(potential, expected, atol=1e-5)


def test_an_answer_settles_where_its_class_stays() -> None:
    decided = np.array([[1, 2, 1, 1], [3, 3, 3, 3], [0, 1, 0, 1]])
    np.testing.assert_array_equal(watching._settles(decided), [3, 1, 4])
    found = watch(GRAPH, samples(np.array([0, 1, 2])), steps=STEPS)
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2]
    for row, at in zip(found.decided, found.settles, strict=True):
        assert (row[at - 1 :] == row[-1]).all()
        assert at == 1 or row[at - 2] != row[-1]


def test_large_networks_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LAYERS", 2)
    monkeypatch.setattr(watching, "SPIKES", 2 * 3 * STEPS * 40)
    found = watch(GRAPH, samples(), steps=STEPS)
    assert [layer.name for layer in found.layers] == ["relu1", "relu2"]
    assert found.left_out == ("max",)
    for layer in found.layers:
        assert len(layer.shown) == np.prod(layer.grid) <= 40 < layer.neurons
        assert layer.spikes.shape == (3, STEPS, len(layer.shown))


def test_values_have_no_class() -> None:
    kept = [n for n in GRAPH.nodes if n.name in ("x", "conv1", "relu1", "max", "conv2")]
    readout = snn.Readout(name="out", inputs=("conv2",), shape=(4, 4, 4))
    found = watch(snn.SpikingGraph(nodes=(*kept, readout)), samples(), steps=2)
    assert found.decided is None and found.settles is None
    assert found.answers.shape == (3, 2, 64)
    assert "64 outputs" in watch_html(found, network="n", data="d")


def test_the_page_holds_what_was_recorded_and_nothing_of_a_name_runs() -> None:
    found = watch(GRAPH, samples(), steps=STEPS)
    html = watch_html(found, network="</script><script>alert(1)</script>", data="<b>")
    assert "<script>alert" not in html and "<b>" not in html
    record = json.loads(html.split('id="record">')[1].split("</script>")[0])
    layer = record["layers"][0]
    packed = np.frombuffer(base64.b64decode(layer["spikes"]), np.uint8)
    spikes = found.layers[0].spikes
    if layer["binary"]:
        packed = np.unpackbits(packed)[: spikes.size]
    np.testing.assert_array_equal(packed.view(np.int8).reshape(spikes.shape), spikes)


def test_steps_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="T must be at least 1"):
        watch(GRAPH, samples(), steps=0)
