"""The ANN as the frontend understood it: one node per operation, weights as NumPy arrays.

Shapes are per sample (no batch axis). Linear layers are the records of ``runtime.ops``, so what a
layer computes is written once for the ANN and the spiking network; here they may carry a bias.
Passes (``converter.ann.passes``) are plain functions AnnGraph -> AnnGraph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ...errors import ModelError
from ...runtime.ops import Array, LinearOp, Shape, frozen
from ...runtime.ops.pool import MaxPool


@dataclass(frozen=True, eq=False, kw_only=True)
class Input:
    """A network input."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Relu:
    """clip(x, 0, ceiling); ceiling None is ReLU, 6 is ReLU6. Becomes a population.

    ``beside``: it is what another value is exceeded by, in max(a, b) = a + Relu(b - a) say, so that
    one that is always 0 is nothing wrong.
    """

    ceiling: float | None = None
    beside: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class LeakyRelu:
    """x where x > 0 else slope * x; slope broadcasts to the shape. LeakyRelu and PRelu."""

    slope: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", frozen(self.slope))


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """clip(x, low, high) with any finite low; the pass ``split_clip`` makes Relus of it."""

    low: float
    high: float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Opaque:
    """A stateless ONNX subgraph without a spiking form: runs as an analog island.

    ``model`` is a serialized ONNX model; its inputs are in the order of the node's inputs, each
    with a leading batch axis before the sample shape; ``output`` names the one of its outputs
    that is meant. ``ops``: op types inside.
    """

    model: bytes
    output: str
    ops: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(Opaque):
    """The matrix product of two computed values; ``model`` is that one MatMul."""


Layer: TypeAlias = LinearOp | MaxPool | Input | Relu | LeakyRelu | Clip | Opaque | Product


@dataclass(frozen=True, eq=False, kw_only=True)
class ChannelMoments:
    """Mean and standard deviation over the training data, (C,) each, along a node's first axis:
    beta and |gamma| of the BatchNormalization that gave the node's output."""

    mean: Array
    deviation: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", frozen(self.mean))
        object.__setattr__(self, "deviation", frozen(self.deviation))


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnNode:
    """One operation.

    Attributes:
        name: unique; the ONNX node's name (its output's where it has none).
        layer: what it computes.
        inputs: names of the nodes it reads.
        shape: output shape per sample.
        bias: added to a linear layer's output; broadcasts to ``shape``; None is no bias.
        tensor: ONNX tensor that holds this node's output (bias included), "" if there is none.
        op_type: ONNX op it came from, for messages.
        moments: of the output (bias included), where a BatchNormalization tells them.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...] = ()
    shape: Shape
    bias: Array | None = None
    tensor: str = ""
    op_type: str = ""
    moments: ChannelMoments | None = None

    def __post_init__(self) -> None:
        if self.bias is not None:
            object.__setattr__(self, "bias", frozen(self.bias))


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnOutput:
    """A network output: ``node`` computes ``tensor``; ``name`` is what the model calls it.

    ``dropped`` names trailing ops left out (Softmax, LogSoftmax, Sigmoid, ArgMax), in order: then
    ``tensor`` is their input, not the model's own output.
    """

    name: str
    node: str
    tensor: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnGraph:
    """Nodes in execution order; ``meta`` is provenance, plain JSON values only."""

    nodes: tuple[AnnNode, ...]
    outputs: tuple[AnnOutput, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                raise ModelError(f"two nodes are named '{node.name}'")
            unknown = [name for name in node.inputs if name not in seen]
            if unknown:
                raise ModelError(f"node '{node.name}' reads {unknown}, not defined before it")
            seen.add(node.name)
        for output in self.outputs:
            if output.node not in seen:
                raise ModelError(f"output '{output.name}' reads unknown node '{output.node}'")

    def __getitem__(self, name: str) -> AnnNode:
        for node in self.nodes:
            if node.name == name:
                return node
        raise ModelError(f"no node '{name}' in the network")

    def consumers(self) -> dict[str, tuple[AnnNode, ...]]:
        """For every node, those that read it, in execution order."""
        out: dict[str, list[AnnNode]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                out[name].append(node)
        return {name: tuple(nodes) for name, nodes in out.items()}

    @property
    def inputs(self) -> tuple[AnnNode, ...]:
        return tuple(node for node in self.nodes if isinstance(node.layer, Input))


def bias_of(node: AnnNode) -> Array:
    """The node's bias, zero where it has none."""
    return np.zeros((), np.float32) if node.bias is None else node.bias
