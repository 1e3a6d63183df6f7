"""Pooling and reductions: sums, means and maxima over windows or axes."""

from __future__ import annotations

from functools import reduce
from math import prod

import numpy as np

from ....runtime import ops
from ....runtime.ops import Array, Shape
from ....runtime.ops.linear import CumSum
from ..builder import GraphBuilder, Value
from ..node import NoSpikingForm, OnnxNode, Refused
from ..registry import handles
from .conv import window


def _pool_window(node: OnnxNode, x: Value) -> tuple[Shape, Shape, Shape, Shape, Shape]:
    """kernel, strides, dilations, declared pads, and the pads with ``ceil_mode`` worked in."""
    kernel = node.ints("kernel_shape")
    if kernel is None or not 1 <= len(kernel) <= 3:
        raise NoSpikingForm("1 to 3 spatial axes are supported")
    spatial = x.shape[1:]
    strides, dilations, pads = window(node, kernel, spatial=spatial)
    if node.text("auto_pad", "NOTSET").startswith("SAME") and any(d > 1 for d in dilations):
        raise Refused(
            "ONNX and ONNX Runtime disagree on auto_pad SAME of a dilated pool",
            "Write the pads out.",
        )
    gaps = any(
        (-(-n // s) - 1) * s + k < n for n, k, s in zip(spatial, kernel, strides, strict=True)
    )
    if node.text("auto_pad", "NOTSET").startswith("SAME") and gaps:
        raise Refused(
            "ONNX Runtime refuses auto_pad SAME of a pool whose windows leave the last cells out, "
            "or crops the first ones too, by the operation and its version",
            "Write the pads out.",
        )
    if not node.attrs.get("ceil_mode"):
        return kernel, strides, dilations, pads, pads
    rank = len(kernel)
    ends = [
        _ceil_pad(n, k=k, s=s, d=d, begin=b, end=e)
        for n, k, s, d, b, e in zip(
            spatial, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True
        )
    ]
    return kernel, strides, dilations, pads, (*pads[:rank], *ends)


def _ceil_pad(n: int, *, k: int, s: int, d: int, begin: int, end: int) -> int:
    """The end padding that makes the floor rule count as many windows as the ceil rule: a last
    window may hang over the end, but must start within the input or the begin padding."""
    reach = d * (k - 1) + 1
    count = -(-(n + begin + end - reach) // s) + 1
    if (count - 1) * s >= n + begin:
        count -= 1
    return max(end, (count - 1) * s + reach - n - begin) if count > 0 else end


@handles("AveragePool", becomes="SumPool and a Scale")
def average_pool(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.with_batch(graph.value(node.input(0)))
    kernel, strides, dilations, declared, pads = _pool_window(node, x)
    layer = ops.SumPool(kernel=kernel, strides=strides, dilations=dilations, pads=pads)
    y = graph.emit(node, layer, [x], part="sum")
    rank = len(kernel)
    counted = declared if node.attrs.get("count_include_pad") else (0,) * (2 * rank)
    counts = [
        _cells(
            x.shape[1 + i],
            windows=y.shape[1 + i],
            k=kernel[i],
            s=strides[i],
            d=dilations[i],
            begin=pads[i],
            counted=(counted[i], counted[rank + i]),
        )
        for i in range(rank)
    ]
    divisor = reduce(np.multiply.outer, counts)[None]
    if np.all(divisor == divisor.flat[0]):
        divisor = divisor.reshape(-1)[:1].reshape(())
    scale = (1.0 / np.maximum(divisor, 1)).astype(np.float32)
    graph.finish(node, graph.emit(node, ops.Scale(scale=scale), [y]))


def _cells(
    size: int, *, windows: int, k: int, s: int, d: int, begin: int, counted: tuple[int, int]
) -> Array:
    """How many cells of each window lie in the input, or in the padding that is counted."""
    taps = np.arange(windows)[:, None] * s - begin + np.arange(k)[None] * d
    inside: Array = ((taps >= -counted[0]) & (taps < size + counted[1])).sum(axis=1)
    return inside


@handles("MaxPool", becomes="MaxPool, exact on cumulated spikes")
def max_pool(graph: GraphBuilder, node: OnnxNode) -> None:
    if len([o for o in node.outputs if o]) > 1:
        raise NoSpikingForm("its output of indices is used", "Use only the pooled values.")
    x = graph.with_batch(graph.value(node.input(0)))
    kernel, strides, dilations, _, pads = _pool_window(node, x)
    layer = ops.MaxPool(kernel=kernel, strides=strides, dilations=dilations, pads=pads)
    graph.finish(node, graph.emit(node, layer, [x]))


@handles("GlobalMaxPool", becomes="MaxPool over the whole map")
def global_max_pool(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.with_batch(graph.value(node.input(0)))
    kernel, rank = x.shape[1:], len(x.shape) - 1
    ones = (1,) * rank
    layer = ops.MaxPool(kernel=kernel, strides=ones, dilations=ones, pads=(0,) * (2 * rank))
    graph.finish(node, graph.emit(node, layer, [x]))


@handles("GlobalAveragePool", becomes="ReduceSum and a Scale")
def global_average_pool(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.with_batch(graph.value(node.input(0)))
    axes = tuple(range(1, len(x.shape)))
    y = graph.emit(node, ops.ReduceSum(axes=axes, keepdims=True), [x], part="sum")
    _finish_mean(graph, node, y, prod(x.shape[1:]))


def _finish_mean(graph: GraphBuilder, node: OnnxNode, y: Value, count: int) -> None:
    scale = ops.Scale(scale=np.asarray(1.0 / count, np.float32))
    graph.finish(node, graph.emit(node, scale, [y]))


def _reduced_axes(graph: GraphBuilder, node: OnnxNode, rank: int) -> tuple[int, ...]:
    axes = node.ints("axes")
    if axes is None and len(node.inputs) > 1:
        axes = graph.ints(node.input(1))
    if axes:
        return axes
    return () if node.attrs.get("noop_with_empty_axes") else tuple(range(rank))


@handles("ReduceSum", "ReduceMean", becomes="ReduceSum, and a Scale for the mean")
def reduce_sum(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    axes = _reduced_axes(graph, node, len(x.onnx_shape))
    if not axes:
        graph.finish(node, x)
        return
    x, axes = graph.on_axes(x, axes)
    layer = ops.ReduceSum(axes=tuple(sorted(axes)), keepdims=bool(node.attrs.get("keepdims", 1)))
    if node.op == "ReduceSum":
        graph.finish(node, graph.emit(node, layer, [x]))
        return
    y = graph.emit(node, layer, [x], part="sum")
    _finish_mean(graph, node, y, prod(x.shape[a] for a in axes))


@handles("CumSum", becomes="CumSum, where the axis is constant")
def cum_sum(graph: GraphBuilder, node: OnnxNode) -> None:
    axes = graph.ints(node.input(1)) or ()
    if len(axes) != 1:
        raise NoSpikingForm(f"it has {len(axes)} axes, it must have one")
    x, (axis,) = graph.on_axes(graph.value(node.input(0)), axes)
    exclusive, reverse = (bool(node.attrs.get(key, 0)) for key in ("exclusive", "reverse"))
    layer = CumSum(axis=axis, exclusive=exclusive, reverse=reverse)
    graph.finish(node, graph.emit(node, layer, [x]))


@handles("ReduceMax", becomes="MaxPool with one window")
def reduce_max(graph: GraphBuilder, node: OnnxNode) -> None:
    """Maximum over some axes: a MaxPool with one window over (the other axes, these axes)."""
    x = graph.value(node.input(0))
    axes = _reduced_axes(graph, node, len(x.onnx_shape))
    if not axes:
        graph.finish(node, x)
        return
    x, axes = graph.on_axes(x, axes)
    rest = tuple(a for a in range(len(x.shape)) if a not in axes)
    perm = (*rest, *sorted(axes))
    if perm != tuple(range(len(x.shape))):
        x = graph.emit(node, ops.Transpose(perm=perm), [x], part="in")
    others, size = x.shape[: len(rest)], prod(x.shape[len(rest) :])
    y = graph.view(x, (prod(others), size), batched=x.batched)
    layer = ops.MaxPool(kernel=(size,), strides=(1,), dilations=(1,), pads=(0, 0))
    y = graph.emit(node, layer, [y], part="max")
    kept = dict(zip(rest, others, strict=True))
    shape = tuple(kept.get(a, 1) for a in range(len(perm)))
    shape = shape if node.attrs.get("keepdims", 1) else others
    graph.finish(node, graph.view(y, shape, batched=y.batched, name=node.name))
