"""Delays that let all inputs of a node begin together, where start lags would set them apart.

Behind start lags a skip connection runs ahead of the branch that it skips: a neuron that adds the
two has the whole of one when it has half of the other, and decides on a wrong sum. A delay of the
spikes (where they leave their neurons, so that it costs no arithmetic) brings them together.
"""

from __future__ import annotations

from dataclasses import replace

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.semantics.upstream import Onsets


def aligned(graph: snn.SpikingGraph) -> snn.SpikingGraph:
    """``graph`` with a ``Delay`` on every input that begins before another input of its reader."""
    return _Aligner(graph).result()


class _Aligner:
    def __init__(self, graph: snn.SpikingGraph) -> None:
        facts = GraphFacts(graph)
        self.graph, self.consumers, self.constant = graph, facts.consumers, facts.constant
        self.nodes: dict[str, snn.Node] = {}
        self.onset: dict[str, int] = {}
        self.names = snn.Names(node.name for node in graph.nodes)
        self.delayed: dict[tuple[str, int], str] = {}  # by source and steps

    def result(self) -> snn.SpikingGraph:
        for node in self.graph.nodes:
            latest = max((self.onset[name] for name in node.inputs), default=0)
            # Twice the same input is one edge: both ends move.
            moved = {name: self._late(name, latest) for name in dict.fromkeys(node.inputs)}
            inputs = tuple(moved[name] for name in node.inputs)
            self._put(node if inputs == node.inputs else replace(node, inputs=inputs))
        return replace(self.graph, nodes=_in_order(self.nodes))

    def _put(self, node: snn.Node) -> None:
        self.nodes[node.name] = node
        before = [self.onset[name] for name in node.inputs]
        self.onset[node.name] = snn.visit(Onsets(), node, before)

    def _late(self, name: str, latest: int) -> str:
        """The signal ``name`` with its window beginning at ``latest``."""
        missing = latest - self.onset[name]
        if missing == 0:
            return name
        node = self.nodes[name]
        alone = isinstance(node, snn.Synapse) and len(self.consumers[name]) == 1
        if alone and name not in self.constant:
            # Nobody else reads it: delay the spikes before it instead of its currents. (What is
            # computed once per sample from a constant input stays so.)
            inputs = tuple(self._late(n, self.onset[n] + missing) for n in node.inputs)
            self._put(replace(node, inputs=inputs))
            return name
        key = (name, missing)
        if key not in self.delayed:
            self.delayed[key] = self.names.new(f"{name}/delay{missing}")
            self._put(
                snn.Delay(name=self.delayed[key], inputs=(name,), shape=node.shape, steps=missing)
            )
        return self.delayed[key]


def _in_order(nodes: dict[str, snn.Node]) -> tuple[snn.Node, ...]:
    """Every node after those it reads, otherwise in the order given."""
    done: dict[str, snn.Node] = {}

    def put(name: str) -> None:
        if name not in done:
            for before in nodes[name].inputs:
                put(before)
            done[name] = nodes[name]

    for name in nodes:
        put(name)
    return tuple(done.values())
