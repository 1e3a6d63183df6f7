"""Energies, latencies and counts of reports, each against figures worked out by hand from the
network and the chip's constants, or counted in the emitted file by the event simulator."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from places import MODELS

import onnx2snn
from hwtargets.chip_nets import Net, neuron
from hwtargets.truenorth import nets, simulator
from hwtargets.xylo.networks import perceptron
from onnx2snn.hwtargets import PlaceData, PlacementReport, load_target, place
from onnx2snn.hwtargets.energy import Activity, energy_of
from onnx2snn.hwtargets.truenorth.file import Crossbars, parse
from onnx2snn.runtime.graph import SpikingGraph

T = 16
PJ = 1e-12


def mlp(inputs: int, *hidden: int, classes: int, lag: int = 0) -> SpikingGraph:
    net = Net((inputs,))
    for size in hidden:
        net.dense(size)
        net.population("", neuron(lag=lag))
    net.readout(classes)
    return net.graph


def test_loihi_2_counts_synapses_times_rates_updates_and_static_power() -> None:
    rate = 0.25
    report = place(mlp(20, 12, 9, classes=5), "loihi2", steps=T, rate=rate, seconds=0)
    synops = (20 * 12 * 1.0 + 12 * 9 * rate + 9 * 5 * rate) * T  # graded inputs in every step
    counts, parts = report.energy["counts"], report.energy["parts"]
    assert counts["synop"] == pytest.approx(synops)
    assert counts["neuron_update"] == (12 + 9 + 5) * T
    assert counts["hop"] == pytest.approx(report.traffic["spike_hops"] * T)
    seconds = T * 153e-6
    by_hand = {
        "synop": synops * 23.6 * PJ,
        "neuron_update": 26 * T * 81 * PJ,
        "hop": report.traffic["spike_hops"] * T * 4.0 * PJ,
        "static": 0.232 * report.chips * seconds,
    }
    assert parts == pytest.approx(by_hand)
    dynamic = sum(v for k, v in by_hand.items() if k != "static")
    assert report.energy["value"] == pytest.approx(sum(by_hand.values()))
    low = 0.3 * dynamic + by_hand["static"] * 0.7 * 0.1  # constants 70 %, static 30 %, step 90 %
    high = 1.7 * dynamic + by_hand["static"] * 1.3 * 1.9
    assert report.energy["low"] == pytest.approx(low)
    assert report.energy["high"] == pytest.approx(high)
    assert report.latency["value"] == pytest.approx(seconds)
    assert report.latency["low"] == pytest.approx(0.1 * seconds)
    ann = report.energy["ann"]
    macs = 20 * 12 + 12 * 9 + 9 * 5
    assert ann["macs"] == macs
    assert ann["ann_joules"] == pytest.approx(macs * (0.1 + 0.2 + 1.25) * PJ)
    assert ann["snn_joules"] == pytest.approx((synops * (0.1 + 1.25) + 26 * T * 0.1) * PJ)


def test_a_start_lag_costs_updates_and_time_but_no_more_spikes() -> None:
    plain, late = (
        place(mlp(8, 6, 7, classes=3, lag=lag), "loihi2", steps=T, seconds=0) for lag in (0, 3)
    )
    assert late.latency["lag_steps"] == 3 + 3  # one lag behind the other
    assert late.energy["counts"]["neuron_update"] == (6 + 7 + 3) * (T + 6)
    assert late.energy["counts"]["synop"] == plain.energy["counts"]["synop"]
    assert late.energy["parts"]["static"] == pytest.approx(0.232 * (T + 6) * 153e-6)
    assert late.latency["value"] == pytest.approx((T + 6) * 153e-6)


def test_static_power_is_that_of_all_chips() -> None:
    chip = load_target("loihi2")
    one_core = {"cores_per_chip": replace(chip.limits["cores_per_chip"], value=1)}
    chip = replace(chip, limits={**chip.limits, **one_core})
    report = place(mlp(8, 6, 7, classes=3), chip, steps=T, seconds=0)
    assert report.chips == 3
    assert report.energy["parts"]["static"] == pytest.approx(3 * 0.232 * T * 153e-6)


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
    assert energy["counts"]["neuron_update"] == len(box.core) * ticks
    assert energy["counts"]["synop"] == pytest.approx(synops)
    assert energy["value"] == pytest.approx(synops * 26 * PJ)
    assert report.latency["ticks"] == ticks == T + report.latency["lag_steps"]
    assert report.latency["value"] == pytest.approx(ticks * 1e-3)
    assert report.latency["low"] == pytest.approx(ticks * 1e-4)


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
    updates = report.energy["counts"]["neuron_update"]
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
    assert report.energy["value"] == pytest.approx(energy)
    assert report.energy["low"] == pytest.approx(energy * 0.5)
    assert report.energy["high"] == pytest.approx(energy * 1.5)
    assert report.latency["value"] == pytest.approx(0.32)
    assert report.latency["low"] == pytest.approx(32 * cycles * 1.2 / 50e6, rel=0.02)


@pytest.mark.parametrize("name", ["loihi1", "loihi2", "truenorth"])
def test_whether_all_constants_were_verified_is_a_field_not_a_sentence(name: str) -> None:
    target = load_target(name)
    found = Activity(synops=3.0, neurons=2, spikes=1.0, macs=4)
    asked = {"spike_hops": 1.0, "steps": 2, "lag": 0, "chips": 1}
    for verified in (True, False):
        energy = {key: replace(limit, verified=verified) for key, limit in target.energy.items()}
        stated = energy_of(replace(target, energy=energy), found, **asked)
        assert stated["verified"] is verified
