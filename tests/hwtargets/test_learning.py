"""Which chips could run a learning rule, by name, and what keeps the others from it."""

from __future__ import annotations

import numpy as np
import pytest

from onnx2snn.converter.learning.layer import Head, with_head
from onnx2snn.hwtargets import targets
from onnx2snn.hwtargets.placement import place
from onnx2snn.runtime import graph as g
from onnx2snn.runtime import ops
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.plasticity import RULES

ABLE = {"stdp": {"loihi1", "loihi2"}, "prototype": {"loihi2"}}
NEURONS = 5


def learned(name: str) -> g.SpikingGraph:
    neuron = NeuronParams(v_threshold=np.float32(1), v_init=np.float32(0.5))
    weight = np.eye(4, dtype=np.float32)
    network = g.SpikingGraph(
        nodes=(
            g.Input(name="x", shape=(4,)),
            g.Synapse(name="w", inputs=("x",), shape=(4,), op=ops.Linear(weight=weight)),
            g.Population(name="hidden", inputs=("w",), shape=(4,), neuron=neuron),
            g.Readout(name="out", inputs=("hidden",), shape=(4,)),
        )
    )
    rule = RULES[name]()
    state = rule.initial_state(inputs=4, neurons=NEURONS, seed=0)
    return with_head(network, "hidden", Head(rule=rule, state=state, classes=2, steps=4, largest=1))


@pytest.mark.parametrize("name", RULES)
def test_chips_that_could_run_the_rule_are_told_from_those_that_could_not(name: str) -> None:
    assert {*ABLE} == {*RULES}
    for chip in targets():
        found = {v.rule: v for v in place(learned(name), chip, steps=4, seconds=0.1).violations}
        neurons = found.get("neuron model") or found["neuron_model"]
        assert neurons.used == "winner-take-all"
        if chip in ABLE[name]:
            assert "learning rule" not in found
            assert f"could run the rule '{name}' (not tried)" in neurons.remedy
            assert f"{NEURONS * (NEURONS - 1)} inhibitory synapses" in neurons.remedy
        else:
            assert found["learning rule"].used == name
            assert "could run" not in neurons.remedy


def test_networks_that_do_not_learn_are_placed_as_before() -> None:
    network = learned("stdp")
    frozen = [
        g.Synapse(name=n.name, inputs=n.inputs, shape=n.shape, op=n.op)
        for n in network.of(g.PlasticSynapse)
    ]
    found = place(network.with_nodes(frozen), "truenorth", steps=4, seconds=0.1).violations
    assert "learning rule" not in {v.rule for v in found}
