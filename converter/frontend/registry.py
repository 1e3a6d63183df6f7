"""Which ONNX operations have a spiking form, and the function that imports each.

A handler is ``handler(graph, node) -> None``: it emits ``AnnNode``s into the ``GraphBuilder`` and
ends with ``graph.finish``. It raises ``NoSpikingForm`` for a case it cannot express exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .node import OnnxNode

if TYPE_CHECKING:
    from .builder import GraphBuilder


Handler: TypeAlias = Callable[["GraphBuilder", OnnxNode], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """One row of the table of operations: ``becomes`` says what it turns into, for the docs."""

    op: str
    handler: Handler
    becomes: str


OPERATIONS: dict[str, Operation] = {}


def handles(*ops: str, becomes: str) -> Callable[[Handler], Handler]:
    """Register the decorated function as the importer of these ONNX operations."""

    def register(handler: Handler) -> Handler:
        for op in ops:
            OPERATIONS[op] = Operation(op=op, handler=handler, becomes=becomes)
        return handler

    return register
