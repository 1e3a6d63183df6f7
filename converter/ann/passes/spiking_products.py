"""Spikes into every product: what an analog part, or a product, sends as a current goes through a
pair of neurons before it is multiplied by weights or by another signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....runtime.ops import LinearOp, WeightedOp
from ....runtime.ops.pool import MaxPool
from ..graph import AnnGraph, AnnNode, Input, Product, Relu
from .pairs import Pairs


def spiking_products(graph: AnnGraph) -> AnnGraph:
    """The same values, x = Relu(x) - Relu(-x), with neurons where a weighted layer or a product
    would read a current: what an island computes, a product, or a layer that has no activation.

    One half is enough where ``ranges`` say that no value has the other sign. What reads the input's
    own values stays: they enter as the encoding says. Other readers (a residual sum) read what they
    did before.
    """
    pairs = Pairs(graph)
    carries: dict[str, str] = {}  # what each node's value is made of: see ``_carried``
    for node in graph.nodes:
        read = [carries[name] for name in node.inputs]
        carries[node.name] = _carried(node, read)
        multiplies = isinstance(node.layer, Product)
        wanted = {"current", "values"} if multiplies else {"current"}
        if multiplies or isinstance(node.layer, WeightedOp):
            inputs = tuple(
                pairs.spikes(name) if carried in wanted else name
                for name, carried in zip(node.inputs, read, strict=True)
            )
            node = replace(node, inputs=inputs)
        pairs.nodes.append(node)
    return replace(graph, nodes=tuple(pairs.nodes))


def _carried(node: AnnNode, read: Sequence[str]) -> str:
    """Whether a node's value is made of "spikes", of a "current", or of the input's "values"."""
    if isinstance(node.layer, Input):
        return "values"
    if isinstance(node.layer, Relu):
        return "spikes"
    if isinstance(node.layer, WeightedOp):
        return "values" if set(read) == {"values"} else "current"
    if isinstance(node.layer, LinearOp | MaxPool) and len(set(read)) == 1:
        return "current" if isinstance(node.layer, MaxPool) and read[0] == "values" else read[0]
    return "current"
