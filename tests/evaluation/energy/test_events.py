"""Events of a real run: they add up to what the engine counted, layer by layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import dyadic, residual_cnn

from onnx2snn.data import Preprocessing, Samples
from onnx2snn.evaluation.ann import analog_ann
from onnx2snn.evaluation.energy.events import Events, levels
from onnx2snn.evaluation.evaluate import evaluate
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.engine import EarlyExit, simulate
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.neurons.windowed import FewSpikeParams, TtfsParams

GRAPH = residual_cnn(np.random.default_rng(1))
SAMPLES = Samples(
    arrays={"x": dyadic(np.random.default_rng(0), (6, 2, 8, 8))},
    labels=None,
    preprocessing=Preprocessing(),
    source="t",
)  # fmt: skip
STEPS = 5
ONE = np.ones(1, np.float32)


def ran(graph: snn.SpikingGraph, **options: object) -> Events:
    return evaluate(graph, SAMPLES, STEPS, analog_ann(graph), **options).events  # type: ignore[arg-type]


def test_events_are_those_of_the_run() -> None:
    found, result = ran(GRAPH), simulate(GRAPH, SAMPLES.whole(), STEPS)
    assert found.synops == pytest.approx(result.synops.sum() / 6)
    assert found.spikes == pytest.approx(sum(s.sum() for s in result.spikes.values()) / 6)
    assert found.updates == (4 * 64 + 4 * 16) * STEPS
    assert found.macs == result.macs_once  # the input's layer, once
    for name, layer in found.layers.items():
        assert layer.synops == pytest.approx(result.synops_of[name] / 6)


def test_the_anns_work_is_that_of_the_layers_that_read_a_value() -> None:
    """conv2 reads the pool alone, fc the pool and relu2, which are as large."""
    layers = ran(GRAPH).layers
    conv2, fc = (node for node in GRAPH.of(snn.Synapse) if node.name in ("conv2", "fc"))
    inner, dense = conv2.op.uses((4, 4, 4)), fc.op.uses((32,))
    assert layers["max"].ann_macs == inner + dense / 2
    assert layers["relu2"].ann_macs == dense / 2
    assert layers["relu1"].ann_macs == 0  # its values are compared, not multiplied


def test_neurons_that_share_a_value_are_one_layer() -> None:
    """Two neurons per value whose initial potentials lie theta / 2 apart, and their sum."""
    nodes: list[snn.Node] = []
    for node in GRAPH.nodes:
        if node.name == "relu2":
            assert isinstance(node, snn.Population)
            half = node.neuron.v_threshold / np.float32(2)
            late = node.neuron.having(v_init=node.neuron.v_init + half)
            other = replace(node, name="relu2/copy2", neuron=late)
            total = snn.Synapse(
                name="total", inputs=("relu2", other.name), shape=node.shape, op=ops.Add()
            )  # fmt: skip
            nodes += [node, other, total]
        else:
            read = tuple("total" if name == "relu2" else name for name in node.inputs)
            nodes.append(replace(node, inputs=read))
    found = ran(snn.SpikingGraph(nodes=tuple(nodes)))
    assert set(found.layers) == {"relu1", "max", "relu2"}
    one, two = ran(GRAPH).layers["relu2"], found.layers["relu2"]
    assert (two.values, two.ann_macs) == (one.values, one.ann_macs)
    assert two.updates == 2 * one.updates
    assert two.neurons == 2 * one.neurons
    assert two.spikes > one.spikes


def test_an_early_exit_ends_updates_too() -> None:
    stopped = ran(GRAPH, early_exit=EarlyExit(margin=0.0, patience=1))
    assert 1 <= stopped.steps < STEPS
    assert stopped.updates == pytest.approx((4 * 64 + 4 * 16) * stopped.steps)


@pytest.mark.parametrize(
    ("neuron", "steps", "wanted"),
    [
        (NeuronParams(v_threshold=ONE, v_init=ONE / 2), 8, 8),
        (NeuronParams(v_threshold=ONE, v_init=ONE / 2, levels=15, signed=True), 4, 60),
        (FewSpikeParams(v_threshold=ONE, v_init=ONE / 2, lag=4), 4, 15),
        (TtfsParams(v_threshold=ONE, v_init=ONE / 2, lag=16), 16, 16),
    ],
    ids=["binary", "graded", "few-spike", "ttfs"],
)
def test_levels_are_the_values_that_a_neuron_can_send(neuron, steps: int, wanted: int) -> None:
    assert levels(neuron, steps) == wanted
