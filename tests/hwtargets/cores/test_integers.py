"""The integer run: against Lava's recorded bit-accurate neuron, and against plain loops."""

from __future__ import annotations

from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converter.digits_nets import converted, samples

from hwtargets.chip_nets import Net, build, neuron
from onnx2snn.converter.lowering.align import aligned
from onnx2snn.hwtargets import PlaceData, chip_view, load_target, mapped, place
from onnx2snn.hwtargets.cores.integer.network import IntLayer
from onnx2snn.hwtargets.cores.integer.populations import fire_now, integrate
from onnx2snn.hwtargets.cores.integers import simulate_integers
from onnx2snn.hwtargets.cores.quantize import INPUT_BITS, quantize
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import (
    FewSpikeParams,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WindowedNeuron,
)

RECORDED = Path(__file__).with_name("lava_lif.npz")
F32 = np.float32
CASES = ("if", "bias", "cuba", "leaky_negative", "wrap")


@pytest.mark.parametrize("case", CASES)
def test_the_membrane_equals_that_of_lavas_fixed_point_lif(case: str) -> None:
    """Lava's neuron has a decaying current u before the membrane v; u is taken from the recording.
    v <- sign(v) floor(|v| (4096 - dv) / 4096) + u + bias, clipped to 24 bits; 0 if it fires."""
    with np.load(RECORDED) as recorded:
        data = {k.split(".")[1]: recorded[k] for k in recorded.files if k.startswith(case + ".")}
    _, dv, threshold, exponent = (int(n) for n in data["params"])
    params = NeuronParams(v_threshold=F32(1), v_init=F32(0), reset="zero", leak=dv / 4096)
    layer = IntLayer(
        name="lif", shape=(5,), projections=(), bias=np.zeros(5), unit=1.0, shift=6, neuron=params
    )
    state = {name: np.zeros(5) for name in ("v", "sent", "wait")}
    bias = data["bias"].astype(np.int64) << exponent
    for t, u in enumerate(data["u"]):
        integrate(layer, params, state, now=u + bias, limit=2**23 - 1)
        fire_now(layer, params, state, threshold=np.array(float(threshold << 6)), strict=True)
        np.testing.assert_array_equal(state["v"], data["v"][t], err_msg=f"v at step {t}")


def plain_run(layers: list[dict[str, Any]], drive: np.ndarray, steps: int) -> tuple[list, list]:
    """Python integers, neuron by neuron: strict IF with subtracting reset, then a membrane
    readout. ``drive``: the first layer's current per step. Gives spike counts and the answer."""
    state = [[int(v) for v in layer["v_init"]] for layer in layers]
    counts = [[0] * len(layer["v_init"]) for layer in layers]
    answers = []
    for _ in range(steps):
        values = [int(d) for d in drive]
        for i, layer in enumerate(layers):
            out = []
            for n in range(len(state[i])):
                current = (
                    values[n]
                    if i == 0
                    else 64
                    * floor(
                        sum(int(w) * s for w, s in zip(layer["w"][n], values, strict=True))
                        * 2.0 ** layer["exponent"]
                    )
                )
                state[i][n] += current + int(layer["bias"][n])
                fires = layer["threshold"] is not None and state[i][n] > layer["threshold"]
                if fires:
                    state[i][n] -= layer["threshold"]
                    counts[i][n] += 1
                out.append(int(fires))
            values = out
        answers.append(list(state[-1]))
    return counts, answers


