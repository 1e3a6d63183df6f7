"""Layers driven by their spikes: the same spikes as the naive loop and as the other kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2snn.errors import UsageError
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.cost import static_cost
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.engine.early_exit import EarlyExit
from onnx2snn.runtime.engine.fast import simulator as engine
from onnx2snn.runtime.engine.fast.events.choice import available, worth_it
from onnx2snn.runtime.engine.fast.events.layers import channels_last, event_layers
from onnx2snn.runtime.engine.fast.events.tables import event_table
from onnx2snn.runtime.engine.fast.simulator import Simulator
from onnx2snn.runtime.facts import GraphFacts
from onnx2snn.runtime.neurons import NeuronParams
from runtime import naive_oracle
from runtime.engine.fast.products.test_blocked import images as maps
from runtime.engine.fast.products.test_blocked import residual
from runtime.engine.test_against_naive import (
    RELAXED,
    _assert_counts,
    assert_close,
    assert_same,
    float_network,
    images,
)
from runtime.random_graphs import array, graphs, samples

needs_numba = pytest.mark.skipif(not available(), reason="needs the extra 'fast'")


def layers_of(graph):
    return event_layers(GraphFacts(graph), static_cost(GraphFacts(graph)).fan_out)


@needs_numba
@settings(RELAXED, max_examples=60)
@given(st.data())
def test_spikes_readouts_and_synops_equal_the_naive_loop(data):
    graph = data.draw(graphs())
    x = data.draw(samples(graph.of(g.Input)[0].shape))
    steps = data.draw(st.integers(1, 6))
    expected, answers = naive_oracle.simulate(graph, x, steps)
    block = data.draw(st.integers(1, 7))
    result = simulate(graph, x, steps, tile=2, block=block, events="always")
    for name, values in answers.items():
        np.testing.assert_allclose(result.readouts[name], values, rtol=1e-6, atol=0, err_msg=name)
    _assert_counts(graph, result, expected, steps)


@needs_numba
@pytest.mark.parametrize("encoding", ["constant", "poisson", "rate"])
def test_tiles_blocks_threads_and_engines_change_nothing(encoding):
    graph, x = float_network(encoding, dyadic=True), images(21)
    one = simulate(graph, x, 12, seed=3, engine="numpy")
    for tile, block, threads in [(21, 12, 1), (16, 5, 2), (1, 1, 1)]:
        options = {"tile": tile, "block": block, "threads": threads, "seed": 3}
        assert_same(one, simulate(graph, x, 12, events="always", **options))


@needs_numba
def test_ordinary_weights_agree_but_for_rounding():
    graph, x = float_network(), images(20)
    assert_close(simulate(graph, x, 16, events="never"), simulate(graph, x, 16, events="always"))


@needs_numba
@pytest.mark.parametrize("bias_shape", ["channel", "neuron", "none"])
@pytest.mark.parametrize("chosen", ["all", "odd", "even"])
def test_every_kind_of_layer_beside_blocked_ones(bias_shape, chosen, monkeypatch):
    """Depthwise and strided convolutions, pools, skips and sections of channels, start lags; all
    layers driven by spikes or every second one, the others in ONNX Runtime's blocks of channels."""
    graph, x = residual(bias_shape=bias_shape), maps(7)
    layers = layers_of(graph)
    assert list(layers) == ["a", "b", "c", "d", "e", "f", "h", "out"]
    some = {
        "all": layers,
        "odd": dict([*layers.items()][::2]),
        "even": dict([*layers.items()][1::2]),
    }
    monkeypatch.setattr(engine, "event_layers", lambda *_: some[chosen])
    expected = simulate(graph, x, 9, events="never")
    for tile in (7, 2):
        assert_same(expected, simulate(graph, x, 9, events="always", tile=tile, block=4))


def network(conv, shape, *, before=(), signed=False, levels=1):
    """Spikes of one layer (made from a constant input) through ``before`` and ``conv``, summed by
    the neurons of a second one."""
    rng = np.random.default_rng(0)
    theta = array(rng, (shape[0], *(1,) * (len(shape) - 1)), 4, 12)
    first = NeuronParams(v_threshold=theta, v_init=theta / 2, signed=signed, levels=levels)
    nodes = [
        g.Input(name="x", shape=shape),
        g.Population(name="p", shape=shape, inputs=("x",), neuron=first),
    ]
    name, here = "p", shape
    for i, op in enumerate((*before, conv)):
        here = op.output_shape(here)
        nodes.append(g.Synapse(name=f"s{i}", shape=here, inputs=(name,), op=op))
        name = f"s{i}"
    one = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0.5))
    nodes += [
        g.Population(name="q", shape=here, inputs=(name,), neuron=one),
        g.Readout(name="out", shape=here, inputs=("q",)),
    ]
    return g.SpikingGraph(nodes=tuple(nodes))


