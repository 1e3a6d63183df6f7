"""What is before a node: when its window begins, and what it reads in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..graph import Analog, Delay, Node, Population, Rules, SpikingGraph, Synapse, visit


def onsets(graph: SpikingGraph) -> dict[str, int]:
    """For every node, the step at which its output window begins: the sum of the start lags (and
    delays) on the longest path. With no lag anywhere all are 0."""
    rules, out = Onsets(), dict[str, int]()
    for node in graph.nodes:
        out[node.name] = visit(rules, node, [out[name] for name in node.inputs])
    return out


class Onsets(Rules[int]):
    """When a node's output window begins, given when those of its inputs do."""

    def input(self, node: Node, xs: Sequence[int]) -> int:
        return max(xs, default=0)

    synapse = max_pool = readout = input

    def population(self, node: Population, xs: Sequence[int]) -> int:
        return max(xs, default=0) + node.neuron.lag

    def analog(self, node: Analog, xs: Sequence[int]) -> int:
        return max(xs, default=0) + node.lag

    def delay(self, node: Delay, xs: Sequence[int]) -> int:
        return max(xs, default=0) + node.steps


def is_stateless(node: Node) -> bool:
    """Synapses and delays: they pass on what comes, changed or late."""
    return isinstance(node, Synapse | Delay)


def iter_upstream(
    graph: SpikingGraph, name: str, *, through: Callable[[Node], bool] = is_stateless
) -> Iterator[Node]:
    """The nodes whose output reaches ``name`` through such nodes only, these included."""
    nodes = graph.by_name()
    seen: set[str] = set()
    stack = list(nodes[name].inputs)
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        yield nodes[current]
        if through(nodes[current]):
            stack.extend(nodes[current].inputs)
