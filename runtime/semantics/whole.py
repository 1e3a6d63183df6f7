"""The largest whole numbers that reach a node, where what reaches it are sums of whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..graph import Delay, MaxPool, Node, Population, Rules, Synapse
from ..ops import MultiplyingOp, WeightedOp


class Largest(Rules[float | None]):
    """The largest whole number, its sign aside, that a node sends; None where it is not a sum of
    such that neurons send. ``sent``: the largest of a population's."""

    def __init__(self, nodes: Mapping[str, Node], sent: Callable[[Population], float]) -> None:
        self.nodes, self.sent = nodes, sent

    def input(self, node: Node, xs: Sequence[float | None]) -> float | None:
        return None

    analog = readout = input

    def population(self, node: Population, xs: Sequence[float | None]) -> float | None:
        return self.sent(node)

    def delay(self, node: Delay, xs: Sequence[float | None]) -> float | None:
        return xs[0]

    def max_pool(self, node: MaxPool, xs: Sequence[float | None]) -> float | None:
        # Also of numbers sent in windows: what the largest of some gains in a step is no more than
        # what the one that gains most does.
        summed = node.coding != "differential" and not np.any(node.bias)
        return xs[0] if summed else None

    def synapse(self, node: Synapse, xs: Sequence[float | None]) -> float | None:
        known = [x for x in xs if x is not None]
        if len(known) < len(xs):
            return None
        if isinstance(node.op, MultiplyingOp):
            factor = _whole_factor(node.op)
            return None if factor is None else known[0] * factor
        if node.op.adds:
            return sum(known)
        return max(known) * node.op.terms(*(self.nodes[name].shape for name in node.inputs))


def _whole_factor(op: MultiplyingOp) -> float | None:
    """The largest factor, its sign aside, of an unweighted operation that multiplies by whole
    numbers; None of others."""
    sizes = np.abs(op.factors)
    if isinstance(op, WeightedOp) or np.any(sizes != np.rint(sizes)):
        return None
    return float(sizes.max(initial=0))
