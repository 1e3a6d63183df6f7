"""Copies: populations that share a current, and what reads the sum of their spikes."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.cost import static_cost
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.engine.early_exit import EarlyExit
from onnx2snn.runtime.engine.fast import simulator as engine
from onnx2snn.runtime.engine.fast.cells.events import SharedCurrent
from onnx2snn.runtime.engine.fast.cells.pointwise import PointwiseCell
from onnx2snn.runtime.engine.fast.events.choice import available, worth_it
from onnx2snn.runtime.engine.fast.events.layers import event_layers
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import NeuronParams
from runtime.engine.fast.products.test_blocked import conv
from runtime.engine.test_against_naive import assert_same
from runtime.random_graphs import array

pytestmark = pytest.mark.skipif(not available(), reason="needs the extra 'fast'")
SHARED = ("b", "c", "d", "sum", "e")  # currents that copies read


def copied(lag=0, levels=1, seed=0):
    """Two and three copies for each value, read by convolutions, a skip connection, a pool and a
    fully connected layer; one current is a product of positions, and every copy has its bias."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (3, 8, 6)}
    nodes = [g.Input(name="x", shape=shapes["x"])]

    def synapse(name, op, *inputs):
        shapes[name] = op.output_shape(*(shapes[i] for i in inputs))
        nodes.append(g.Synapse(name=name, shape=shapes[name], inputs=inputs, op=op))
        return name

    def copies(name, source, count, lag=0):
        shape = shapes[source]
        theta = array(rng, (shape[0], *(1,) * (len(shape) - 1)), 4, 12)
        names = [f"{name}{i}" for i in range(count)]
        for i, one in enumerate(names):
            start = theta * np.float32(0.25 * i)
            neuron = NeuronParams(v_threshold=theta, v_init=start, lag=lag, levels=levels)
            bias = array(rng, theta.shape, -2, 3)
            shapes[one] = shape
            nodes.append(
                g.Population(name=one, shape=shape, inputs=(source,), bias=bias, neuron=neuron)
            )
        return synapse(f"{name}/copies", ops.Add(), *names)

    a = copies("p", synapse("a", conv(rng, 16, 3), "x"), 2)
    b = copies("q", synapse("b", conv(rng, 16, 16), a), 3, lag)
    c = copies("r", synapse("c", conv(rng, 11, 16, 1), b), 2)
    d = copies("s", synapse("d", conv(rng, 11, 11, groups=11), c), 2)
    skip = synapse("skip", ops.Scale(scale=array(rng, (11, 1, 1), 1, 6)), c)
    inner = conv(rng, 11, 11)
    if lag:  # what is added must have the same onset
        skip = synapse("skip2", conv(rng, 11, 11, 1), c)
    e = copies("t", synapse("sum", ops.Add(), synapse("f", inner, c if lag else d), skip), 3)
    pool = ops.SumPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0,) * 4)
    pooled = synapse("pool", pool, e)
    flat = synapse("flat", ops.Reshape(shape=(int(np.prod(shapes[pooled])),)), pooled)
    fc = ops.Linear(weight=array(rng, (9, shapes[flat][0]), -3, 3))
    last = copies("u", synapse("e", fc, flat), 2)
    out = synapse("out", ops.Linear(weight=array(rng, (5, 9), -3, 3)), last)
    nodes.append(g.Readout(name="y", shape=(5,), inputs=(out,)))
    if lag:
        also = synapse("also", ops.Scale(scale=np.float32(0.5)), d)
        nodes.append(g.Readout(name="z", shape=shapes[also], inputs=(also,)))
    return g.SpikingGraph(nodes=tuple(nodes))


def images(count, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 17, (count, 3, 8, 6)) / 16).astype(np.float32)


def layers_of(graph):
    return event_layers(GraphFacts(graph), static_cost(GraphFacts(graph)).fan_out)


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize(("seed", "tile", "block"), [(0, 7, 9), (1, 3, 4), (2, 1, 1)])
def test_spikes_equal_the_definition(lag, seed, tile, block):
    graph, x = copied(lag, seed=seed), images(7)
    expected = simulate(graph, x, 9, engine="numpy")
    assert all(expected.spikes[p.name].sum() > 0 for p in graph.of(g.Population))
    assert_same(expected, simulate(graph, x, 9, events="always", tile=tile, block=block))


def test_shared_currents_are_driven_by_spikes_once():
    graph = copied()
    simulator = Simulator(graph, threads=1, events="always")
    simulator.run(images(4), 5)
    segments = {s.node.name: s for s in next(iter(simulator._plans.values()))[0].segments}
    shared = [name for name, s in segments.items() if isinstance(s.cell, SharedCurrent)]
    assert shared == list(SHARED)
    readers = [p.name for p in graph.of(g.Population) if p.inputs[0] in SHARED]
    assert all(isinstance(segments[name].cell, PointwiseCell) for name in readers)
    assert not any(name.endswith("/copies") for name in segments)  # added where they are read
    assert {"p0", "p1", "y"} <= set(simulator._layers)
    assert simulator._is_compiled
    assert segments["sum"].sources == ("s0", "s1", "r0", "r1")