def test_the_integer_run_equals_a_plain_loop_over_neurons() -> None:
    graph = build((6,), [("fc", 9), ("fc", 7), ("out", 4)], seed=3)
    target = load_target("loihi2")
    network, steps = chip_view(graph), 24
    x = np.random.default_rng(0).normal(size=(3, 6))
    quantized = quantize(network, target, "graded", float(np.abs(x).max()), steps)
    got = simulate_integers(network, quantized, x, steps)
    layers = []
    for layer in quantized.layers:
        (p,) = layer.projections
        (linear,) = [op for op in p.ops if isinstance(op, ops.Linear)]
        assert np.abs(linear.weight).max() <= 127
        theta = None if layer.threshold is None else int(layer.threshold)
        start = np.zeros(layer.shape) if layer.v_init is None else layer.v_init
        layers.append(
            {
                "w": linear.weight, "exponent": p.exponent, "threshold": theta,
                "bias": np.broadcast_to(layer.bias, layer.shape),
                "v_init": np.broadcast_to(start, layer.shape),
            }
        )  # fmt: skip
    for n, sample in enumerate(x):
        codes = np.round(sample / quantized.input_unit)
        first = layers[0]
        drive = 64 * np.floor(first["w"] @ codes * 2.0 ** first["exponent"])
        counts, answers = plain_run(layers, drive, steps)
        np.testing.assert_array_equal(got.readout[:, n], answers)
        assert sum(counts[0]) > 0
    total = sum(
        np.array(plain_run(layers, 64 * np.floor(
            layers[0]["w"] @ np.round(s / quantized.input_unit) * 2.0 ** layers[0]["exponent"]
        ), steps)[0][1]) for s in x
    )  # fmt: skip
    np.testing.assert_allclose(got.rates["p4"] * len(x) * steps, total)


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_quantized_weights_are_within_half_a_step_and_answers_agree(target: str) -> None:
    graph = build((2, 8, 8), [("conv", 6, 3, 1, 1), ("pool", 2), ("block", 8, 2), ("out", 5)])
    network, chip = chip_view(graph), load_target(target)
    x = np.random.default_rng(1).random((40, 2, 8, 8)).astype(np.float32)
    mode = chip.can("input")[0]
    quantized = quantize(network, chip, mode, 1.0, 32)
    for layer, ints in zip(network.layers, quantized.layers, strict=True):
        for p, q in zip(layer.projections, ints.projections, strict=True):
            if q.host:
                continue
            unit = ints.unit * 2**ints.shift * 2.0**q.exponent
            source = quantized.input_unit if p.source == "in" and mode == "graded" else 1.0
            exact = p.matrix.dense()
            eye = np.eye(exact.shape[1]).reshape(-1, *p.source_shape)
            for op in q.ops:
                eye = op.apply(eye)
            stored = eye.reshape(len(eye), -1).T
            np.testing.assert_allclose(stored * unit / source, exact, atol=0.51 * unit / source)
    got = simulate_integers(network, quantized, x, 32).readout[-1].argmax(1)
    floating = simulate(graph, x, 32).readouts["out"][-1].argmax(1)
    assert (got == floating).mean() >= 0.9


def test_thresholds_per_channel_are_folded_into_weights() -> None:
    net = Net((4,), seed=5)
    net.dense(6)
    theta = np.linspace(0.5, 2.0, 6).astype(np.float32)
    net.population("p", NeuronParams(v_threshold=theta, v_init=theta / 2))
    net.readout(3)
    network = chip_view(net.graph)
    x = np.random.default_rng(2).random((30, 4)).astype(np.float32) * 3
    quantized = quantize(network, load_target("loihi2"), "graded", 3.0, 64)
    assert quantized.layers[0].threshold is not None and quantized.layers[0].threshold.size == 1
    rates = simulate_integers(network, quantized, x, 64).rates["p"]
    expected = simulate(net.graph, x, 64).spikes["p"].sum() / (30 * 64)
    assert rates.sum() == pytest.approx(expected, rel=0.03)


THETA = np.array([1, 2, 4, 2], F32)


@pytest.mark.parametrize(
    ("shape", "theta", "more", "equal"),
    [
        ((3,), THETA, {"v_min": -0.5, "v_init": F32(-8)}, True),
        ((3,), THETA, {"reset": "zero", "v_reset": 0.25}, True),
        ((2, 3), THETA, {}, True),  # a matrix of features: the channels are the last axis
        ((4, 3), THETA[:, None], {}, False),  # one weight serves all rows: none can be scaled
    ],
    ids=["v_min", "v_reset", "last_axis", "rows"],
)
def test_channels_scaled_to_one_threshold_spike_as_they_did(
    shape: tuple[int, ...], theta: np.ndarray, more: dict[str, Any], equal: bool
) -> None:
    """All numbers are exact in the chip's integers: one spike off is a fault."""
    net = Net(shape, seed=3)
    weight = net.rng.integers(-31, 32, (4, 3)) * 4
    weight[:, 0] = 127 * (THETA if equal else 1)  # the largest of every channel, once scaled
    net.synapse(ops.Linear(weight=(weight / 256).astype(F32)))
    full = np.broadcast_to(theta, net.shape).astype(F32)
    net.nodes.append(
        g.Population(
            name="p", inputs=(net.at,), shape=net.shape, bias=F32(0.25),
            neuron=NeuronParams(v_threshold=full, **{"v_init": full / 2, **more}),
        )
    )  # fmt: skip
    net.readout(2)
    chip = load_target("loihi2")
    chip = replace(chip, capabilities={**chip.capabilities, "strict": False})
    top = 2 ** INPUT_BITS[0] - 1
    x = np.random.default_rng(1).integers(-2, 3, (20, *shape)).astype(F32)
    network = chip_view(net.graph)
    quantized = quantize(network, chip, "graded", top, 12)
    assert quantized.layers[0].threshold is not None
    assert (quantized.layers[0].threshold.size == 1) is equal
    got = simulate_integers(network, quantized, x, 12).rates["p"] * 20 * 12
    expected = simulate(net.graph, x, 12).spikes["p"]
    assert got.sum() == pytest.approx(expected.sum()) and expected.sum() > 50


