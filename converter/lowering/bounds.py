"""How large the currents of a graph can get: bounds carried through its linear operations."""

from __future__ import annotations

import numpy as np

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.ops import MultiplyingOp


class Bounds:
    """What reaches a node: weighted synapses on sums of spikes, and how large these can be."""

    def __init__(self, graph: snn.SpikingGraph) -> None:
        self.facts = GraphFacts(graph)
        self.nodes, self.constant = self.facts.by_name, self.facts.constant
        self.most: dict[str, float | None] = {}

    def terms(self, node: snn.Population | snn.Readout) -> list[snn.Synapse] | None:
        """The weighted synapses whose outputs are added up in ``node``, none for a constant
        current; None where something else is."""
        if node.inputs[0] in self.constant:
            return [] if isinstance(node, snn.Population) else None
        found: list[snn.Synapse] = []
        stack = list(node.inputs)
        while stack:
            current = self.nodes[stack.pop()]
            if not isinstance(current, snn.Synapse) or current.shape != node.shape:
                return None
            if current.op.adds:
                stack += current.inputs
            elif (
                isinstance(current.op, MultiplyingOp)
                and self.largest(current.inputs[0]) is not None
            ):
                found.append(current)
            else:
                return None
        return found

    def largest(self, name: str) -> float | None:
        """The largest whole number in one step of a signal; None where it is not one of numbers
        of spikes."""
        if name not in self.most:
            self.most[name] = self._largest(self.nodes[name])
        return self.most[name]

    def _largest(self, node: snn.Node) -> float | None:
        if isinstance(node, snn.Population):
            return float(node.neuron.levels)
        if isinstance(node, snn.Delay):
            return self.largest(node.inputs[0])
        if isinstance(node, snn.MaxPool):
            whole = node.coding == "rate" and not np.any(node.bias)
            return self.largest(node.inputs[0]) if whole else None
        if not isinstance(node, snn.Synapse):
            return None
        sources = [self.largest(name) for name in node.inputs]
        known = [x for x in sources if x is not None]
        if len(known) < len(sources):
            return None
        if isinstance(node.op, MultiplyingOp):
            return None
        if node.op.adds:
            return sum(known)
        return max(known) * node.op.terms(*(self.nodes[name].shape for name in node.inputs))