def conv(out, inside, kernel, stride=1, dilation=1, pads=(0, 0, 0, 0), groups=1):
    rank = len(kernel)
    return ops.Conv(
        weight=array(np.random.default_rng(1), (out, inside, *kernel), -6, 6),
        strides=(stride,) * rank,
        dilations=(dilation,) * rank,
        pads=pads,
        groups=groups,
    )


POOL = ops.SumPool(kernel=(2, 2), strides=(2, 2), dilations=(1, 1), pads=(0,) * 4)
OVERLAPPING = ops.SumPool(kernel=(3, 2), strides=(2, 1), dilations=(1, 1), pads=(1, 0, 1, 0))
CASES = {
    "3 x 3": (conv(5, 3, (3, 3), pads=(1, 1, 1, 1)), (3, 6, 7), ()),
    "strided, uneven pads": (conv(40, 9, (3, 3), stride=2, pads=(0, 1, 2, 1)), (9, 7, 6), ()),
    "in pairs": (conv(24, 16, (3, 3), stride=2, pads=(1, 1, 1, 1)), (16, 5, 8), ()),
    "in pairs, uneven pads": (conv(9, 8, (2, 5), stride=2, pads=(0, 2, 1, 1)), (8, 6, 6), ()),
    "in pairs, no pads": (conv(40, 16, (1, 2), stride=2), (16, 3, 6), ()),
    "in pairs, wide pads": (conv(8, 8, (3, 4), stride=2, pads=(2, 3, 2, 3)), (8, 4, 4), ()),
    "dilated": (conv(6, 4, (3, 3), dilation=2, pads=(2, 2, 2, 2)), (4, 6, 5), ()),
    "window larger than the map": (conv(3, 2, (4, 4), pads=(3, 3, 3, 3)), (2, 2, 2), ()),
    "1 x 1, strided": (conv(7, 5, (1, 1), stride=3), (5, 7, 8), ()),
    "depthwise": (conv(6, 1, (3, 5), stride=2, pads=(1, 2, 1, 2), groups=6), (6, 7, 6), ()),
    "depthwise, rows of 3": (conv(25, 1, (3, 3), pads=(1, 1, 1, 1), groups=25), (25, 4, 6), ()),
    "depthwise, rows of 5": (conv(40, 1, (2, 5), pads=(0, 2, 1, 2), groups=40), (40, 3, 9), ()),
    "3 x 3, 16 channels": (conv(16, 16, (3, 3), pads=(1, 1, 1, 1)), (16, 4, 6), ()),
    "3 x 3, 32 channels": (conv(32, 17, (3, 3), pads=(1, 1, 1, 1)), (17, 4, 6), ()),
    "rows of 3, more than a word": (conv(117, 70, (2, 3), pads=(1, 1, 0, 1)), (70, 3, 7), ()),
    "one channel": (conv(4, 1, (5, 5), pads=(2, 2, 2, 2)), (1, 6, 6), (POOL,)),
    "one axis": (conv(6, 4, (5,), dilation=2, pads=(4, 4)), (4, 11), ()),
    "pool": (conv(9, 3, (3, 3), pads=(1, 1, 1, 1)), (3, 8, 8), (POOL,)),
    "two pools": (conv(9, 3, (2, 2)), (3, 9, 8), (OVERLAPPING, POOL)),
    "scale": (conv(9, 3, (2, 2)), (3, 5, 4), (ops.Scale(scale=np.float32(0.25)),)),
    "vector": (ops.Linear(weight=array(np.random.default_rng(2), (70, 33))), (33,), ()),
    "flattened": (
        ops.Linear(weight=array(np.random.default_rng(2), (5, 60))),
        (3, 4, 5),
        (ops.Reshape(shape=(60,)),),
    ),
    "pool, flattened": (
        ops.Linear(weight=array(np.random.default_rng(2), (5, 27))),
        (3, 6, 6),
        (POOL, ops.Reshape(shape=(27,))),
    ),
    "mean, linear": (
        ops.Linear(weight=array(np.random.default_rng(2), (5, 3))),
        (3, 4, 4),
        (ops.ReduceSum(axes=(1, 2), keepdims=False),),
    ),
}


