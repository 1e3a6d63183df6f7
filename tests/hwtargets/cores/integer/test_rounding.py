"""Rounding of a connection's weights, against loops; and groups with exponents of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwtargets.chip_nets import Net, neuron
from onnx2snn.hwtargets import chip_view, load_target
from onnx2snn.hwtargets.cores.integer.chains import Chain, split
from onnx2snn.hwtargets.cores.integer.network import with_one_exponent_each
from onnx2snn.hwtargets.cores.integer.rounding import MEANS, feedback, rounded
from onnx2snn.hwtargets.cores.integers import simulate_integers
from onnx2snn.hwtargets.cores.quantize import quantize
from onnx2snn.hwtargets.fitting.feedback import Levels
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.neurons import NeuronParams

STEPS = 16
LEVELS = Levels(lowest=-7, highest=7)


def chain_of(groups: int) -> Chain:
    """A padded convolution of 4 channels behind a layer."""
    net = Net((4, 5, 6), seed=1)
    net.conv(6, 2, 1, 1, groups) if groups else net.dense(6)
    net.population("first", neuron())
    net.readout(2)
    return split(chip_view(net.graph).layers[0].projections[0])


def windows(chain: Chain, x: np.ndarray) -> list[np.ndarray]:
    """Per group, what every output position reads, by a plain loop."""
    if isinstance(chain.carrier, ops.Linear):
        return [x.reshape(len(x), -1)]
    assert isinstance(chain.carrier, ops.Conv)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    size = x.shape[1] // chain.carrier.groups
    return [
        np.array(
            [
                padded[i, g * size : (g + 1) * size, r : r + 2, c : c + 2].reshape(-1)
                for i in range(len(x))
                for r in range(x.shape[2] + 1)
                for c in range(x.shape[3] + 1)
            ]
        )
        for g in range(chain.carrier.groups)
    ]


@pytest.mark.parametrize("groups", [0, 1, 2])
def test_errors_of_rounding_cancel_in_the_sums(groups: int) -> None:
    chain = chain_of(groups)
    rng = np.random.default_rng(0)
    common = rng.random((40, 1, 5, 6))  # inputs go together, as those of images do
    x = np.clip(common + 0.2 * rng.random((40, 4, 5, 6)), 0, None)
    given = feedback(chain, x)
    assert given is not None
    fields = windows(chain, x)
    for each, rows in zip(given, fields, strict=True):
        wanted = np.cov(rows.T, bias=True) + MEANS * np.outer(rows.mean(0), rows.mean(0))
        alone = rows.shape[1] / (rows.shape[1] + len(rows))
        wanted *= 1 - alone * (1 - np.eye(len(wanted)))
        np.testing.assert_allclose(each.moments, wanted, atol=1e-9)
    weights = chain.weights / np.abs(chain.weights).max() * 7
    found, plain = rounded(weights, given, LEVELS), LEVELS.nearest(weights)
    assert found.shape == weights.shape and np.abs(found).max() <= 7

    def off(levels: np.ndarray) -> float:
        parts = np.split((levels - weights).reshape(len(weights), -1), len(fields))
        sums = [rows @ part.T for rows, part in zip(fields, parts, strict=True)]
        return float(np.mean([np.var(s, axis=0) for s in sums]))

    assert off(found) < 0.6 * off(plain)


def depthwise() -> Any:
    """Channels of a depthwise convolution whose weights differ by up to 2^9."""
    net = Net((3, 5, 5), seed=5)
    net.conv(6, 1)
    net.population("before", neuron(0.6))
    size = 2.0 ** -np.array([0, 2, 3, 4, 6, 9])
    weight = net.rng.normal(0.1, 0.3, (6, 1, 3, 3)) * size.reshape(6, 1, 1, 1)
    op = ops.Conv(weight=weight.astype(np.float32), strides=(1, 1), dilations=(1, 1),
                  pads=(0, 0, 0, 0), groups=6)  # fmt: skip
    net.synapse(op)
    net.population("first", neuron(0.2))
    net.readout(4)
    return net.graph


def test_groups_of_small_weights_keep_their_bits_beside_groups_of_large_ones() -> None:
    graph, chip = depthwise(), load_target("loihi2")
    network, x = chip_view(graph), np.random.default_rng(1).random((40, 3, 5, 5), np.float32)
    ints = quantize(network, chip, "graded", 1.0, STEPS)
    (p,) = ints.layers[1].projections
    (conv,) = [op for op in p.ops if isinstance(op, ops.Conv)]
    used, exponents = np.abs(conv.weight).reshape(6, -1).max(axis=1), np.ravel(p.exponent)
    assert used.max() <= 127 and (used[:5] >= 16).all()  # of 4 exponents, whatever the span
    assert 2 <= len(set(exponents.tolist())) <= 4 and np.ptp(exponents) >= 6
    got = simulate_integers(network, ints, x, STEPS)
    answers = got.readout[-1] * ints.layers[-1].unit / STEPS
    wanted = simulate(graph, x, STEPS).readouts["out"][-1]
    assert np.mean((answers - wanted) ** 2) < 1e-3 * np.mean(wanted**2)
    listed = with_one_exponent_each(ints)
    assert [p.exponent for p in listed.layers[1].projections] == sorted(set(exponents.tolist()))
    same = simulate_integers(network, listed, x, STEPS)
    np.testing.assert_array_equal(same.readout, got.readout)


def test_a_channel_of_next_to_no_threshold_does_not_take_the_weights_of_a_skip_connection() -> None:
    net = Net((4, 5, 5), seed=2)
    net.conv(4, 1)
    skip = net.population("first", neuron(0.8))
    weight = (
        0.2 * net.rng.normal(0, 1, (4, 4, 3, 3)) * np.array([1, 1, 1e-3, 1])[:, None, None, None]
    )
    main = net.synapse(ops.Conv(weight=weight.astype(np.float32), strides=(1, 1), dilations=(1, 1),
                                pads=(1, 1, 1, 1)))  # fmt: skip
    net.synapse(ops.Add(), main, net.synapse(ops.Scale(scale=np.float32(0.6)), skip))
    theta = np.array([0.9, 0.8, 0.001, 0.7], np.float32).reshape(4, 1, 1)
    net.population("sum", NeuronParams(v_threshold=theta, v_init=theta / 2))
    net.readout(4)
    network, chip = chip_view(net.graph), load_target("loihi2")
    ints = quantize(network, chip, "graded", 1.0, STEPS)
    (scale,) = [op for p in ints.layers[1].projections for op in p.ops if isinstance(op, ops.Scale)]
    assert (np.abs(scale.scale) >= 16).all()
    x = np.random.default_rng(1).random((40, 4, 5, 5), np.float32)
    got = simulate_integers(network, ints, x, STEPS)
    answers = got.readout[-1] * ints.layers[-1].unit / STEPS
    wanted = simulate(net.graph, x, STEPS).readouts["out"][-1]
    assert np.mean((answers - wanted) ** 2) < 3e-3 * np.mean(wanted**2)
