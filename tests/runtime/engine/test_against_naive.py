"""The engine equals a naive loop over samples, steps and neurons, spike for spike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.cost import static_cost
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import NeuronParams
from runtime import naive_oracle
from runtime.random_graphs import PLAIN, array, graphs, samples

pytestmark = pytest.mark.usefixtures("engines")

RELAXED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@RELAXED
@given(st.data())
def test_spikes_readouts_and_synops_equal_the_naive_loop(data):
    graph = data.draw(graphs())
    x = data.draw(samples(graph.of(g.Input)[0].shape))
    steps = data.draw(st.integers(1, 6))
    expected, answers = naive_oracle.simulate(graph, x, steps)
    result = simulate(graph, x, steps, tile=2, block=data.draw(st.integers(1, 7)))
    for name, values in answers.items():
        np.testing.assert_allclose(result.readouts[name], values, rtol=1e-6, atol=0, err_msg=name)
    _assert_counts(graph, result, expected, steps)


def _assert_counts(graph, result, expected, steps):
    onset = naive_oracle.naive_onsets(graph)
    latency = max(onset[r.name] for r in graph.of(g.Readout))
    fan_out = static_cost(GraphFacts(graph)).fan_out
    has_pools = any(isinstance(n, g.MaxPool) for n in graph.nodes)
    synops = np.zeros(steps)
    for name, train in expected.items():
        assert train[: onset[name]].sum() == 0 and train[onset[name] + steps :].sum() == 0
        fired = _up_to_answers(train != 0, latency, steps)
        np.testing.assert_array_equal(
            result.spikes[name], fired.sum(axis=tuple(range(1, fired.ndim)))
        )
        operations = (fired * fan_out[name]).reshape(steps, -1).sum(axis=1)
        assert result.synops_of[name] == operations.sum()
        synops += operations
    assert sum(result.synops_of.values()) == result.synops.sum()
    if not has_pools:  # pools pass spikes on, which count too (tested on its own)
        np.testing.assert_array_equal(result.synops, synops)


def _up_to_answers(fired, latency, steps):
    """Events in the steps of the answers, all earlier ones in that of the first."""
    first = fired[: latency + 1].sum(axis=0, keepdims=True)
    return np.concatenate([first, fired[latency + 1 : latency + steps]])


@pytest.mark.parametrize("theta", [0.25, 0.5, 1.0, 1.25])
@pytest.mark.parametrize("v0", [0.0, 0.5])
def test_constant_input_gives_the_closed_form_count(theta, v0):
    """k(T) = clip(floor(z T / theta + v0 / theta), 0, T) for an IF neuron with soft reset."""
    z = np.arange(-64, 96, dtype=np.float32)[np.newaxis] / 32
    graph = _integrate_and_fire(z.shape[1], theta, v0 * theta)
    steps = 40
    result = simulate(graph, z, steps)
    for t in (1, 2, 7, steps):
        expected = np.clip(np.floor(z * t / theta + v0), 0, t)
        np.testing.assert_array_equal(np.rint(result.readouts["out"][t - 1] * t), expected)


def _integrate_and_fire(count, theta, v_init):
    neuron = NeuronParams(v_threshold=np.float32(theta), v_init=np.float32(v_init), **PLAIN)
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(count,)),
            g.Population(name="p", shape=(count,), inputs=("x",), neuron=neuron),
            g.Readout(name="out", shape=(count,), inputs=("p",)),
        )
    )


@settings(RELAXED, max_examples=15)
@given(st.data())
def test_tile_and_block_change_nothing(data):
    graph = data.draw(graphs(max_stages=2))
    x = data.draw(samples(graph.of(g.Input)[0].shape, most=7))
    one = simulate(graph, x, 9, tile=1, block=1)
    for tile, block in [(100, 100), (2, 3), (3, 9)]:
        other = simulate(graph, x, 9, tile=tile, block=block)
        assert_same(one, other)


@pytest.mark.parametrize("encoding", ["constant", "poisson", "rate"])
def test_tile_and_block_change_nothing_on_a_residual_network(encoding):
    graph, x = float_network(encoding, dyadic=True), images(21)
    one = simulate(graph, x, 12, tile=5, block=4, seed=3)
    for tile, block in [(21, 12), (16, 5), (1, 1)]:
        assert_same(one, simulate(graph, x, 12, tile=tile, block=block, seed=3))


@pytest.mark.parametrize("encoding", ["constant", "poisson", "rate"])
def test_tile_and_block_change_only_the_rounding_with_ordinary_float_weights(encoding):
    graph, x = float_network(encoding), images(21)
    one = simulate(graph, x, 12, tile=5, block=4, seed=3)
    for tile, block in [(21, 12), (16, 5), (1, 1)]:
        assert_close(one, simulate(graph, x, 12, tile=tile, block=block, seed=3))


def test_a_run_is_reproducible_from_its_seed():
    graph, x = float_network("poisson"), images(4)
    assert_same(simulate(graph, x, 8, seed=5), simulate(graph, x, 8, seed=5))
    other = simulate(graph, x, 8, seed=6)
    assert not np.array_equal(simulate(graph, x, 8, seed=5).synops, other.synops)


def assert_same(a, b):
    for name in a.readouts:
        np.testing.assert_array_equal(a.readouts[name], b.readouts[name], err_msg=name)
    for name in a.spikes:
        np.testing.assert_array_equal(a.spikes[name], b.spikes[name], err_msg=name)
    np.testing.assert_array_equal(a.synops, b.synops)


def assert_close(a, b):
    """Equal but for rounding: BLAS sums in an order that depends on the sizes of a product and on
    the processor, so sums differ in their last bits, and where one lies within that of its
    threshold a spike moves by a step: at most 1 spike in 10,000, and readouts by 1e-4 of their
    range on average."""
    differing = sum(np.abs(a.spikes[name] - b.spikes[name]).sum() for name in a.spikes)
    assert differing <= 1e-4 * sum(train.sum() for train in a.spikes.values())
    for name, answers in a.readouts.items():
        assert np.abs(answers - b.readouts[name]).mean() <= 1e-4 * np.ptp(answers), name
    np.testing.assert_allclose(a.synops.sum(), b.synops.sum(), rtol=1e-4)


def images(count, seed=1):
    """Samples for ``float_network``, multiples of 1/16: exact in every sum of dyadic weights."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 17, (count, 3, 12, 12)) / 16).astype(np.float32)