@needs_numba
@pytest.mark.parametrize("spikes", ["binary", "signed", "graded"])
@pytest.mark.parametrize("case", CASES)
def test_every_operation_gives_what_the_other_kernels_give(case, spikes):
    op, shape, before = CASES[case]
    options = {"binary": {}, "signed": {"signed": True}, "graded": {"levels": 5}}[spikes]
    graph = network(op, shape, before=before, **options)
    assert "q" in layers_of(graph)
    x = (np.random.default_rng(3).integers(-8, 17, (5, *shape)) / 8).astype(np.float32)
    expected = simulate(graph, x, 7, events="never")
    assert expected.spikes["q"].sum() > 0
    assert_same(expected, simulate(graph, x, 7, events="always"))


def test_positions_that_reach_their_targets_alike_share_one_pattern():
    table = event_table((conv(8, 8, (3, 3), pads=(1, 1, 1, 1)),), (8, 32, 32))
    assert len(table.first) - 1 == 9  # corners, edges and the inside
    assert len(table.runs) == 4 * 2 + 2 * (3 + 2) + 3  # a row of the kernel is one run
    assert len(table.places) == 32 * 32


@pytest.mark.parametrize("other", ["groups", "two convolutions"])
def test_what_the_tables_cannot_say_is_refused(other):
    if other == "groups":
        convs = (conv(6, 2, (3, 3), groups=2),)
    else:
        convs = (conv(4, 4, (3, 3)), conv(4, 4, (1, 1)))
    assert event_table(convs, (4, 8, 8)) is None


def test_values_with_channels_last_are_filled_up():
    values = channels_last(np.arange(3).reshape(3, 1, 1), (3, 2, 2), fill=-1)
    assert values.shape == (2, 2, 8)
    np.testing.assert_array_equal(values[1, 0], [0, 1, 2, -1, -1, -1, -1, -1])


@needs_numba
def test_early_exit_moves_the_potentials_with_their_samples():
    graph, x, rule = residual(3), maps(40), EarlyExit(margin=0.1, patience=4)
    expected = simulate(graph, x, 20, early_exit=rule, events="never")
    assert len(set(expected.steps_used)) > 1
    options = {"threads": 1, "tile": 20, "block": 2}
    result = simulate(graph, x, 20, early_exit=rule, events="always", **options)
    np.testing.assert_array_equal(expected.steps_used, result.steps_used)
    assert_same(expected, result)


@needs_numba
def test_a_profile_changes_nothing_and_has_every_layer():
    graph, x = float_network(dyadic=True), images(8)
    plain = simulate(graph, x, 6, events="always")
    result = simulate(graph, x, 6, events="always", profile=True)
    assert_same(plain, result)
    assert [layer.name for layer in result.profile] == ["p1", "p2", "p3", "out"]
    assert all(layer.synapse > 0 and layer.neuron > 0 for layer in result.profile)


@needs_numba
def test_a_network_that_falls_silent_is_the_same():
    graph, x = residual(bias_shape="none"), np.zeros((3, 3, 9, 9), np.float32)
    assert_same(simulate(graph, x, 5, events="never"), simulate(graph, x, 5, events="always"))


@needs_numba
def test_double_precision_runs_in_the_other_kernels():
    graph, x = float_network(), images(3)
    one = simulate(graph, x, 5, dtype=np.float64, events="never")
    assert_same(one, simulate(graph, x, 5, dtype=np.float64, events="always"))


class TestChoice:
    def test_it_depends_on_how_many_spikes_there_are(self):
        layers = layers_of(float_network())
        assert set(layers) == {"p1", "p2", "p3", "out"}
        assert worth_it(layers, {"p1": 0.1, "p2": 0.1, "p3": 0.1}) == layers
        busy = worth_it(layers, {"p1": 1.0, "p2": 1.0, "p3": 1.0})
        assert not {"p2", "p3"} & set(busy)
        assert "p1" in busy  # its current is constant

    @needs_numba
    def test_the_same_samples_give_the_same_choice(self):
        graph, x = float_network("poisson"), images(12)
        chosen = []
        for tile in (None, 3):
            simulator = Simulator(graph, tile=tile)
            simulator.run(x, 6, seed=2)
            chosen.append(set(simulator._layers))
        assert chosen[0] == chosen[1]

    def test_without_numba_nothing_is_chosen_and_always_is_refused(self, monkeypatch):
        monkeypatch.setattr("onnx2snn.runtime.engine.fast.events.choice.kernels", lambda: None)
        graph, x = float_network(dyadic=True), images(4)
        simulator = Simulator(graph)
        assert_same(simulator.run(x, 5), simulate(graph, x, 5, events="never"))
        assert simulator._layers == {}
        with pytest.raises(UsageError, match="numba") as refused:
            simulate(graph, x, 5, events="always")
        assert "onnx2snn[fast]" in refused.value.remedy

    def test_an_option_without_sense_is_refused(self):
        with pytest.raises(UsageError, match="auto, never, always"):
            Simulator(float_network(), events="sometimes")
