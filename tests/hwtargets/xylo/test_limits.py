"""Xylo's limits: each refused by name, amount and what would fit; the order of neurons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwtargets.chip_nets import map_graph
from hwtargets.xylo.networks import (
    chain,
    emitted,
    neuron,
    perceptron,
    place,
    samples,
    skip_network,
)
from onnx2snn.errors import UsageError
from onnx2snn.hwtargets.mapping import Mapped
from onnx2snn.hwtargets.placement import load_target
from onnx2snn.hwtargets.target import Limit
from onnx2snn.hwtargets.view.network import chip_view
from onnx2snn.hwtargets.xylo import file as xylo_file
from onnx2snn.hwtargets.xylo.core import simulate_core
from onnx2snn.hwtargets.xylo.rules import over, usage_on
from onnx2snn.hwtargets.xylo.usage import order, usage_of
from onnx2snn.runtime import ops
from onnx2snn.runtime.graph import Input, Population, Readout, SpikingGraph, Synapse
from onnx2snn.runtime.neurons.differential import DifferentialParams


def rules(mapped: Mapped) -> dict[str, tuple[Any, Any]]:
    return {v.rule: (v.used, v.limit) for v in mapped.violations}


@pytest.mark.parametrize(
    ("sizes", "chip", "rule", "used", "limit", "fits"),
    [
        ((20, 30, 8), "xylo-audio2", "inputs", 20, 16, "4 channels too many"),
        ((16, 30, 10), "xylo-audio2", "outputs", 10, 8, "drop 2"),
        ((16, 30, 20), "xylo-imu", "outputs", 20, 16, "drop 4"),
        ((16, 1001, 8), "xylo-audio2", "hidden_neurons", 1001, 1000, "1000 neurons would fit"),
        ((16, 120, 150, 80, 8), "xylo-audio2", "fan_out", 150, 64, "no room for copies"),
        ((16, 129, 8), "xylo-imu", "input_expansion", 129, 128, "128 neurons would fit"),
        ((16, 20, 130, 8), "xylo-audio3", "output_expansion", 130, 128, "20-128 neurons"),
        ((16, 128, 200, 60, 8), "xylo-imu", "hidden_synapses", None, 31744, "would fit"),
    ],
)
def test_a_network_too_large_on_one_limit_is_refused_by_that_limit(
    sizes: tuple[int, ...], chip: str, rule: str, used: int | None, limit: int, fits: str
) -> None:
    mapped = place(perceptron(*sizes), chip)
    assert mapped.run is None and not mapped.files
    if used is None:  # those of 37600 weights that are not 0 in 8 bits
        used = rules(mapped)[rule][0]
        assert 35000 < used <= 37600
    assert rules(mapped)[rule] == (used, limit)
    if rule != "input_expansion":  # one layer that reads inputs and is read meets both ends
        assert set(rules(mapped)) == {rule}
    (violation,) = [v for v in mapped.violations if v.rule == rule]
    assert fits in violation.remedy
    assert violation.node in {"x", "out", "relu0", "relu1", "relu2"}


def test_widths_that_are_said_to_fit_do_fit_and_one_more_would_not() -> None:
    mapped = place(perceptron(16, 128, 200, 60, 8), "xylo-imu")
    (fit,) = [f for f in mapped.facts["would_fit"] if "hidden_layers" in f]
    widths = fit["hidden_layers"]
    target = load_target("xylo-imu")

    def broken(hidden: list[int]) -> list[Any]:
        view = chip_view(perceptron(16, *hidden, 8))
        return list(over(usage_of(view), target, view))

    assert broken(list(widths)) == []
    assert broken([round(w * 1.03) for w in widths]) != []


def test_another_chip_of_the_family_that_holds_the_network_is_named() -> None:
    changes = place(perceptron(16, 30, 20), "xylo-imu").facts["would_fit"]
    assert [c["change"] for c in changes] == ["target xylo-audio3", "16 outputs"]
    assert all(c["fits"] for c in changes)


def test_what_would_fit_in_channels_widths_and_outputs_fits_indeed() -> None:
    (change,) = place(perceptron(20, 600, 100, 12), "xylo-audio2").facts["would_fit"]
    widths = change["hidden_layers"]
    listed = "-".join(map(str, widths))
    said = f"16 input channels, hidden layers of {listed} neurons, 8 outputs"
    assert change["change"] == said and widths[1] > 64  # with copies of the first layer's neurons
    view, target = chip_view(perceptron(16, *widths, 8)), load_target("xylo-audio2")
    assert list(over(usage_on(view, target), target, view)) == []


def test_what_no_size_would_help_is_said() -> None:
    (change,) = place(perceptron(20, 5, 3, signed=True), "xylo-audio2").facts["would_fit"]
    assert not change["fits"] and change["still"] == ["signed_spikes"]


def test_all_violations_come_at_once() -> None:
    mapped = place(perceptron(40, 1100, 90, 30, signed=True), "xylo-audio2")
    assert set(rules(mapped)) >= {
        *("inputs", "hidden_neurons", "outputs", "fan_out", "hidden_synapses", "signed_spikes")
    }


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("signed_spikes", {"signed": True}),
        ("graded_spikes", {"levels": 40}),
        ("reset", {"reset": "zero"}),
        ("refractory", {"refractory": 2}),
        ("lag", {"lag": 3}),
        ("floor", {"v_min": -1.0}),
    ],
)
def test_neurons_that_the_chip_lacks_are_refused_by_name(
    rule: str, changes: dict[str, Any]
) -> None:
    mapped = place(perceptron(4, 5, 3, **changes))
    assert set(rules(mapped)) == {rule}
    assert mapped.violations[0].node == "relu0" and mapped.violations[0].remedy


def test_recoding_maps_the_activations_of_neurons_that_the_chip_lacks() -> None:
    lacking = perceptron(4, 5, 3, signed=True, lag=2)
    mapped, plain = place(lacking, recode="true"), place(perceptron(4, 5, 3))
    assert mapped.violations == () and mapped.files == plain.files
    assert any("signed_spikes of 'relu0', lag of 'relu0'" in note for note in mapped.notes)
    assert "recode=true" in place(lacking).violations[0].remedy
    with pytest.raises(UsageError, match="recode must be true or false, got 'maybe'"):
        place(lacking, recode="maybe")


def test_differential_neurons_are_refused_even_where_rates_are_coded_anew() -> None:
    """What a spike is worth falls with time, so its weights are not those of a rate."""
    graph = perceptron(4, 5, 3)
    node = graph["relu0"]
    assert isinstance(node, Population)
    params = DifferentialParams(v_threshold=np.float32(1))
    plain = replace(node, neuron=params, bias=np.zeros(5, np.float32))
    graph = graph.with_nodes([plain])
    for recode in ("true", "false"):
        mapped = place(graph, recode=recode)
        assert rules(mapped) == {"neuron_model": ("differential", "integrate-and-fire")}


def test_a_network_without_hidden_neurons_is_refused() -> None:
    mapped = place(perceptron(4, 3))
    assert rules(mapped)["structure"] == ("no hidden neurons", "at least one hidden layer")
    assert set(mapped.cores.used) == {"inputs", "hidden_neurons", "outputs"}  # no wiring to count


def test_pruned_synapses_take_no_fan_out() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(100, 20))
    weight[64:] = 0
    weights = [rng.normal(size=(20, 16)), weight, rng.normal(size=(8, 100))]
    biases = [np.zeros(n, np.float32) for n in (20, 100, 8)]
    assert not len(emitted(place(chain(weights, biases))).copies)


def test_neurons_with_too_many_targets_are_copied_and_the_chip_computes_the_same() -> None:
    """Against the same network on a chip without that limit; a layer of copied neurons, which has
    copies itself, and outputs that read both, so that the order of neurons matters."""
    graph, x = perceptron(6, 9, 20, 50, 4, density=0.9), samples(20, 6)
    target = load_target("xylo-imu")
    small = replace(
        target,
        limits=target.limits
        | {"fan_out": Limit(name="fan_out", value=16, source="", verified=True)},
    )
    plain, shared = (map_graph(graph, t, calib=x, steps=12) for t in (target, small))
    assert shared.violations == () and shared.run is not None and plain.run is not None
    file = emitted(shared)
    wired = file.config.weights_rec != 0
    assert (
        wired.sum(axis=1).max() <= 16 < (emitted(plain).config.weights_rec != 0).sum(axis=1).max()
    )
    assert file.config.hidden == 79 + len(file.copies) == shared.cores.used["hidden_neurons"][0]
    ran = simulate_core(file.config, file.coding.encode(x))
    of = ran.spikes[:, :, file.copies[:, 1]]
    assert of.any() and np.array_equal(ran.spikes[:, :, file.copies[:, 0]], of)
    first = set(file.hidden["relu0"]) & set(
        file.copies[:, 1]
    )  # 20 targets, with copies of their own
    assert len(first) == 9 and (file.copies[:, 1] == min(first)).sum() >= 2
    a, b = plain.run(x, 12), shared.run(x, 12)
    np.testing.assert_array_equal(a.readout, b.readout)
    assert a.spikes == b.spikes
    assert any("fire with them" in note for note in shared.notes)
    assert xylo_file.dump(xylo_file.parse(*shared.files.values())) == shared.files["xylo-imu.json"]


def test_a_network_out_of_reach_gets_no_remedy() -> None:
    """A sixteenth of the channels, or a fortieth of the neurons, is another network."""
    mapped = place(perceptron(300, 9000, 12, signed=True), "xylo-audio2")
    assert {v.rule for v in mapped.violations} >= {"inputs", "outputs", "hidden_neurons"}
    for violation in mapped.violations:
        assert violation.remedy.startswith("No remedy is known"), violation
    assert "input channels 19 times, hidden neurons 9 times" in mapped.violations[0].remedy
    assert mapped.facts["would_fit"] == []


def test_a_convolution_is_unrolled_and_its_synapses_counted() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 1, 5)).astype(np.float32)
    conv = ops.Conv(weight=kernel, strides=(1,), dilations=(1,), pads=(0, 0))
    dense = ops.Linear(weight=np.random.default_rng(1).normal(size=(4, 36)).astype(np.float32))
    graph = SpikingGraph(
        nodes=(
            Input(name="x", shape=(1, 16)),
            Synapse(name="conv", inputs=("x",), shape=(3, 12), op=conv),
            Population(name="relu", inputs=("conv",), shape=(3, 12), neuron=neuron()),
            Synapse(name="flat", inputs=("relu",), shape=(36,), op=ops.Reshape(shape=(36,))),
            Synapse(name="fc", inputs=("flat",), shape=(4,), op=dense),
            Readout(name="out", inputs=("fc",), shape=(4,)),
        )
    )
    file = emitted(place(graph))
    assert file.config.hidden == 36
    assert np.all(np.count_nonzero(file.config.weights_in, axis=0) <= 5)


def test_order_keeps_input_readers_first_and_output_feeders_last() -> None:
    view = chip_view(skip_network())  # a: both, b: neither, c: both
    at = order(view)
    assert sorted(at.tolist()) == list(range(21))
    both = [k for k, n in enumerate(at) if n < 9 or n >= 16]
    assert both == list(range(min(both), max(both) + 1))
    usage = usage_of(view)
    assert usage.input_expansion + usage.output_expansion == 21 + 14  # b lies on one side only
