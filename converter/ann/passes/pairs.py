"""Pairs of neurons that stand for a value, x = Relu(x) - Relu(-x): what passes put where spikes are
wanted and a current is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....runtime import ops
from ....runtime.graph import Names
from ....runtime.ops import LinearOp
from ..graph import AnnGraph, AnnNode, Relu
from ..ranges import Range, ranges

MOVES = (ops.Reshape, ops.Transpose, ops.Slice, ops.Take, ops.Scale)
"""What passes spikes on: the pair stands before them, where the channels still are."""


class Pairs:
    """A graph that a pass makes of ``graph``, node by node.

    Attributes:
        nodes: so far, in execution order.
        spiking: the node with the value of another, in spikes.
    """

    def __init__(self, graph: AnnGraph) -> None:
        self.before = {node.name: node for node in graph.nodes}
        self.names = Names(self.before)
        self.ranges = ranges(graph)
        self.nodes: list[AnnNode] = []
        self.spiking: dict[str, str] = {}

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
        """One half is enough where no value has the other sign."""

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
