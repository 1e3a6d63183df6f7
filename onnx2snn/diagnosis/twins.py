"""A second copy of every layer with the ANN's own weights and biases, reading the same spikes.

Calibration in the loop changes weights, biases and initial potentials on purpose. Whether a
difference from the ANN is such a change or a fault is decided by what it does: the twin of a layer
gets the spikes that the layer gets, and its rates show what the error would be without the change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..converter.lowering.align import aligned
from ..runtime import graph as snn
from ..runtime import ops
from ..runtime.ops import Array
from .run import sends, usual_coding

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
    return aligned(whole) if usual_coding(net) == "paced" else whole


class _Twins:
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
        self.differential = any(sends(node, "rate") == "differential" for node in net.nodes)
        self.made: dict[str, str | None] = {}

    def add(self, node: snn.Node) -> None:
        """The twin of one layer; none where the network does not have what it reads."""
        own = self.ann[self.pairs[node.name]]
        sources = [self._read(name) for name in own.inputs]
        inputs = tuple(source for source in sources if source is not None)
        if len(inputs) != len(sources):
            return
        name = PREFIX + node.name
        if isinstance(node, snn.Population) and isinstance(own, snn.Population):
            neuron, bias = node.neuron, own.bias
            if "v_init" in neuron.traits:
                neuron = neuron.having(v_init=neuron.v_threshold / 2)
            if "bias" in neuron.traits:
                neuron, bias = neuron.having(bias=bias), np.zeros((), np.float32)
            self.nodes.append(replace(own, name=name, inputs=inputs, neuron=neuron, bias=bias))
        elif isinstance(node, snn.Readout) and isinstance(own, snn.Readout):
            self.nodes.append(replace(node, name=name, inputs=inputs, bias=own.bias))
        else:
            self.nodes.append(replace(self._coded(own), name=name, inputs=inputs))

    def _coded(self, own: snn.Node) -> snn.Node:
        """Max pools and islands in the coding of the network's spikes."""
        if isinstance(own, snn.MaxPool | snn.Analog) and self.differential:
            return replace(own, coding="differential")
        return own

    def _read(self, name: str) -> str | None:
        """The node that gives the ANN's node ``name`` computed from the network's spikes."""
        if name not in self.made:
            self.made[name] = self._make(self.ann[name])
        return self.made[name]

    def _make(self, own: snn.Node) -> str | None:
        ours = self.back.get(own.name)
        if ours is not None and isinstance(own, (*snn.STATEFUL, snn.Input)):
            return self._decoded(ours)
        if isinstance(own, snn.Population | snn.Input):
            return None  # a layer the network does not have
        sources = [self._read(name) for name in own.inputs]
        inputs = tuple(source for source in sources if source is not None)
        if len(inputs) != len(sources):
            return None
        self.nodes.append(replace(self._coded(own), name=PREFIX + own.name, inputs=inputs))
        return PREFIX + own.name

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
