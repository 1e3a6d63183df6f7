"""Which ONNX operations have a spiking form, and the function that imports each.

A handler is ``handler(graph, node) -> None``: it emits ``AnnNode``s into the ``GraphBuilder`` and
ends with ``graph.finish``. It raises ``NoSpikingForm`` for a case it cannot express exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .builder import GraphBuilder


class NoSpikingForm(Exception):  # noqa: N818 - a signal between handler and importer, not an error
    """This node, as it stands, is not one of the linear operations or activations that spike."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Refused(NoSpikingForm):
    """As it stands, this node cannot run in a spiking network at all, not as an island either."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxNode:
    """One node of the ONNX graph with its attributes as plain Python values.

    ``name`` is the node's own, or its first output's where it has none.
    """

    name: str
    op: str
    domain: str = ""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def ints(self, key: str) -> tuple[int, ...] | None:
        """A list attribute as a tuple of int, None where it is absent."""
        value = self.attrs.get(key)
        return None if value is None else tuple(int(v) for v in value)

    def text(self, key: str, default: str) -> str:
        value = self.attrs.get(key, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def input(self, index: int) -> str:
        """The name of an input, "" where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


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
