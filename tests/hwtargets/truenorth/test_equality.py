"""What the emitted crossbars do, against the integer runtime, spike for spike."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter import digits_nets as digits
from hwtargets.truenorth import nets
from hwtargets.truenorth import simulator as truenorth_simulator
from hwtargets.truenorth.as_graph import integer_graph
from onnx2snn.converter.convert import convert
from onnx2snn.converter.recipes.options import Options
from onnx2snn.hwtargets import load_target
from onnx2snn.hwtargets.truenorth.compile import compile_network
from onnx2snn.hwtargets.truenorth.file import dump, violations
from onnx2snn.hwtargets.truenorth.run import source_spikes, unit_range
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import simulate

STEPS = 16
NETS = {
    "dense": nets.dense_net,
    "average pool": nets.conv_net,
    "max pool": lambda seed: nets.conv_net(seed, "max"),
    "skip": nets.residual_net,
    "long skip": lambda seed: nets.residual_net(seed, 5),
    "branches": nets.branch_net,
}


def chip_spikes(net, rasters):
    """Output spikes (steps, lines) of the emitted file, as the event simulator finds them."""
    box = net.crossbars
    found = truenorth_simulator.run(io.BytesIO(dump(box)), rasters, box.header["ticks"])
    assert found.merged == 0, "two spikes met on one axon"
    assert found.lowest >= -(1 << 19) and found.highest < 1 << 19
    out = np.zeros((net.steps, len(box.line_start)), np.int64)
    for tick, line in found.spikes:
        step = tick - box.line_start[line]
        if 0 <= step < net.steps:
            out[step, line] += 1
    return out


def assert_same_spikes(graph, target, samples, **options):
    """Three answers agree: integer units, the runtime's engine, the event simulator."""
    fitted = nets.samples(graph, 12, seed=1)
    net = compile_network(graph, target, {"x": fitted}, steps=STEPS, fit_steps=8, **options)
    assert not list(violations(net.crossbars, target))
    x = nets.samples(graph, samples, seed=2)
    mine = net.run({"x": x}, STEPS, keep=tuple(u.name for u in net.routed.units))
    (source,) = net.lowered.sources
    integers = integer_graph(net.routed.units, net.lowered.sources, net.lowered.readings)
    coded = unit_range(source, x).reshape(samples, -1)
    runtime = simulate(integers, coded, STEPS)
    np.testing.assert_allclose(runtime.readouts["out"], mine.readouts["out"], atol=1e-4, rtol=1e-4)
    for name, counts in runtime.spikes.items():
        own = mine.trains[name.removesuffix("/neurons")]
        np.testing.assert_array_equal(counts, own.sum(axis=(1, 2)))
    trains = source_spikes(net.lowered.sources, {"x": x}, STEPS).trains[source.first]
    spiking = 0
    for i in range(samples):
        chip = chip_spikes(net, [trains[:, i]])
        np.testing.assert_array_equal(chip, mine.trains["out"][:, i])
        spiking += chip.sum()
    assert spiking > 0
    return net


@settings(max_examples=14, deadline=None)
@given(
    kind=st.sampled_from(sorted(NETS)),
    seed=st.integers(0, 1000),
    coding=st.sampled_from(["ternary", "axons2", "axons3", "axons4"]),
    core=st.sampled_from([(24, 24), (40, 16), (64, 64), (256, 256)]),
    copies=st.integers(1, 2),
)
def test_emitted_cores_spike_as_the_integer_runtime_does(kind, seed, coding, core, copies):
    target = nets.small_target(*core)
    assert_same_spikes(NETS[kind](seed), target, 1, coding=coding, copies=copies)


@pytest.mark.parametrize("kind", sorted(NETS))
def test_every_structure_is_exact_on_small_cores(kind):
    assert_same_spikes(NETS[kind](3), nets.small_target(32, 32), 2, coding="axons3")


def test_a_line_with_more_targets_than_a_core_has_neurons_gets_a_tree_of_relays():
    net = assert_same_spikes(nets.residual_net(0, 3), nets.small_target(24, 6), 1, coding="axons3")
    assert net.routed.levels.max() >= 2
    assert len(net.routed.relay_of) > 0


def test_a_skip_longer_than_the_longest_delay_waits_in_relays():
    graph = nets.residual_net(1, 9)
    net = assert_same_spikes(graph, nets.small_target(40, 40), 1, coding="ternary")
    start = dict(zip([u.name for u in net.routed.units], net.routed.start, strict=True))
    populations = [n.name for n in graph.of(g.Population)]
    assert start[populations[-1]] - start[populations[0]] > 16
    assert net.routed.relays[:, 5].max() <= 15


def _driven_against_its_bias(node):
    """The third population: weights four times as large, a bias of -1."""
    if node.name == "n6":
        return replace(node, bias=np.full(node.shape, -1.0, np.float32))
    if node.name == "s5":
        return replace(node, op=replace(node.op, weight=np.abs(node.op.weight) * 4))
    return node


