"""What a BatchNormalization says about the data a network was trained on.

y = gamma (x - mean) / sqrt(var + eps) + beta has, over the training data, mean beta and standard
deviation |gamma| per channel. Folding keeps y and loses that, so it is read from the model as it is
in the file, and kept beside the node that computes y.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import onnx

from ....runtime.ops import Array
from ...ann.graph import AnnNode, ChannelMoments
from ..file.constants import constants_of


def batch_moments(
    model: onnx.ModelProto, weights: Mapping[str, Array]
) -> dict[str, ChannelMoments]:
    """Mean and deviation of every BatchNormalization's output, by tensor name.

    ``weights``: values of inputs that are weights. A node in training mode, or one whose gamma or
    beta is computed, has none; so has one with a gamma of zero throughout.
    """
    found = [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    if not found:
        return {}
    constants = {**constants_of(model.graph), **weights}
    out: dict[str, ChannelMoments] = {}
    for node in found:
        training = any(a.name == "training_mode" and a.i for a in node.attribute)
        known = len(node.input) == 5 and all(name in constants for name in node.input[1:3])
        if training or not known:
            continue
        gamma, beta = (constants[n].astype(np.float32).ravel() for n in node.input[1:3])
        if gamma.any():
            out[node.output[0]] = ChannelMoments(mean=beta, deviation=np.abs(gamma))
    return out


def with_moments(
    nodes: Iterable[AnnNode], moments: Mapping[str, ChannelMoments]
) -> tuple[AnnNode, ...]:
    """The nodes, those that compute a normalized tensor with its moments."""
    return tuple(_with(node, moments.get(node.tensor)) for node in nodes)


def _with(node: AnnNode, moments: ChannelMoments | None) -> AnnNode:
    if moments is None or node.shape[:1] != moments.mean.shape:
        return node
    return replace(node, moments=moments)
