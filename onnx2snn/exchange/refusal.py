"""What a format cannot say of a network: all of it at once, by the names of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..converter.lowering.grid import is_exact, on_grid
from ..display import counted
from ..errors import GraphError
from ..runtime.graph import Node, Population, Readout, SpikingGraph, Synapse
from ..runtime.neurons import NeuronParams
from ..runtime.ops import Array, MultiplyingOp
from ..spelling import spelled


def refuse(to: str, findings: Sequence[tuple[str, str]], *, remedy: str = "") -> None:
    """Raise GraphError (E430) where there are ``findings``: nodes, and what is wrong with each."""
    if findings:
        listed = "; ".join(f"node '{name}': {why}" for name, why in findings)
        raise GraphError(
            f"the format {to} cannot say {counted(len(findings), 'thing')} of this network: "
            f"{listed}",
            remedy=remedy or "Nothing was written. docs/exchange.md says what each format can say.",
            code="E430",
        )


def refuse_inexact(to: str, network: SpikingGraph, approximate: bool) -> tuple[str, ...]:
    """The note for a network whose sums depend on the order of summation, so that other tools can
    send other spikes. Raises GraphError (E430) where that is not wanted."""
    if _adds_exactly(network):
        return ()
    what = "sums of this network are rounded, so single spikes can differ where another tool adds"
    if not approximate:
        raise GraphError(
            f"{what} in another order: the format {to} would not be exact",
            remedy=f"{spelled('approximate', True)} writes it all the same.",
            code="E430",
        )
    return (f"{what} in another order",)


def _adds_exactly(network: SpikingGraph) -> bool:
    """Whether every sum is exact in any order: there are grids on which it is, and all weights,
    biases and first potentials are on them. A reset to zero leaves a potential on every grid, and
    so does a neuron that forgets all of it."""
    softer = network.with_nodes(
        replace(node, neuron=node.neuron.having(reset="subtract", leak=node.neuron.leak % 1))
        for node in network.of(Population)
        if type(node.neuron) is NeuronParams and not node.neuron.v_reset
    )
    if not is_exact(softer):
        return False
    pairs = zip(softer.nodes, on_grid(softer).nodes, strict=True)
    return all(_same(_numbers(a), _numbers(b)) for a, b in pairs)


def _numbers(node: Node) -> list[Array]:
    if isinstance(node, Synapse):
        return [node.op.factors] if isinstance(node.op, MultiplyingOp) else []
    if isinstance(node, Population | Readout):
        return [node.bias, *([] if node.neuron is None else [node.neuron.v_init])]
    return []


def _same(some: Sequence[Array], others: Sequence[Array]) -> bool:
    return all(bool(np.all(a == b)) for a, b in zip(some, others, strict=True))
