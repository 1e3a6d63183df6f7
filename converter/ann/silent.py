"""What every value of an ANN graph is where no neuron fires."""

from __future__ import annotations

import numpy as np

from ...runtime.ops import Array, LinearOp
from .graph import AnnGraph, AnnNode, bias_of


def silent_values(graph: AnnGraph) -> dict[str, Array]:
    """What each node gives for silent inputs, (1, *shape): the bias its readers get pushed to
    them. A lowered linear node computes the ANN's value less this."""
    whole: dict[str, Array] = {}
    for node in graph.nodes:
        whole[node.name] = _offset(node, [whole[name] for name in node.inputs])
    return whole


def _offset(node: AnnNode, before: list[Array]) -> Array:
    """A linear layer's output for silent inputs, (1, *shape); zero for every other node."""
    if not isinstance(node.layer, LinearOp):
        return np.zeros((1, *node.shape), np.float32)
    if any(np.any(offset) for offset in before):
        out = node.layer.apply(*before) + bias_of(node)
        return out.astype(np.float32, copy=False)
    return np.broadcast_to(bias_of(node).astype(np.float32), (1, *node.shape))
