"""The AnnGraph under construction: what the handlers of ONNX operations write into.

The batch axis. In the cleaned-up model the batch size is 1. A ``Value`` with ``batched`` True has
the ONNX shape (1, *shape): its first axis is the sample axis that every AnnNode leaves out. With
``batched`` False its ONNX shape is ``shape``. Both hold the same numbers, so a value can be turned
from one form into the other by a view whenever its ONNX shape begins with 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ...runtime import ops
from ...runtime.ops import Array, Shape
from ..ann.graph import AnnNode, Clip, Input, Layer, LeakyRelu, Relu
from ..ann.ranges import Range, range_of
from .node import NoSpikingForm, OnnxNode


@dataclass(frozen=True)
class Value:
    """An ONNX tensor as an AnnNode holds it."""

    node: str
    shape: Shape
    batched: bool

    @property
    def onnx_shape(self) -> Shape:
        return (1, *self.shape) if self.batched else self.shape


class GraphBuilder:
    """Collects AnnNodes in execution order and knows where each ONNX tensor is.

    Attributes:
        constants: initializers and folded constants by tensor name.
        shapes: ONNX shape of every tensor of the cleaned-up model.
        opset: version of the standard operation set.
        has_batch: whether the network's inputs have a batch axis.
    """

    def __init__(
        self,
        *,
        constants: Mapping[str, Array],
        shapes: Mapping[str, Shape],
        uses: Counter[str],
        originals: frozenset[str],
        opset: int,
        other_types: frozenset[str] = frozenset(),
        has_batch: bool = True,
    ) -> None:
        self.constants = dict(constants)
        self.shapes = shapes
        self.opset = opset
        self.nodes: dict[str, AnnNode] = {}
        self.has_batch = has_batch
        self._other_types = other_types
        self._values: dict[str, Value] = {}
        self._uses = uses
        self._originals = originals
        self._views: dict[tuple[str, Shape], str] = {}
        self._ranges: dict[str, tuple[AnnNode, Range]] = {}

    def constant(self, name: str) -> Array | None:
        """The value of a constant tensor, None where it is computed from an input."""
        return self.constants.get(name)

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A constant integer tensor as a tuple; None where the input is left out.

        Raises NoSpikingForm where it depends on data.
        """
        if not name:
            return None
        value = self.constant(name)
        if value is None:
            raise NoSpikingForm(f"'{name}' is computed from the data, it must be constant")
        return tuple(int(v) for v in value.reshape(-1))

    def value(self, name: str) -> Value:
        """The computed tensor of this name. Raises NoSpikingForm for a constant, and for numbers
        that are not floating point."""
        if name in self._other_types:
            raise NoSpikingForm(f"input '{name}' does not hold floating-point numbers")
        return self.any_value(name)

    def is_float(self, name: str) -> bool:
        return name not in self._other_types

    def any_value(self, name: str) -> Value:
        """The computed tensor of this name, whatever its type."""
        if name not in self._values:
            what = "a constant" if name in self.constants else "missing"
            raise NoSpikingForm(f"input '{name}' is {what} where a computed tensor is needed")
        return self._values[name]

    def is_computed(self, name: str) -> bool:
        return name in self._values

    def used_once(self, name: str) -> bool:
        return self._uses[name] == 1

    def range_of(self, value: Value) -> Range:
        """The smallest and the largest number that ``value`` can hold, whatever the input."""
        for name, node in self.nodes.items():  # inputs come before what reads them
            known = self._ranges.get(name)
            if known is None or known[0] is not node:  # a bias was added since
                before = [self.nodes[n] for n in node.inputs]
                read = [self._ranges[n][1] for n in node.inputs]
                self._ranges[name] = node, range_of(node, before, read)
        return self._ranges[value.node][1]

    def unique(self, name: str) -> str:
        """``name``, with a number where it is taken."""
        candidate, count = name, 2
        while candidate in self.nodes:
            candidate, count = f"{name}_{count}", count + 1
        return candidate

    def emit(
        self,
        node: OnnxNode,
        layer: Layer,
        inputs: Sequence[Value],
        *,
        batched: bool | None = None,
        bias: Array | None = None,
        part: str = "",
        shape: Shape | None = None,
    ) -> Value:
        """Append an AnnNode. ``part`` names a helper "node/part"; ``batched`` defaults to the
        first input's, ``shape`` to what the layer gives."""
        if shape is None:
            shapes = [v.shape for v in inputs]
            elementwise = isinstance(layer, Relu | LeakyRelu | Clip)
            shape = shapes[0] if elementwise else output_shape(layer, shapes)
        if bias is not None:
            np.broadcast_to(bias, (1, *shape))  # else a ValueError: a damaged file's settings
            bias = bias if bias.dtype == np.float32 else bias.astype(np.float32)
            bias = None if not bias.any() else bias
        name = self.unique(f"{node.name}/{part}" if part else node.name)
        self.nodes[name] = AnnNode(
            name=name,
            layer=layer,
            inputs=tuple(v.node for v in inputs),
            shape=shape,
            bias=bias,
            op_type=node.op,
        )
        return Value(name, shape, inputs[0].batched if batched is None else batched)

    def add_input(self, tensor: str, shape: Shape, batched: bool) -> None:
        name = self.unique(tensor)
        self.nodes[name] = AnnNode(
            name=name, layer=Input(), shape=shape, tensor=tensor, op_type="Input"
        )
        self._values[tensor] = Value(name, shape, batched)

    def view(self, value: Value, shape: Shape, *, batched: bool, name: str = "") -> Value:
        """The same numbers in another shape: a Reshape node, or none where the shapes agree.

        ``name`` is the ONNX node's where this is all it does.
        """
        if value.shape == shape:
            return Value(value.node, shape, batched)
        if prod(shape) != prod(value.shape):
            raise NoSpikingForm(f"a tensor {value.shape} has no shape {shape}")
        key = (value.node, shape)
        if name or key not in self._views:
            name = self.unique(name or f"{value.node}/view")
            self.nodes[name] = AnnNode(
                name=name,
                layer=ops.Reshape(shape=shape),
                inputs=(value.node,),
                shape=shape,
                op_type="Reshape",
            )
            self._views[key] = name
        return Value(self._views[key], shape, batched)

    def with_batch(self, value: Value) -> Value:
        """The value without its leading ONNX axis of size one. Raises NoSpikingForm if > 1."""
        if value.batched:
            return value
        if not value.shape or value.shape[0] != 1:
            raise NoSpikingForm(
                f"works on a tensor {value.shape} whose first axis is not the batch"
            )
        return self.view(value, value.shape[1:], batched=True)

    def leading(self, value: Value) -> Value:
        """The value with its first ONNX axis as the batch axis where that has size one."""
        can = self.has_batch and not value.batched and value.shape[:1] == (1,)
        return self.with_batch(value) if can else value

    def without_batch(self, value: Value) -> Value:
        """The value with every ONNX axis in its sample shape."""
        if not value.batched:
            return value
        return self.view(value, value.onnx_shape, batched=False)

    def on_axes(self, value: Value, axes: Sequence[int]) -> tuple[Value, tuple[int, ...]]:
        """A form of ``value`` in which these ONNX axes are sample axes, and their numbers there."""
        rank = len(value.onnx_shape)
        positive = tuple(a + rank if a < 0 else a for a in axes)
        if any(not 0 <= a < rank for a in positive):
            raise NoSpikingForm(f"axis out of range for a tensor of rank {rank}")
        if len({*positive}) < len(positive):
            raise NoSpikingForm("it names an axis twice")
        if value.batched and 0 not in positive:
            return value, tuple(a - 1 for a in positive)
        return self.without_batch(value), positive

    def finish(self, node: OnnxNode, value: Value, output: int = 0) -> None:
        """Declare ``value`` to be an output of ``node``, checked against the inferred shape."""
        tensor = node.outputs[output]
        expected = self.shapes.get(tensor)
        if expected is not None and expected != value.onnx_shape:
            raise NoSpikingForm(f"shape {value.onnx_shape} where ONNX has {expected}")
        self._values[tensor] = value
        made = self.nodes[value.node]
        if not made.tensor and tensor in self._originals and not isinstance(made.layer, Input):
            self.nodes[value.node] = replace(made, tensor=tensor)

    def add_bias(self, node: OnnxNode, source: str, value: Value, bias: Array) -> Value:
        """``value`` + ``bias``: folded into the node that computes ``value`` (the tensor
        ``source``) where nothing else reads it, else a Scale by one that carries the bias."""
        made = self.nodes[value.node]
        shape = np.broadcast_shapes(value.shape, bias.shape)
        read = any(value.node in other.inputs for other in self.nodes.values())
        foldable = (
            isinstance(made.layer, ops.LinearOp)
            and made.op_type != "Reshape"
            and shape == value.shape
            and self.used_once(source)
            and self._values[source].node == value.node
            and not read
        )
        if not foldable:
            wide = value if shape == value.shape else self._broadcast(node, value, shape)
            return self.emit(node, ops.Scale(scale=np.ones((), np.float32)), [wide], bias=bias)
        total = bias.astype(np.float32) if made.bias is None else made.bias + bias
        self.nodes[value.node] = replace(made, bias=total.astype(np.float32), tensor="")
        return value

    def _broadcast(self, node: OnnxNode, value: Value, shape: Shape) -> Value:
        return self.emit(node, ops.Broadcast(shape=shape), [value], part="broadcast")


def output_shape(layer: Layer, shapes: Sequence[Shape]) -> Shape:
    """The sample shape that a linear layer or a MaxPool gives."""
    if not hasattr(layer, "output_shape"):
        raise TypeError(f"{type(layer).__name__} has no shape rule")
    shape: Shape = tuple(int(n) for n in layer.output_shape(*shapes))
    if prod(shape) == 0:
        raise NoSpikingForm(f"its output {shape} is empty")
    return shape


def sample_constant(array: Array, rank: int) -> Array:
    """A constant operand of a batched value with ``rank`` sample axes, without its batch axis.

    Raises NoSpikingForm where it has more axes than the value or more than one row of batch.
    """
    while array.ndim > rank:
        if array.shape[0] != 1:
            raise NoSpikingForm(f"a constant of shape {array.shape} reaches over the batch axis")
        array = array[0]
    return array
