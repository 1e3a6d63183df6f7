"""Spikes into every product: what an analog part, or a product, sends as a current goes through a
pair of neurons before it is multiplied by weights or by another signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....runtime import ops
from ....runtime.graph import Names
from ....runtime.ops import LinearOp, WeightedOp
from ....runtime.ops.pool import MaxPool
from ..graph import AnnGraph, AnnNode, Input, Product, Relu
from ..ranges import Range, ranges

MOVES = (ops.Reshape, ops.Transpose, ops.Slice, ops.Take, ops.Scale)
"""What passes spikes on: the pair stands before them, where the channels still are."""


def spiking_products(graph: AnnGraph) -> AnnGraph:
    """The same values, x = Relu(x) - Relu(-x), with neurons where a weighted layer or a product
    would read a current: what an island computes, a product, or a layer that has no activation.

    One half is enough where ``ranges`` say that no value has the other sign. What reads the input's
    own values stays: they enter as the encoding says. Other readers (a residual sum) read what they
    did before.
    """
    pairs = _Pairs(graph)
    for node in graph.nodes:
        pairs.add(node)
    return replace(graph, nodes=tuple(pairs.nodes))


class _Pairs:
    """The graph so far. ``carries``: whether each node's value is made of "spikes", of a "current",
    or of the input's own "values"; ``spiking``: the node with the value of another, in spikes."""

    def __init__(self, graph: AnnGraph) -> None:
        self.before = {node.name: node for node in graph.nodes}
        self.names = Names(self.before)
        self.ranges = ranges(graph)
        self.nodes: list[AnnNode] = []
        self.carries: dict[str, str] = {}
        self.spiking: dict[str, str] = {}

    def add(self, node: AnnNode) -> None:
        read = [self.carries[name] for name in node.inputs]
        self.carries[node.name] = _carried(node, read)
        multiplies = isinstance(node.layer, Product)
        if multiplies or isinstance(node.layer, WeightedOp):
            wanted = {"current", "values"} if multiplies else {"current"}
            inputs = tuple(
                self.spikes(name) if carried in wanted else name
                for name, carried in zip(node.inputs, read, strict=True)
            )
            node = replace(node, inputs=inputs)
        self.nodes.append(node)

    def spikes(self, name: str) -> str:
        """The name of the node that has the value of ``name`` in spikes, made where there is
        none."""
        if name not in self.spiking:
            node = self.before[name]
            if isinstance(node.layer, MOVES):
                moved = replace(
                    node,
                    name=self.names.new(f"{name}/spikes"),
                    inputs=(self.spikes(node.inputs[0]),),
                    tensor="",
                )
                self.nodes.append(moved)
                self.spiking[name] = moved.name
            else:
                self.spiking[name] = self._pair(node, self.ranges[name])
        return self.spiking[name]

    def _pair(self, node: AnnNode, within: Range) -> str:
        def made(part: str, layer: Relu | LinearOp, *inputs: str) -> str:
            name = self.names.new(f"{node.name}/{part}")
            self.nodes.append(
                AnnNode(
                    name=name, layer=layer, inputs=inputs, shape=node.shape, op_type=node.op_type
                )
            )
            return name

        minus = ops.Scale(scale=np.asarray(-1, np.float32))
        low, high = within
        positive = made("positive", Relu(beside=True), node.name) if high > 0 else None
        negative = None
        if low < 0 or positive is None:
            mirror = made("mirror", minus, node.name)
            negative = made("back", minus, made("negative", Relu(beside=True), mirror))
        if positive is None or negative is None:
            return positive or negative or ""
        return made("both", ops.Add(), positive, negative)


def _carried(node: AnnNode, read: Sequence[str]) -> str:
    if isinstance(node.layer, Input):
        return "values"
    if isinstance(node.layer, Relu):
        return "spikes"
    if isinstance(node.layer, WeightedOp):
        return "values" if set(read) == {"values"} else "current"
    if isinstance(node.layer, LinearOp | MaxPool) and len(set(read)) == 1:
        return "current" if isinstance(node.layer, MaxPool) and read[0] == "values" else read[0]
    return "current"
