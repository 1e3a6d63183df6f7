"""Layers computed in ONNX Runtime's channel-blocked order: the same spikes as the definition's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx2snn.runtime import engine, ops
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import EarlyExit
from onnx2snn.runtime.engine.fast import simulator as simulator_module
from onnx2snn.runtime.engine.fast.cells.blocked import BlockedCell
from onnx2snn.runtime.engine.fast.cells.compiled import CompiledPlainCell
from onnx2snn.runtime.engine.fast.events.choice import available
from onnx2snn.runtime.engine.fast.products.blocked import BlockedSessions, block_size, model_key
from onnx2snn.runtime.engine.fast.products.blocked import layers as blocked_module
from onnx2snn.runtime.engine.fast.products.blocked.models import blocked_models
from onnx2snn.runtime.engine.fast.products.terms import convolution_terms
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import NeuronParams
from runtime.random_graphs import array

simulate = partial(engine.simulate, events="never")
definition = partial(engine.simulate, engine="numpy")
RELAXED = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def conv(rng, out, inside, kernel=3, stride=1, groups=1, pad=None):
    pad = kernel // 2 if pad is None else pad
    return ops.Conv(
        weight=array(rng, (out, inside // groups, kernel, kernel), -3, 3),
        strides=(stride,) * 2,
        dilations=(1, 1),
        pads=(pad,) * 4,
        groups=groups,
    )


def residual(seed=0, size=9, bias_shape="channel", lag=1):
    """Constant input, plain convolution, depthwise with stride, pool, and three kinds of skip
    connection: scaled, as it is, and by sections with channels padded."""
    rng = np.random.default_rng(seed)
    nodes = [g.Input(name="x", shape=(3, size, size))]

    def synapse(name, op, *inputs):
        shape = op.output_shape(*(shapes[i] for i in inputs))
        nodes.append(g.Synapse(name=name, shape=shape, inputs=inputs, op=op))
        shapes[name] = shape
        return name

    def spikes(name, source, lag=0):
        shape = shapes[source]
        shapes[name] = shape
        where = {"channel": (shape[0], 1, 1), "neuron": shape, "none": ()}[bias_shape]
        bias = array(rng, where, -2, 2) if where else np.zeros((), np.float32)
        theta = array(rng, (shape[0], 1, 1), 4, 12)
        neuron = NeuronParams(v_threshold=theta, v_init=theta / 2, lag=lag)
        nodes.append(
            g.Population(name=name, shape=shape, inputs=(source,), bias=bias, neuron=neuron)
        )
        return name

    shapes = {"x": (3, size, size)}
    a = spikes("a", synapse("c1", conv(rng, 16, 3), "x"))
    b = spikes("b", synapse("c2", conv(rng, 16, 16), a), lag=lag)
    scaled = synapse("s", ops.Scale(scale=array(rng, (16, 1, 1), 1, 6)), a)
    c = spikes("c", synapse("sum", ops.Add(), synapse("c3", conv(rng, 16, 16), b), scaled))
    half = -(-size // 2)
    slices = ops.Slice(starts=(0, 0, 0), stops=(16, size, size), steps=(1, 2, 2))
    padded = ops.Pad(pads=(8, 0, 0, 8, 0, 0))
    section = synapse("section", padded, synapse("slice", slices, c))
    wide = synapse("c4", conv(rng, 32, 16, stride=2), c)
    d = spikes("d", synapse("sum2", ops.Add(), section, wide))
    e = spikes("e", synapse("depthwise", conv(rng, 32, 32, groups=32), d))
    f = spikes("f", synapse("sum3", ops.Add(), synapse("c5", conv(rng, 32, 32, 1), e), d))
    pool = ops.SumPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0,) * 4)
    h = spikes("h", synapse("c6", conv(rng, 16, 32, 1), synapse("pool", pool, f)))
    assert shapes[d] == (32, half, half)
    flat = synapse("flat", ops.Reshape(shape=(int(np.prod(shapes[h])),)), h)
    fc = ops.Linear(weight=array(rng, (5, shapes[flat][0]), -3, 3))
    nodes.append(g.Readout(name="out", shape=(5,), inputs=(synapse("fc", fc, flat),)))
    return g.SpikingGraph(nodes=tuple(nodes))


def images(count, size=9, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 17, (count, 3, size, size)) / 16).astype(np.float32)


def assert_same(a, b):
    for name in a.readouts:
        np.testing.assert_array_equal(a.readouts[name], b.readouts[name])
    for name in a.spikes:
        np.testing.assert_array_equal(a.spikes[name], b.spikes[name])
    np.testing.assert_array_equal(a.synops, b.synops)


def blocked_layers(graph, x, steps):
    simulator = Simulator(graph, threads=1, events="never")
    result = simulator.run(x, steps)
    plan = next(iter(simulator._plans.values()))[0]
    return result, [s.node.name for s in plan.segments if isinstance(s.cell, BlockedCell)]


@pytest.mark.parametrize("bias_shape", ["channel", "neuron", "none"])
def test_every_kind_of_layer_gives_the_spikes_of_the_definition(bias_shape):
    graph, x = residual(bias_shape=bias_shape), images(7)
    result, layers = blocked_layers(graph, x, 9)
    assert layers == ["a", "b", "c", "d", "e", "f", "h"]
    expected = definition(graph, x, 9)
    assert all(spikes.sum() > 0 for spikes in expected.spikes.values())
    assert_same(result, expected)


@pytest.mark.skipif(not available(), reason="needs the extra 'fast'")
@pytest.mark.parametrize("blocked", [False, True])
def test_behind_products_neurons_are_updated_in_one_compiled_pass(blocked, monkeypatch):
    """Where no layer is driven by its spikes, in blocks of channels or not."""
    monkeypatch.setattr(simulator_module, "cheaper_by_spikes", lambda *given, **asked: {})
    if not blocked:
        monkeypatch.setattr(blocked_module, "block_size", lambda *given: None)
    graph, x = residual(lag=0), images(7)
    simulator = Simulator(graph, threads=1, events="auto")
    result = simulator.run(x, 9)
    plan = next(iter(simulator._plans.values()))[0]
    cells = [s.cell for s in plan.segments if isinstance(s.node, g.Population)]
    compiled = [
        cell
        for cell in cells
        if isinstance(cell, CompiledPlainCell)
        or (isinstance(cell, BlockedCell) and cell.plain is not None)
    ]
    assert compiled == cells
    assert any(isinstance(cell, BlockedCell) for cell in cells) == blocked
    assert_same(result, definition(graph, x, 9))


@RELAXED
@given(st.integers(0, 1000), st.sampled_from([6, 7, 8]), st.integers(1, 5), st.integers(1, 6))
def test_tiles_blocks_and_threads_change_nothing(seed, size, tile, block):
    graph, x = residual(seed, size), images(5, size, seed)
    whole = simulate(graph, x, 6, threads=1)
    parts = simulate(graph, x, 6, threads=2, tile=tile, block=block)
    assert_same(whole, parts)
    assert_same(whole, definition(graph, x, 6))


def test_a_tile_with_unused_lanes_integrates_through_a_start_lag():
    graph, x = residual(lag=4), images(7)
    result = simulate(graph, x, 6, threads=1, tile=4, block=3)
    assert_same(result, definition(graph, x, 6))


def test_early_exit_moves_the_potentials_with_their_samples():
    graph, x, rule = residual(3), images(40), EarlyExit(margin=0.1, patience=4)
    ours = definition(graph, x, 20, early_exit=rule)
    theirs = simulate(graph, x, 20, early_exit=rule, threads=1, tile=20, block=2)
    assert len(set(ours.steps_used)) > 1
    np.testing.assert_array_equal(ours.steps_used, theirs.steps_used)
    assert_same(ours, theirs)


def test_a_network_that_falls_silent_is_the_same():
    graph = residual(bias_shape="none")
    x = np.zeros((3, 3, 9, 9), np.float32)
    assert_same(definition(graph, x, 5), simulate(graph, x, 5))


def test_where_the_operation_is_missing_ordinary_models_are_used(monkeypatch):
    monkeypatch.setattr(blocked_module, "block_size", lambda *given: None)
    graph, x = residual(), images(3)
    result, layers = blocked_layers(graph, x, 5)
    assert layers == []
    assert_same(result, definition(graph, x, 5))


def test_a_runtime_that_computes_something_else_is_not_trusted():
    graph = residual()
    terms = convolution_terms(GraphFacts(graph))
    models = blocked_models(terms.values())
    assert block_size(BlockedSessions(models), terms.values()) in (8, 16)
    plain, strided = terms["b"][0].convs[0], terms["d"][1].convs[0]
    shuffled = models | {model_key(plain, True): models[model_key(strided, True)]}
    assert block_size(BlockedSessions(shuffled), terms.values()) is None
    broken = models | {model_key(plain, True): b"not a model"}
    assert block_size(BlockedSessions(broken), terms.values()) is None


def test_a_section_that_does_not_begin_at_the_corner_is_no_convolution():
    rng = np.random.default_rng(0)
    theta = np.ones((16, 1, 1), np.float32)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
    shifted = ops.Slice(starts=(0, 1, 0), stops=(16, 8, 8), steps=(1, 2, 2))
    nodes = (
        g.Input(name="x", shape=(16, 8, 8)),
        g.Population(name="p", shape=(16, 8, 8), inputs=("x",), neuron=neuron),
        g.Synapse(name="s", shape=(16, 4, 4), inputs=("p",), op=shifted),
        g.Synapse(name="c", shape=(16, 4, 4), inputs=("p",), op=conv(rng, 16, 16, stride=2)),
        g.Synapse(name="sum", shape=(16, 4, 4), inputs=("s", "c"), op=ops.Add()),
        g.Population(name="q", shape=(16, 4, 4), inputs=("sum",), neuron=neuron),
        g.Readout(name="out", shape=(16, 4, 4), inputs=("q",)),
    )
    graph = g.SpikingGraph(nodes=nodes)
    assert list(convolution_terms(GraphFacts(graph))) == ["p"]
    x = (rng.integers(0, 9, (4, 16, 8, 8)) / 8).astype(np.float32)
    assert_same(definition(graph, x, 6), simulate(graph, x, 6))
