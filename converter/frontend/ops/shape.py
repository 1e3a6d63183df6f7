"""Operations that move numbers without changing them: views, slices, paddings, index maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....runtime import ops
from ....runtime.ops import Array, Shape
from ..builder import GraphBuilder, Value
from ..node import NoSpikingForm, OnnxNode
from ..registry import handles


@handles("Reshape", "Flatten", "Squeeze", "Unsqueeze", becomes="Reshape, or nothing")
def view(graph: GraphBuilder, node: OnnxNode) -> None:
    """The same numbers in the shape that shape inference found."""
    x = graph.value(node.input(0))
    target = graph.shapes[node.outputs[0]]
    batched = x.batched and target[:1] == (1,)
    shape = target[1:] if batched else target
    graph.finish(node, graph.view(x, shape, batched=batched, name=node.name))


@handles("Transpose", becomes="Transpose, or Reshape where only axes of size 1 move")
def transpose(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    rank = len(x.onnx_shape)
    perm = node.ints("perm") or tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise ValueError(f"its axes {perm} are no order of the {rank} that it reads")
    order = [p for p in perm if x.onnx_shape[p] != 1]
    if order == sorted(order):
        view(graph, node)
        return
    if x.batched and perm[0] == 0:
        layer = ops.Transpose(perm=tuple(p - 1 for p in perm[1:]))
    else:
        x, layer = graph.without_batch(x), ops.Transpose(perm=perm)
    graph.finish(node, graph.emit(node, layer, [x]))


@handles("Slice", becomes="Slice")
def slice_(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    starts = node.ints("starts") or graph.ints(node.input(1))
    ends = node.ints("ends") or graph.ints(node.input(2))
    if starts is None or ends is None:
        raise NoSpikingForm("without starts or ends")
    axes = node.ints("axes") or graph.ints(node.input(3)) or tuple(range(len(starts)))
    steps = graph.ints(node.input(4)) or (1,) * len(starts)
    sections = {
        a % len(x.onnx_shape): slice(b, e, s)
        for a, b, e, s in zip(axes, starts, ends, steps, strict=True)
    }
    if len(sections) < len(axes):
        raise NoSpikingForm("it names an axis twice")
    if x.batched and sections.get(0, slice(None)).indices(1) in ((0, 1, 1), (0, -1, -1)):
        sections.pop(0, None)
    graph.finish(node, sliced(graph, node, x, sections))


def sliced(
    graph: GraphBuilder, node: OnnxNode, x: Value, sections: dict[int, slice], part: str = ""
) -> Value:
    """``x`` cut along ONNX axes."""
    x, axes = graph.on_axes(x, tuple(sections))
    bounds = [(0, n, 1) for n in x.shape]
    for axis, section in zip(axes, sections.values(), strict=True):
        start, stop, step = section.indices(x.shape[axis])
        bounds[axis] = (start, stop, step)
    if bounds == [(0, n, 1) for n in x.shape]:
        return x
    starts, stops, steps = (tuple(column) for column in zip(*bounds, strict=True))
    return graph.emit(node, ops.Slice(starts=starts, stops=stops, steps=steps), [x], part=part)


@handles("Split", becomes="Slices")
def split(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    axis = int(node.attrs.get("axis", 0)) % len(x.onnx_shape)
    start = 0
    for index, output in enumerate(node.outputs):
        size = graph.shapes[output][axis] if output else 0
        if not output:
            raise NoSpikingForm("an output of it is left out")
        section = {axis: slice(start, start + size)}
        graph.finish(node, sliced(graph, node, x, section, part=str(index)), index)
        start += size


LARGEST = 1e30  # its sum over steps is still a number; next to it any activation is nothing


@handles("Pad", becomes="Pad; a value other than 0 becomes a bias")
def pad(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    rank = len(x.onnx_shape)
    begins, ends = _pad_widths(graph, node, rank)
    mode = node.text("mode", "constant")
    if x.batched and (begins[0] or ends[0]):
        x = graph.without_batch(x)
    if x.batched:
        begins, ends = begins[1:], ends[1:]
    if mode != "constant":
        graph.finish(node, _index_padded(graph, node, x, begins=begins, ends=ends, mode=mode))
        return
    if min((*begins, *ends), default=0) < 0:
        cut = {
            i + x.batched: slice(-min(b, 0), n + min(e, 0))
            for i, (b, e, n) in enumerate(zip(begins, ends, x.shape, strict=True))
        }
        x = sliced(graph, node, x, cut, part="cut")
    begins, ends = [max(b, 0) for b in begins], [max(e, 0) for e in ends]
    inside = np.zeros(x.shape, np.float32)
    # Exporters pad a MaxPool with the largest negative float.
    value = float(np.clip(_pad_value(graph, node), -LARGEST, LARGEST))
    widths = list(zip(begins, ends, strict=True))
    bias = np.pad(inside, widths, constant_values=value) if value else None
    layer = ops.Pad(pads=(*begins, *ends))
    graph.finish(node, graph.emit(node, layer, [x], bias=bias))


def _pad_widths(graph: GraphBuilder, node: OnnxNode, rank: int) -> tuple[list[int], list[int]]:
    pads = node.ints("pads") or graph.ints(node.input(1))
    if pads is None:
        raise NoSpikingForm("without pads")
    axes = graph.ints(node.input(3)) or tuple(range(rank))
    if len({axis % rank for axis in axes}) < len(axes):
        raise NoSpikingForm("it names an axis twice")
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[i], pads[len(axes) + i]
    return begins, ends


def _pad_value(graph: GraphBuilder, node: OnnxNode) -> float:
    if not node.input(2):
        return float(node.attrs.get("value", 0.0))
    value = graph.constant(node.input(2))
    if value is None:
        raise NoSpikingForm("its value is computed from the data")
    return float(value.reshape(-1)[0])


def _index_padded(
    graph: GraphBuilder,
    node: OnnxNode,
    x: Value,
    *,
    begins: Sequence[int],
    ends: Sequence[int],
    mode: str,
) -> Value:
    """Modes reflect, edge and wrap: every padded cell is a copy of an inner one."""
    maps = {}
    for axis, (begin, end, n) in enumerate(zip(begins, ends, x.shape, strict=True)):
        if begin < 0 or end < 0 or mode not in ("reflect", "edge", "wrap"):
            raise NoSpikingForm(f"mode '{mode}' with pads {begin}, {end}")
        index = np.arange(n)
        if begin or end:
            maps[axis] = np.pad(index, (begin, end), mode=mode)  # type: ignore[call-overload]
    return taken(graph, node, x, maps)


def taken(
    graph: GraphBuilder, node: OnnxNode, x: Value, maps: dict[int, Array], part: str = ""
) -> Value:
    """y[..., i, ...] = x[..., map[i], ...] along each sample axis in ``maps``."""
    last = len(maps) - 1
    for count, (axis, indices) in enumerate(maps.items()):
        helper = part if count == last else f"{part or 'take'}{axis}"
        x = graph.emit(node, ops.Take(axis=axis, indices=indices), [x], part=helper)
    return x


@handles("Gather", becomes="Take, where the indices are constant")
def gather(graph: GraphBuilder, node: OnnxNode) -> None:
    indices = graph.constant(node.input(1))
    if indices is None:
        raise NoSpikingForm("its indices are computed from the data")
    x, (axis,) = graph.on_axes(graph.value(node.input(0)), [int(node.attrs.get("axis", 0))])
    size = x.shape[axis]
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise NoSpikingForm(f"an index out of range for an axis of size {size}")
    maps = {axis: indices.reshape(-1) % size}
    y = taken(graph, node, x, maps, part="" if indices.ndim == 1 else "flat")
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    graph.finish(node, graph.view(y, shape, batched=x.batched))


@handles("Expand", becomes="Broadcast")
def expand(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    target = graph.shapes[node.outputs[0]]
    if x.batched and len(target) == len(x.onnx_shape) and target[0] == 1:
        target = target[1:]
    else:
        x = graph.without_batch(x)
    if x.shape == target:
        graph.finish(node, x)
        return
    graph.finish(node, graph.emit(node, ops.Broadcast(shape=target), [x]))


@handles("Tile", becomes="Take")
def tile(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    repeats = graph.ints(node.input(1))
    if repeats is None or min(repeats) < 1:
        raise NoSpikingForm(f"repeats {repeats}")
    if x.batched and repeats[0] == 1:
        repeats = repeats[1:]
    else:
        x = graph.without_batch(x)
    maps = {a: np.tile(np.arange(x.shape[a]), r) for a, r in enumerate(repeats) if r > 1}
    graph.finish(node, taken(graph, node, x, maps))


@handles("DepthToSpace", "SpaceToDepth", becomes="Reshape and Transpose")
def depth_to_space(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.with_batch(graph.value(node.input(0)))
    c, h, w = x.shape
    b = int(node.attrs["blocksize"])
    if node.op == "SpaceToDepth":
        split_shape: Shape = (c, h // b, b, w // b, b)
        perm: Shape = (2, 4, 0, 1, 3) if node.text("mode", "DCR") == "DCR" else (0, 2, 4, 1, 3)
        out: Shape = (c * b * b, h // b, w // b)
    elif node.text("mode", "DCR") == "DCR":
        split_shape, perm, out = (b, b, c // (b * b), h, w), (2, 3, 0, 4, 1), ()
    else:
        split_shape, perm, out = (c // (b * b), b, b, h, w), (0, 3, 1, 4, 2), ()
    out = out or (c // (b * b), h * b, w * b)
    y = graph.view(x, split_shape, batched=True)
    y = graph.emit(node, ops.Transpose(perm=perm), [y], part="transpose")
    graph.finish(node, graph.view(y, out, batched=True))
