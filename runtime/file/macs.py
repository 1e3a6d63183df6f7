"""What an analog island computes for one sample, in multiply-accumulates (MACs).

The rule. A product of tensors (convolution, matrix product, recurrent layer) takes one MAC for each
term of each number that it gives. Any other operation that computes takes one for each number of
its largest floating tensor, read or given, whatever the function (a pool: one for each number of
each window). What only moves, selects or compares numbers, and arithmetic on whole numbers (shapes,
indices), takes none. So Softmax or LayerNormalization count low, as one pass over their numbers.

An operation that no rule is written for, or whose shapes are not known before it runs (a ``Loop``),
is not counted but named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TypeAlias

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper
from onnx.shape_inference import InferenceError

from ..ops import Shape
from .opsets import STANDARD

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
Types: TypeAlias = Mapping[str, tuple[int, Shape]]  # element type and shape, by tensor name


@dataclass(frozen=True, eq=False, kw_only=True)
class IslandCost:
    """``macs`` of one sample; ``uncounted``: operations that are not in it, each once."""

    macs: int
    uncounted: tuple[str, ...]


@lru_cache(maxsize=64)
def island_cost(model: bytes) -> IslandCost:
    """Of the ``model`` of an ``Analog`` node (see the module for the rule)."""
    try:
        proto = onnx.load_from_string(model)
    except (DecodeError, ValueError):  # damaged: whoever runs it says so
        return IslandCost(macs=0, uncounted=("a model that cannot be read",))
    for given in proto.graph.input:
        dims = given.type.tensor_type.shape.dim
        if dims:
            dims[0].dim_value = 1
    return _graph_cost(proto, {})


class _UnknownShapeError(Exception):
    """A shape or a number of rounds that is not known before the island runs."""


def _graph_cost(model: onnx.ModelProto, outside: Types) -> IslandCost:
    """``outside``: tensors of the graphs around this one."""
    types = {**outside, **_types(model)}
    macs, uncounted = 0, list[str]()
    for node in model.graph.node:
        found = _node_cost(node, model, types)
        macs += found.macs
        uncounted += found.uncounted
    return IslandCost(macs=macs, uncounted=tuple(dict.fromkeys(uncounted)))


def _types(model: onnx.ModelProto) -> dict[str, tuple[int, Shape]]:
    """Of every tensor whose shape shape inference finds."""
    graph = model.graph
    with suppress(InferenceError):  # of a model that is not valid; then only what it says itself
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    out = {i.name: (i.data_type, tuple(i.dims)) for i in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        known = tensor.HasField("shape")
        if known and all(d.HasField("dim_value") for d in tensor.shape.dim):
            out[info.name] = tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim)
    return out


def _node_cost(node: onnx.NodeProto, model: onnx.ModelProto, types: Types) -> IslandCost:
    op = node.op_type
    rule = RULES.get(op) if node.domain in STANDARD else None
    try:
        if op in BODIES:
            return BODIES[op](node, model, types)
        if rule is not None:
            return IslandCost(macs=rule(_Node(node, types)), uncounted=())
    except (_UnknownShapeError, IndexError, KeyError, ValueError):
        pass  # not known, or not what its operation takes
    name = op if node.domain in STANDARD else f"{node.domain}.{op}"
    return IslandCost(macs=0, uncounted=(name,))


class _Node:
    """A node whose tensors have shapes."""

    def __init__(self, proto: onnx.NodeProto, types: Types) -> None:
        self.proto, self.types = proto, types
        self.attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}

    def input(self, position: int) -> Shape:
        return self._shape(self.proto.input[position])

    @property
    def output(self) -> Shape:
        return self._shape(self.proto.output[0])

    def _shape(self, tensor: str) -> Shape:
        if tensor not in self.types:
            raise _UnknownShapeError
        return self.types[tensor][1]

    @property
    def largest(self) -> int:
        """Numbers of the largest floating tensor that it reads or gives; 0 without one."""
        names = [t for t in (*self.proto.input, *self.proto.output) if t]
        sizes = [prod(self._shape(t)) for t in names if t not in self.types or self._floating(t)]
        return max(sizes, default=0)

    def _floating(self, tensor: str) -> bool:
        return self.types[tensor][0] in FLOATS


def _convolution(weight: int) -> Callable[[_Node], int]:
    return lambda node: prod(node.output) * prod(node.input(weight)[1:])


def _transposed(node: _Node) -> int:
    return prod(node.input(0)) * prod(node.input(1)[1:])


def _matrices(node: _Node) -> int:
    return prod(node.output) * node.input(0)[-1]


def _gemm(node: _Node) -> int:
    return prod(node.output) * node.input(0)[0 if node.attributes.get("transA") else 1]


def _recurrent(node: _Node) -> int:
    """Of X (steps and batch in either order, features), W and R (directions, gates, ...)."""
    steps, batch, _ = node.input(0)
    return steps * batch * (prod(node.input(1)) + prod(node.input(2)))


def _einsum(node: _Node) -> int:
    """All combinations of indices, one product of two numbers after the other."""
    equation = node.attributes["equation"].decode().replace(" ", "")
    terms = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for position, term in enumerate(terms):
        shape = node.input(position)
        before, dots, after = term.partition("...")
        hidden = len(shape) - len(before) - len(after) if dots else 0
        names = [*before, *(f"...{hidden - i}" for i in range(hidden)), *after]
        for name, size in zip(names, shape, strict=True):
            sizes[name] = max(size, sizes.get(name, 1))
    return prod(sizes.values()) * max(len(terms) - 1, 1)


def _each(node: _Node) -> int:
    return node.largest


def _several(node: _Node) -> int:
    """An operation of two operands, done with one more after the other."""
    return node.largest * max(len(node.proto.input) - 1, 1)


def _windows(node: _Node) -> int:
    return prod(node.output) * prod(node.attributes["kernel_shape"])


def _none(node: _Node) -> int:
    return 0


def _named(rule: Callable[[_Node], int], names: str) -> dict[str, Callable[[_Node], int]]:
    return dict.fromkeys(names.split(), rule)


RULES: Mapping[str, Callable[[_Node], int]] = {
    **_named(_convolution(1), "Conv ConvInteger"),
    **_named(_convolution(3), "QLinearConv"),
    **_named(_transposed, "ConvTranspose"),
    **_named(_matrices, "MatMul MatMulInteger QLinearMatMul"),
    **_named(_gemm, "Gemm"),
    **_named(_einsum, "Einsum"),
    **_named(_recurrent, "GRU LSTM RNN"),
    **_named(_windows, "AveragePool LpPool MaxPool"),
    **_named(_several, "Max Mean Min Sum"),
    **_named(
        _each,
        "Abs Acos Acosh Add Asin Asinh Atan Atanh BatchNormalization Ceil Celu Clip Cos Cosh "
        "CumSum DequantizeLinear Div Elu Erf Exp Floor Gelu GlobalAveragePool GlobalLpPool "
        "GlobalMaxPool GroupNormalization HardSigmoid HardSwish Hardmax InstanceNormalization LRN "
        "LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization "
        "Mish Mod Mul Neg PRelu Pow QuantizeLinear RMSNormalization Reciprocal ReduceL1 ReduceL2 "
        "ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
        "ReduceSumSquare Relu Resize Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus "
        "Softsign Sqrt Sub Swish Tan Tanh ThresholdedRelu Upsample",
    ),
    **_named(
        _none,
        "And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike "
        "Compress Concat Constant ConstantOfShape DepthToSpace Dropout Equal Expand EyeLike "
        "Flatten Gather GatherElements GatherND Greater GreaterOrEqual Identity IsInf IsNaN Less "
        "LessOrEqual NonZero Not OneHot Or Pad Range Reshape ReverseSequence Scatter "
        "ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile TopK "
        "Transpose Trilu Unsqueeze Where Xor",
    ),
}


def _scan(node: onnx.NodeProto, model: onnx.ModelProto, types: Types) -> IslandCost:
    """The body, as often as there are slices of what is scanned."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    count = found["num_scan_inputs"]
    scanned = node.input[len(node.input) - count]
    if scanned not in types:
        raise _UnknownShapeError
    axis = found.get("scan_input_axes", [0])[0]
    rounds = types[scanned][1][axis]
    body = _body_cost(found["body"], model, types)
    return IslandCost(macs=rounds * body.macs, uncounted=body.uncounted)


def _if(node: onnx.NodeProto, model: onnx.ModelProto, types: Types) -> IslandCost:
    """The dearer branch."""
    branches = [_body_cost(a.g, model, types) for a in node.attribute]
    names = _once(name for branch in branches for name in branch.uncounted)
    return IslandCost(macs=max(branch.macs for branch in branches), uncounted=names)


def _body_cost(body: onnx.GraphProto, model: onnx.ModelProto, types: Types) -> IslandCost:
    alone = helper.make_model(
        body, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )
    inside = {i.name for i in (*body.input, *body.initializer)}
    made = {name for node in body.node for name in node.output}
    for name in _once(name for node in body.node for name in node.input):
        if name in types and name not in inside | made:
            kind, shape = types[name]
            alone.graph.input.append(helper.make_tensor_value_info(name, kind, list(shape)))
    return _graph_cost(alone, types)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


BODIES: Mapping[str, Callable[[onnx.NodeProto, onnx.ModelProto, Types], IslandCost]] = {
    "Scan": _scan,
    "If": _if,
}
