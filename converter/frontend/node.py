"""One node of an ONNX file as handlers see it, and what they say where it has no spiking form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
