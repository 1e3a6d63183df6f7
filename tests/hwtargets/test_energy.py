"""Energies, latencies and counts of reports, each against figures worked out by hand from the
network and the chip's constants, or counted in the emitted file by the event simulator."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from places import MODELS

import onnx2snn
from hwtargets.chip_nets import Net, build, neuron
from hwtargets.truenorth import nets, simulator
from hwtargets.xylo.networks import perceptron
from onnx2snn.errors import TargetError
from onnx2snn.exchange.counts import count
from onnx2snn.hwtargets import PlaceData, PlacementReport, load_target, place, to_json
from onnx2snn.hwtargets.energy import Activity, AnnComparison, Joules, energy_of, operations
from onnx2snn.hwtargets.energy.constants import Span
from onnx2snn.hwtargets.truenorth.file import Crossbars, parse
from onnx2snn.hwtargets.view.network import chip_view
from onnx2snn.reports.placement import render_text
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.graph import Input, Population, SpikingGraph, Synapse
from onnx2snn.runtime.ops import Conv, Linear

T = 16
PJ = 1e-12


def mlp(inputs: int, *hidden: int, classes: int, lag: int = 0) -> SpikingGraph:
    net = Net((inputs,))
    for size in hidden:
        net.dense(size)
        net.population("", neuron(lag=lag))
    net.readout(classes)
    return net.graph


def test_synaptic_operations_are_those_of_the_neurons_that_fire() -> None:
    """Neurons that fire and neurons that do not, which reach different numbers of others: the count
    is the engine's."""
    net = Net((8,))
    net.dense(10)
    last = net.population("", neuron())
    weights = np.ones((6, 10), np.float32)
    weights[1:, 5:] = 0  # the second five reach one neuron each
    net.synapse(Linear(weight=weights))
    net.readout(6)
    bias = np.r_[np.full(5, 4.0), np.full(5, -4.0)].astype(np.float32)
    graph = net.graph.with_nodes([replace(net.graph.of(Population)[0], bias=bias)])
    x = np.random.default_rng(1).random((12, 8), dtype=np.float32)
    data = PlaceData(x=x, y=np.zeros(12, int))
    report = place(graph, "loihi2", steps=T, seconds=0, data=data, options={"input": "bias"})
    assert report.floating is not None
    spikes = report.floating.synops_of[last] / 12
    assert spikes > 0.9 * 5 * 6 * T / 2  # by the five that fire, not by all at half the rate
    assert report.energy.counts["synop"] == pytest.approx(spikes, rel=0.02)


@pytest.mark.parametrize("encoding", ["constant", "rate"])
def test_every_node_does_the_operations_that_an_engine_counts(encoding: str) -> None:
    """Weights that are zero are none, wherever spikes come from: neurons, pools in front of
    weights, spiking inputs."""
    rng = np.random.default_rng(4)
    parts = [("conv", 3, 3), ("pool", 2), ("block", 4, 1), ("out", 3)]
    graph = build((2, 6, 6), parts, seed=2)
    sparse = [
        replace(n, op=n.op.with_factors(n.op.factors * (rng.random(n.op.factors.shape) < 0.6)))
        for n in graph.of(Synapse)
        if isinstance(n.op, Conv | Linear)
    ]
    given = replace(graph.of(Input)[0], encoding=encoding)  # type: ignore[arg-type]
    graph = graph.with_nodes([*sparse, given])
    x = rng.random((3, 2, 6, 6), np.float32)
    result = simulate(graph, {"in": x}, T)
    sent = count(graph, {"in": x}, T).spikes
    rates = {name: fired.sum(axis=0) / (3 * T) for name, fired in sent.items()}
    network = chip_view(graph)
    if encoding == "rate":  # which the engine counts, and so do chips: here for one value each
        share = np.floor(x.mean(axis=0) * T) / T
        one = simulate(graph, {"in": share[np.newaxis]}, T)
        found = operations(network, {}, rate=0.0, sent=np.floor(share * T + 0.5) / T)
        assert found["in"] * T == pytest.approx(one.synops_of["in"])
    else:
        found = operations(network, rates, rate=0.0, sent=x.mean(axis=0) > 0.5)
        (first,) = (n for n in sparse if n.inputs == ("in",))
        reached = first.op.fan_out((2, 6, 6))
        assert found["in"] == reached[x.mean(axis=0) > 0.5].sum() < first.op.uses((2, 6, 6)) * 0.6
        for name in rates:
            assert found[name] * T == pytest.approx(result.synops_of[name] / 3), name


