"""What holds for every neuron model on every bundled chip: the chip runs it in its integers, or
refuses it and says by which name or trait. Nothing is placed as another model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from examples.adaptive_threshold import AdaptiveParams
from runtime.neurons.models import CASES, THETA, made

from onnx2snn.errors import GraphError, TargetError
from onnx2snn.hwtargets import rules, targets
from onnx2snn.hwtargets.cores import integers
from onnx2snn.hwtargets.cores.quantize import quantize
from onnx2snn.hwtargets.placement import PlaceData, load_target, place
from onnx2snn.hwtargets.truenorth.compile.lower import lower
from onnx2snn.hwtargets.view.network import chip_view
from onnx2snn.hwtargets.xylo.network import of_view
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import (
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WindowedNeuron,
    windowed,
)

T = 16
RUN = (NeuronParams, PacedParams, FewSpikeParams, TtfsParams)  # by some chip
# What a chip may object to in a model that it knows, by the trait that is objected to.
RULES = {
    "lag": {"start lag", "lag"},
    "leak": {"leak"},
    "stateless": {"memory"},
    "zero": {"reset"},
    "subtract": {"reset"},
    "levels": {"graded spikes", "graded_spikes"},
    "signed": {"negative spikes", "signed_spikes"},
    "refractory": {"refractory"},
    "floor": {"v_min", "floor"},
    "v_init": {"v_init"},
    "paced": {"paced neurons"},
    "few-spike": {"neurons with windows", "steps of a window", "neuron_model", "neuron model"},
    "ttfs": {"neurons with windows", "steps of a window", "neuron_model", "neuron model"},
}


def network(neuron: Neuron) -> g.SpikingGraph:
    """8 values, 6 neurons that each read a part of them, 3 outputs that each read 2 neurons."""
    weights = [np.zeros((6, 8), np.float32), np.repeat(np.eye(3, dtype=np.float32), 2, axis=1)]
    for at in range(6):
        weights[0][at, [at, at + 2]] = (0.9, -0.3)
    weights[1] *= np.resize(THETA, 6) / (4 if neuron.coding == "differential" else 1)
    return g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(8,)),
            g.Synapse(name="w", inputs=("x",), shape=(6,), op=ops.Linear(weight=weights[0])),
            g.Population(name="p", inputs=("w",), shape=(6,), neuron=neuron),
            g.Synapse(name="v", inputs=("p",), shape=(3,), op=ops.Linear(weight=weights[1])),
            g.Readout(name="out", inputs=("v",), shape=(3,), coding=neuron.coding),
        )
    )


def samples(count: int = 48) -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 1, (count, 8)).astype(np.float32)


@pytest.mark.parametrize("chip", list(targets()))
@pytest.mark.parametrize(("model", "more"), CASES)
def test_a_chip_runs_a_model_or_refuses_it_by_name(
    model: type[Neuron], more: dict[str, Any], chip: str
) -> None:
    neuron = made(model, {"lag": 8} if issubclass(model, WindowedNeuron) else more)
    data = PlaceData(x=samples(), calib=samples())
    steps = 8 if windowed(neuron) else T
    report = place(network(neuron), chip, data=data, steps=steps, seconds=0.1)
    refused = [v for v in report.violations if v.node == "p"]
    assert len(refused) == len(report.violations) and report.fits == (not refused)
    if model not in RUN:
        assert [v.used for v in refused] == [model.name]
        assert report.accuracy["chip"] is None and report.accuracy["agreement"] is None
    elif refused:
        known = set().union(*(RULES[trait] for trait in neuron.traits - {"if"}))
        assert {v.rule for v in refused} <= known
        assert report.accuracy["agreement"] is None
    else:
        assert report.accuracy["agreement"] >= 0.6  # of three classes, by 16 steps in integers


def test_every_trait_that_the_rules_know_has_a_rule_that_may_object() -> None:
    assert {*RULES, "if"} == rules.KNOWN


@pytest.mark.parametrize("more", [{}, {"lag": 2}], ids=["plain", "lag"])
def test_some_chip_runs_each_model_that_one_is_said_to_run(more: dict[str, Any]) -> None:
    for model in RUN:
        waits = {"lag": 8} if issubclass(model, WindowedNeuron) else more
        graph = network(made(model, waits))
        assert place(graph, "loihi2", steps=8, seconds=0.1).fits, model


# Behind the rules: what computes a chip's numbers has tables of its own


def test_integers_are_computed_for_models_with_an_entry_only() -> None:
    target, foreign = load_target("loihi2"), made(AdaptiveParams, {})
    with pytest.raises(GraphError, match=r"AdaptiveParams.*hwtargets\.cores\.quantize\.RESTS"):
        quantize(chip_view(network(foreign)), target, "graded", 1.0, T)
    view = chip_view(network(made(NeuronParams, {})))
    quantized = quantize(view, target, "graded", 1.0, T)
    first, last = quantized.layers
    quantized = replace(quantized, layers=(replace(first, neuron=foreign), last))
    with pytest.raises(GraphError, match=r"AdaptiveParams.*cores\.integer\.pop"):
        integers.simulate_integers(view, quantized, samples(4), T)


def test_a_truenorth_unit_is_made_of_plain_neurons_only() -> None:
    for model in (AdaptiveParams, PacedParams):
        with pytest.raises(TargetError, match=model.__name__):
            lower(network(made(model, {})), {"x": samples(4)})


def test_rates_are_coded_anew_for_xylo_from_models_with_an_entry_only() -> None:
    with pytest.raises(GraphError, match=r"AdaptiveParams.*hwtargets\.xylo\.network\.LEAKS"):
        of_view(chip_view(network(made(AdaptiveParams, {}))))


def test_recoding_does_not_take_over_a_model_that_xylo_does_not_know() -> None:
    graph = network(made(AdaptiveParams, {"lag": 1}))
    report = place(graph, "xylo-audio2", steps=T, seconds=0.1, options={"recode": "true"})
    assert [v.used for v in report.violations] == ["adaptive"]
