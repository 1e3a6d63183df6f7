"""What several layers ask about a graph, found once: make ``GraphFacts`` and hand it on.

Chains of synapses are what lies between nodes with state. A chain ends in its ``sink``: a node with
state, or a synapse that several nodes read. Its ``nodes`` are the synapses that only this sink
needs, in execution order; its ``sources`` are the signals they (and the sink itself) read. An
engine may run a chain's synapses as one operation.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .graph import (
    Analog,
    Input,
    MaxPool,
    Names,
    Node,
    Population,
    Readout,
    Rules,
    SpikingGraph,
    Synapse,
)
from .neurons import windowed
from .ops import Shape, Transpose, WeightedOp
from .semantics.upstream import onsets
from .semantics.walk import annotate


@dataclass(frozen=True, eq=False)
class Chain:
    """See the module. ``constant``: the sink's signal is the same in every step."""

    sink: str
    nodes: tuple[Synapse, ...]
    sources: tuple[str, ...]
    constant: bool


class GraphFacts:
    """Facts of ``graph``, each found when it is first asked for."""

    def __init__(self, graph: SpikingGraph) -> None:
        self.graph = graph

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return self.graph.by_name()

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Output per sample, by name."""
        return {node.name: node.shape for node in self.graph.nodes}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """For every node, those that read it, in execution order."""
        return self.graph.consumers()

    @cached_property
    def onsets(self) -> Mapping[str, int]:
        """For every node, the step at which its output window begins (``graph.onsets``)."""
        return onsets(self.graph)

    @cached_property
    def latency(self) -> int:
        """The step at which the last readout's window begins."""
        return max((self.onsets[r.name] for r in self.graph.of(Readout)), default=0)

    @cached_property
    def constant(self) -> frozenset[str]:
        """Nodes whose output does not change while the input lasts: constant inputs and the
        synapses on them alone."""
        return frozenset(name for name, same in annotate(self.graph, _Constant()).items() if same)

    @cached_property
    def windowed(self) -> bool:
        """Whether layers can be computed one after the other, each over its own window: neurons of
        one code (``neurons.windowed``) throughout, whose readers read it, and the
        windows of all that a node reads begin together."""
        populations = self.graph.of(Population)
        kinds = {type(p.neuron) for p in populations}
        if len(kinds) != 1 or not all(windowed(p.neuron) for p in populations):
            return False
        read = {n.coding for n in self.graph.nodes if isinstance(n, MaxPool | Analog | Readout)}
        counted = any(r.mode == "count" for r in self.graph.of(Readout))
        together = all(
            len({self.onsets[name] for name in node.inputs}) <= 1 for node in self.graph.nodes
        )
        waiting = all(a.lag for a in self.graph.of(Analog))
        alike = read <= {populations[0].neuron.coding}
        return alike and together and waiting and not counted

    @cached_property
    def channel_axes(self) -> Mapping[str, int | None]:
        """Which axis of every node's shape a weighted operation before it gave its channels,
        followed through what keeps the number of axes and through transposes; None where there is
        no such operation."""
        axes: dict[str, int | None] = {}
        for node in self.graph.nodes:
            axes[node.name] = None
            op = getattr(node, "op", None)
            if isinstance(op, WeightedOp):
                axes[node.name] = op.channel_axis % len(node.shape)
            elif node.inputs and len(self.shapes[node.inputs[0]]) == len(node.shape):
                axis = axes[node.inputs[0]]
                if isinstance(op, Transpose) and axis is not None:
                    axis = op.perm.index(axis)
                axes[node.name] = axis
        return axes

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """The graph's chains in execution order; inputs and constant synapses are one each."""
        chains: list[Chain] = []
        for node in self.graph.nodes:
            if node.name in self.constant:
                own = (node,) if isinstance(node, Synapse) else ()
                chains.append(Chain(node.name, own, node.inputs, True))
            elif self._is_sink(node):
                chains.append(self._chain(node))
        return tuple(chains)

    def _is_sink(self, node: Node) -> bool:
        if isinstance(node, Synapse):  # else part of its reader's chain
            return len(self.consumers[node.name]) != 1
        return not isinstance(node, Input)

    def _chain(self, sink: Node) -> Chain:
        inner: dict[str, Synapse] = {}
        sources: dict[str, None] = {}
        pending = [sink.name]
        while pending:
            name = pending.pop()
            if name in inner or name in sources:  # a sum may read one synapse twice
                continue
            current = self.by_name[name]
            is_inner = isinstance(current, Synapse) and name not in self.constant
            if name == sink.name or (is_inner and len(self.consumers[name]) == 1):
                if isinstance(current, Synapse):
                    inner[name] = current
                pending += current.inputs
            else:
                sources[name] = None
        position = self._positions
        ordered = tuple(inner[name] for name in sorted(inner, key=position.__getitem__))
        named = tuple(sorted(sources, key=position.__getitem__))
        return Chain(sink.name, ordered, named, False)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {node.name: index for index, node in enumerate(self.graph.nodes)}


class _Constant(Rules[bool]):
    """Whether a node's output is the same in every step while the input lasts."""

    def input(self, node: Input, xs: Sequence[bool]) -> bool:
        return node.encoding == "constant"

    def synapse(self, node: Synapse, xs: Sequence[bool]) -> bool:
        return all(xs)

    def population(self, node: Node, xs: Sequence[bool]) -> bool:
        return False

    max_pool = analog = delay = readout = population


class Identifiers:
    """The identifier of every node (``of``) for what is written in a language: letters, digits and
    underscores. None of them is ``taken``; ``new`` gives further ones."""

    def __init__(self, graph: SpikingGraph, taken: Iterable[str] = ()) -> None:
        self._names = Names({*taken, *keyword.kwlist})
        self.of = {node.name: self._identifier(node.name) for node in graph.nodes}

    def _identifier(self, name: str) -> str:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "node"
        return self._names.new(f"n{plain}" if plain[0].isdigit() else plain)

    def new(self, name: str) -> str:
        return self._names.new(name)