def test_loihi_2_counts_synapses_times_rates_updates_and_static_power() -> None:
    rate = 0.25
    report = place(mlp(20, 12, 9, classes=5), "loihi2", steps=T, rate=rate, seconds=0)
    synops = (20 * 12 * 1.0 + 12 * 9 * rate + 9 * 5 * rate) * T  # graded inputs in every step
    energy = report.energy
    counts, dynamic_j, static_j = energy.counts, energy.dynamic_j, energy.static_j
    assert counts["synop"] == pytest.approx(synops)
    assert counts["neuron_update"] == (12 + 9 + 5) * T
    assert counts["hop"] == pytest.approx(report.traffic["spike_hops"] * T)
    seconds = T * 153e-6
    by_hand = {
        "synop": synops * 23.6 * PJ,
        "neuron_update": 26 * T * 81 * PJ,
        "hop": report.traffic["spike_hops"] * T * 4.0 * PJ,
    }
    dynamic, static = sum(by_hand.values()), 0.232 * report.chips * seconds
    assert dynamic_j is not None and static_j is not None and energy.undivided_j is None
    assert dynamic_j.parts == pytest.approx(by_hand)
    assert span(dynamic_j) == pytest.approx([dynamic, 0.3 * dynamic, 1.7 * dynamic])  # 70 %
    assert span(static_j) == pytest.approx([static, static * 0.7 * 0.1, static * 1.3 * 1.9])
    assert (dynamic_j.verified, static_j.verified) == (False, True)
    assert seconds_of(report) == pytest.approx([seconds, 0.1 * seconds, 1.9 * seconds])
    ann = energy.ann
    macs = 20 * 12 + 12 * 9 + 9 * 5
    assert ann is not None and ann.macs == macs
    assert ann.ann_joules == pytest.approx(macs * (0.1 + 0.2 + 1.25) * PJ)
    assert ann.snn_joules == pytest.approx((synops * (0.1 + 1.25) + 26 * T * 0.1) * PJ)
    found = json.loads(to_json(report))["energy"]  # the sum and its parts stay where they were
    assert found["value"] == pytest.approx(dynamic + static, rel=1e-9)
    assert found["parts"] == pytest.approx({**by_hand, "static": static}, rel=1e-9)
    kinds = [found[kind] for kind in ("dynamic_j", "static_j", "undivided_j")]
    assert kinds == [pytest.approx(dynamic, rel=1e-9), pytest.approx(static, rel=1e-9), None]


def span(found: Span) -> list[float]:
    return [found.value, found.low, found.high]


def seconds_of(report: PlacementReport) -> list[float]:
    assert report.latency.seconds is not None
    return span(report.latency.seconds)


def joules(kind: Joules | None) -> float:
    assert kind is not None
    return kind.value


@pytest.mark.parametrize(
    ("mode", "synops", "neurons", "host"),
    [
        ("graded", 20 * 12 * 1.0, 0, 0),
        ("population", 20 * 12 * 0.25, 20, 0),  # at the assumed rate, from encoding neurons
        ("bias", 0, 0, 20 * 12),  # the host's, once per inference
    ],
)
def test_the_first_layer_costs_what_the_inputs_way_in_costs(
    mode: str, synops: float, neurons: int, host: int
) -> None:
    report = place(
        mlp(20, 12, classes=5), "loihi2", steps=T, rate=0.25, seconds=0, options={"input": mode}
    )
    assert report.input_mode == mode
    total = (synops + 12 * 5 * 0.25) * T
    assert report.energy.counts["synop"] == pytest.approx(total)
    assert report.energy.counts["neuron_update"] == (12 + 5 + neurons) * T
    ann = report.energy.ann
    assert ann is not None and ann.host_macs == host
    by_hand = total * 1.35 + (12 + 5 + neurons) * T * 0.1 + host * 1.55
    assert ann.snn_joules == pytest.approx(by_hand * PJ)


@pytest.mark.parametrize(("chip", "said"), [("loihi1", True), ("loihi2", False)])
def test_encoders_of_negative_values_that_are_not_counted_are_said(chip: str, said: bool) -> None:
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    for data in (x, abs(x)):
        report = place(
            mlp(4, 3, classes=2), chip, steps=4, seconds=0, data=PlaceData(x=data),
            options={"input": "population"},
        )  # fmt: skip
        found = any("negative values" in note for note in report.notes)
        assert found == (said and data is x)


def test_the_ann_multiplies_once_per_weight_however_the_chip_pools() -> None:
    net = Net((1, 8, 8))
    net.conv(2, 3)
    net.population("", neuron())
    net.pool(2)
    net.readout(3)
    report = place(net.graph, "loihi2", steps=T, seconds=0)
    assert report.energy.ann is not None
    shape = net.graph[report.layers[0].name].shape
    assert report.energy.ann.macs == prod(shape) * 9 + prod(shape) // 4 * 3