def test_graded_and_signed_spikes_start_lags_and_hard_resets_run_on_the_chip() -> None:
    variants: list[dict[str, Any]] = [
        {"levels": 3}, {"signed": True}, {"lag": 4}, {"reset": "zero"}, {"leak": 0.25},
        {"refractory": 2}, {"v_min": -1.0},
    ]  # fmt: skip
    x = np.random.default_rng(4).random((20, 6)).astype(np.float32)
    for more in variants:
        net = Net((6,), seed=8)
        for n in (12, 10):
            net.dense(n)
            net.population("", neuron(0.7, **more))
        net.readout(3)
        network = chip_view(net.graph)
        quantized = quantize(network, load_target("loihi2"), "graded", 1.0, 40)
        got = simulate_integers(network, quantized, x, 40)
        scale = quantized.layers[-1].unit * np.arange(1, 41).reshape(-1, 1, 1)
        floating = simulate(net.graph, x, 40).readouts["out"]
        spread = np.abs(floating[-1]).mean()
        error = np.abs(got.readout * scale / np.arange(1, 41).reshape(-1, 1, 1) ** 2 - floating)
        assert error[-1].mean() < 0.1 * spread, (more, error[-1].mean(), spread)


def test_a_membrane_that_is_too_narrow_is_counted_as_saturated() -> None:
    graph = build((4,), [("fc", 5), ("out", 2)], seed=1)
    chip = load_target("loihi2")
    state = replace(chip.limits["state_bits"], value=9)
    narrow = replace(chip, limits={**chip.limits, "state_bits": state})
    x = np.ones((2, 4), np.float32)
    network = chip_view(graph)
    wide = simulate_integers(network, quantize(network, chip, "graded", 1.0, 8), x, 8)
    quantized = quantize(network, narrow, "graded", 1.0, 8)
    tight = simulate_integers(network, quantized, x, 8)
    assert sum(wide.saturations.values()) == 0
    layer = quantized.layers[0]
    (p,), limit = layer.projections, 2**8 - 1
    (linear,) = [op for op in p.ops if isinstance(op, ops.Linear)]
    drive = linear.weight @ np.full(4, quantized.input_max)
    current = np.floor(drive * 2.0**p.exponent) * 2**layer.shift + layer.bias
    v, met = np.zeros(5) + layer.v_init, 0
    for _ in range(8):
        v = v + current
        met += int((np.abs(v) > limit).sum())
        v = np.clip(v, -limit, limit)
        v = np.where(v > layer.threshold, v - layer.threshold, v)
    assert tight.saturations["p2"] == 2 * met == 6  # its thresholds are as small as their width


def late_skip(lag: int) -> g.SpikingGraph:
    """Two layers of paced neurons; the second also reads the first's input spikes, delayed."""

    def paced(theta: float) -> PacedParams:
        return PacedParams(v_threshold=np.float32(theta), v_init=np.float32(theta / 2), lag=lag)

    net = Net((6,), seed=3)
    net.dense(8)
    net.population("first", paced(0.7))
    net.dense(8)
    net.population("branch", paced(0.5))
    inside = net.dense(8)
    net.nodes.append(g.Synapse(name="skip", inputs=("first",), shape=(8,), op=half()))
    net.synapse(ops.Add(), inside, "skip")
    net.population("sum", paced(0.9))
    net.readout(3)
    return aligned(net.graph)


@pytest.mark.parametrize("model", [FewSpikeParams, TtfsParams])
def test_numbers_sent_in_windows_and_delayed_skips_run_on_the_chip(
    model: type[WindowedNeuron],
) -> None:
    steps = 6
    graph = late_skip(steps)

    def number(p: g.Population) -> g.Population:
        theta = p.neuron.v_threshold * np.float32(steps)
        return replace(p, neuron=model(v_threshold=theta, v_init=theta / 2, lag=steps))

    graph = graph.with_nodes(number(p) for p in graph.of(g.Population))
    coding = graph.of(g.Population)[0].neuron.coding
    graph = graph.with_nodes(replace(r, coding=coding) for r in graph.of(g.Readout))
    network = chip_view(graph)
    x = np.random.default_rng(4).random((20, 6)).astype(np.float32)
    quantized = quantize(network, load_target("loihi2"), "graded", 1.0, steps)
    got = simulate_integers(network, quantized, x, steps)
    assert not any(got.saturations.values())
    floating = simulate(graph, x, steps)
    answers = got.readout[-1] * quantized.layers[-1].unit / steps
    expected = floating.readouts["out"][-1]
    assert np.abs(answers - expected).mean() < 0.1 * np.abs(expected).mean()
    for name, spikes in floating.spikes.items():
        assert got.rates[name].sum() * 20 * steps == pytest.approx(spikes.sum(), rel=0.05)


