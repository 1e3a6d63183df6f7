"""Thresholds that differ within a layer; formats of lists; what a register holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwtargets.chip_nets import Net
from onnx2snn.hwtargets import HardwareTarget, PlaceData, chip_view, load_target, place
from onnx2snn.hwtargets.cores.fit import _measured
from onnx2snn.hwtargets.cores.integer.exponents import Formats, formats
from onnx2snn.hwtargets.cores.integer.network import Register
from onnx2snn.hwtargets.cores.integer.thresholds import grouped
from onnx2snn.hwtargets.cores.integers import simulate_integers
from onnx2snn.hwtargets.cores.quantize import quantize
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams

STEPS = 16
F32 = np.float32


def per_channel(low: float = 0.005, n: int = 20) -> Any:
    """Two dense layers whose channels have thresholds from ``low`` to 3, weights of one size."""
    net = Net((8,), seed=2)
    for _ in range(2):
        net.dense(n)
        theta = np.geomspace(low, 3, n).astype(F32)
        net.population("", NeuronParams(v_threshold=theta, v_init=theta / 2))
    net.readout(4)
    return net.graph


def holding(target: str, per: str) -> HardwareTarget:
    chip = load_target(target)
    return replace(chip, capabilities={**chip.capabilities, "threshold_per": per})


def test_values_go_together_within_the_least_factor_that_leaves_few_of_them() -> None:
    values = np.geomspace(1, 500, 40).reshape(40, 1)
    found = grouped(values, 8)
    assert found.shape == values.shape and len(np.unique(found)) == 8
    assert ((found <= values) & (values < 2.5 * found)).all() and set(found.flat) <= set(
        values.flat
    )
    assert grouped(values[:3], 8).max() == 1  # within a factor of 1.4 one will do


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_thresholds_that_one_could_not_replace_are_those_that_a_core_holds(target: str) -> None:
    graph = per_channel()
    network, x = chip_view(graph), np.random.default_rng(1).random((60, 8), F32)
    wanted = simulate(graph, x, STEPS).readouts["out"][-1]

    def off(chip: HardwareTarget) -> float:
        mode = str(chip.can("input")[0])
        ints = quantize(network, chip, mode, 1.0, STEPS)
        for layer in ints.layers[:-1]:
            assert layer.threshold is not None
            held = np.unique(layer.threshold)
            assert len(held) <= 8 and (held % 64 == 0).all() and held.max() <= 64 * 131071
        got = simulate_integers(network, ints, x, STEPS).readout[-1] * ints.layers[-1].unit / STEPS
        return float(np.mean((got - wanted) ** 2) / np.mean(wanted**2))

    assert off(load_target(target)) < 0.03 < 0.1 < off(holding(target, "layer"))
    report = place(graph, target, data=PlaceData(x=x, calib=x), steps=STEPS, seconds=0)
    assert sum("thresholds, each for channels that share it" in n for n in report.notes) >= 1


def test_one_threshold_is_left_where_it_leaves_the_weights_their_levels() -> None:
    ints = quantize(chip_view(per_channel(1.0)), load_target("loihi1"), "graded", 1.0, STEPS)
    assert [np.size(layer.threshold) for layer in ints.layers[:-1]] == [1, 1]


@pytest.mark.parametrize("per", ["layer", "group", "neuron"])
def test_mean_inputs_are_in_the_networks_units_whatever_channels_were_scaled_by(per: str) -> None:
    low = 2.0 if per == "layer" else 0.005  # one threshold leaves few levels
    network, x = chip_view(per_channel(low)), np.random.default_rng(1).random((5, 8), F32)
    ints = quantize(network, holding("loihi2", per), "graded", 1.0, STEPS)
    first = next(_measured(network, ints, x, STEPS))
    (p,) = network.layers[0].projections
    wanted = x.mean(axis=0) @ p.chain[0][0].weight.T + network.layers[0].bias  # type: ignore[attr-defined]
    np.testing.assert_allclose(first.mean, wanted, atol=0.02)


@pytest.mark.parametrize(("target", "most"), [("loihi1", 7), ("loihi2", 8)])
@pytest.mark.parametrize("connections", [1, 3, 9])
def test_all_connections_of_a_core_have_no_more_formats_than_it_holds(
    target: str, most: int, connections: int
) -> None:
    """Depthwise convolutions side by side into one layer, with channels of very different
    weights: each of their lists could have its own exponent."""
    net = Net((6, 4, 4), seed=3)
    net.conv(6, 1)
    source, parts = net.population("before"), []
    for i in range(connections):
        size = 2.0 ** -np.roll(np.arange(6) * 2, i).reshape(6, 1, 1, 1) / (1 + i)
        weight = (net.rng.normal(0, 0.3, (6, 1, 3, 3)) * size).astype(F32)
        conv = ops.Conv(
            weight=weight, strides=(1, 1), dilations=(1, 1), pads=(1, 1, 1, 1), groups=6
        )
        parts.append(net.synapse(conv, source))
    if connections > 1:
        net.synapse(ops.Add(), *parts)
    net.population("sum")
    net.readout(3)
    ints = quantize(chip_view(net.graph), load_target(target), "graded", 1.0, STEPS)
    projections = ints.layers[1].projections
    each = [set(np.ravel(p.exponent).tolist()) for p in projections]
    assert len(projections) == connections
    held = sum(map(len, each)) if connections <= most else len(set.union(*each))
    assert 1 < held <= most
    free = formats(np.inf, connections=connections)
    assert free == Formats(most=16)


@pytest.mark.parametrize(("mantissa", "exponent"), [(4095, 7), (15, 2), (np.inf, np.inf)])
def test_a_register_holds_a_mantissa_shifted_as_little_as_can_be(
    mantissa: float, exponent: float
) -> None:
    wanted = np.rint(np.random.default_rng(0).normal(0, 2e5, 200)) / np.arange(1, 201) ** 2 // 1
    found = Register(mantissa=mantissa, exponent=exponent).holds(wanted)
    for n, held in zip(wanted.tolist(), found.tolist(), strict=True):
        e = 0
        while abs(n) > mantissa * 2**e and e < exponent:
            e += 1
        assert held == min(max(round(n / 2**e), -mantissa), mantissa) * 2**e


def test_what_the_register_cannot_hold_of_the_hosts_current_is_cut_and_counted() -> None:
    graph = per_channel(1.0)
    network, chip = chip_view(graph), load_target("loihi1")
    x = np.zeros((3, 8), F32)
    x[1:] = 1.0
    x[2] = 4000.0  # where the integers were made for inputs up to 1
    ints = quantize(network, chip, "bias", 1.0, STEPS)
    got = simulate_integers(network, ints, x, STEPS)
    fine = simulate_integers(network, ints, x[:2], STEPS)
    name = ints.layers[0].name
    assert got.saturations[name] > fine.saturations[name] == 0
    np.testing.assert_array_equal(got.readout[:, :2], fine.readout)
