"""Analog islands: which nodes run together, and the ONNX model that computes them for any batch.

An island is a maximal connected set of nodes without a spiking form, as far as contracting it
leaves the graph without a cycle. All other operations but those with trained weights join it where
islands are on all their sides (a population there would only round what is exact, and a norm that
is kept from zero would reach zero), and a gate joins the product that alone reads it.
"""

from __future__ import annotations

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
    nodes: Sequence[OnnxNode], analog: Collection[str], computed: Collection[str], kept: set[str]
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
    light = {n.name for n in nodes if n.op in spiking and n.name not in analog}

    def enclosed(node: OnnxNode) -> bool:
        inside = set(analog) | light
        sources = [t for t in node.inputs if t in computed]
        fed = all(t in producer and producer[t].name in inside for t in sources)
        fed = fed or node.op in GATES
        read = all(r.name in inside for t in node.outputs for r in readers.get(t, ()))
        return bool(sources) and fed and read and not kept.intersection(node.outputs)

    while True:
        out = {n.name for n in nodes if n.name in light and not enclosed(n)}
        if not out:
            return set(analog) | light
        light -= out


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
    out: list[OnnxNode | Island] = []
    for key in ordered:
        first = together[key][0]
        out.append(
            _island(nodes, together[key], computed, kept) if first.name in members else first
        )
    return out


def _grouped(nodes: Sequence[OnnxNode], members: Collection[str]) -> list[int]:
    """For every node the number of its group: members joined along edges unless that makes a
    cycle of groups."""
    group = list(range(len(nodes)))
    producer = {o: i for i, n in enumerate(nodes) for o in n.outputs if o}
    for index, node in enumerate(nodes):
        if node.name not in members:
            continue
        for tensor in node.inputs:
            source = producer.get(tensor)
            if source is None or nodes[source].name not in members:
                continue
            one, two = group[source], group[index]
            if one != two and not _detour(nodes, group, one, two):
                group = [one if g == two else g for g in group]
    return group


def _detour(nodes: Sequence[OnnxNode], group: list[int], one: int, two: int) -> bool:
    """Whether a path leads from group ``one`` through a third group to ``two``, or back."""
    after = _contracted(nodes, group)
    return _reaches(after, one, goal=two) or _reaches(after, two, goal=one)


def _reaches(after: Mapping[int, set[int]], start: int, *, goal: int) -> bool:
    stack = [g for g in after[start] if g != goal]
    seen = set(stack)
    while stack:
        for following in after[stack.pop()]:
            if following == goal:
                return True
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return False


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
    nodes: Sequence[OnnxNode],
    inside: Sequence[OnnxNode],
    computed: Collection[str],
    kept: set[str],
) -> Island:
    names = {n.name for n in inside}
    made = {o for n in inside for o in n.outputs if o}
    read = [t for n in inside for t in n.inputs if t in computed and t not in made]
    wanted = {t for n in nodes if n.name not in names for t in n.inputs} | kept
    return Island(
        nodes=tuple(inside),
        inputs=tuple(dict.fromkeys(read)),
        outputs=tuple(o for n in inside for o in n.outputs if o in wanted),
    )