def test_a_ratio_is_never_a_power_of_ten() -> None:
    for ratio, said in ((0.034, "0.034 of"), (1.26, "1.3 times"), (113.0, "110 times")):
        found = AnnComparison(snn_joules=ratio, ann_joules=1.0, synops=1.0, macs=1)
        assert f"needs {said}" in found.verdict
    assert (
        "12,000 times"
        in AnnComparison(snn_joules=12345.0, ann_joules=1.0, synops=1.0, macs=1).verdict
    )


def test_a_kind_of_energy_that_nothing_was_published_of_is_none() -> None:
    loihi1 = place(mlp(6, 4, classes=3), "loihi1", steps=T, seconds=0).energy
    assert loihi1.dynamic_j is not None and loihi1.static_j is None and loihi1.undivided_j is None
    chip = load_target("loihi1")
    nothing = place(mlp(6, 4, classes=3), replace(chip, energy={}, times={}), steps=T, seconds=0)
    assert nothing.energy.known == () and nothing.latency.seconds is None
    found = json.loads(to_json(nothing))["energy"]
    assert found == {"dynamic_j": None, "static_j": None, "undivided_j": None}
    text = render_text(nothing)
    assert "Energy per inference: n/a (the target states none)." in text
    assert "Latency per inference: 16 steps, the target states no time per step." in text


