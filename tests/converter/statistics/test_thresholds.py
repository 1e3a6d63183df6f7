"""Thresholds against brute force on the values themselves; folding against networks that do not
fold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from graphs import dyadic, residual_cnn
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from converter.digits_nets import lowered, samples
from onnx2snn.converter.lowering.fold_thresholds import set_thresholds
from onnx2snn.converter.statistics.measure import BINS, LayerStats
from onnx2snn.converter.statistics.thresholds import pooled, thresholds
from onnx2snn.errors import UsageError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.semantics.analog import run_analog

STEPS = 7


def stats_of(values: np.ndarray) -> LayerStats:
    """Statistics of (channels, values) activations, by NumPy's own histogram."""
    tops = values.max(axis=1)
    histogram = [
        np.histogram(row[row > 0], bins=BINS, range=(0, top or 1.0))[0]
        for row, top in zip(values, tops, strict=True)
    ]
    return LayerStats(
        axis=0,
        maximum=tops.astype(np.float32),
        mean=values.mean(axis=1),
        histogram=np.array(histogram),
        count=values.shape[1],
    )


def drawn(seed: int, tail: float, channels: int = 3) -> np.ndarray:
    """Rectified values with a tail; channels on different scales."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0.2, 1, (channels, 1500)) * (1 + tail * rng.random((channels, 1500)) ** 8)
    return np.maximum(z, 0) * np.array([0.1, 1.0, 30.0])[:channels, np.newaxis]


def quantization_error(values: np.ndarray, theta: float, count: int) -> float:
    """Mean squared error of rounding to ``count`` steps up to theta, value by value."""
    rounded = np.minimum(np.floor(values * count / theta + 0.5), count) * theta / count
    return float(((values - rounded) ** 2).mean())


# Thresholds


@pytest.mark.parametrize("steps", [8, 16, 32])
def test_paced_neurons_of_a_channel_with_one_value_fire_in_every_step(steps: int) -> None:
    values = drawn(0, 1.0)
    values[1] = 2.5  # constant
    values[2] = np.where(values[2] > 0, 0.75, 0)  # a mask
    stats = {"p": stats_of(values)}
    paced = thresholds(stats, steps=steps, paced=True)["p"]
    plain = thresholds(stats, steps=steps)["p"]
    np.testing.assert_array_equal(paced, [plain[0], 2.5, 0.75])
    values[2] = np.eye(1, values.shape[1], 7)  # seen once: what comes may be larger
    seen_once = {"p": stats_of(values)}
    one = thresholds(seen_once, steps=steps, paced=True)["p"][2]
    assert one == thresholds(seen_once, steps=steps)["p"][2]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 6), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_mmse_is_as_good_as_a_search_of_the_values_themselves(
    seed: int, tail: float, steps: int
) -> None:
    values = drawn(seed, tail)
    stats = stats_of(values)
    # As if 10,000 times as many samples had been seen: one more that was not weighs nothing.
    stats = replace(stats, histogram=stats.histogram * 10_000)
    got = thresholds({"x": stats}, method="mmse", steps=steps)["x"]
    for theta, row in zip(got, values, strict=True):
        grid = row.max() * np.arange(0.05, 1.0001, 0.005)
        best = min(quantization_error(row, t, steps) for t in grid)
        # The grid of ``thresholds`` is twice as coarse, and bins are 1/2048 of the maximum.
        assert quantization_error(row, float(theta), steps) <= 1.02 * best + 1e-6 * row.max() ** 2
        assert 0 < theta <= row.max() * 1.03


def test_few_samples_and_many_levels_leave_room_for_activations_that_were_not_seen() -> None:
    """On new values of the same distribution, the thresholds lose less than the best ones for the
    values that were seen do, and with many samples there is no difference."""
    rng = np.random.default_rng(0)
    old, new, room = [], [], []
    for _ in range(40):
        seen, later = rng.exponential(1.0, (1, 40)), rng.exponential(1.0, 4000)
        theta = float(thresholds({"x": stats_of(seen)}, steps=240)["x"][0])
        grid = seen.max() * np.arange(0.05, 1.0001, 0.005)
        best = min(grid, key=lambda t: quantization_error(seen[0], t, 240))
        old.append(quantization_error(later, best, 240))
        new.append(quantization_error(later, theta, 240))
        room.append(theta / seen.max())
    assert np.mean(new) < 0.5 * np.mean(old)
    assert min(room) > 1
    many = rng.exponential(1.0, (1, 400_000))
    assert thresholds({"x": stats_of(many)}, steps=16)["x"][0] < many.max()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(1, 100))
def test_a_percentile_is_that_of_the_positive_values(seed: int, percentile: float) -> None:
    values = drawn(seed, 2.0)
    got = thresholds({"x": stats_of(values)}, method="percentile", percentile=percentile)["x"]
    for theta, row in zip(got, values, strict=True):
        positive = np.sort(row[row > 0])
        below = (positive <= theta * (1 + 1e-6)).mean()
        one_bin_less = (positive <= theta - row.max() / BINS * 1.01).mean()
        assert one_bin_less <= percentile / 100 + 1e-9
        assert below >= percentile / 100 - 1e-9


def test_max_is_the_maximum_and_levels_divide_it() -> None:
    values = drawn(0, 1.0)
    stats = {"x": stats_of(values)}
    np.testing.assert_allclose(thresholds(stats, method="max")["x"], values.max(axis=1), rtol=1e-6)
    graded = thresholds(stats, method="max", levels=15)["x"]
    np.testing.assert_allclose(graded, values.max(axis=1) / 15, rtol=1e-6)
    # T steps of up to L spikes quantize as T L steps of one.
    one, other = (thresholds(stats, steps=t, levels=n)["x"] * n for t, n in ((60, 1), (4, 15)))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_more_steps_never_ask_for_a_lower_threshold() -> None:
    stats = {"x": stats_of(drawn(1, 3.0))}
    found = [thresholds(stats, steps=t)["x"] for t in (1, 4, 16, 64, 256)]
    for fewer, more in pairwise(found):
        assert (more >= 0.97 * fewer).all()


@pytest.mark.parametrize("method", ["max", "percentile", "mmse"])
def test_one_threshold_per_layer_is_that_of_all_channels_together(method: str) -> None:
    values = drawn(2, 2.0)
    got = thresholds({"x": stats_of(values)}, method=method, steps=8, per_channel=False)["x"]  # type: ignore[arg-type]
    together = values.reshape(1, -1)
    want = thresholds({"x": stats_of(together)}, method=method, steps=8)["x"]  # type: ignore[arg-type]
    assert (got == got[0]).all()
    assert got.shape == (3,)
    assert got[0] == pytest.approx(want[0], rel=0.02)


def test_pooled_keeps_every_value() -> None:
    stats = stats_of(drawn(3, 2.0))
    one = pooled(stats)
    assert one.histogram.sum() == stats.histogram.sum()
    assert one.count == 3 * stats.count
    assert one.maximum[0] == stats.maximum.max()


def test_a_channel_that_is_never_active_gets_the_layers_largest_threshold() -> None:
    values = drawn(4, 1.0)
    values[1] = 0
    for method in ("max", "percentile", "mmse"):
        got = thresholds({"x": stats_of(values)}, method=method, steps=8)["x"]  # type: ignore[arg-type]
        assert got[1] == got.max()
    silent = thresholds({"x": stats_of(np.zeros((2, 5)))}, method="mmse", steps=8)["x"]
    assert silent.tolist() == [1.0, 1.0]


def test_bad_methods_and_percentiles_are_refused() -> None:
    stats = {"x": stats_of(drawn(5, 1.0))}
    with pytest.raises(UsageError, match="unknown normalization method"):
        thresholds(stats, method="best")  # type: ignore[arg-type]
    for percentile in (0.0, -1.0, 101.0):
        with pytest.raises(UsageError, match="percentile must be"):
            thresholds(stats, method="percentile", percentile=percentile)


# Folding


def unit(seed: int = 1) -> snn.SpikingGraph:
    """A residual network with max pool, concat and a scaled skip, all thresholds one."""
    return residual_cnn(np.random.default_rng(seed), v_threshold=np.ones((), np.float32))


def powers_of_two(seed: int, graph: snn.SpikingGraph) -> dict[str, NeuronParams]:
    rng = np.random.default_rng(seed)
    out = {}
    for p in graph.of(snn.Population):
        shape = (p.shape[0], *(1,) * (len(p.shape) - 1))
        theta = np.exp2(rng.integers(-2, 3, shape)).astype(np.float32)
        out[p.name] = NeuronParams(v_threshold=theta, v_init=theta / 2)
    return out


def explicit(graph: snn.SpikingGraph, neurons: dict[str, NeuronParams]) -> snn.SpikingGraph:
    """The same network without folding: a Scale by theta behind every population."""
    nodes: list[snn.Node] = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(f"{i}/worth" if i in neurons else i for i in node.inputs))
        if isinstance(node, snn.Population):
            node = replace(node, neuron=neurons[node.name])
        nodes.append(node)
        if node.name in neurons:
            scale = ops.Scale(scale=neurons[node.name].v_threshold)
            nodes.append(
                snn.Synapse(
                    name=f"{node.name}/worth", inputs=(node.name,), shape=node.shape, op=scale
                )
            )
    return replace(graph, nodes=tuple(nodes))


def assert_same_spikes(one: snn.SpikingGraph, other: snn.SpikingGraph, x: np.ndarray) -> None:
    got, want = (simulate(g, x, STEPS) for g in (one, other))
    for name, spikes in want.spikes.items():
        np.testing.assert_array_equal(got.spikes[name], spikes, err_msg=name)
    for name, readout in want.readouts.items():
        np.testing.assert_array_equal(got.readouts[name], readout)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_folded_thresholds_spike_exactly_as_thresholds_written_out(seed: int) -> None:
    graph = unit(seed % 7)
    x = dyadic(np.random.default_rng(seed), (3, 2, 8, 8))
    neurons = powers_of_two(seed, graph)
    folded = set_thresholds(graph, neurons)
    want = simulate(explicit(graph, neurons), x, STEPS)
    assume(any(s.sum() for s in want.spikes.values()))
    assert_same_spikes(folded, explicit(graph, neurons), x)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_analog_mode_does_not_depend_on_the_thresholds(seed: int) -> None:
    rng, graph = np.random.default_rng(seed), unit(seed % 7)
    x = dyadic(rng, (3, 2, 8, 8))
    neurons = {}
    for p in graph.of(snn.Population):
        theta = rng.uniform(0.2, 5, (p.shape[0], 1, 1)).astype(np.float32)
        neurons[p.name] = NeuronParams(v_threshold=theta, v_init=theta / 2)
    got, want = (run_analog(g, x)["out"] for g in (set_thresholds(graph, neurons), graph))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp"])
def test_analog_mode_of_real_networks_does_not_depend_on_the_thresholds(model: str) -> None:
    graph, rng = lowered(model), np.random.default_rng(0)
    neurons = {}
    for p in graph.of(snn.Population):
        shape = (p.shape[0], *(1,) * (len(p.shape) - 1))
        theta = rng.uniform(0.2, 5, shape).astype(np.float32)
        neurons[p.name] = NeuronParams(v_threshold=theta, v_init=theta / 2)
    x = samples()[:8]
    got, want = (run_analog(g, x)["logits"] for g in (set_thresholds(graph, neurons), graph))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(-3, 3))
def test_scaling_inputs_biases_and_thresholds_by_a_power_of_two_changes_no_spike(
    seed: int, power: int
) -> None:
    graph, factor = unit(seed % 7), np.float32(2.0**power)
    x = dyadic(np.random.default_rng(seed), (3, 2, 8, 8))
    neurons = powers_of_two(seed, graph)
    louder = {
        name: replace(n, v_threshold=n.v_threshold * factor, v_init=n.v_init * factor)
        for name, n in neurons.items()
    }
    scaled = graph.with_nodes(
        replace(node, bias=node.bias * factor)
        for node in graph.nodes
        if isinstance(node, snn.Population | snn.Readout)
    )
    one = simulate(set_thresholds(graph, neurons), x, STEPS)
    other = simulate(set_thresholds(scaled, louder), x * factor, STEPS)
    for name, spikes in one.spikes.items():
        np.testing.assert_array_equal(other.spikes[name], spikes)
    np.testing.assert_array_equal(other.readouts["out"], one.readouts["out"] * factor)


def test_one_channel_rescaled_against_its_readers_changes_no_spike() -> None:
    """Weights into a channel times 2, weights out of it by half, its threshold times 2."""
    rng = np.random.default_rng(9)
    first, second = dyadic(rng, (6, 5)), dyadic(rng, (4, 6))
    factor = np.exp2(rng.integers(-2, 3, 6)).astype(np.float32)
    bias, theta = dyadic(rng, (6,)), np.exp2(rng.integers(-1, 2, 6)).astype(np.float32)

    def net(scale: np.ndarray) -> snn.SpikingGraph:
        linear = {
            "a": ops.Linear(weight=first * scale[:, np.newaxis]),
            "b": ops.Linear(weight=second / scale),
        }
        one = NeuronParams(v_threshold=np.ones((), np.float32), v_init=np.zeros((), np.float32))
        graph = snn.SpikingGraph(
            nodes=(
                snn.Input(name="x", shape=(5,)),
                snn.Synapse(name="a", inputs=("x",), shape=(6,), op=linear["a"]),
                snn.Population(
                    name="relu", inputs=("a",), shape=(6,), bias=bias * scale, neuron=one
                ),
                snn.Synapse(name="b", inputs=("relu",), shape=(4,), op=linear["b"]),
                snn.Readout(name="out", inputs=("b",), shape=(4,)),
            ),
            meta={},
        )
        v = theta * scale
        return set_thresholds(graph, {"relu": NeuronParams(v_threshold=v, v_init=v / 2)})

    assert_same_spikes(net(factor), net(np.ones(6, np.float32)), dyadic(rng, (8, 5)))


def test_a_skip_connection_into_a_sum_keeps_its_scale_times_the_threshold() -> None:
    graph = unit()
    neurons = powers_of_two(3, graph)
    folded = set_thresholds(graph, neurons)
    before, after = (g["skip"] for g in (graph, folded))
    assert isinstance(before, snn.Synapse)
    assert isinstance(after, snn.Synapse)
    assert isinstance(before.op, ops.Scale)
    assert isinstance(after.op, ops.Scale)
    want = before.op.scale * neurons["relu1"].v_threshold
    np.testing.assert_array_equal(np.broadcast_to(after.op.scale, want.shape), want)
    assert len(folded.nodes) == len(graph.nodes)
