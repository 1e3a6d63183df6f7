"""Analog islands: which nodes run together, and the ONNX model that computes them for any batch.

An island is a maximal connected set of nodes without a spiking form, as far as contracting it
leaves the graph without a cycle. All other operations but those with trained weights join it where
islands are on all their sides (a population there would only round what is exact, and a norm that
is kept from zero would reach zero), and a gate joins the product that alone reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..node import OnnxNode
from ..registry import OPERATIONS

WEIGHTED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))  # stay synapses
GATES = ("HardSigmoid",)  # half of a HardSwish, or the gate of squeeze-and-excite


@dataclass(frozen=True, eq=False, kw_only=True)
class Island:
    """Nodes in execution order. ``inputs``: computed tensors it reads from outside; ``outputs``:
    tensors that others read, or that the network gives out."""

    nodes: tuple[OnnxNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def with_light(
    nodes: Sequence[OnnxNode], analog: Collection[str], *, computed: Collection[str], kept: set[str]
) -> set[str]:
    """The names in ``analog``, and of the light nodes that only they read and feed.

    ``computed``: tensors that depend on an input; ``kept``: the network's output tensors.
    """
    producer = {o: n for n in nodes for o in n.outputs if o}
    readers: dict[str, list[OnnxNode]] = {}
    for node in nodes:
        for tensor in node.inputs:
            readers.setdefault(tensor, []).append(node)
    spiking = set(OPERATIONS) - WEIGHTED
    inside = {*analog, *(n.name for n in nodes if n.op in spiking)}
    # A mask or a scale between a product and a Softmax is the island's: there infinity has a sense.
    products = {n.name for n in nodes if n.op == "MatMul" and all(t in computed for t in n.inputs)}
    light = inside.difference(analog)

    def enclosed(node: OnnxNode) -> bool:
        sources = [t for t in node.inputs if t in computed]
        fed = all(t in producer and producer[t].name in inside | products for t in sources)
        fed = fed or node.op in GATES
        read = all(r.name in inside for t in node.outputs for r in readers.get(t, ()))
        return bool(sources) and fed and read and not kept.intersection(node.outputs)

    waiting = [n for n in nodes if n.name in light]
    while waiting:
        node = waiting.pop()
        if node.name in light and not enclosed(node):
            light.remove(node.name)
            inside.remove(node.name)
            waiting += (producer[t] for t in node.inputs if t in producer)
            waiting += (r for t in node.outputs for r in readers.get(t, ()))
    return inside


def units(
    nodes: Sequence[OnnxNode], members: Collection[str], computed: Collection[str], kept: set[str]
) -> list[OnnxNode | Island]:
    """Single nodes and islands in an order in which everything is computed before it is read."""
    group = _grouped(nodes, members)
    after = _contracted(nodes, group)
    ordered = _ordered(nodes, group, after)
    together: dict[int, list[OnnxNode]] = {}
    for index, node in enumerate(nodes):
        together.setdefault(group[index], []).append(node)
    reads = Counter(t for node in nodes for t in set(node.inputs))
    out: list[OnnxNode | Island] = []
    for key in ordered:
        inside = together[key]
        if inside[0].name in members:
            out.append(_island(inside, computed=computed, kept=kept, reads=reads))
        else:
            out.append(inside[0])
    return out


def _grouped(nodes: Sequence[OnnxNode], members: Collection[str]) -> list[int]:
    """For every node the number of its group: members joined along edges unless that makes a
    cycle of groups."""
    groups = _Groups(nodes)
    producer = {o: i for i, n in enumerate(nodes) for o in n.outputs if o}
    for index, node in enumerate(nodes):
        if node.name not in members:
            continue
        for tensor in node.inputs:
            source = producer.get(tensor)
            if source is None or nodes[source].name not in members:
                continue
            one, two = groups.of(source), groups.of(index)
            if one != two and not groups.detour(one, two):
                groups.join(one, two)
    return [groups.of(index) for index in range(len(nodes))]


class _Groups:
    """Groups of nodes, each named by one of its nodes, and the edges between them, which make no
    cycle: what is joined has no detour in between."""

    def __init__(self, nodes: Sequence[OnnxNode]) -> None:
        self._joined = list(range(len(nodes)))
        self._after = _contracted(nodes, self._joined)
        self._before: dict[int, set[int]] = {g: set() for g in self._after}
        for g, readers in self._after.items():
            for reader in readers:
                self._before[reader].add(g)

    def of(self, index: int) -> int:
        """The group of a node."""
        joined = self._joined
        while joined[index] != index:
            joined[index] = joined[joined[index]]
            index = joined[index]
        return index

    def detour(self, one: int, two: int) -> bool:
        """Whether a path leads from ``one`` through a third group to ``two``, which reads ``one``
        (so that no path leads back)."""
        stack = [g for g in self._before[two] if g != one]
        seen = set(stack)
        while stack:
            for g in self._before[stack.pop()]:
                if g == one:
                    return True
                if g not in seen:
                    seen.add(g)
                    stack.append(g)
        return False

    def join(self, one: int, two: int) -> None:
        """``two`` becomes part of ``one``."""
        self._joined[two] = one
        for ours, others in ((self._after, self._before), (self._before, self._after)):
            for g in ours.pop(two):
                others[g].discard(two)
                if g != one:
                    others[g].add(one)
                    ours[one].add(g)


def _contracted(nodes: Sequence[OnnxNode], group: Sequence[int]) -> dict[int, set[int]]:
    """The groups that read each group."""
    after: dict[int, set[int]] = {g: set() for g in group}
    producer = {o: g for g, n in zip(group, nodes, strict=True) for o in n.outputs if o}
    for g, node in zip(group, nodes, strict=True):
        for tensor in node.inputs:
            source = producer.get(tensor)
            if source is not None and source != g:
                after[source].add(g)
    return after


def _ordered(
    nodes: Sequence[OnnxNode], group: Sequence[int], after: Mapping[int, set[int]]
) -> list[int]:
    """Groups in an execution order close to the file's."""
    waiting = dict.fromkeys(group, 0)
    for g in (g for readers in after.values() for g in readers):
        waiting[g] += 1
    order = list(dict.fromkeys(group))
    out: list[int] = []
    ready = [g for g in reversed(order) if not waiting[g]]
    while ready:
        g = ready.pop()
        out.append(g)
        for following in sorted(after[g], reverse=True):
            waiting[following] -= 1
            if not waiting[following]:
                ready.append(following)
    return out


def _island(
    inside: Sequence[OnnxNode],
    *,
    computed: Collection[str],
    kept: set[str],
    reads: Mapping[str, int],
) -> Island:
    """``reads``: how many nodes of the whole graph read each tensor."""
    made = {o for n in inside for o in n.outputs if o}
    read = [t for n in inside for t in n.inputs if t in computed and t not in made]
    within = Counter(t for n in inside for t in set(n.inputs))
    return Island(
        nodes=tuple(inside),
        inputs=tuple(dict.fromkeys(read)),
        outputs=tuple(
            o for n in inside for o in n.outputs if o and (o in kept or reads[o] > within[o])
        ),
    )
