"""Activation statistics against ONNX Runtime's activations and NumPy's own histogram."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.digits_nets import lowered, samples
from onnx2snn.converter.frontend import Reference, load_onnx
from onnx2snn.converter.lowering.lower import UNIT
from onnx2snn.converter.statistics.measure import BINS, LayerStats, calibrate, channel_axis
from onnx2snn.errors import DataError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.facts import GraphFacts

COUNT = 30


def activations(model: str) -> dict[str, np.ndarray]:
    """(channels, values) of every population, as ONNX Runtime computes them."""
    graph = lowered(model)
    tensors = {p.name: p.tensor for p in graph.of(snn.Population)}
    reference = Reference(load_onnx(str(files("onnx2snn.models") / f"{model}.onnx")))
    values = reference.run({"input": samples()[:COUNT]}, list(tensors.values()))
    return {
        name: np.moveaxis(values[t], 1, 0).reshape(values[t].shape[1], -1)
        for name, t in tensors.items()
    }


@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp"])
def test_maximum_mean_and_count_are_those_of_onnx_runtimes_activations(model: str) -> None:
    stats = calibrate(lowered(model), samples()[:COUNT], batch=7)
    for name, a in activations(model).items():
        np.testing.assert_allclose(stats[name].maximum, a.max(axis=1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(stats[name].mean, a.mean(axis=1), rtol=1e-4, atol=1e-6)
        assert stats[name].count == a.shape[1]


@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp"])
def test_histograms_are_numpys_up_to_values_on_an_edge(model: str) -> None:
    stats = calibrate(lowered(model), samples()[:COUNT])
    for name, a in activations(model).items():
        for c, row in enumerate(a):
            got, top = stats[name].histogram[c], float(row.max())
            positive = row[row > 1e-7 * max(top, 1e-7)]
            assert got.sum() == pytest.approx(len(positive), abs=2)
            if top <= 0:
                continue
            expected, _ = np.histogram(positive, bins=BINS, range=(0, top))
            # Rounding may move a value by a bin: cumulated counts, a bin earlier and later.
            ours, theirs = np.cumsum(got), np.cumsum(expected)
            assert (ours[1:] >= theirs[:-1] - 2).all()
            assert (ours[:-1] <= theirs[1:] + 2).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 40))
def test_the_batch_size_changes_nothing(batch: int) -> None:
    graph = lowered("digits_mlp")
    whole = calibrate(graph, samples()[:COUNT], batch=COUNT)
    parts = calibrate(graph, samples()[:COUNT], batch=batch)
    for name, one in whole.items():
        other = parts[name]
        assert one.count == other.count
        np.testing.assert_allclose(one.maximum, other.maximum, rtol=1e-5)
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-5, atol=1e-7)
        assert np.abs(np.cumsum(one.histogram - other.histogram, axis=1)).max() <= 2


def small(weight: np.ndarray, bias: np.ndarray, ceiling: float | None = None) -> snn.SpikingGraph:
    """One linear layer, a population, a readout of it."""
    out, inputs = weight.shape
    return snn.SpikingGraph(
        nodes=(
            snn.Input(name="x", shape=(inputs,)),
            snn.Synapse(
                name="fc", inputs=("x",), shape=(out,), op=ops.Linear(weight=weight.astype("f4"))
            ),
            snn.Population(
                name="relu",
                inputs=("fc",),
                shape=(out,),
                bias=bias.astype("f4"),
                neuron=UNIT,
                ceiling=ceiling,
            ),
            snn.Readout(name="out", inputs=("relu",), shape=(out,)),
        ),
        meta={},
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([None, 0.5, 6.0]))
def test_statistics_are_those_of_a_plain_loop(seed: int, ceiling: float | None) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=3)
    x = rng.normal(size=(17, 4)).astype(np.float32)
    stats = calibrate(small(weight, bias, ceiling), x, batch=5)["relu"]
    for c in range(3):
        values = []
        for sample in x:
            z = sum(float(w) * float(v) for w, v in zip(weight[c], sample, strict=True)) + bias[c]
            values.append(min(max(z, 0.0), np.inf if ceiling is None else ceiling))
        assert stats.maximum[c] == pytest.approx(max(values), rel=1e-4, abs=1e-6)
        assert stats.mean[c] == pytest.approx(sum(values) / 17, rel=1e-4, abs=1e-6)
        assert stats.histogram[c].sum() == sum(v > 0 for v in values)
        if ceiling is not None and max(values) == ceiling:
            assert stats.histogram[c, -1] >= sum(v == ceiling for v in values)


def test_a_channel_that_is_never_active_has_an_empty_histogram() -> None:
    graph = small(np.array([[1.0], [-1.0]]), np.zeros(2))
    stats = calibrate(graph, np.array([[0.5], [2.0]], np.float32))["relu"]
    assert stats.maximum.tolist() == [2.0, 0.0]
    assert stats.histogram[1].sum() == 0
    assert stats.histogram[0, BINS // 4] == 1
    assert stats.histogram[0, -1] == 1


def test_negative_outputs_count_as_zero_in_a_readout() -> None:
    graph = small(np.eye(2), np.array([-1.0, 1.0]))
    shifted = graph.with_nodes([snn.Readout(name="out", inputs=("fc",), shape=(2,))])
    stats = calibrate(shifted, np.array([[-3.0, 3.0], [-1.0, 1.0]], np.float32))["out"]
    assert stats.maximum.tolist() == [0.0, 3.0]
    assert stats.mean.tolist() == [0.0, 2.0]


def test_the_channel_axis_follows_transposes() -> None:
    conv = ops.Conv(
        weight=np.ones((5, 2, 1, 1), np.float32),
        strides=(1, 1),
        dilations=(1, 1),
        pads=(0, 0, 0, 0),
    )
    shape = (5, 3, 4)
    nodes: list[snn.Node] = [
        snn.Input(name="x", shape=(2, 3, 4)),
        snn.Synapse(name="conv", inputs=("x",), shape=shape, op=conv),
    ]
    for perm, axis in (((0, 1, 2), 0), ((1, 2, 0), 2), ((2, 0, 1), 1)):
        moved = tuple(shape[p] for p in perm)
        move = snn.Synapse(name="move", inputs=("conv",), shape=moved, op=ops.Transpose(perm=perm))
        relu = snn.Population(name="relu", inputs=("move",), shape=moved, neuron=UNIT)
        graph = snn.SpikingGraph(nodes=(*nodes, move, relu), meta={})
        assert channel_axis(GraphFacts(graph), "relu") == axis
        assert moved[axis] == 5


def test_a_threshold_per_channel_broadcasts_along_its_axis() -> None:
    stats = LayerStats(
        axis=1,
        maximum=np.ones(3),
        mean=np.ones(3),
        histogram=np.ones((3, BINS)),
        count=1,
    )
    assert stats.broadcast(np.arange(3), 4).shape == (1, 3, 1, 1)


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError):
        calibrate(small(np.eye(2), np.zeros(2)), np.zeros((3, 5), np.float32))
