"""Resize and Upsample: nearest is an index map, linear a matrix, along each axis by itself."""

from __future__ import annotations

import numpy as np

from ...runtime import ops
from ...runtime.ops import Array
from .builder import GraphBuilder, Value
from .registry import NoSpikingForm, OnnxNode, handles


@handles("Resize", "Upsample", becomes="Take (nearest) or Linear along each axis (linear)")
def resize(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    target = graph.shapes[node.outputs[0]]
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear") or node.attrs.get("antialias"):
        raise NoSpikingForm(f"mode '{mode}', with or without antialias")
    axes = [a for a, (n, m) in enumerate(zip(x.onnx_shape, target, strict=True)) if n != m]
    scales = _scales(graph, node, x, target)
    x, positions = graph.on_axes(x, axes)
    legacy = node.op == "Upsample" or graph.opset < 11
    for count, (axis, position) in enumerate(zip(axes, positions, strict=True)):
        part = "" if count == len(axes) - 1 else f"axis{axis}"
        size, scale = x.shape[position], scales[axis]
        transform = "asymmetric" if legacy else _text(node, "coordinate_transformation_mode")
        where = _coordinates(transform, size, target[axis], scale)
        if mode == "nearest":
            rounding = "floor" if legacy else _text(node, "nearest_mode")
            indices = _nearest(rounding, where, size)
            x = graph.emit(node, ops.Take(axis=position, indices=indices), [x], part=part)
        else:
            x = _along(graph, node, x, position, _linear(where, size), part)
    graph.finish(node, x)


def _scales(
    graph: GraphBuilder, node: OnnxNode, x: Value, target: tuple[int, ...]
) -> list[np.float32]:
    """The scale of each ONNX axis: as given, else output over input size."""
    ratio = [np.float32(m / n) for n, m in zip(x.onnx_shape, target, strict=True)]
    name = node.input(1 if node.op == "Upsample" or graph.opset < 11 else 2)
    given = graph.constant(name) if name else None
    if "scales" in node.attrs:
        given = np.asarray(node.attrs["scales"], np.float32)
    if given is None or not given.size:
        return ratio
    axes = node.ints("axes") or tuple(range(len(target)))
    for axis, scale in zip(axes, given.reshape(-1), strict=True):
        ratio[axis] = np.float32(scale)
    return ratio


DEFAULTS = {
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "round_prefer_floor",
}


def _text(node: OnnxNode, key: str) -> str:
    return node.text(key, DEFAULTS[key])


def _coordinates(mode: str, n: int, m: int, scale: np.float32) -> Array:
    """Where each of the m output cells lies on the axis of n input cells, in float32."""
    i = np.arange(m, dtype=np.float32)
    half = np.float32(0.5)
    match mode:
        case "half_pixel":
            return (i + half) / scale - half
        case "pytorch_half_pixel":
            return (i + half) / scale - half if m > 1 else np.zeros(1, np.float32)
        case "align_corners":
            return i * np.float32(n - 1) / np.float32(m - 1) if m > 1 else np.zeros(1, np.float32)
        case "asymmetric":
            return i / scale
        case "half_pixel_symmetric":
            adjustment = np.float32(m) / (scale * np.float32(n))
            center = np.float32(n) / 2
            return center * (1 - adjustment) + (i + half) / scale - half
    raise NoSpikingForm(f"coordinate_transformation_mode '{mode}'")


def _nearest(mode: str, where: Array, n: int) -> Array:
    half = np.float32(0.5)
    match mode:
        case "round_prefer_floor":
            index = np.ceil(where - half)
        case "round_prefer_ceil":
            index = np.floor(where + half)
        case "floor":
            index = np.floor(where)
        case "ceil":
            index = np.ceil(where)
        case _:
            raise NoSpikingForm(f"nearest_mode '{mode}'")
    return np.clip(index, 0, n - 1).astype(np.int64)


def _linear(where: Array, n: int) -> Array:
    """The matrix (m, n) of linear interpolation, cells beyond the border at the border."""
    where = np.clip(where, 0, n - 1)
    low = np.floor(where).astype(np.int64)
    high = np.minimum(low + 1, n - 1)
    weight = np.zeros((len(where), n), np.float32)
    rows = np.arange(len(where))
    np.add.at(weight, (rows, low), 1 - (where - low))
    np.add.at(weight, (rows, high), where - low)
    return weight


def _along(
    graph: GraphBuilder, node: OnnxNode, x: Value, axis: int, weight: Array, part: str
) -> Value:
    """A Linear on one sample axis: swapped to the end and back where it is not the last."""
    last = len(x.shape) - 1
    if axis == last:
        return graph.emit(node, ops.Linear(weight=weight), [x], part=part)
    perm = list(range(len(x.shape)))
    perm[axis], perm[last] = last, axis
    swap = ops.Transpose(perm=tuple(perm))
    helper = part or f"axis{axis}"
    y = graph.emit(node, swap, [x], part=f"{helper}_in")
    y = graph.emit(node, ops.Linear(weight=weight), [y], part=f"{helper}_linear")
    return graph.emit(node, swap, [y], part=part)
