"""Which signals stay small integers, and can be kept in bytes: spikes, as long as they are only
moved or counted."""

from __future__ import annotations

import numpy as np

from ....facts import GraphFacts
from ....graph import Delay, Input, Node, Population, Synapse
from ....ops import LinearOp
from ....ops.pool import SumPool

SPIKING_INPUT = 2  # its largest spike: values up to 1, with what rounding adds


def largest_integers(facts: GraphFacts) -> dict[str, int | None]:
    """The largest magnitude of each signal that fits a byte, None for the others."""
    out: dict[str, int | None] = {}
    for node in facts.graph.nodes:
        most = None if node.name in facts.constant else _largest(node, out)
        out[node.name] = None if most is None or most > np.iinfo(np.int8).max else most
    return out


def _largest(node: Node, known: dict[str, int | None]) -> int | None:
    before = [known[name] for name in node.inputs]
    match node:
        case Input():
            return SPIKING_INPUT
        case Population():
            return node.neuron.levels
        case Delay():
            return before[0]
        case Synapse() if None not in before:
            return _of_operation(node.op, max(b for b in before if b is not None))
    return None


def _of_operation(op: LinearOp, most: int) -> int | None:
    """The largest magnitude that ``op`` makes of integers up to ``most``, where it only moves or
    counts them."""
    if op.moves:
        return most
    return most * int(np.prod(op.kernel)) if isinstance(op, SumPool) else None
