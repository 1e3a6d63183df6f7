"""A second copy of every layer with the ANN's own weights and biases, reading the same spikes.

Calibration in the loop changes weights, biases and initial potentials on purpose. Whether a
difference from the ANN is such a change or a fault is decided by what it does: the twin of a layer
gets the spikes that the layer gets, and its rates show what the error would be without the change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..converter.lowering.align import aligned
from ..runtime import graph as snn
from ..runtime import ops
from ..runtime.neurons import NeuronParams
from ..runtime.neurons.differential import DifferentialParams
from ..runtime.ops import Array
from ..runtime.semantics.walk import ask
from .run import paced_from, sends_differences

PREFIX = "ann's own: "


def with_twins(
    net: snn.SpikingGraph,
    lowered: snn.SpikingGraph,
    pairs: Mapping[str, str],
    units: Mapping[str, Array],
) -> snn.SpikingGraph:
    """``net`` with a twin (its name after ``PREFIX``) behind every layer that can have one.

    Parameters:
        pairs: net node -> the ANN's node; units: what a net node's output must be multiplied with
            to be the ANN's value (``structure``).
    """
    twins = _Twins(net, lowered, pairs, units)
    for node in net.nodes:
        twins.nodes.append(node)
        if node.name in pairs and isinstance(node, snn.STATEFUL):
            twins.add(node)
    whole = replace(net, nodes=tuple(twins.nodes))
    return aligned(whole) if paced_from(net) else whole


class _Twins(snn.Rules[str | None]):
    """The nodes that give the ANN's, computed from the network's spikes; None where none can."""

    def __init__(
        self,
        net: snn.SpikingGraph,
        lowered: snn.SpikingGraph,
        pairs: Mapping[str, str],
        units: Mapping[str, Array],
    ) -> None:
        self.net, self.ann, self.pairs, self.units = net, lowered.by_name(), pairs, units
        self.back = {ann: ours for ours, ann in pairs.items()}
        self.nodes: list[snn.Node] = []
        self.differential = any(sends_differences(node) for node in net.nodes)
        self.made: dict[str, str | None] = {}

    def add(self, node: snn.Node) -> None:
        """The twin of one layer; none where neurons are of a kind that is not understood."""
        own = self.ann[self.pairs[node.name]]
        inputs = _all_made([self._read(name) for name in own.inputs])
        if inputs is not None:
            twin = _Twin(node, PREFIX + node.name, inputs, self.differential)
            made: tuple[snn.Node, ...] = snn.visit(twin, own, ())
            self.nodes += made

    def _read(self, name: str) -> str | None:
        """The node that gives the ANN's node ``name`` computed from the network's spikes."""
        return ask(self.ann, self, name, self.made)

    def input(self, own: snn.Input | snn.Population, xs: Sequence[str | None]) -> str | None:
        ours = self.back.get(own.name)
        return None if ours is None else self._decoded(ours)  # None: not a layer of the network

    population = input

    def max_pool(
        self, own: snn.MaxPool | snn.Analog | snn.Readout, xs: Sequence[str | None]
    ) -> str | None:
        ours = self.back.get(own.name)
        return self._computed(own, xs) if ours is None else self._decoded(ours)

    analog = readout = max_pool

    def synapse(self, own: snn.Synapse | snn.Delay, xs: Sequence[str | None]) -> str | None:
        return self._computed(own, xs)

    delay = synapse

    def _computed(self, own: snn.Node, xs: Sequence[str | None]) -> str | None:
        inputs = _all_made(list(xs))
        if inputs is None:
            return None
        name = PREFIX + own.name
        self.nodes.append(replace(_coded(own, self.differential), name=name, inputs=inputs))
        return name

    def _decoded(self, name: str) -> str:
        unit = self.units[name]
        if unit.ndim == 0 and unit == 1:
            return name
        new = f"{PREFIX}{name} decoded"
        shape = self.net[name].shape
        self.nodes.append(
            snn.Synapse(name=new, inputs=(name,), shape=shape, op=ops.Scale(scale=unit))
        )
        return new


class _Twin(snn.Rules[tuple[snn.Node, ...]]):
    """The twin of layer ``node``, given the ANN's; none where neurons are of a kind that is not
    understood."""

    def __init__(
        self, node: snn.Node, name: str, inputs: tuple[str, ...], differential: bool
    ) -> None:
        self.node, self.name, self.inputs = node, name, inputs
        self.differential = differential

    input = synapse = delay = snn.refused("it is no layer")

    def population(self, own: snn.Population, xs: Sequence[Any]) -> tuple[snn.Node, ...]:
        node = self.node
        assert isinstance(node, snn.Population)  # partners are of one sort
        if isinstance(node.neuron, NeuronParams):
            neuron = replace(node.neuron, v_init=node.neuron.v_threshold / 2)
            return (replace(own, name=self.name, inputs=self.inputs, neuron=neuron),)
        if isinstance(node.neuron, DifferentialParams):
            coded = replace(node.neuron, bias=own.bias)
            none = np.zeros((), np.float32)
            return (replace(own, name=self.name, inputs=self.inputs, neuron=coded, bias=none),)
        return ()

    def readout(self, own: snn.Readout, xs: Sequence[Any]) -> tuple[snn.Node, ...]:
        node = self.node
        assert isinstance(node, snn.Readout)
        return (replace(node, name=self.name, inputs=self.inputs, bias=own.bias),)

    def max_pool(self, own: snn.MaxPool | snn.Analog, xs: Sequence[Any]) -> tuple[snn.Node, ...]:
        coded = _coded(own, self.differential)
        return (replace(coded, name=self.name, inputs=self.inputs),)

    analog = max_pool


def _all_made(sources: list[str | None]) -> tuple[str, ...] | None:
    made = tuple(source for source in sources if source is not None)
    return made if len(made) == len(sources) else None


def _coded(own: snn.Node, differential: bool) -> snn.Node:
    """Max pools and islands in the coding of the network's spikes."""
    if isinstance(own, snn.MaxPool | snn.Analog) and differential:
        return replace(own, coding="differential")
    return own