def float_network(encoding="constant", seed=0, dyadic=False):
    """conv - conv with skip - strided conv - pool - linear; ``dyadic``: all its numbers are
    multiples of 1/64, so that results are the same bits in whatever order sums are formed."""
    rng = np.random.default_rng(seed)

    def given(values):
        return (np.round(values * 64) / 64 if dyadic else values).astype(np.float32)

    def conv(out, inside, stride):
        weight = given(rng.normal(0, (2 / (inside * 9)) ** 0.5, (out, inside, 3, 3)))
        return ops.Conv(
            weight=weight, strides=(stride, stride), dilations=(1, 1), pads=(1, 1, 1, 1)
        )

    def population(name, shape, source):
        theta = given(rng.uniform(0.5, 1.5, (shape[0], 1, 1)))
        neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
        bias = given(rng.normal(0, 0.1, (shape[0], 1, 1)))
        return g.Population(name=name, shape=shape, inputs=(source,), neuron=neuron, bias=bias)

    skip = ops.Scale(scale=given(rng.uniform(0.5, 1, (8, 1, 1))))
    linear = ops.Linear(weight=given(array(rng, (5, 12)) * np.float32(0.3)))
    a, b = (8, 12, 12), (12, 6, 6)
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(3, 12, 12), encoding=encoding),
            g.Synapse(name="c1", shape=a, inputs=("x",), op=conv(8, 3, 1)),
            population("p1", a, "c1"),
            g.Synapse(name="c2", shape=a, inputs=("p1",), op=conv(8, 8, 1)),
            g.Synapse(name="s2", shape=a, inputs=("p1",), op=skip),
            g.Synapse(name="a2", shape=a, inputs=("c2", "s2"), op=ops.Add()),
            population("p2", a, "a2"),
            g.Synapse(name="c3", shape=b, inputs=("p2",), op=conv(12, 8, 2)),
            population("p3", b, "c3"),
            g.Synapse(
                name="g",
                shape=(12,),
                inputs=("p3",),
                op=ops.ReduceSum(axes=(1, 2), keepdims=False),
            ),
            g.Synapse(name="fc", shape=(5,), inputs=("g",), op=linear),
            g.Readout(name="out", shape=(5,), inputs=("fc",)),
        )
    )
