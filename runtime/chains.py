"""Chains of synapses: what lies between nodes with state.

A chain ends in its ``sink``: a node with state, or a synapse that several nodes read. Its ``nodes``
are the synapses that only this sink needs, in execution order; its ``sources`` are the signals
they (and the sink itself) read. An engine may run a chain's synapses as one operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .graph import Input, Node, Rules, SpikingGraph, Synapse
from .semantics.walk import annotate


@dataclass(frozen=True, eq=False)
class Chain:
    """See the module. ``constant``: the sink's signal is the same in every step."""

    sink: str
    nodes: tuple[Synapse, ...]
    sources: tuple[str, ...]
    constant: bool


def synapse_chains(graph: SpikingGraph) -> tuple[Chain, ...]:
    """The graph's chains in execution order; inputs and constant synapses are one each."""
    nodes = graph.by_name()
    consumers = graph.consumers()
    constant = constant_signals(graph)
    chains: list[Chain] = []
    for node in graph.nodes:
        if node.name in constant:
            own = (node,) if isinstance(node, Synapse) else ()
            chains.append(Chain(node.name, own, node.inputs, True))
        elif isinstance(node, Synapse) and len(consumers[node.name]) == 1:
            continue  # part of its reader's chain
        elif not isinstance(node, Input):
            inner: dict[str, Synapse] = {}
            sources: dict[str, None] = {}
            pending = [node.name]
            while pending:
                name = pending.pop()
                current = nodes[name]
                is_inner = isinstance(current, Synapse) and name not in constant
                if name == node.name or (is_inner and len(consumers[name]) == 1):
                    if isinstance(current, Synapse):
                        inner[name] = current
                    pending += current.inputs
                else:
                    sources[name] = None
            ordered = tuple(n for n in graph.nodes if isinstance(n, Synapse) and n.name in inner)
            named = tuple(n.name for n in graph.nodes if n.name in sources)
            chains.append(Chain(node.name, ordered, named, False))
    return tuple(chains)


def constant_signals(graph: SpikingGraph) -> set[str]:
    """Nodes whose output does not change while the input lasts: constant inputs and the synapses
    on them alone."""
    return {name for name, constant in annotate(graph, _Constant()).items() if constant}


class _Constant(Rules[bool]):
    """Whether a node's output is the same in every step while the input lasts."""

    def input(self, node: Input, xs: Sequence[bool]) -> bool:
        return node.encoding == "constant"

    def synapse(self, node: Synapse, xs: Sequence[bool]) -> bool:
        return all(xs)

    def population(self, node: Node, xs: Sequence[bool]) -> bool:
        return False

    max_pool = analog = delay = readout = population
