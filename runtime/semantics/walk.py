"""Ways through a graph: what ``graph.Rules`` say of its nodes, one after the other.

``walk`` computes signals and forgets each after its last reader, ``annotate`` keeps what is found
for every node, and ``ask`` goes upstream from one node as far as its rules look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import TypeVar, overload

from ..graph import Input, Node, Readout, Rules, SpikingGraph, visit

V = TypeVar("V")


def walk(graph: SpikingGraph, rules: Rules[V], inputs: Mapping[str, V]) -> dict[str, V]:
    """What ``rules`` give for the readouts, every node visited once in execution order.

    ``inputs``: what each network input reads, ``xs[0]`` of its rule.
    """
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    signals: dict[str, V] = {}
    out: dict[str, V] = {}
    for i, node in enumerate(graph.nodes):
        is_input = isinstance(node, Input)
        xs = [inputs[node.name]] if is_input else [signals[name] for name in node.inputs]
        value = visit(rules, node, xs)
        if isinstance(node, Readout):
            out[node.name] = value
        if node.name in last:
            signals[node.name] = value
        for name in node.inputs:
            if last[name] == i:
                signals.pop(name, None)
    return out


def annotate(graph: SpikingGraph, rules: Rules[V]) -> dict[str, V]:
    """What ``rules`` say of every node, in execution order; network inputs read nothing."""
    out: dict[str, V] = {}
    for node in graph.nodes:
        out[node.name] = visit(rules, node, [out[name] for name in node.inputs])
    return out


def ask(nodes: Mapping[str, Node], rules: Rules[V], name: str, known: MutableMapping[str, V]) -> V:
    """What ``rules`` say of node ``name``. What it reads is computed when its rule looks at it, and
    kept in ``known``."""
    if name not in known:
        node = nodes[name]
        known[name] = visit(rules, node, _Asked(nodes, rules, node.inputs, known))
    return known[name]


class _Asked(Sequence[V]):
    """The values of some nodes, computed when they are looked at."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        rules: Rules[V],
        names: Sequence[str],
        known: MutableMapping[str, V],
    ) -> None:
        self.nodes, self.rules, self.names, self.known = nodes, rules, names, known

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, at: int) -> V: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[V]: ...

    def __getitem__(self, at: int | slice) -> V | Sequence[V]:
        if isinstance(at, slice):
            return _Asked(self.nodes, self.rules, self.names[at], self.known)
        return ask(self.nodes, self.rules, self.names[at], self.known)

    def __iter__(self) -> Iterator[V]:
        return (ask(self.nodes, self.rules, name, self.known) for name in self.names)
