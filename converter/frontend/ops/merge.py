"""Operations on two or more tensors that broadcast against each other, and Concat."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from ....runtime import ops
from ....runtime.ops import Array
from ...ann.graph import Relu
from ...ann.ranges import Range
from ..builder import GraphBuilder, Value, sample_constant
from ..node import NoSpikingForm, OnnxNode
from ..registry import handles
from .activation import FAR, UNBOUNDED, beside, clipped, scaled

HIDING = 2.0**12  # next to it single precision keeps less than four digits of what is added
MOVING = (ops.Reshape, ops.Transpose, ops.Broadcast, ops.Slice)


def _aligned(graph: GraphBuilder, values: Sequence[Value]) -> list[Value]:
    """The values in one form, all with or all without the batch axis in front.

    Broadcasting aligns from the right, so sample shapes broadcast as the ONNX shapes do.
    """
    if all(v.batched for v in values) or not any(v.batched for v in values):
        return list(values)
    rank = max(len(v.onnx_shape) for v in values)
    fits = all(
        v.batched or len(v.shape) < rank or (len(v.shape) == rank and v.shape[0] == 1)
        for v in values
    )
    if not fits:
        return [graph.without_batch(v) for v in values]
    return [graph.with_batch(v) if len(v.onnx_shape) == rank else v for v in values]


def _with_constant(graph: GraphBuilder, x: Value, constant: Array) -> tuple[Value, Array]:
    """``x`` and the constant in sample axes, ``x`` without its batch where that is needed."""
    if not x.batched:
        return x, constant
    try:
        return x, sample_constant(constant, len(x.shape))
    except NoSpikingForm:
        return graph.without_batch(x), constant


def _split(graph: GraphBuilder, node: OnnxNode) -> tuple[list[str], list[Array]]:
    computed = [name for name in node.inputs if graph.constant(name) is None]
    constants = [c for name in node.inputs if (c := graph.constant(name)) is not None]
    if not computed:
        raise NoSpikingForm("all of its inputs are constant")
    return computed, constants


def _added(graph: GraphBuilder, node: OnnxNode, name: str, constant: Array) -> Value:
    x, current = _with_constant(graph, graph.value(name), constant)
    return graph.add_bias(node, name, x, current)


def _sum(graph: GraphBuilder, node: OnnxNode, values: Sequence[Value], part: str = "") -> Value:
    aligned = _aligned(graph, values)
    batched = any(v.batched for v in aligned)
    return graph.emit(node, ops.Add(), aligned, batched=batched, part=part)


@handles("Add", "Sum", "Mean", becomes="Add; a constant becomes a bias")
def add(graph: GraphBuilder, node: OnnxNode) -> None:
    computed, constants = _split(graph, node)
    constant = reduce(np.add, constants) if constants else None
    count = len(node.inputs) if node.op == "Mean" else 1
    if len(computed) == 1 and constant is not None and count == 1:
        graph.finish(node, _added(graph, node, computed[0], constant))
        return
    if len(computed) == 1 and constant is None:
        graph.finish(node, graph.value(computed[0]))
        return
    values = [graph.value(name) for name in computed]
    mean = count > 1
    y = _sum(graph, node, values, part="sum" if mean or constant is not None else "")
    if constant is not None:
        y, current = _with_constant(graph, y, constant)
        if np.broadcast_shapes(y.shape, current.shape) != y.shape:
            raise NoSpikingForm("a constant larger than the sum it is added to")
        y = scaled(graph, node, y, 1 / count, bias=current / count)
    elif mean:
        y = scaled(graph, node, y, 1 / count)
    graph.finish(node, y)


@handles("Sub", becomes="Add of a negated tensor; a constant becomes a bias")
def sub(graph: GraphBuilder, node: OnnxNode) -> None:
    a, b = (graph.constant(name) for name in node.inputs)
    if b is not None:
        graph.finish(node, _added(graph, node, node.input(0), -b))
        return
    x = graph.value(node.input(1))
    if a is None:
        negated = scaled(graph, node, x, -1, part="negated")
        graph.finish(node, _sum(graph, node, [graph.value(node.input(0)), negated]))
        return
    x, current = _with_constant(graph, x, a)
    x = _grown(graph, node, x, current)
    graph.finish(node, scaled(graph, node, x, -1, bias=current))


def _grown(graph: GraphBuilder, node: OnnxNode, x: Value, constant: Array) -> Value:
    shape = np.broadcast_shapes(x.shape, constant.shape)
    if shape == x.shape:
        return x
    return graph.emit(node, ops.Broadcast(shape=shape), [x], part="broadcast")


@handles("Neg", becomes="a scale by -1")
def neg(graph: GraphBuilder, node: OnnxNode) -> None:
    graph.finish(node, scaled(graph, node, graph.value(node.input(0)), -1))


@handles("Mul", "Div", becomes="a scale, where the factor is constant")
def mul(graph: GraphBuilder, node: OnnxNode) -> None:
    a, b = (graph.constant(name) for name in node.inputs)
    if node.op == "Div" and (b is None or not b.all()):
        raise NoSpikingForm("a division by a computed tensor" if b is None else "a division by 0")
    constant = b if b is not None else a
    if constant is None:
        raise NoSpikingForm("a product of two computed tensors")
    x = graph.value(node.input(0 if b is not None else 1))
    x, factor = _with_constant(graph, x, constant)
    scale = (1 / factor.astype(np.float64)) if node.op == "Div" else factor
    if np.abs(scale).max(initial=0) * _offset(graph, x) >= HIDING:
        raise NoSpikingForm("a mask: numbers so large that a sum of currents keeps no others")
    layer = ops.Scale(scale=scale.astype(np.float32))
    graph.finish(node, graph.emit(node, layer, [x]))


def _offset(graph: GraphBuilder, x: Value) -> float:
    """The largest constant that was added to ``x``, which goes on as a current of its own: 1 of the
    1 - m that an attention multiplies by the lowest number there is."""
    node = graph.nodes[x.node]
    while node.bias is None and len(node.inputs) == 1 and isinstance(node.layer, MOVING):
        node = graph.nodes[node.inputs[0]]
    return 0.0 if node.bias is None else float(np.abs(node.bias).max())


@handles("Max", "Min", becomes="a population: max(a, b) = a + Relu(b - a)")
def maximum(graph: GraphBuilder, node: OnnxNode) -> None:
    """max(x, c) = c + Relu(x - c), for c far below 0 x + Relu(c - x); max(a, b) = a + Relu(b - a);
    min is the negative of both. A side that cannot win goes."""
    computed, constants = _split(graph, node)
    if len(node.inputs) == 1:
        graph.finish(node, graph.value(computed[0]))
        return
    if len(computed) + len(constants) > 2 or len(constants) > 1:
        raise NoSpikingForm("more than two inputs", "Chain it in pairs.")
    low = node.op == "Max"
    if constants and constants[0].size == 1 and constants[0].ndim <= 1:
        bound = float(constants[0].reshape(-1)[0])
        x = graph.value(computed[0])
        y = clipped(graph, node, x, low=bound if low else None, high=None if low else bound)
        graph.finish(node, y)
        return
    sign = 1.0 if low else -1.0
    if constants:
        x, c = _with_constant(graph, graph.value(computed[0]), constants[0])
        x = _grown(graph, node, x, c)
        graph.finish(node, _bounded(graph, node, x, c, sign))
        return
    a, b = graph.value(computed[0]), graph.value(computed[1])
    (a_low, a_high), (b_low, b_high) = (_mirrored(graph.range_of(v), sign) for v in (a, b))
    if a.onnx_shape == b.onnx_shape and (a_low >= b_high or b_low >= a_high):
        graph.finish(node, a if a_low >= b_high else b)
        return
    if b_low > a_low:  # what may lie far below would drown the other in a + Relu(b - a)
        a, b = b, a
    minus = scaled(graph, node, a, -sign, part="negated")
    other = b if low else scaled(graph, node, b, sign, part="negated_b")
    difference = _sum(graph, node, [other, minus], part="difference")
    y = graph.emit(node, Relu(beside=True), [difference], part="relu")
    if not low:
        y = scaled(graph, node, y, sign, part="gap")
    graph.finish(node, _sum(graph, node, [a, y]))


def _mirrored(given: Range, sign: float) -> Range:
    return given if sign > 0 else (-given[1], -given[0])


def _bounded(graph: GraphBuilder, node: OnnxNode, x: Value, c: Array, sign: float) -> Value:
    """max(x, c) for ``sign`` 1, min(x, c) for -1, element by element; ``c`` broadcasts to x."""
    bound = sign * np.asarray(c, np.float64)
    if (bound >= UNBOUNDED).any():
        raise NoSpikingForm("an infinite bound on the wrong side")
    reached = bound > max(_mirrored(graph.range_of(x), sign)[0], -UNBOUNDED)
    if not reached.any():
        return x
    if not reached.all() or (bound < -FAR).any():
        finite = np.where(reached, sign * bound, 0)
        return beside(graph, node, x, sign=-sign, bound=finite, where=reached)
    y = scaled(graph, node, x, sign, bias=-sign * c, part="above")
    y = graph.emit(node, Relu(), [y], part="relu")
    return scaled(graph, node, y, sign, bias=c)


@handles("Concat", becomes="Concat; a constant part becomes a bias")
def concat(graph: GraphBuilder, node: OnnxNode) -> None:
    axis = int(node.attrs.get("axis", 1))
    computed, constants = _split(graph, node)
    rank = len(graph.value(computed[0]).onnx_shape)
    axis = axis + rank if axis < 0 else axis
    values = {name: graph.value(name) for name in computed}
    keep = axis > 0 and all(v.onnx_shape[:1] == (1,) for v in values.values())
    keep = keep and any(v.batched for v in values.values())
    form = graph.with_batch if keep else graph.without_batch
    if not constants:
        parts = [form(values[name]) for name in node.inputs]
        layer = ops.Concat(axis=axis - 1 if keep else axis)
        graph.finish(node, graph.emit(node, layer, parts))
        return
    placed, start, bias = [], 0, np.zeros(graph.shapes[node.outputs[0]], np.float32)
    for index, name in enumerate(node.inputs):
        constant = graph.constant(name)
        if constant is None:
            placed.append((form(values[name]), start, index))
            start += values[name].onnx_shape[axis]
            continue
        bias[(*(slice(None),) * axis, slice(start, start + constant.shape[axis]))] = constant
        start += constant.shape[axis]
    _finish_padded(
        graph, node, placed, axis=axis - keep, total=start, bias=bias[0] if keep else bias
    )


def _finish_padded(
    graph: GraphBuilder,
    node: OnnxNode,
    placed: Sequence[tuple[Value, int, int]],
    *,
    axis: int,
    total: int,
    bias: Array,
) -> None:
    """Each computed part padded with zeros to the whole, all added, constants as the bias."""
    padded = []
    for value, start, index in placed:
        before, after = [0] * len(value.shape), [0] * len(value.shape)
        before[axis], after[axis] = start, total - start - value.shape[axis]
        layer = ops.Pad(pads=(*before, *after))
        only = len(placed) == 1
        padded.append(
            graph.emit(
                node,
                layer,
                [value],
                bias=bias if only else None,
                part="" if only else f"pad{index}",
            )
        )
    y = padded[0] if len(padded) == 1 else graph.emit(node, ops.Add(), padded, bias=bias)
    graph.finish(node, y)