@pytest.mark.parametrize("driven", [(), ("b", "d"), ("c", "sum"), ("p0", "p1", "e", "y")])
def test_some_layers_driven_by_spikes_beside_products(driven, monkeypatch):
    graph, x = copied(), images(7)
    some = {name: layer for name, layer in layers_of(graph).items() if name in driven}
    assert len(some) == len(driven)
    monkeypatch.setattr(engine, "event_layers", lambda *_: some)
    expected = simulate(graph, x, 9, engine="numpy")
    for tile in (7, 2):
        assert_same(expected, simulate(graph, x, 9, events="always", tile=tile, block=4))


def test_copies_of_a_product_of_positions_read_it_as_it_is(monkeypatch):
    graph, x = copied(), images(3)
    some = {name: layer for name, layer in layers_of(graph).items() if name != "c"}
    monkeypatch.setattr(engine, "event_layers", lambda *_: some)
    simulator = Simulator(graph, threads=1, events="always")
    assert_same(simulate(graph, x, 6, engine="numpy"), simulator.run(x, 6))
    plan = next(iter(simulator._plans.values()))[0]
    cells = {s.node.name: s.cell for s in plan.segments}
    assert cells["c"] is None and isinstance(cells["r0"], PointwiseCell)
    assert simulator._is_compiled


def test_sums_of_other_spikes_are_read_as_those_of_copies_are():
    """Of two layers, one of them delayed, and of one and the same twice."""
    rng = np.random.default_rng(0)
    one = {"v_threshold": np.float32(4), "v_init": np.float32(2)}
    shape = (9, 5, 4)

    def spikes(name, source, **neuron):
        return g.Population(
            name=name, shape=shape, inputs=(source,), neuron=NeuronParams(**one, **neuron)
        )

    def synapse(name, op, *inputs):
        return g.Synapse(name=name, shape=shape, inputs=inputs, op=op)

    nodes = (
        g.Input(name="x", shape=shape),
        spikes("p", "x"),
        synapse("c", conv(rng, 9, 9), "p"),
        spikes("q", "c", lag=1),
        g.Delay(name="late", shape=shape, inputs=("p",), steps=1),
        synapse("sum", ops.Add(), "q", "late"),
        synapse("d", conv(rng, 9, 9), "sum"),
        spikes("r", "d"),
        synapse("twice", ops.Add(), "r", "r"),
        synapse("e", conv(rng, 9, 9), "twice"),
        spikes("s", "e"),
        g.Readout(name="y", shape=shape, inputs=("s",)),
    )
    graph, x = g.SpikingGraph(nodes=nodes), rng.integers(0, 5, (4, *shape)).astype(np.float32)
    layers = layers_of(graph)
    assert [layers[name].sources[0].names for name in "rs"] == [("q", "late"), ("r", "r")]
    expected = simulate(graph, x, 7, engine="numpy")
    assert expected.spikes["s"].sum() > 0
    assert_same(expected, simulate(graph, x, 7, events="always", tile=3, block=2))


def test_other_neurons_leave_a_shared_current_to_products():
    graph, x = copied(levels=2), images(3)
    layers = layers_of(graph)
    assert not set(SHARED) & set(layers)
    assert layers["y"].sources[0].names == ("u0", "u1")
    assert_same(
        simulate(graph, x, 6, engine="numpy"), simulate(graph, x, 6, events="always", block=4)
    )


def test_sums_that_a_byte_does_not_hold_are_no_spikes():
    assert "y" not in layers_of(copied(levels=64))
    assert "y" in layers_of(copied(levels=63))


def test_early_exit_goes_on_with_the_samples_that_run():
    graph, x, rule = copied(), images(40), EarlyExit(margin=0.1, patience=4)
    expected = simulate(graph, x, 20, early_exit=rule, events="never")
    assert len(set(expected.steps_used)) > 1
    options = {"threads": 1, "tile": 20, "block": 2}
    result = simulate(graph, x, 20, early_exit=rule, events="always", **options)
    np.testing.assert_array_equal(expected.steps_used, result.steps_used)
    assert_same(expected, result)


def test_a_profile_changes_nothing_and_has_every_layer():
    graph, x = copied(), images(8)
    result = simulate(graph, x, 6, events="always", profile=True)
    assert_same(simulate(graph, x, 6, events="always"), result)
    seconds = {layer.name: layer for layer in result.profile}
    assert set(seconds) == {*SHARED, *(p.name for p in graph.of(g.Population)), "y"}
    assert seconds["b"].synapse > 0 and seconds["q0"].neuron > 0


def test_silence_is_passed_on():
    graph, x = copied(), np.zeros((3, 3, 8, 6), np.float32)
    assert_same(simulate(graph, x, 5, engine="numpy"), simulate(graph, x, 5, events="always"))


def test_a_shared_current_is_chosen_by_its_spikes_and_readers():
    layers = layers_of(copied())
    names = {name for layer in layers.values() for s in layer.sources for name in s.names}
    assert layers["b"].readers == 3
    assert worth_it(layers, dict.fromkeys(names, 0.02)) == layers
    assert "b" not in worth_it(layers, dict.fromkeys(names, 0.5))  # of one copy: every value's sum
