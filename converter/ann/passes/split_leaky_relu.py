"""LeakyRelu as two populations: LeakyRelu(x) = Relu(x) - slope Relu(-x)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....runtime.graph import Names
from ....runtime.ops.linear import Add, Scale
from ..graph import AnnGraph, AnnNode, LeakyRelu, Relu


def split_leaky_relu(graph: AnnGraph) -> AnnGraph:
    """Replace every LeakyRelu by its two populations and their weighted sum, exact for any slope.

    The sum keeps the node's name and tensor.
    """
    names = Names(node.name for node in graph.nodes)
    nodes: list[AnnNode] = []
    for node in graph.nodes:
        nodes.extend(_split(node, names) if isinstance(node.layer, LeakyRelu) else (node,))
    return replace(graph, nodes=tuple(nodes))


def _split(node: AnnNode, names: Names) -> tuple[AnnNode, ...]:
    assert isinstance(node.layer, LeakyRelu)

    def made(part: str, layer: Relu | Scale, source: str) -> AnnNode:
        name = names.new(f"{node.name}/{part}")
        return AnnNode(
            name=name, layer=layer, inputs=(source,), shape=node.shape, op_type=node.op_type
        )

    positive = made("positive", Relu(), node.inputs[0])
    mirror = made("mirror", Scale(scale=np.asarray(-1, np.float32)), node.inputs[0])
    negative = made("negative", Relu(beside=True), mirror.name)
    back = made("slope", Scale(scale=-node.layer.slope), negative.name)
    total = replace(node, layer=Add(), inputs=(positive.name, back.name))
    return positive, mirror, negative, back, total
