"""After conversion every engine gives the same spikes: sums are exact in single precision."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from runtime.engine.test_against_naive import assert_close

from converter.digits_nets import converted, samples
from onnx2snn.converter.lowering.grid import (
    MANTISSA,
    _rounded,
    is_exact,
    on_grid,
    round_thresholds,
)
from onnx2snn.converter.recipes import RECIPES
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import SimulationResult, simulate
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.ops.arrays import BLOCK

T = 8  # at which other tests have most of these networks

DIFFERENTIAL: dict[str, object] = {"recipe": "differential"}


def assert_same(a: SimulationResult, b: SimulationResult) -> None:
    for name in a.readouts:
        np.testing.assert_array_equal(a.readouts[name], b.readouts[name])
    for name in a.spikes:
        np.testing.assert_array_equal(a.spikes[name], b.spikes[name])
    np.testing.assert_array_equal(a.synops, b.synops)


@pytest.mark.parametrize("model", ["digits_cnn", "digits_mlp"])
@pytest.mark.parametrize(
    "options",
    [{"recipe": name} for name in RECIPES]
    + [{"lag": 3}, {"lag": 3, "pace": False}, {"tune": False}, {"copies": 1}],
    ids=[*RECIPES, "paced", "lag", "plain", "copies"],
)
def test_engines_and_tiles_agree_to_the_last_bit(model: str, options: dict[str, object]) -> None:
    """Every recipe. The CNN has a max pool: between differential layers it passes on fractions,
    whose sums only agree to rounding (docs/performance.md)."""
    agrees = assert_same
    if model == "digits_cnn" and options.get("recipe") == "differential":
        agrees = assert_close
    network = converted(model, steps=T, **options).graph
    x = samples("x_test")[:37]
    first = simulate(network, x, T, engine="numpy", threads=1)
    assert all(spikes.sum() > 0 for spikes in first.spikes.values())
    for how in (
        {"engine": "numpy", "threads": 2, "tile": 5, "block": 3},
        {"threads": 1, "events": "never"},
        {"threads": 2, "events": "never", "tile": 4, "block": 5},
        {"threads": 1, "events": "auto"},
    ):
        agrees(first, simulate(network, x, T, **how))


@pytest.mark.parametrize("steps", [4, 8])
def test_behind_a_max_pool_between_differential_layers_they_agree_but_for_rounding(
    steps: int,
) -> None:
    """Such a pool passes on t times the change of a running mean, sums of x / t: no grid makes
    them exact. Up to the pool all is equal; behind it, to what README says."""
    network = converted("digits_cnn", steps=steps, **DIFFERENTIAL).graph
    names = [node.name for node in network.nodes]
    pool = min(names.index(p.name) for p in network.of(snn.MaxPool))
    x = samples("x_test")[:200]
    first = simulate(network, x, steps, engine="numpy", threads=1)
    for options in (
        {"engine": "numpy", "threads": 1, "tile": 5, "block": 3},
        {"threads": 1, "events": "never"},
        {"threads": 1, "events": "auto"},
    ):
        result = simulate(network, x, steps, **options)
        for name, spikes in first.spikes.items():
            moved = np.abs(spikes - result.spikes[name]).sum()
            assert moved <= (1e-4 * spikes.sum() if names.index(name) > pool else 0), name
        for name, answers in first.readouts.items():
            difference = np.abs(answers - result.readouts[name])
            assert difference.max() <= 0.01 * np.ptp(answers)
            assert (difference > 0).mean() <= 0.01


def test_without_the_grid_they_do_not() -> None:
    """The test above could not fail on ordinary weights if they agreed anyway: double precision
    gives the same bits on the grid, and others off it."""
    rng = np.random.default_rng(0)

    def shaken(node: snn.Node) -> snn.Node:
        if not isinstance(node, snn.Synapse) or not isinstance(node.op, ops.Conv | ops.Linear):
            return node
        noise = 1 + 1e-5 * rng.normal(size=node.op.weight.shape)
        return replace(node, op=replace(node.op, weight=(node.op.weight * noise).astype("f4")))

    on_it = converted("digits_cnn", steps=T).graph
    off_it = on_it.with_nodes(shaken(node) for node in on_it.nodes)
    x = samples("x_test")[:37]
    for network, same in ((on_it, True), (off_it, False)):
        a = simulate(network, x, T, engine="numpy", threads=1)
        b = simulate(network, x, T, engine="numpy", threads=1, dtype=np.float64)
        assert same == all(
            np.array_equal(answers, b.readouts[name].astype(np.float32))
            for name, answers in a.readouts.items()
        )


def _small(rng: np.random.Generator, theta: float, scale: float) -> snn.SpikingGraph:
    conv = ops.Conv(
        weight=(scale * rng.normal(size=(6, 4, 3, 3))).astype(np.float32),
        strides=(1, 1),
        dilations=(1, 1),
        pads=(1, 1, 1, 1),
        groups=1,
    )
    unit = NeuronParams(v_threshold=np.ones(()), v_init=np.full((), 0.5))
    last = NeuronParams(v_threshold=np.full((6, 1, 1), theta), v_init=np.full((6, 1, 1), 0.3))
    bias = rng.normal(size=(6, 1, 1)).astype(np.float32)
    return snn.SpikingGraph(
        nodes=(
            snn.Input(name="x", shape=(4, 5, 5)),
            snn.Population(name="a", shape=(4, 5, 5), inputs=("x",), neuron=unit),
            snn.Synapse(name="c", shape=(6, 5, 5), inputs=("a",), op=conv),
            snn.Population(name="b", shape=(6, 5, 5), inputs=("c",), neuron=last, bias=bias),
            snn.Readout(name="y", shape=(6, 5, 5), inputs=("b",)),
        )
    )


@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
def test_the_largest_sum_has_24_bits_and_weights_hardly_move(scale: float) -> None:
    before = _small(np.random.default_rng(1), theta=1.5, scale=scale)
    after = on_grid(before)
    old, new = before["c"], after["c"]
    assert isinstance(old, snn.Synapse) and isinstance(old.op, ops.Conv)
    assert isinstance(new, snn.Synapse) and isinstance(new.op, ops.Conv)
    target = after["b"]
    assert isinstance(target, snn.Population) and isinstance(target.neuron, NeuronParams)
    for channel in range(6):
        row = new.op.weight[channel].astype(np.float64).ravel()
        used = np.concatenate(
            [row, target.bias[channel].ravel(), target.neuron.v_init[channel].ravel()]
        )
        used = used[used != 0]
        unit = min(_lowest_bit(float(value)) for value in used)
        most = 2 * (np.abs(row).sum() + abs(float(target.bias[channel, 0, 0]))) + 32 * 1.5
        assert most <= 2.0**MANTISSA * unit
        assert np.abs(row - old.op.weight[channel].ravel()).max() <= most / 2.0**MANTISSA


def _lowest_bit(value: float) -> float:
    numerator, denominator = value.as_integer_ratio()
    return (numerator & -numerator) / denominator


def test_a_layer_that_would_need_a_coarse_grid_is_left_alone() -> None:
    graph = _small(np.random.default_rng(1), theta=1e-3, scale=20.0)
    assert on_grid(graph)["c"] is graph["c"]


def test_thresholds_have_twelve_bits_and_move_by_less() -> None:
    theta = np.random.default_rng(0).lognormal(0, 3, (50, 1, 1)).astype(np.float32)
    neuron = NeuronParams(v_threshold=theta, v_init=theta / 2)
    rounded = round_thresholds({"p": neuron})["p"].v_threshold
    assert np.abs(rounded / theta - 1).max() <= 2.0**-12
    mantissa, _ = np.frexp(rounded.astype(np.float64))
    assert (mantissa * 2**12 == np.rint(mantissa * 2**12)).all()


def test_sums_are_exact_but_behind_two_linear_layers_with_no_neurons_between() -> None:
    """As in the linear bottlenecks of MobileNetV2 and EfficientNet."""
    graph = converted("digits_mlp", steps=T).graph
    assert is_exact(graph)
    last = graph.of(snn.Synapse)[-1]
    more = ops.Linear(weight=np.eye(last.shape[-1], dtype=np.float32))
    longer = replace(last, name="more", inputs=(last.name,), op=more, ann_op=None)
    (readout,) = graph.of(snn.Readout)
    nodes = [n for n in graph.nodes if n is not readout]
    chained = replace(graph, nodes=(*nodes, longer, replace(readout, inputs=("more",))))
    assert not is_exact(chained)


def test_large_weights_are_rounded_in_little_more_than_their_own_memory() -> None:
    weight = np.random.default_rng(0).normal(size=(1500, 1000)).astype(np.float32)
    op, grid = ops.Linear(weight=weight), 2.0 ** -(np.arange(1500).reshape(-1, 1) % 9 + 12)
    plain = (np.rint(weight / grid) * grid).astype(np.float32)
    sums = np.abs(weight.astype(np.float64)).sum(axis=1)
    tracemalloc.start()
    rounded = _rounded(op.weight, grid=grid)
    assert np.array_equal(op.absolute_sums((1500,), 0), sums)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(rounded, plain)
    # The result, and a block's quotient, rounded and multiplied, in double precision.
    assert most < weight.nbytes + 3 * 8 * BLOCK + 2**16 < 8 * weight.nbytes
