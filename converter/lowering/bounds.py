"""How large the currents of a graph can get: bounds carried through its linear operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.ops import MultiplyingOp
from ...runtime.semantics.walk import ask


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
        return ask(self.nodes, _Largest(self.nodes), name, self.most)


class _Largest(snn.Rules[float | None]):
    """The largest whole number that a node sends in one step; None where it is not one of numbers
    of spikes."""

    def __init__(self, nodes: Mapping[str, snn.Node]) -> None:
        self.nodes = nodes

    def input(self, node: snn.Node, xs: Sequence[float | None]) -> float | None:
        return None

    analog = readout = input

    def population(self, node: snn.Population, xs: Sequence[float | None]) -> float | None:
        return float(node.neuron.levels)

    def delay(self, node: snn.Delay, xs: Sequence[float | None]) -> float | None:
        return xs[0]

    def max_pool(self, node: snn.MaxPool, xs: Sequence[float | None]) -> float | None:
        # Also of numbers sent in windows: what the largest of some gains in a step is no more than
        # what the one that gains most does.
        summed = node.coding != "differential" and not np.any(node.bias)
        return xs[0] if summed else None

    def synapse(self, node: snn.Synapse, xs: Sequence[float | None]) -> float | None:
        known = [x for x in xs if x is not None]
        if len(known) < len(xs):
            return None
        if isinstance(node.op, MultiplyingOp):
            return None
        if node.op.adds:
            return sum(known)
        return max(known) * node.op.terms(*(self.nodes[name].shape for name in node.inputs))
