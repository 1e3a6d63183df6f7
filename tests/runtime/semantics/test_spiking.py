"""The definition of a spiking run, against a naive loop and against the engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import make_engine, simulate
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.neurons.differential import DifferentialParams
from runtime import naive_oracle
from runtime.engine.test_against_naive import float_network, images
from runtime.random_graphs import graphs, samples

RELAXED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def defined(graph, x, steps, *, seed=0, offset=0, **options):
    engine = make_engine("numpy", **options)
    return engine.run(graph, x, steps, seed=seed, offset=offset)


@RELAXED
@given(st.data())
def test_a_run_is_the_naive_loop_and_the_engine_whatever_the_block(data):
    graph = data.draw(graphs())
    x = data.draw(samples(graph.of(g.Input)[0].shape))
    steps = data.draw(st.integers(1, 6))
    one = defined(graph, x, steps, block=data.draw(st.integers(1, 7)))
    spikes, answers = naive_oracle.simulate(graph, x, steps)
    for name, values in answers.items():
        np.testing.assert_array_equal(one.readouts[name], values.astype(np.float32), err_msg=name)
    for name, train in spikes.items():
        per_step = (train != 0).reshape(len(train), -1).sum(axis=1)
        first = per_step[: one.latency + 1].sum()
        late = per_step[one.latency + 1 : one.latency + steps]
        np.testing.assert_array_equal(one.spikes[name], [first, *late], err_msg=name)
    _assert_same(one, simulate(graph, x, steps))


def _assert_same(one, engine):
    assert one.latency == engine.latency
    assert set(one.readouts) == set(engine.readouts) and set(one.spikes) == set(engine.spikes)
    for name, values in engine.readouts.items():
        assert one.readouts[name].dtype == values.dtype
        np.testing.assert_array_equal(one.readouts[name], values, err_msg=name)
    for name, values in engine.spikes.items():
        np.testing.assert_array_equal(one.spikes[name], values, err_msg=name)
    np.testing.assert_array_equal(one.synops, engine.synops)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("encoding", ["constant", "poisson", "rate"])
def test_a_residual_network_runs_as_in_the_engine(encoding, dtype):
    graph, x = float_network(encoding, dyadic=True), images(5)
    one = defined(graph, x, 9, seed=3, offset=2, block=4, dtype=dtype)
    engine = Simulator(graph, dtype=dtype).run(x, 9, seed=3, offset=2)
    _assert_same(one, engine)


def test_differential_neurons_and_readouts_run_as_in_the_engine():
    shape = (4,)
    nodes = [g.Input(name="x", shape=shape)]
    for name, source in (("a", "rate"), ("b", "differential")):
        neuron = DifferentialParams(
            v_threshold=np.float32(0.25), bias=np.float32(0.5), source=source
        )
        nodes.append(g.Population(name=name, shape=shape, inputs=(nodes[-1].name,), neuron=neuron))
    nodes.append(
        g.Readout(
            name="out",
            shape=shape,
            inputs=("b",),
            bias=np.float32(0.125),
            coding="differential",
        )
    )
    graph = g.SpikingGraph(nodes=tuple(nodes))
    x = np.random.default_rng(0).uniform(-1, 2, (6, *shape)).astype(np.float32)
    _assert_same(defined(graph, x, 12, block=5), simulate(graph, x, 12))