def test_strongly_negative_biases_begin_their_window_below_threshold():
    graph = nets.dense_net(4, hidden=(12, 9, 8))
    graph = g.SpikingGraph(nodes=tuple(_driven_against_its_bias(n) for n in graph.nodes))
    net = assert_same_spikes(graph, nets.small_target(256, 256), 3, coding="axons3")
    unit, fitted = (
        next(u for u in units if u.name == "n6") for units in (net.routed.units, net.fitted.units)
    )
    assert unit.leak.max() < 0
    assert (unit.start < fitted.start).any()
    run = net.run({"x": nets.samples(graph, 3, seed=2)}, STEPS, keep=("n6",))
    assert run.trains["n6"].sum() > 0


def test_absolute_reset_is_exact_too():
    net = nets.Graph((8,), 5)
    at = net.relu(net.linear("x", 10), reset="zero")
    assert_same_spikes(net.out(net.linear(at, 3)), nets.small_target(256, 256), 2, coding="axons4")


@settings(max_examples=10, deadline=None)
@given(
    kind=st.sampled_from(sorted(NETS)),
    seed=st.integers(0, 1000),
    core=st.sampled_from([(24, 24), (40, 16), (64, 64)]),
)
def test_nothing_is_lost_and_every_axon_has_one_driver(kind, seed, core):
    graph = NETS[kind](seed)
    samples = {"x": nets.samples(graph, 8)}
    net = compile_network(
        graph, nets.small_target(*core), samples, steps=4, fit_steps=4, coding="axons2"
    )
    routed, box = net.routed, net.crossbars
    lines = np.unique(routed.neurons[:, 1])
    wanted = np.concatenate([u.first + np.arange(u.size) for u in routed.units])
    np.testing.assert_array_equal(lines, np.sort(wanted))  # every neuron is somewhere
    per_core = np.bincount(box.core, minlength=box.cores)
    assert per_core.max() <= core[1] and box.axon_types.shape[1] == core[0]
    driven = np.concatenate(
        [
            np.stack([box.pin_core, box.pin_axon], 1),
            np.stack([box.target_core, box.target_axon], 1)[box.target_core >= 0],
        ]
    )
    unique, drivers = np.unique(driven, axis=0, return_counts=True)
    assert drivers.max() == 1
    np.testing.assert_array_equal(unique, np.argwhere(box.axon_types < 4))
    synapses = sum(
        int((conn.planes.sum(axis=(0, 1)) * (conn.fields >= 0)).sum())
        for unit in routed.units
        for conn in unit.conns
    )
    first_copies = np.unique(routed.neurons[:, 1], return_index=True)[1]
    order = np.argsort(np.r_[routed.neurons[:, 0], routed.relays[:, 0]], kind="stable")
    slot = np.empty(len(order), np.int64)
    slot[order] = np.arange(len(order))
    bits = np.unpackbits(box.synapses, axis=1)
    assert bits[slot[first_copies]].sum() == synapses  # every synapse exactly once


def test_a_host_that_knows_the_file_drives_it_as_neurons_that_code_the_input_do():
    """Their spikes by a plain loop over what the header says, of both signs."""
    x = (digits.samples("x_test")[:2] - np.float32(0.25)).astype(np.float64)
    calibration = digits.samples()[:64] - np.float32(0.25)
    options = Options(steps=8, encoding="population:2", tune=False)
    graph = convert(digits.ann("digits_mlp"), calibration, options).graph
    name = graph.of(g.Input)[0].name
    target = load_target("truenorth")
    fitted = {"coding": "ternary", "copies": 1, "tune": False}
    net = compile_network(graph, target, {name: calibration}, steps=8, fit_steps=8, **fitted)
    coders = [s.name for s in net.lowered.sources]
    assert len(coders) == 4 and name not in coders
    assert not {u.layer for u in net.routed.units} & {*coders, name}
    mine = net.run({name: x}, 8, keep=tuple(r.unit for r in net.lowered.readings))
    counted = simulate(graph, x.astype(np.float32), 8).spikes
    total = dict.fromkeys(coders, 0)
    for i, sample in enumerate(x):
        rasters = []
        for source in net.crossbars.header["inputs"]:
            told = source["neurons"]
            assert told["codes"] == name
            factor, bias, theta = (np.array(told[k]) for k in ("factor", "bias", "threshold"))
            v, spikes = np.array(told["v_init"]), np.zeros((8, sample.size), np.uint8)
            for t in range(8):
                v = v + factor * sample.reshape(-1) + bias
                spikes[t] = v >= theta
                v = v - theta * spikes[t]
            rasters.append(spikes)
            total[source["name"]] += int(spikes.sum())
        (train,) = mine.trains.values()
        np.testing.assert_array_equal(chip_spikes(net, rasters), train[:, i])
    assert total == {coder: int(counted[coder].sum()) for coder in coders}
    assert min(total.values()) > 0
