"""What a network decides: the class that an output says.

An output with one score per class says the one with the largest (of equals the first, as ONNX
ArgMax does). One number is a logit where the model had a Sigmoid behind it, or where labels 0 and 1
belong to it: it says class 1 where it is above 0, that is where the Sigmoid is above 1/2.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..graph import Readout, SpikingGraph, Synapse
from ..ops import Array, Conv, ConvTranspose, Linear, Shape

LEFT_OUT = "left_out"  # in a graph's meta: by tensor of an output, the op types behind it


def score_count(shape: Shape) -> int | None:
    """How many classes an output of this shape per sample has scores for: C of (C,), (C, 1, 1) and
    (1, 1, C), 1 of a single number; None where it is something else."""
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    if not wide:
        return 1
    if len(wide) > 1 or wide[0] not in (0, len(shape) - 1):
        return None
    return shape[wide[0]]


def decisions(values: Array, shape: Shape) -> Array:
    """The class that each of ``values`` (..., *shape) says, (...)."""
    flat = values.reshape(*values.shape[: values.ndim - len(shape)], prod(shape))
    if flat.shape[-1] == 1:
        return (flat[..., 0] > 0).astype(np.int64)
    return np.asarray(flat.argmax(axis=-1))


def is_logit(graph: SpikingGraph, readout: Readout, *, two_classes: bool) -> bool:
    """Whether a single number is the logit of two classes: a Sigmoid behind it was left out, or
    labels say that there are ``two_classes`` and a weighted sum gives it, which can be negative."""
    if score_count(readout.shape) != 1:
        return False
    if "Sigmoid" in graph.meta.get(LEFT_OUT, {}).get(readout.tensor, ()):
        return True
    return two_classes and _summed(graph, readout)


def _summed(graph: SpikingGraph, readout: Readout) -> bool:
    """Whether the readout's value comes from a weighted layer without an activation behind it."""
    node = graph[readout.inputs[0]]
    while isinstance(node, Synapse) and not isinstance(node.op, Linear | Conv | ConvTranspose):
        if len(node.inputs) > 1:
            return False
        node = graph[node.inputs[0]]
    return isinstance(node, Synapse)
