"""Clip as one population with a ceiling, shifted where its range does not begin at 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....runtime.graph import Names
from ....runtime.ops.linear import Scale
from ..graph import AnnGraph, AnnNode, Clip, Relu


def split_clip(graph: AnnGraph) -> AnnGraph:
    """clip(x, low, high) = Relu(x - low, ceiling high - low) + low, exact for any range.

    The last node keeps the name and tensor.
    """
    names = Names(node.name for node in graph.nodes)
    nodes: list[AnnNode] = []
    for node in graph.nodes:
        nodes.extend(_split(node, names) if isinstance(node.layer, Clip) else (node,))
    return replace(graph, nodes=tuple(nodes))


def _split(node: AnnNode, names: Names) -> tuple[AnnNode, ...]:
    clip = node.layer
    assert isinstance(clip, Clip)
    ceiling = None if clip.high is None else clip.high - clip.low
    if clip.low == 0:
        return (replace(node, layer=Relu(ceiling=clip.high)),)
    low = np.asarray(clip.low, np.float32)
    one = Scale(scale=np.ones((), np.float32))
    down = AnnNode(
        name=names.new(f"{node.name}/shift"),
        layer=one,
        inputs=node.inputs,
        shape=node.shape,
        bias=-low,
        op_type=node.op_type,
    )
    fire = replace(
        down,
        name=names.new(f"{node.name}/relu"),
        layer=Relu(ceiling=ceiling),
        inputs=(down.name,),
        bias=None,
    )
    return down, fire, replace(node, layer=one, inputs=(fire.name,), bias=low)
