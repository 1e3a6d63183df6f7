"""Gemm, MatMul and BatchNormalization."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from ....runtime import ops
from ....runtime.file.opsets import OLDEST, ir_version
from ....runtime.ops import Array, Shape
from ...ann.graph import Product
from ..builder import GraphBuilder, Value, sample_constant
from ..node import NoSpikingForm, OnnxNode, Refused
from ..registry import handles

PRODUCT = "product"


def _swap_last(graph: GraphBuilder, node: OnnxNode, value: Value, part: str) -> Value:
    rank = len(value.shape)
    perm = (*range(rank - 2), rank - 1, rank - 2)
    return graph.emit(node, ops.Transpose(perm=perm), [value], part=part)


def _weight(array: Array, factor: float = 1.0) -> Array:
    """``array`` times ``factor``: itself, not a copy, where it is that already."""
    return np.ascontiguousarray(array if factor == 1 else factor * array, dtype=np.float32)


@handles("Gemm", becomes="Linear; bias is the neuron's current")
def gemm(graph: GraphBuilder, node: OnnxNode) -> None:
    """Y = alpha A' B' + beta C with A' = A or its transpose, B' likewise; A or B constant."""
    alpha, beta = node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)
    a, b = graph.constant(node.input(0)), graph.constant(node.input(1))
    if a is not None and b is None:
        left = a.T if node.attrs.get("transA") else a
        x = graph.without_batch(graph.value(node.input(1)))
        # (B')^T A'^T = Y^T, and Linear multiplies rows by weight^T
        if not node.attrs.get("transB"):
            x = _swap_last(graph, node, x, "in")
        y = graph.emit(node, ops.Linear(weight=_weight(left, alpha)), [x], part="t")
        y = _swap_last(graph, node, y, "out")
        _finish_gemm(graph, node, y, beta)
        return
    if b is None:
        raise NoSpikingForm("a product of two computed tensors")
    x = graph.value(node.input(0))
    if node.attrs.get("transA"):
        x = _swap_last(graph, node, graph.without_batch(x), "in")
    weight = _weight(b if node.attrs.get("transB") else b.T, alpha)
    bias = graph.constant(node.input(2)) if node.input(2) else None
    if (node.input(2) and bias is None) or (bias is not None and bias.ndim > 2):
        _finish_gemm(graph, node, graph.emit(node, ops.Linear(weight=weight), [x]), beta)
        return
    if bias is not None:
        bias = beta * (sample_constant(bias, len(x.shape)) if x.batched else bias)
    graph.finish(node, graph.emit(node, ops.Linear(weight=weight), [x], bias=bias))


def _finish_gemm(graph: GraphBuilder, node: OnnxNode, y: Value, beta: float) -> None:
    name = node.input(2)
    if not name:
        graph.finish(node, y)
        return
    constant = graph.constant(name)
    y = graph.without_batch(y)
    if constant is not None:
        scale = ops.Scale(scale=np.ones((), np.float32))
        graph.finish(node, graph.emit(node, scale, [y], bias=np.asarray(beta * constant)))
        return
    c = graph.without_batch(graph.value(name))
    if beta != 1:
        c = graph.emit(node, ops.Scale(scale=np.asarray(beta, np.float32)), [c], part="beta")
    graph.finish(node, graph.emit(node, ops.Add(), [y, c], part="sum"))


@handles("MatMul", becomes="Linear, or where both sides are computed a product of running sums")
def matmul(graph: GraphBuilder, node: OnnxNode) -> None:
    """Y = A B, one side constant and of at most two axes, or both computed."""
    a, b = graph.constant(node.input(0)), graph.constant(node.input(1))
    if b is not None:
        _matmul_right(graph, node, b)
    elif a is not None:
        _matmul_left(graph, node, a)
    else:
        _matmul_signals(graph, node)


def _matmul_signals(graph: GraphBuilder, node: OnnxNode) -> None:
    a, b = (graph.leading(graph.value(node.input(i))) for i in (0, 1))
    if a.batched != b.batched or min(len(a.shape), len(b.shape)) < 2:
        raise NoSpikingForm(
            "a product of two computed tensors, not both of them a batch of matrices"
        )
    rank = max(len(a.shape), len(b.shape))
    a, b = (
        graph.view(x, (*(1,) * (rank - len(x.shape)), *x.shape), batched=x.batched) for x in (a, b)
    )
    layer = Product(model=product_model(a.shape, second=b.shape), output=PRODUCT, ops=("MatMul",))
    shape = _product_shape(a.shape, second=b.shape)
    graph.finish(node, graph.emit(node, layer, [a, b], shape=shape))


def _product_shape(first: Shape, *, second: Shape) -> Shape:
    lead = np.broadcast_shapes(first[:-2], second[:-2])
    return tuple(int(n) for n in (*lead, first[-2], second[-1]))


def product_model(first: Shape, *, second: Shape) -> bytes:
    """One MatMul of samples of these shapes, behind a batch axis."""
    shapes = {"first": first, "second": second, PRODUCT: _product_shape(first, second=second)}
    *given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name, shape in shapes.items()
    )
    multiply = helper.make_node("MatMul", ["first", "second"], [PRODUCT])
    graph = helper.make_graph([multiply], "product", given, [made])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OLDEST)], ir_version=ir_version(OLDEST)
    )
    return model.SerializeToString()


def _squeezed(weight: Array) -> Array:
    while weight.ndim > 2 and weight.shape[0] == 1:
        weight = weight[0]
    if weight.ndim > 2:
        raise NoSpikingForm(f"a constant factor with {weight.ndim} axes")
    return weight


def _matmul_right(graph: GraphBuilder, node: OnnxNode, b: Array) -> None:
    x = graph.value(node.input(0))
    if not x.shape or (b.ndim > 2 and b.ndim > len(x.onnx_shape)):
        raise NoSpikingForm("a constant factor with more axes than the tensor it multiplies")
    weight = _squeezed(b)
    matrix = weight[:, None] if weight.ndim == 1 else weight
    vector = weight.ndim == 1
    y = graph.emit(node, ops.Linear(weight=_weight(matrix.T)), [x], part="m" if vector else "")
    graph.finish(node, graph.view(y, y.shape[:-1], batched=y.batched) if vector else y)


def _matmul_left(graph: GraphBuilder, node: OnnxNode, a: Array) -> None:
    x = graph.value(node.input(1))
    if a.ndim > 2 and a.ndim > len(x.onnx_shape):
        raise NoSpikingForm("a constant factor with more axes than the tensor it multiplies")
    weight = _squeezed(a)
    if len(x.onnx_shape) == 1:
        if weight.ndim != 2:
            weight = weight[None]
        y = graph.emit(node, ops.Linear(weight=_weight(weight)), [graph.without_batch(x)])
        graph.finish(node, graph.view(y, graph.shapes[node.outputs[0]], batched=False))
        return
    if len(x.shape) < 2:
        x = graph.without_batch(x)
    matrix = weight[None] if weight.ndim == 1 else weight
    y = _swap_last(graph, node, x, "in")
    y = graph.emit(node, ops.Linear(weight=_weight(matrix)), [y], part="t")
    y = _swap_last(graph, node, y, "")
    if weight.ndim == 1:
        y = graph.view(y, (*y.shape[:-2], y.shape[-1]), batched=y.batched)
    graph.finish(node, y)


@handles("BatchNormalization", becomes="a scale and bias per channel, folded where exact")
def batch_normalization(graph: GraphBuilder, node: OnnxNode) -> None:
    """Y = (X - mean) gamma / sqrt(var + eps) + beta per channel (ONNX axis 1)."""
    if node.attrs.get("training_mode") or len([o for o in node.outputs if o]) > 1:
        raise Refused("in training mode", "Export the model after model.eval().")
    gamma, beta, mean, var = (_parameter(graph, node, i) for i in range(1, 5))
    scale = gamma / np.sqrt(var + np.float64(node.attrs.get("epsilon", 1e-5)))
    x = graph.value(node.input(0))
    rank = len(x.onnx_shape)
    channel = (-1, *(1,) * (rank - 2))
    layer = ops.Scale(scale=scale.reshape(channel).astype(np.float32))
    bias = (beta - mean * scale).reshape(channel)
    graph.finish(node, graph.emit(node, layer, [x], bias=bias))


def _parameter(graph: GraphBuilder, node: OnnxNode, index: int) -> Array:
    value = graph.constant(node.input(index))
    if value is None:
        raise NoSpikingForm("its parameters are computed from the data")
    return value.astype(np.float64)
