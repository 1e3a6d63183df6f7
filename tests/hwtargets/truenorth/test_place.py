"""``place --target truenorth``: the report, the options, and what is refused."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from hwtargets.truenorth import nets, simulator
from onnx2snn.errors import UsageError
from onnx2snn.hwtargets import load_target, to_json
from onnx2snn.hwtargets.placement import place
from onnx2snn.hwtargets.placement.assembly import PlaceData
from onnx2snn.hwtargets.truenorth.compile import compile_network
from onnx2snn.hwtargets.truenorth.file import parse
from onnx2snn.runtime import graph as g
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams


def placed(graph, data=True, steps=24, **options):
    x = nets.samples(graph, 24)
    y = simulate(graph, x, 64).readouts["out"][-1].argmax(1)
    given = PlaceData(x=x, y=y, calib=nets.samples(graph, 32, seed=5)) if data else None
    options = {"fit_steps": 16, **options}
    return place(graph, "truenorth", data=given, steps=steps, seconds=0.2, options=options)


def test_a_small_network_fits_one_chip_and_keeps_its_answers():
    report = placed(nets.conv_net(0), steps=48)
    assert report.fits and report.chips == 1 and not report.violations
    assert report.accuracy["agreement"] >= 0.8
    assert report.facts["replication_factor"] > 1
    assert report.facts["ticks_before_answer"] == report.latency.lag_steps + 1
    plan, flows = report.plan, report.traffic
    assert flows["packets"] == pytest.approx(plan.sent.sum()) == pytest.approx(plan.received.sum())
    assert plan.links.sum() == pytest.approx(flows["spike_hops"])  # a link is a hop
    assert sum(row.cores for row in report.layers) == report.cores
    assert parse(report.files["truenorth.npz"]).cores == report.cores
    assert json.loads(to_json(report))["facts"]["coding"] == "axons4"


@pytest.mark.parametrize(("common", "classes"), [(30.0, 6), (30.0, 2)])
def test_what_all_classes_have_in_common_takes_no_room_of_the_output_counts(common, classes):
    graph = nets.dense_net(3, inputs=8, hidden=(20,), classes=classes)
    last = [node for node in graph.nodes if isinstance(node, g.Synapse)][-1]
    weight = last.op.weight + np.float32(common)
    graph = graph.with_nodes([replace(last, op=replace(last.op, weight=weight))])
    report = placed(graph, steps=32)
    assert report.accuracy["agreement"] >= (0.5 if classes == 2 else 0.85)
    noted = any("all outputs of a sample have in common" in note for note in report.notes)
    assert noted == (classes > 2)  # two may be values


def test_the_file_says_where_its_cores_are_as_the_floor_plan_does():
    report = placed(nets.conv_net(1))
    box, plan = parse(report.files["truenorth.npz"]), report.plan
    for name, column in (("core_chip", plan.chip), ("core_x", plan.x), ("core_y", plan.y)):
        np.testing.assert_array_equal(getattr(box, name), column)
    places = np.stack([box.core_chip, box.core_x, box.core_y], axis=1)
    assert len(np.unique(places, axis=0)) == box.cores == report.cores
    assert places[:, 1:].min() >= 0 and places[:, 1:].max() < 64


def test_unverified_numbers_are_named_in_the_report():
    names = {entry["name"] for entry in placed(nets.dense_net(0)).unverified}
    assert {"potential_max", "threshold_max", "leak_max"} <= names
    assert "axons" not in names and "cores_per_chip" not in names


def test_every_limit_has_a_source():
    for limit in load_target("truenorth").limits.values():
        assert len(limit.source) > 20, limit.name


def test_codings_trade_cores_for_accuracy():
    graph = nets.dense_net(1, inputs=120, hidden=(90, 60))
    reports = {c: placed(graph, coding=c, steps=48) for c in ("ternary", "axons4")}
    assert reports["ternary"].cores < reports["axons4"].cores
    assert reports["ternary"].facts["input_axons"] < reports["axons4"].facts["input_axons"]


def test_fitting_the_codes_recovers_what_plain_rounding_loses():
    graph = nets.dense_net(7, inputs=60, hidden=(50, 40), classes=4)
    fitted, x = {"x": nets.samples(graph, 64)}, nets.samples(graph, 32, seed=8)
    exact = simulate(graph, x, 256).readouts["out"][-1]

    def error(tune):
        net = compile_network(
            graph, load_target("truenorth"), fitted, steps=128, coding="ternary", tune=tune
        )
        return np.abs(net.run({"x": x}, 128).readouts["out"][-1] - exact).mean()

    assert error(True) < 0.85 * error(False)


def test_without_data_it_still_maps_and_says_what_it_was_fitted_on():
    report = placed(nets.dense_net(0), data=False)
    assert report.fits and report.cores >= 3
    assert any("uniform random samples" in note for note in report.notes)


def test_max_pools_are_replaced_and_their_cost_is_stated():
    report = placed(nets.conv_net(0, "max"))
    assert report.fits
    assert "max pool" in {row.kind for row in report.layers}
    note = next(n for n in report.notes if "Max pool" in n)
    assert "162 neurons and 4 ticks" in note


def test_split_fan_in_is_reported_per_layer():
    graph = nets.dense_net(0, inputs=100, hidden=(20,))
    for copies, number in ((1, 1), (3, 3), ("auto", 2)):
        report = placed(graph, copies=copies)
        assert report.facts["split"]["n2"]["parts"] == 2
        assert report.facts["partial_sum_neurons"] == 40 * number
    assert any("split into partial sums" in note for note in report.notes)


@pytest.mark.parametrize(
    ("seed", "weights", "skip", "coding"),
    [
        (7, 0.02, 1.0, "ternary"),  # on one core: the wire's weight in units of tiny weights
        (4, 0.01, 300.0, "axons4"),  # in partial sums: a height that is rounded up
        (5, 0.01, 300.0, "axons3"),
    ],
)
def test_a_wire_beside_small_weights_stays_within_its_field(seed, weights, skip, coding):
    graph = nets.skip_mlp(seed, weights, skip)
    report = placed(graph, coding=coding)
    box = parse(report.files["truenorth.npz"])
    assert report.fits and np.abs(box.weights).max() <= 255
    clipped = [note for note in report.notes if note.startswith("Beyond the chip's range")]
    assert bool(clipped) == any("skip connections" in note for note in clipped)


def test_energy_counts_the_events_of_the_emitted_cores():
    graph, steps = nets.residual_net(0), 24
    x = nets.samples(graph, 1)
    report = place(
        graph, "truenorth", data=PlaceData(x=x, calib=nets.samples(graph, 32, seed=5)),
        steps=steps, seconds=0, options={"fit_steps": 16},
    )  # fmt: skip
    assert report.facts["copies"] > 50  # a spike that reaches a copy is an event too
    box = report.files["truenorth.npz"]
    header = parse(box).header["inputs"][0]
    low, high = (np.reshape(header[end], -1) for end in ("low", "high"))
    unit = (x[0].reshape(-1) - low) / (high - low)
    sent = np.floor(unit * np.arange(steps + 1)[:, None] + 0.5)
    found = simulator.run(io.BytesIO(box), [np.diff(sent, axis=0)], parse(box).header["ticks"])
    assert report.energy.counts["synop"] == pytest.approx(sum(found.events.values()), rel=0.05)


def _with_neuron(**changes):
    graph = nets.dense_net(0)
    nodes = [
        replace(n, neuron=replace(n.neuron, **changes)) if isinstance(n, g.Population) else n
        for n in graph.nodes
    ]
    return g.SpikingGraph(nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"leak": 0.1}, "leak"),
        ({"refractory": 2}, "refractory"),
        ({"levels": 3}, "graded spikes"),
        ({"signed": True}, "negative spikes"),
        ({"lag": 2}, "start lag"),
        ({"v_min": -1.0}, "v_min"),
    ],
)
def test_what_the_chip_cannot_do_is_refused_by_name_with_a_remedy(changes, rule):
    report = placed(_with_neuron(**changes), data=False)
    assert not report.fits
    assert {v.rule for v in report.violations} == {rule}
    assert {v.node for v in report.violations} == {"n2", "n4"}
    assert all(v.remedy for v in report.violations)


def test_a_maximum_over_currents_is_a_violation_not_a_crash():
    net = nets.Graph((2, 4, 4), 0)
    graph = net.out(net.linear(net.flat(net.max_pool(net.conv("x", 2))), 3))
    report = placed(graph, data=False)
    assert not report.fits
    assert [v.rule for v in report.violations] == ["E522"]


def test_a_network_larger_than_the_board_is_refused_with_the_chips_it_needs():
    target = load_target("truenorth")
    tiny = {**target.limits, "cores_per_chip": replace(target.limits["cores_per_chip"], value=4)}
    for name in ("mesh_width", "mesh_height"):
        tiny[name] = replace(target.limits[name], value=2)
    report = place(
        nets.conv_net(0), replace(target, limits=tiny, boards={}), steps=8, seconds=0.1, chips=1
    )
    assert not report.fits and report.chips == 2
    assert "needs 2 chips" in report.violations[0].remedy


def test_the_crossbars_of_a_large_network_are_counted_without_being_written():
    report = placed(nets.dense_net(0), emit=1)
    assert report.files == {} and report.cores >= 3
    assert any("not written" in note for note in report.notes)


def test_bad_options_are_usage_errors():
    with pytest.raises(UsageError, match="coding must be ternary, axons2, axons3 or axons4"):
        placed(nets.dense_net(0), coding="float")
    for value in (0, -1, "two", "1.5", ""):
        with pytest.raises(UsageError, match="copies must be auto or a whole number") as caught:
            placed(nets.dense_net(0), copies=value)
        assert caught.value.code == "E124"
    with pytest.raises(UsageError, match="output_copies must be a whole number of at least 1"):
        placed(nets.dense_net(0), output_copies=0)
    with pytest.raises(UsageError, match="tune must be true or false, got 'perhaps'"):
        placed(nets.dense_net(0), tune="perhaps")
    with pytest.raises(
        UsageError, match=r"'truenorth' has no option codng\. Did you mean 'coding'\?"
    ):
        placed(nets.dense_net(0), codng="ternary")


def test_text_options_mean_what_they_say_and_the_notes_say_whether_codes_were_fitted():
    report = placed(nets.dense_net(0), tune="False", copies="2")
    assert report.facts["tuned"] is False
    assert any(note.startswith("Weights were rounded to codes;") for note in report.notes)
    fitted = placed(nets.dense_net(0))
    assert any(note.startswith("Codes, scales and biases were fitted") for note in fitted.notes)


def test_counting_readouts_keep_their_threshold():
    net = nets.Graph((8,), 2)
    at = net.linear(net.relu(net.linear("x", 10)), 3)
    neuron = NeuronParams(v_threshold=nets.F32(2), v_init=nets.F32(1))
    graph = net.out(at, mode="count", neuron=neuron)
    x = nets.samples(graph, 20)
    report = place(graph, "truenorth", data=PlaceData(x=x), steps=32, seconds=0.1)
    assert report.accuracy["agreement"] >= 0.8
    chip_neurons = 10 + report.facts["copies"] + report.facts["partial_sum_neurons"] + 3
    assert report.facts["chip_neurons"] == chip_neurons
    counts = report.energy.counts
    assert counts["neuron_update"] == chip_neurons * (32 + report.latency.lag_steps)
    assert report.energy.undivided_j is not None
    assert report.energy.undivided_j.value == pytest.approx(counts["synop"] * 26e-12)


def test_counting_needs_no_fit_and_agrees_with_the_mapping():
    graph = nets.conv_net(2)
    report = placed(graph, coding="ternary")
    counted = {c["coding"]: c["cores"] for c in report.facts["codings"]}
    assert abs(counted["ternary"] - report.cores) <= 1
    assert counted["axons4"] >= counted["ternary"]


def test_the_loss_of_splitting_is_told_apart_from_that_of_coding():
    report = placed(nets.dense_net(3, inputs=100, hidden=(20,)), steps=16)
    accuracy = report.accuracy
    assert report.facts["split"]
    assert accuracy["quantization_loss"] + accuracy["mapping_loss"] == pytest.approx(
        accuracy["float_snn"] - accuracy["chip"]
    )
    assert accuracy["mapping_loss"] >= -0.1


def test_more_skip_connections_than_axon_types_are_refused():
    net = nets.Graph((6,), 0)
    sources = [net.relu(net.linear("x", 8)) for _ in range(5)]
    graph = net.out(net.linear(net.relu(net.synapse(nets.ops.Add(), *sources)), 3))
    report = placed(graph, data=False)
    assert not report.fits
    assert "5 skip connections" in str(report.violations[0].used)
