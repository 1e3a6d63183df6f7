"""Products position by position between layers driven by spikes: the definition's spikes."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.runtime import engine as door
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import EarlyExit, simulate
from onnx2snn.runtime.engine.fast import simulator as engine
from onnx2snn.runtime.engine.fast.cells.pointwise import PointwiseCell
from onnx2snn.runtime.engine.fast.events.choice import available
from onnx2snn.runtime.engine.fast.events.layers import event_layers
from onnx2snn.runtime.engine.fast.products import pointwise
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.neurons import NeuronParams
from runtime.engine.fast.products.test_blocked import conv
from runtime.engine.test_against_naive import assert_same
from runtime.random_graphs import array

pytestmark = pytest.mark.skipif(not available(), reason="needs the extra 'fast'")
DEPTHWISE = ("p", "d", "f")


def bottlenecks(lag=0):
    """Two blocks of MobileNetV2's kind, expanded by a 1 x 1 convolution and narrowed by another,
    with nothing between the second's output, the sum with the first's and what reads both."""
    rng = np.random.default_rng(0)
    nodes = [g.Input(name="x", shape=(5, 6, 4))]
    shapes = {"x": (5, 6, 4)}

    def add(name, op, *inputs):
        shapes[name] = op.output_shape(*(shapes[i] for i in inputs))
        nodes.append(g.Synapse(name=name, shape=shapes[name], inputs=inputs, op=op))

    def spikes(name, source, lag=0):
        shape = shapes[name] = shapes[source]
        theta = array(rng, (shape[0], 1, 1), 4, 9)
        neuron = NeuronParams(v_threshold=theta, v_init=theta / 2, lag=lag)
        bias = array(rng, (shape[0], 1, 1), -1, 3)
        nodes.append(
            g.Population(name=name, shape=shape, inputs=(source,), neuron=neuron, bias=bias)
        )

    spikes("p", "x")
    add("narrow", conv(rng, 3, 5, kernel=1), "p")  # read by two
    add("wide", conv(rng, 9, 3, kernel=1), "narrow")
    spikes("c", "wide", lag)
    add("depth", conv(rng, 9, 9, groups=9), "c")
    spikes("d", "depth")
    add("narrow again", conv(rng, 3, 9, kernel=1), "d")
    if not lag:  # what is added must have the same onset
        add("sum", ops.Add(), "narrow", "narrow again")
    last = "narrow again" if lag else "sum"
    add("wide again", conv(rng, 17, 3, kernel=1), last)
    spikes("e", "wide again")
    add("depth again", conv(rng, 17, 17, stride=2, groups=17), "e")
    spikes("f", "depth again")
    add("mean", ops.ReduceSum(axes=(1, 2), keepdims=False), "f")
    nodes.append(g.Readout(name="y", shape=shapes["mean"], inputs=("mean",)))
    add("outside", conv(rng, 2, 3, kernel=3), last)  # a reader with another order
    nodes.append(g.Readout(name="z", shape=shapes["outside"], inputs=("outside",)))
    return g.SpikingGraph(nodes=tuple(nodes))


@pytest.fixture
def only_depthwise(monkeypatch):
    """By spikes run what cannot be a product of positions."""

    def some(facts, fan_out):
        return {n: x for n, x in event_layers(facts, fan_out).items() if n in DEPTHWISE}

    monkeypatch.setattr(engine, "event_layers", some)


def images(count=5):
    return (np.random.default_rng(1).integers(-4, 13, (count, 5, 6, 4)) / 8).astype(np.float32)


@pytest.mark.parametrize("elements", [1 << 19, 300, 1])  # samples together, some rows, single rows
@pytest.mark.parametrize("lag", [0, 2])
def test_spikes_and_readouts_are_the_definitions(only_depthwise, monkeypatch, elements, lag):
    monkeypatch.setattr(pointwise, "GROUP_ELEMENTS", elements)
    graph, x = bottlenecks(lag), images()
    expected = simulate(graph, x, 9, engine="numpy")
    assert min(expected.spikes[name].sum() for name in "pcdef") > 20
    simulator = Simulator(graph, events="always", tile=3, block=4, threads=1)
    assert_same(expected, simulator.run(x, 9))
    ((plan,),) = simulator._plans.values()
    cells = {s.node.name for s in plan.segments if isinstance(s.cell, PointwiseCell)}
    assert cells == {"c", "e"}


def test_a_profile_and_an_early_exit_change_nothing(only_depthwise):
    graph, x, rule = bottlenecks(), images(20), EarlyExit(margin=0.05, patience=2)
    expected = door.simulate(graph, x, 12, early_exit=rule, engine="numpy")
    assert len(set(expected.steps_used)) > 1
    result = simulate(graph, x, 12, early_exit=rule, events="always", tile=20, profile=True)
    np.testing.assert_array_equal(expected.steps_used, result.steps_used)
    assert_same(expected, result)
    assert {layer.name for layer in result.profile if layer.synapse > 0} >= {"c", "e", "narrow"}


def test_without_spikes_nothing_is_multiplied_and_biases_arrive(only_depthwise):
    graph, x = bottlenecks(), np.full((2, 5, 6, 4), -100, np.float32)
    expected = simulate(graph, x, 6, engine="numpy")
    assert expected.spikes["p"].sum() == 0 and expected.spikes["c"].sum() > 0
    assert_same(expected, simulate(graph, x, 6, events="always"))
