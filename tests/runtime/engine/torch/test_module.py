"""A network as a module in memory: its numbers, where they stand, and how they come back."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from graphs import residual_cnn

from onnx2snn.errors import UsageError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine.torch import NEURONS, Place, module_of, source_of, with_values
from onnx2snn.runtime.file.neurons import NEURONS as SAVED
from onnx2snn.runtime.neurons.differential import DifferentialParams
from onnx2snn.runtime.ops import MultiplyingOp


def network() -> snn.SpikingGraph:
    """With a readout that counts, and differential neurons."""
    made = residual_cnn(np.random.default_rng(1))
    last = made["out"]
    neuron = made.of(snn.Population)[0].neuron.having(v_init=np.float32(0.25))
    counted = replace(last, name="count", mode="count", neuron=neuron)
    coded = snn.Population(
        name="coded",
        inputs=last.inputs,
        shape=last.shape,
        neuron=DifferentialParams(v_threshold=np.float32(2), bias=np.float32(0.5)),
    )
    return snn.SpikingGraph(nodes=(*made.nodes, counted, coded))


def expected(graph: snn.SpikingGraph) -> set[Place]:
    places = set()
    for node in graph.nodes:
        if isinstance(node, snn.Synapse) and isinstance(node.op, MultiplyingOp):
            places.add(Place(node.name, f"op.{node.op.array}"))
        neuron = getattr(node, "neuron", None)
        if isinstance(neuron, DifferentialParams):
            places |= {Place(node.name, f"neuron.{name}") for name in ("v_threshold", "bias")}
        elif isinstance(node, snn.Population | snn.Readout | snn.MaxPool):
            places.add(Place(node.name, "bias"))
            if neuron is not None:
                fields = ("v_threshold", "v_init")
                places |= {Place(node.name, f"neuron.{name}") for name in fields}
    return places


def test_every_number_of_the_network_has_its_place_in_the_module() -> None:
    graph = network()
    source = source_of(graph, 4, "A test.")
    assert set(source.places.values()) == expected(graph)
    assert {name for name in source.arrays if name not in source.places} == {"conv1_grid"}
    for name, place in source.places.items():
        np.testing.assert_array_equal(source.arrays[name], place.value(graph))


def test_the_module_holds_the_numbers_under_these_names() -> None:
    pytest.importorskip("torch")
    graph = network()
    made = module_of(graph, steps=4)
    state = made.state_dict()
    assert set(made.places) == set(state) - {"conv1_grid"}
    for name, place in made.places.items():
        np.testing.assert_array_equal(state[name].numpy(), place.value(graph))
    learned = {made.places[name].attribute for name, _ in made.named_parameters()}
    assert learned == {"bias", "op.weight", "op.scale", "neuron.bias"}


def test_every_model_of_neurons_that_a_file_can_hold_has_a_layer() -> None:
    assert NEURONS.keys() == SAVED.keys()


def test_other_values_come_back_and_the_analog_mode_stays() -> None:
    graph = network()
    places = expected(graph)
    other = with_values(graph, {place: place.value(graph) + 1 for place in places})
    for place in places:
        np.testing.assert_array_equal(place.value(other), place.value(graph) + 1)
    conv, bias = other["conv1"], other["out"]
    assert conv.ann_op is graph["conv1"].op and bias.ann_bias is graph["out"].bias
    again = with_values(other, {Place("conv1", "op.weight"): conv.op.weight * 2})
    assert again["conv1"].ann_op is graph["conv1"].op and again["out"] is bias


def test_without_pytorch_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match="not installed") as error:
        module_of(network(), steps=2)
    assert "pip install 'onnx2snn[torch]'" in error.value.remedy
