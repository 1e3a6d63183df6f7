"""In which steps a node can send anything: between start lags most layers wait for their window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ... import graph as snn
from ...facts import GraphFacts
from ...semantics.walk import annotate

Span: TypeAlias = tuple[int, int] | None  # its first window begins, its last one does; None: always


def spans(facts: GraphFacts) -> dict[str, Span]:
    """By node: its output is zero in all steps but those from the first number to the second plus
    the steps of a window."""
    return annotate(facts.graph, _Spans(facts))


class _Spans(snn.Rules[Span]):
    def __init__(self, facts: GraphFacts) -> None:
        self.onsets = facts.onsets

    def input(self, node: snn.Input, xs: Sequence[Span]) -> Span:
        return (0, 0)

    def synapse(self, node: snn.Synapse, xs: Sequence[Span]) -> Span:
        known = [x for x in xs if x is not None]
        if len(known) < len(xs):
            return None
        return min(first for first, _ in known), max(last for _, last in known)

    def population(self, node: snn.Node, xs: Sequence[Span]) -> Span:
        return self.onsets[node.name], self.onsets[node.name]

    def max_pool(self, node: snn.MaxPool | snn.Analog, xs: Sequence[Span]) -> Span:
        return None if node.coding == "differential" else self.population(node, xs)

    analog = max_pool

    def delay(self, node: snn.Delay, xs: Sequence[Span]) -> Span:
        return None if xs[0] is None else (xs[0][0] + node.steps, xs[0][1] + node.steps)

    def readout(self, node: snn.Readout, xs: Sequence[Span]) -> Span:
        return None