def half() -> ops.Scale:
    return ops.Scale(scale=np.float32(0.5))


@pytest.mark.parametrize("lag", [1, 8])
def test_paced_neurons_and_delayed_skips_run_on_the_chip(lag: int) -> None:
    graph = late_skip(lag)
    graph = graph.with_nodes(replace(r, coding="paced") for r in graph.of(g.Readout))
    network = chip_view(graph)
    assert {p.delay for p in network["sum"].projections} == {0, lag}
    x = np.random.default_rng(4).random((20, 6)).astype(np.float32)
    quantized = quantize(network, load_target("loihi2"), "graded", 1.0, 16)
    got = simulate_integers(network, quantized, x, 16)
    assert not any(got.saturations.values())
    t = np.arange(1, 17).reshape(-1, 1, 1)
    floating = simulate(graph, x, 16)
    answers = got.readout * quantized.layers[-1].unit / t
    off = np.abs(answers - floating.readouts["out"])[-1].mean()
    assert off < 0.1 * np.abs(floating.readouts["out"][-1]).mean()
    for name, spikes in floating.spikes.items():
        assert got.rates[name].sum() * 20 * 16 == pytest.approx(spikes.sum(), rel=0.03)


def test_the_room_of_a_charge_is_that_of_a_spike_in_every_step() -> None:
    neuron = PacedParams(v_threshold=np.float32(1), v_init=np.float32(0.5), lag=4)
    net = Net((4,), seed=5)
    net.dense(6)
    net.population("p", neuron)
    net.readout(2)
    x = np.full((2, 4), 1.0, np.float32)
    graph = net.graph.with_nodes(
        replace(n, bias=np.full((6,), 1.0, np.float32)) for n in net.graph.of(g.Population)
    )
    network = chip_view(graph)
    found = simulate_integers(
        network, quantize(network, load_target("loihi2"), "graded", 1.0, 64), x, 64
    )
    assert not found.saturations["p"]


def test_a_delay_longer_than_the_chip_can_wait_is_refused() -> None:
    assert place(late_skip(62), "loihi2", seconds=0).fits
    report = place(late_skip(63), "loihi2", seconds=0)
    assert [(v.node, v.rule) for v in report.violations] == [("sum", "delay")]
    assert "a shorter lag:" in report.violations[0].remedy


def test_a_window_of_more_levels_than_a_potential_has_bits_for_is_refused() -> None:
    theta = np.ones((), np.float32)
    net = Net((4,), seed=5)
    net.dense(6)
    net.population("p", FewSpikeParams(v_threshold=theta, v_init=theta / 2, lag=15))
    net.readout(2)
    (found,) = place(net.graph, "loihi2", steps=15, seconds=0).violations
    assert found.rule == "steps of a window" and "steps=14" in found.remedy
    assert "24 bits" in found.remedy
    (found,) = place(net.graph, "loihi1", steps=15, seconds=0).violations
    assert (found.rule, found.used) == ("neurons with windows", "few-spike")


def test_paced_neurons_are_refused_where_no_neuron_does_so() -> None:
    report = place(late_skip(2), "loihi1", seconds=0)
    assert {v.rule for v in report.violations} == {"start lag", "paced neurons", "delay"}
    assert any("pace=False" in v.remedy for v in report.violations)


@pytest.mark.parametrize("mode", ["graded", "bias"])
def test_windows_of_many_steps_keep_their_levels_in_integers(mode: str) -> None:
    """11 steps were allowed and lost 4 points here; a unit that is no part of the threshold, and
    biases in whole numbers, lose as much."""
    steps, x = 12, samples("x_test")[:120]
    net = converted("digits_mlp", recipe="few-spike", steps=steps, tune=False).graph
    report = place(
        net, "loihi2", data=PlaceData(x=x), steps=steps, seconds=0, options={"input": mode}
    )
    assert report.fits and report.accuracy["agreement"] == 1.0
    run = mapped(net, load_target("loihi2"), steps=steps, calib=x).run
    assert run is not None
    got = run(x, steps).readout[-1]
    wanted = simulate(net, x, steps).readouts["logits"][-1]
    scale = np.linalg.lstsq(got.reshape(-1, 1), wanted.reshape(-1), rcond=None)[0][0]
    assert np.abs(scale * got - wanted).max() < 0.03 * np.ptp(wanted)
