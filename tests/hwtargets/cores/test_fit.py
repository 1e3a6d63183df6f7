"""What is chosen of a layer's integers on calibration data, and what a target does not state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwtargets.chip_nets import Net, neuron
from onnx2snn.hwtargets import PlaceData, chip_view, load_target, place
from onnx2snn.hwtargets.cores.fit import WIDTHS, _others, fit
from onnx2snn.hwtargets.cores.integer.network import IntNetwork
from onnx2snn.hwtargets.cores.integers import simulate_integers
from onnx2snn.hwtargets.cores.quantize import quantize
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate

STEPS = 16
F32 = np.float32


def with_an_outlier(largest: float = 60.0, hidden: bool = False) -> g.SpikingGraph:
    """Dense layers; one channel of the first, or of one behind another, has weights that are so
    many times as large."""
    net = Net((8,), seed=2)
    if hidden:
        net.dense(8)
        net.population("before", neuron(0.5))
    weight = net.rng.normal(0.05, 0.4, (12, 8))
    weight[3] = largest * np.abs(weight[3])  # fires in every step
    net.synapse(ops.Linear(weight=weight.astype(F32)))
    net.population("first", neuron(1.0))
    net.dense(10)
    net.population("second", neuron(0.8))
    net.readout(4)
    return net.graph


def samples(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 8)).astype(F32)


def off(network: Any, ints: IntNetwork, graph: g.SpikingGraph, x: np.ndarray) -> float:
    """Mean squared error of the answers against the floating-point network."""
    got = simulate_integers(network, ints, x, STEPS).readout[-1] * ints.layers[-1].unit / STEPS
    return float(np.mean((got - simulate(graph, x, STEPS).readouts["out"][-1]) ** 2))


@pytest.mark.parametrize(("largest", "hidden", "least"), [(60, False, 0.4), (2000, True, 0.1)])
def test_an_outlier_among_the_channels_no_longer_sets_the_step_of_all(
    largest: float, hidden: bool, least: float
) -> None:
    graph, chip = with_an_outlier(largest, hidden), load_target("loihi2")
    network = chip_view(graph)
    found = fit(network, chip, "graded", 1.0, STEPS, x=samples(64, 1))
    assert (found.samples, found.held_back) == (16, 16) and found.kept
    assert found.tunings["first"].reach < 1
    x = samples(100, 7)  # neither chosen on nor held back
    plain = quantize(network, chip, "graded", 1.0, STEPS)
    tuned = quantize(network, chip, "graded", 1.0, STEPS, tunings=found.tunings)
    assert off(network, tuned, graph, x) < least * off(network, plain, graph, x)
    for ints in tuned.layers:
        for p in ints.projections:
            assert max(float(np.abs(op.factors).max()) for op in p.ops) <= 127


def test_outputs_have_the_means_of_those_of_unlimited_width_on_all_samples_together() -> None:
    graph, chip = with_an_outlier(2000, hidden=True), load_target("loihi2")
    network, x = chip_view(graph), samples(80, 1)
    found = fit(network, chip, "graded", 1.0, STEPS, x=x)
    others, chosen = _others(network, x, STEPS)
    assert (len(others), len(chosen)) == (48, 32)
    seen = np.concatenate([chosen[::2], others])
    tuned = quantize(network, chip, "graded", 1.0, STEPS, tunings=found.tunings)
    free = replace(chip, limits={k: v for k, v in chip.limits.items() if k not in WIDTHS})
    wide = quantize(network, free, "graded", 1.0, STEPS)

    def mean(ints: IntNetwork) -> np.ndarray:
        answers = simulate_integers(network, ints, seen, STEPS).readout[-1] * ints.layers[-1].unit
        return answers.mean(axis=0) / STEPS

    np.testing.assert_allclose(mean(tuned), mean(wide), atol=2 * tuned.layers[-1].unit)


def test_place_says_what_was_chosen_on_what_and_leaves_it_where_asked_to() -> None:
    graph, x = with_an_outlier(), samples(40, 3)
    y = simulate(graph, x, STEPS).readouts["out"][-1].argmax(1)

    def placed(**options: Any) -> Any:
        data = PlaceData(x=x, y=y, calib=samples(64, 1))
        return place(graph, "loihi2", data=data, steps=STEPS, seconds=0, options=options)

    tuned, plain = placed(), placed(tune="false")
    (note,) = [
        n
        for n in tuned.notes
        if "were chosen on 16 samples (calibration data), in the integer run" in n
    ]
    assert "1 of 3 layers clip" in note
    assert not any("were chosen on" in n for n in plain.notes)
    assert tuned.accuracy["agreement"] >= max(plain.accuracy["agreement"], 0.9)


def test_plain_rounding_is_kept_where_the_samples_held_back_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = with_an_outlier()
    even = samples(32, 1)
    monkeypatch.setattr("onnx2snn.hwtargets.cores.fit.Fit.kept", False)
    report = place(graph, "loihi2", data=PlaceData(x=even, calib=even), steps=STEPS, seconds=0)
    assert any("plain rounding was kept" in n for n in report.notes)


def test_one_threshold_is_a_whole_number_of_steps() -> None:
    network = chip_view(with_an_outlier(1.0))
    for name in ("loihi1", "loihi2"):
        ints = quantize(network, load_target(name), "bias", 1.0, STEPS)
        for layer in ints.layers[:-1]:
            assert layer.neuron is not None and layer.threshold is not None
            exact = float(layer.neuron.v_threshold)
            assert float(layer.threshold) * layer.unit == pytest.approx(exact, rel=1e-9)


def test_where_thresholds_are_per_neuron_every_channel_uses_all_its_bits() -> None:
    chip, free = load_target("loihi2"), ("threshold_bits", "state_bits", "weight_exponent")
    limits = {name: limit for name, limit in chip.limits.items() if name not in free}
    shared = replace(chip, limits=limits)
    chip = replace(shared, capabilities={**chip.capabilities, "threshold_per": "neuron"})
    graph = with_an_outlier()
    network = chip_view(graph)
    ints = quantize(network, chip, "graded", 1.0, STEPS)
    (p,) = ints.layers[0].projections
    (linear,) = [op for op in p.ops if isinstance(op, ops.Linear)]
    assert (np.abs(linear.weight).max(axis=1) >= 120).all()
    x = samples(60, 5)
    one = quantize(network, shared, "graded", 1.0, STEPS)
    assert off(network, ints, graph, x) < 0.5 * off(network, one, graph, x)


BARE = """
schema = "onnx2snn-target/1"
name = "bare"
mapping = "cores"
[capabilities]
input = ["graded"]
"""


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"weight_bits": 8},
        {"threshold_bits": 16},
        {"weight_bits": 8, "threshold_bits": 16},
        {"weight_bits": 8, "state_bits": 20},
        {"weight_bits": 8, "weight_exponent": 6, "threshold_bits": 17},
    ],
    ids=lambda stated: "+".join(stated) or "nothing",
)
def test_a_limit_that_is_not_stated_does_not_bind(tmp_path: Path, stated: dict[str, int]) -> None:
    """Weights a thousand times smaller than the threshold need a shift behind the sum."""
    entry = '[limits.{}]\nvalue = {}\nsource = "test"\nverified = true\n'
    file = tmp_path / "bare.toml"
    file.write_text(
        BARE + "".join(entry.format(*item) for item in {"cores_per_chip": 4, **stated}.items())
    )
    net = Net((8,), seed=4)
    weight = net.rng.normal(0.0005, 0.002, (12, 8))
    net.synapse(ops.Linear(weight=weight.astype(F32)))
    net.population("first", neuron(0.01))
    net.synapse(ops.Scale(scale=F32(0.001)))
    net.dense(10)
    net.population("second", neuron(0.001))
    net.readout(4)
    chip, network, x = load_target(file), chip_view(net.graph), samples(40, 3)
    ints = quantize(network, chip, "graded", 1.0, STEPS)
    used = [
        max(float(np.abs(op.factors).max()) for op in p.ops if isinstance(op, ops.MultiplyingOp))
        for layer in ints.layers
        for p in layer.projections
    ]
    assert min(used) > 60  # no layer has lost the bits of its weights
    assert not any(simulate_integers(network, ints, x, STEPS).saturations.values())
    wanted = simulate(net.graph, x, STEPS).readouts["out"][-1]
    assert off(network, ints, net.graph, x) < 0.02 * float(np.mean(wanted**2))


@pytest.mark.parametrize("limits", ["", "state_bits = 24"], ids=["nothing stated", "a membrane"])
def test_a_network_without_hidden_layer_whose_current_the_host_computes(
    tmp_path: Path, limits: str
) -> None:
    """Nothing but the membrane asks for a unit; without one it must not be 1."""
    file = tmp_path / "bare.toml"
    file.write_text(BARE.replace("graded", "bias") + "".join(
        f'[limits.{name}]\nvalue = {value}\nsource = "test"\nverified = true\n'
        for name, value in [("cores_per_chip", "4"), *(s.split(" = ") for s in [limits] if s)]
    ))  # fmt: skip
    net = Net((8,), seed=4)
    net.synapse(ops.Scale(scale=F32(0.01)))
    net.readout(5)
    network, x = chip_view(net.graph), samples(40, 3)
    ints = quantize(network, load_target(file), "bias", 1.0, STEPS)
    wanted = simulate(net.graph, x, STEPS).readouts["out"][-1]
    assert off(network, ints, net.graph, x) < 1e-6 * float(np.mean(wanted**2))
