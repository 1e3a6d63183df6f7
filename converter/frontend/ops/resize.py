"""Resize and Upsample: the same linear map along each axis by itself.

The map of an axis is asked of ONNX Runtime (resizing unit vectors), so every mode is what the
original model does, to the last tie.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ....runtime import ops
from ....runtime.ops import Array
from ..builder import GraphBuilder, Value
from ..file.cleanup import session
from ..node import NoSpikingForm, OnnxNode
from ..registry import handles

MODES = ("nearest", "linear", "cubic")
LARGEST_MAP = 2**24  # numbers in the matrix of one axis: 4096 x 4096


@handles("Resize", "Upsample", becomes="Take (nearest) or a Linear along each axis (others)")
def resize(graph: GraphBuilder, node: OnnxNode) -> None:
    x = graph.value(node.input(0))
    target = graph.shapes[node.outputs[0]]
    mode = node.text("mode", "nearest")
    if mode not in MODES or node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NoSpikingForm(f"mode '{mode}', or a size that keeps the aspect ratio")
    if node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise NoSpikingForm("coordinate_transformation_mode 'tf_crop_and_resize'")
    axes = [a for a, (n, m) in enumerate(zip(x.onnx_shape, target, strict=True)) if n != m]
    scales = _scales(graph, node, len(target))
    x, positions = graph.on_axes(x, axes)
    for count, (axis, position) in enumerate(zip(axes, positions, strict=True)):
        part = "" if count == len(axes) - 1 else f"axis{axis}"
        if x.shape[position] * max(x.shape[position], target[axis]) > LARGEST_MAP:
            raise NoSpikingForm("an axis too long for its map")
        weight = _axis_map(
            graph, node, x.shape[position], target=target[axis], scale=scales.get(axis)
        )
        if mode == "nearest":
            take = ops.Take(axis=position, indices=weight.argmax(axis=1))
            x = graph.emit(node, take, [x], part=part)
        else:
            x = _along(graph, node, x, axis=position, weight=weight, part=part)
    graph.finish(node, x)


def _scales(graph: GraphBuilder, node: OnnxNode, rank: int) -> dict[int, float]:
    """The scale of each ONNX axis as the node gives it; empty where it gives sizes."""
    name = node.input(1 if node.op == "Upsample" or graph.opset < 11 else 2)
    given = graph.constant(name) if name else None
    if "scales" in node.attrs:
        given = np.asarray(node.attrs["scales"], np.float32)
    if given is None or not given.size:
        return {}
    axes = node.ints("axes") or tuple(range(rank))
    return {a % rank: float(s) for a, s in zip(axes, given.reshape(-1), strict=True)}


def _axis_map(
    graph: GraphBuilder, node: OnnxNode, size: int, *, target: int, scale: float | None
) -> Array:
    """The matrix (target, size) of one axis: ONNX Runtime's resizing of each unit vector, laid
    out as an image of ``size`` channels, ``size`` rows and one column."""
    skipped = ("axes", "keep_aspect_ratio_policy", "scales")
    attrs = {k: v for k, v in node.attrs.items() if k not in skipped}
    inputs, constants = ["unit"], {"roi": np.zeros(0, np.float32)}
    if scale is None:
        inputs += ["roi", "none", "sizes"]
        constants["none"] = np.zeros(0, np.float32)
        constants["sizes"] = np.asarray((1, size, target, 1), np.int64)
    else:
        inputs += ["scales"] if node.op == "Upsample" or graph.opset < 11 else ["roi", "scales"]
        constants["scales"] = np.asarray((1, 1, scale, 1), np.float32)
    if "scales" in node.attrs:  # Upsample before operation set 9
        inputs, constants, attrs["scales"] = ["unit"], {}, [1.0, 1.0, float(scale or 1), 1.0]
    info = helper.make_tensor_value_info("unit", TensorProto.FLOAT, [1, size, size, 1])
    made = helper.make_graph(
        [helper.make_node(node.op, inputs, ["y"], **attrs)],
        "axis",
        [info],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    opset = helper.make_opsetid("", graph.opset)
    runner = session(helper.make_model(made, opset_imports=[opset], ir_version=7))
    unit = np.eye(size, dtype=np.float32).reshape(1, size, size, 1)
    weight: Array = runner.run(None, {"unit": unit})[0][0, :, :, 0].T
    if weight.shape != (target, size):
        raise NoSpikingForm(f"its axis of {size} becomes {weight.shape[0]}, not {target}")
    return np.ascontiguousarray(weight)


def _along(
    graph: GraphBuilder, node: OnnxNode, x: Value, *, axis: int, weight: Array, part: str
) -> Value:
    """A Linear on one sample axis: swapped to the end and back where it is not the last."""
    last = len(x.shape) - 1
    if axis == last:
        return graph.emit(node, ops.Linear(weight=weight), [x], part=part)
    perm = list(range(len(x.shape)))
    perm[axis], perm[last] = last, axis
    swap = ops.Transpose(perm=tuple(perm))
    helper_part = part or f"axis{axis}"
    y = graph.emit(node, swap, [x], part=f"{helper_part}_in")
    y = graph.emit(node, ops.Linear(weight=weight), [y], part=f"{helper_part}_linear")
    return graph.emit(node, swap, [y], part=part)
