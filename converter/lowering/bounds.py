"""How large the currents of a graph can get: bounds carried through its linear operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from ...runtime import graph as snn
from ...runtime import ops
from ...runtime.chains import constant_signals
from ...runtime.semantics.walk import ask

Weighted: TypeAlias = ops.Linear | ops.Conv | ops.ConvTranspose | ops.Scale


class Bounds:
    """What reaches a node: weighted synapses on sums of spikes, and how large these can be."""

    def __init__(self, graph: snn.SpikingGraph) -> None:
        self.graph, self.nodes = graph, graph.by_name()
        self.constant = constant_signals(graph)
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
            if isinstance(current.op, ops.Add):
                stack += current.inputs
            elif isinstance(current.op, Weighted) and self.largest(current.inputs[0]) is not None:
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
        return xs[0] if node.coding == "rate" and not np.any(node.bias) else None

    def synapse(self, node: snn.Synapse, xs: Sequence[float | None]) -> float | None:
        known = [x for x in xs if x is not None]
        if len(known) < len(xs):
            return None
        match node.op:
            case ops.SumPool():
                return known[0] * prod(node.op.kernel)
            case ops.ReduceSum():
                return known[0] * prod(self.nodes[node.inputs[0]].shape) / prod(node.shape)
            case ops.Add():
                return sum(known)
            case ops.Linear() | ops.Conv() | ops.ConvTranspose() | ops.Scale():
                return None
        return max(known)
