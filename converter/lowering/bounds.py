"""How large the currents of a graph can get: bounds carried through its linear operations."""

from __future__ import annotations

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.ops import MultiplyingOp
from ...runtime.semantics.walk import ask
from ...runtime.semantics.whole import Largest


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
        largest = Largest(self.nodes, lambda p: float(p.neuron.levels))
        return ask(self.nodes, largest, name, self.most)
