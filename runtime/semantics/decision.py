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


def class_numbers(labels: Array | None, shape: Shape) -> Array | None:
    """Labels (samples,) or (samples, 1) as class numbers for an output of this shape; None where
    they are something else. For a single number they are 0 and 1, of whatever type."""
    if labels is None:
        return None
    flat = labels.reshape(len(labels)) if labels.size == len(labels) else labels
    if flat.ndim != 1:
        return None
    if score_count(shape) == 1:
        return flat.astype(np.int64) if np.isin(flat, (0, 1)).all() else None
    return flat if flat.dtype.kind in "iub" else None


def is_logit(graph: SpikingGraph, readout: Readout, labels: Array | None) -> bool:
    """Whether a single number is the logit of two classes: a Sigmoid behind it was left out, or
    ``labels`` are 0 and 1 (integers) and a weighted sum gives it, which can be negative."""
    if score_count(readout.shape) != 1:
        return False
    if "Sigmoid" in graph.meta.get(LEFT_OUT, {}).get(readout.tensor, ()):
        return True
    known = class_numbers(labels, readout.shape) is not None
    return labels is not None and labels.dtype.kind in "iub" and known and _summed(graph, readout)


def _summed(graph: SpikingGraph, readout: Readout) -> bool:
    """Whether the readout's value comes from a weighted layer without an activation behind it."""
    node = graph[readout.inputs[0]]
    while isinstance(node, Synapse) and not isinstance(node.op, Linear | Conv | ConvTranspose):
        if len(node.inputs) > 1:
            return False
        node = graph[node.inputs[0]]
    return isinstance(node, Synapse)


def decides(graph: SpikingGraph, labels: Array | None) -> bool:
    """Whether the network's first output says classes, and ``labels`` (if any) are classes."""
    readout = graph.of(Readout)[0]
    count = score_count(readout.shape)
    if labels is not None and class_numbers(labels, readout.shape) is None:
        return False
    return count is not None and (count > 1 or is_logit(graph, readout, labels))