def test_a_figure_for_the_whole_chip_is_not_added_to_its_static_power(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    constant = '[energy.{}]\nvalue = 1\nsource = "test"\nverified = true\n{}\n'
    head = 'schema = "onnx2snn-target/1"\nname = "x"\nmapping = "cores"\n'
    cores = '[limits.cores_per_chip]\nvalue = 4\nsource = "test"\nverified = true\n'
    whole = constant.format("synop", 'covers = "whole"')
    file.write_text(head + cores + whole)
    energy = place(mlp(6, 4, classes=3), file, steps=T, seconds=0).energy
    assert energy.dynamic_j is None
    assert joules(energy.undivided_j) == pytest.approx(energy.counts["synop"] * PJ)
    for more, said in (
        (whole + constant.format("static_per_chip", ""), "would count twice"),
        (constant.format("synop", 'covers = "all"'), "must be 'dynamic' or 'whole'"),
    ):
        file.write_text(head + cores + more)
        with pytest.raises(TargetError, match=said):
            load_target(file)


def test_a_start_lag_costs_updates_and_time_but_no_more_spikes() -> None:
    plain, late = (
        place(mlp(8, 6, 7, classes=3, lag=lag), "loihi2", steps=T, seconds=0) for lag in (0, 3)
    )
    assert late.latency.lag_steps == 3 + 3  # one lag behind the other
    assert late.energy.counts["neuron_update"] == (6 + 7 + 3) * (T + 6)
    assert late.energy.counts["synop"] == plain.energy.counts["synop"]
    assert joules(late.energy.static_j) == pytest.approx(0.232 * (T + 6) * 153e-6)
    assert seconds_of(late)[0] == pytest.approx((T + 6) * 153e-6)


def test_static_power_is_that_of_all_chips() -> None:
    chip = load_target("loihi2")
    one_core = {"cores_per_chip": replace(chip.limits["cores_per_chip"], value=1)}
    chip = replace(chip, limits={**chip.limits, **one_core})
    report = place(mlp(8, 6, 7, classes=3), chip, steps=T, seconds=0)
    assert report.chips == 3
    assert joules(report.energy.static_j) == pytest.approx(3 * 0.232 * T * 153e-6)


def counted(report: PlacementReport, x: np.ndarray) -> float:
    """Synaptic events of one sample, within each core's window of T ticks, as the event simulator
    finds them in the emitted file, which has to be without splitters."""
    content = report.files["truenorth.npz"]
    box = parse(content)
    (coded,) = box.header["inputs"]
    starts = {unit["unit"]: unit["tick"] for unit in report.facts["schedule"]}
    begin = [starts[box.header["units"][unit]] for unit in box.header["core_unit"]]
    low, high = (np.reshape(coded[k], x.shape[1:]) for k in ("low", "high"))
    rate = np.clip((x - low) / (high - low), 0, 1).astype(np.float32).reshape(len(x), -1)
    sent = np.floor(np.multiply.outer(np.arange(T + 1), rate) + 0.5)
    events = 0
    for sample in np.diff(sent, axis=0).transpose(1, 0, 2):
        run = simulator.run(io.BytesIO(content), [sample], box.header["ticks"])
        events += sum(
            n for (tick, core), n in run.events.items() if begin[core] <= tick < begin[core] + T
        )
    return events / len(x)


def assert_energy_of_the_file(report: PlacementReport, box: Crossbars, synops: float) -> None:
    ticks = box.header["ticks"]
    energy = report.energy
    assert energy.counts["neuron_update"] == len(box.core) * ticks
    assert energy.counts["synop"] == pytest.approx(synops)
    assert joules(energy.undivided_j) == pytest.approx(synops * 26 * PJ)
    assert energy.dynamic_j is None and energy.static_j is None
    assert report.latency.ticks == ticks == T + report.latency.lag_steps
    assert seconds_of(report)[:2] == pytest.approx([ticks * 1e-3, ticks * 1e-4])


@pytest.mark.parametrize("graph", [nets.dense_net(0), nets.conv_net(0)], ids=["dense", "conv"])
def test_truenorth_counts_the_synaptic_events_and_updates_of_the_emitted_cores(
    graph: SpikingGraph,
) -> None:
    x = nets.samples(graph, 3).astype(np.float64)
    report = place(graph, "truenorth", data=PlaceData(x=x), steps=T, seconds=0)
    assert report.facts["splitter_cores"] == 0
    box = parse(report.files["truenorth.npz"])
    assert_energy_of_the_file(report, box, counted(report, x))


@pytest.mark.slow
def test_the_bundled_cnn_updates_every_chip_neuron_in_every_tick() -> None:
    with np.load(MODELS / "digits.npz") as d:
        calib = d["x_calib"][:128].astype(np.float32).reshape(-1, 1, 8, 8) / 16
    graph = onnx2snn.convert(MODELS / "digits_cnn.onnx", calib, steps=T)
    report = place(graph, "truenorth", data=PlaceData(calib=calib), steps=T, seconds=0)
    box = parse(report.files["truenorth.npz"])
    updates = report.energy.counts["neuron_update"]
    assert updates == len(box.core) * box.header["ticks"]
    assert report.facts["chip_neurons"] == len(box.core)
    assert (updates, box.header["ticks"], report.chips) == (2_212_176, T + 18, 1)


def test_xylo_spends_the_cycles_of_the_vendors_model() -> None:
    """16-63-63-8 on Audio 2 with every weight in use, steps of 10 ms; see docs/placement.md."""
    report = place(perceptron(16, 63, 63, 8), "xylo-audio2", steps=32, seconds=0)
    n, fan_out = 126, 63 * 63 / 126
    cycles = (
        16 * (n * 3.5 + 1) + n * (fan_out * 7 + 3) + n * (1 + 8 * 8) + n * (19 + 2 + 1) + 12 * 8
    )
    power = report.facts["power"]
    assert power["cycles_worst"] == pytest.approx(cycles, rel=0.02)  # some weights round to 0
    clock = power["cycles_worst"] * 1.2 / 0.01 / 1e6
    assert power["clock_mhz"] == pytest.approx(clock)
    assert power["power_uw"] == pytest.approx(291 * clock / 6.25)
    energy = 291e-6 * clock / 6.25 * 32 * 0.01
    dynamic = report.energy.dynamic_j  # what was published is dynamic power
    assert dynamic is not None and report.energy.known == (dynamic,)
    other = place(perceptron(16, 63, 63, 8), "xylo-imu", steps=32, seconds=0).energy
    assert other.known == (other.undivided_j,)  # power of the core as it runs: the rest is n/a
    assert span(dynamic) == pytest.approx([energy, energy * 0.5, energy * 1.5])
    least = 32 * cycles * 1.2 / 50e6
    assert seconds_of(report)[:2] == [pytest.approx(0.32), pytest.approx(least, rel=0.02)]


@pytest.mark.parametrize("name", ["loihi1", "loihi2", "truenorth"])
def test_whether_all_constants_were_verified_is_a_field_not_a_sentence(name: str) -> None:
    target = load_target(name)
    found = Activity(synops=3.0, neurons=2, spikes=1.0, macs=4)
    asked = {"spike_hops": 1.0, "steps": 2, "lag": 0, "chips": 1, "rates": "a test"}
    for verified in (True, False):
        energy = {key: replace(limit, verified=verified) for key, limit in target.energy.items()}
        stated = energy_of(replace(target, energy=energy), found, **asked)
        assert [kind.verified for kind in stated.known] == [verified] * len(stated.known)
        assert stated.known and stated.document()["verified"] is verified
