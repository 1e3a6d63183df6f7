"""What a format cannot say of a network: all of it at once, by the names of nodes."""

from __future__ import annotations

from collections.abc import Sequence

from ..converter.lowering.grid import is_exact
from ..errors import GraphError
from ..runtime.graph import SpikingGraph
from ..spelling import spelled


def refuse(to: str, findings: Sequence[tuple[str, str]], *, remedy: str = "") -> None:
    """Raise GraphError (E430) where there are ``findings``: nodes, and what is wrong with each."""
    if findings:
        listed = "; ".join(f"node '{name}': {why}" for name, why in findings)
        raise GraphError(
            f"the format {to} cannot say {len(findings)} thing(s) of this network: {listed}",
            remedy=remedy or "Nothing was written. docs/exchange.md says what each format can say.",
            code="E430",
        )


def refuse_inexact(to: str, network: SpikingGraph, approximate: bool) -> tuple[str, ...]:
    """The note for a network whose sums depend on the order of summation, so that other tools can
    send other spikes. Raises GraphError (E430) where that is not wanted."""
    if is_exact(network):
        return ()
    what = "sums of this network are rounded, so single spikes can differ where another tool adds"
    if not approximate:
        raise GraphError(
            f"{what} in another order: the format {to} would not be exact",
            remedy=f"{spelled('approximate', True)} writes it all the same.",
            code="E430",
        )
    return (f"{what} in another order",)
