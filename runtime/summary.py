"""A spiking graph in a line, and as a table: what Python and notebooks show of it.

Nodes come as what they have, for ``graph``, which knows their kinds, imports this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, Protocol

from ..display import counted, shown
from .ops import Shape, WeightedOp


class Shown(Protocol):
    """What a node has; ``op``, ``neuron`` and ``bias`` only some."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def shape(self) -> Shape: ...


HEADER = ("node", "kind", "reads", "shape", "neurons", "parameters")


def headline(
    meta: Mapping[str, Any], *, ends: Sequence[Iterable[Shown]], layers: Sequence[Shown]
) -> str:
    """What it was converted from and how, its inputs and outputs (``ends``), and how large it is:
    ``layers`` are its populations."""
    source = meta.get("source")
    name = source.get("path") if isinstance(source, Mapping) else None
    steps = f"T={meta['T']}" if meta.get("T") is not None else None
    said = [shown(str(part)) for part in (name, meta.get("recipe"), steps) if part]
    flow = " -> ".join(
        ", ".join(f"{shown(node.name)} {tuple(node.shape)}" for node in nodes) for nodes in ends
    )
    neurons = sum(prod(p.shape) for p in layers)
    size = f"{counted(neurons, 'neuron')} in {counted(len(layers), 'layer')}"
    return f"SpikingGraph({', '.join([*said, flow, size])})"


def rows(nodes: Iterable[Shown], *, layers: Iterable[Shown]) -> list[list[str]]:
    """``HEADER`` of every node, in execution order."""
    populations = {node.name for node in layers}
    out = []
    for node in nodes:
        neurons = f"{prod(node.shape):,}" if node.name in populations else ""
        held = _parameters(node)
        parameters = f"{held:,}" if held else ""
        reads, shape = shown(", ".join(node.inputs)), str(tuple(node.shape))
        kind = _kind(node, populations)
        out.append([shown(node.name), kind, reads, shape, neurons, parameters])
    return out


def _kind(node: Shown, populations: set[str]) -> str:
    if node.name in populations:
        name = type(getattr(node, "neuron", None)).__name__.removesuffix("Params")
        return "IntegrateAndFire" if name == "Neuron" else name
    op = getattr(node, "op", None)
    return type(node if op is None else op).__name__


def _parameters(node: Shown) -> int:
    """Numbers of the weights, and of a bias that is there, as they are stored."""
    op, bias = getattr(node, "op", None), getattr(node, "bias", None)
    weights = op.weight.size if isinstance(op, WeightedOp) else 0
    return int(weights + (bias.size if bias is not None and bias.any() else 0))
