"""What is replaced so that only binary spikes are left: pools, maxima, outputs, inputs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwtargets.truenorth import nets
from onnx2snn.errors import TargetError
from onnx2snn.hwtargets.truenorth.compile import compile_network
from onnx2snn.hwtargets.truenorth.compile.lower import lower
from onnx2snn.hwtargets.truenorth.compile.units import ChipUnit, Conn
from onnx2snn.hwtargets.truenorth.run import run_network
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.semantics.analog import run_analog

TARGET = nets.small_target(256, 256)


def test_analog_rates_of_units_are_the_graphs_analog_values():
    graph = nets.conv_net(0)
    x = nets.samples(graph, 5)
    lowered = lower(graph, {"x": x})
    (reading,) = lowered.readings
    target = lowered.units[-1].target[:, : len(reading.value)]
    populations = [u for u in lowered.units if u.role == "neurons"]
    clipped = any((u.target > u.threshold).any() for u in populations)
    expected = run_analog(graph, x)["out"]
    if not clipped:
        np.testing.assert_allclose(target - reading.offset, expected, atol=1e-3)
    first = populations[0]
    rates = simulate(graph, x, 200).spikes[first.name].mean() / len(x)
    analog = np.clip(first.target / first.threshold, 0, 1).sum(axis=1).mean()
    assert rates == pytest.approx(analog, rel=0.05)


def test_a_signed_input_becomes_positive_rates_and_a_bias():
    net = nets.Graph((2, 4, 4), 3)
    graph = net.out(net.linear(net.flat(net.relu(net.conv("x", 3))), 3))
    x = (nets.samples(graph, 6) - 0.5) * 4
    lowered = lower(graph, {"x": x})
    (source,) = lowered.sources
    assert source.low.min() < -1.5 and source.high.max() > 1.5
    rates = lowered.rates[:, : source.size]
    assert rates.min() >= 0 and rates.max() <= 1
    padded = net.nodes[1].op.apply(x) + net.nodes[2].bias  # zeros outside, not the lowest value
    unit = lowered.units[0]
    np.testing.assert_allclose(unit.target, padded.reshape(6, -1), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(copies=st.integers(1, 5), seed=st.integers(0, 500))
def test_staggered_copies_count_as_one_finer_neuron(copies, seed):
    """Hermite: sum over j of floor((x + j) / L) = floor(x)."""
    rng = np.random.default_rng(seed)
    steps, finer = 40, int(rng.integers(20, 60))
    drive = rng.integers(0, finer, steps)

    def counts(threshold, starts):
        v, out = np.array(starts), np.zeros(len(starts), int)
        for step in drive:
            v = v + step
            out += v >= threshold
            v = v - threshold * (v >= threshold)
        return out.sum()

    coarse = counts(finer * copies, [j * finer for j in range(copies)])
    assert coarse == drive.sum() // finer


def _maximum(rates, steps):
    """Spike counts of a 2 x 2 max pool and of its inputs, for constant input rates."""
    net = nets.Graph((1, 4, 4), 0)
    same = net.synapse(ops.Scale(scale=np.float32(1.0)), "x")
    net.nodes.append(
        g.Population(
            name="spikes",
            inputs=(same,),
            shape=(1, 4, 4),
            neuron=nets.NeuronParams(v_threshold=nets.F32(1), v_init=nets.F32(0.5)),
        )
    )
    graph = net.out(net.linear(net.flat(net.max_pool("spikes")), 3))
    x = rates.reshape(1, 1, 4, 4).astype(np.float32)
    net = compile_network(graph, TARGET, {"x": np.ones_like(x)}, steps=steps, fit_steps=8)
    names = [u.name for u in net.routed.units]
    run = net.run({"x": x}, steps, keep=tuple(names))
    maxima = [n for n in names if "/max" in n][-1]
    return run.trains["spikes"].sum(axis=0).reshape(4, 4), run.trains[maxima].sum(axis=0)[0]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_max_pools_count_the_maximum_within_two_spikes_a_stage(seed):
    rates = np.random.default_rng(seed).uniform(0, 1, 16)
    inputs, found = _maximum(rates, 48)
    windows = inputs.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    assert (found >= windows.max(axis=1) - 4).all()
    assert (found <= windows.max(axis=1) + 4).all()


def test_average_pools_count_the_sum_of_their_spikes():
    graph = nets.conv_net(1)
    net = compile_network(graph, TARGET, {"x": nets.samples(graph, 8)}, steps=32, fit_steps=16)
    pool = next(u for u in net.routed.units if u.role == "pool")
    names = tuple(u.name for u in net.routed.units)
    run = net.run({"x": nets.samples(graph, 2, seed=9)}, 32, keep=names)
    source = run.trains[names[0]].sum(axis=0).reshape(2, 3, 3, 2, 3, 2).sum(axis=(3, 5))
    counted = run.trains[pool.name].sum(axis=0).reshape(2, 3, 3, 3)
    assert np.abs(counted - source / pool.threshold[0]).max() <= 1


def test_a_maximum_over_currents_is_refused_with_what_to_do():
    net = nets.Graph((2, 4, 4), 0)
    at = net.max_pool(net.conv("x", 2))
    graph = net.out(net.linear(net.flat(at), 3))
    with pytest.raises(TargetError, match=r"over currents.*ReLU before the max pool") as refused:
        lower(graph, {"x": nets.samples(graph, 2)})
    assert refused.value.code == "E522"


def test_potentials_stop_at_the_negative_threshold_and_say_so():
    conn = Conn(
        fields=np.array([[0]]),
        outputs=np.array([[0]]),
        planes=np.ones((1, 1, 1), bool),
        types=np.array([0]),
        values=np.array([[-100_000]]),
        grid=(1,),
    )
    zero = np.zeros(1, np.int64)
    unit = ChipUnit(
        name="n", layer="n", role="neurons", first=1, conns=(conn,), leak=zero,
        threshold=zero + 5, start=zero, reset_potential=zero,
    )  # fmt: skip
    graph = nets.dense_net(0, inputs=1)
    source = lower(graph, {"x": np.ones((1, 1), np.float32)}).sources
    run = run_network([unit], source, [], {"x": np.ones((1, 1), np.float32)}, 5)
    assert run.floored["n"] == 3


def test_a_delay_is_refused_by_name():
    graph = nets.conv_net(0)
    source = graph.of(g.Readout)[0].inputs[0]
    late = g.Delay(name="late", inputs=(source,), shape=graph[source].shape, steps=2)
    nodes = [
        dataclasses.replace(node, inputs=("late",)) if isinstance(node, g.Readout) else node
        for node in graph.nodes
    ]
    delayed = g.SpikingGraph(nodes=(*nodes[:-1], late, nodes[-1]))
    with pytest.raises(TargetError, match="late") as caught:
        lower(delayed, {"x": nets.samples(graph, 2)})
    assert caught.value.code == "E521"
