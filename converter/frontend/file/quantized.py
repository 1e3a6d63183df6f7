"""QuantizeLinear and DequantizeLinear pairs, folded back to floating point.

A pair on an activation rounds it to a grid and cuts it at the ends of the integer range. The
rounding is left out. The cut is kept where the lowest integer stands for 0: there exporters leave
the Relu to it. Pairs on constants are computed. A DequantizeLinear of integers that are the
network's own input becomes what it is: a cast, a subtraction and a product.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ....runtime.ops import Array
from .cleanup import fold_constants

Note = tuple[str, str, str]
KEEPS_RANGE = ("MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Flatten", "Transpose",
               "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Identity")  # fmt: skip


def has_pairs(model: onnx.ModelProto) -> bool:
    """Whether there is anything to fold."""
    return any(node.op_type == "DequantizeLinear" for node in model.graph.node)


def fold_quantization(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[Note, ...]]:
    """The model without its pairs, and (node, op, what is left out) of each; the model itself
    where it has none. Quantized operations other than pairs and inputs stay as they are."""
    if not has_pairs(model):
        return model, ()
    out = onnx.ModelProto()
    out.CopyFrom(model)
    fold_constants(out)
    constants = _constants(out.graph)
    notes = [
        note
        for node in list(out.graph.node)
        if node.op_type == "QuantizeLinear"
        for note in _fold_pair(out, node, constants)
    ]
    for node in [n for n in out.graph.node if n.op_type == "DequantizeLinear"]:
        _spell_out(out.graph, node, constants)
    return out, tuple(notes)


def _spell_out(
    graph: onnx.GraphProto, node: onnx.NodeProto, constants: Mapping[str, Array]
) -> None:
    """(x - zero) scale for a DequantizeLinear of an input that was only moved; nothing where it
    reads something else, or its numbers are not constants."""
    rank = _rank_of_input(graph, node.input[0])
    scale = constants.get(node.input[1])
    has_zero = len(node.input) > 2 and bool(node.input[2])
    zero = constants.get(node.input[2]) if has_zero else np.zeros((), np.uint8)
    known = {a.name: a for a in node.attribute}
    if rank is None or scale is None or zero is None or set(known) - {"axis"}:
        return
    axis = known["axis"].i if "axis" in known else 1
    if scale.size > 1:
        if scale.ndim != 1 or scale.shape != zero.shape or not -rank <= axis < rank:
            return
        scale, zero = (a.reshape(-1, *(1,) * (rank - axis % rank - 1)) for a in (scale, zero))
    name, out = node.name or node.output[0], node.output[0]
    factors = {"zero": zero.astype(np.float32), "scale": scale.astype(np.float32)}
    for key, values in factors.items():
        graph.initializer.append(numpy_helper.from_array(values, f"{out}/{key}"))
    steps = (f"{out}/float", f"{out}/centred")
    made = [
        helper.make_node(
            "Cast", [node.input[0]], [steps[0]], name=f"{name}/float", to=onnx.TensorProto.FLOAT
        ),
        helper.make_node("Sub", [steps[0], f"{out}/zero"], [steps[1]], name=f"{name}/centred"),
        helper.make_node("Mul", [steps[1], f"{out}/scale"], [out], name=name),
    ]
    index = list(graph.node).index(node)
    graph.node.remove(node)
    for offset, part in enumerate(made):
        graph.node.insert(index + offset, part)


def _rank_of_input(graph: onnx.GraphProto, value: str) -> int | None:
    """The rank of the network's input that ``value`` is, up to a transposition; None for anything
    else."""
    makers = {name: node for node in graph.node for name in node.output}
    while value in makers:
        if makers[value].op_type not in ("Transpose", "Identity"):
            return None
        value = makers[value].input[0]
    held = {t.name for t in graph.initializer}
    for info in graph.input:
        if info.name == value and value not in held and info.type.tensor_type.HasField("shape"):
            return len(info.type.tensor_type.shape.dim)
    return None


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _fold_pair(
    model: onnx.ModelProto, node: onnx.NodeProto, constants: Mapping[str, Array]
) -> list[Note]:
    """Fold one QuantizeLinear and all that undo it; nothing where something else reads it."""
    graph = model.graph
    readers = [n for n in graph.node if node.output[0] in n.input]
    undone = all(
        n.op_type == "DequantizeLinear" and _same_grid(node, n, constants) for n in readers
    )
    scale = constants.get(node.input[1])
    given_out = any(o.name == node.output[0] for o in graph.output)
    if not readers or not undone or scale is None or given_out:
        return []
    source = node.input[0]
    high = _ceiling(graph, node, scale, constants)
    if high is not None:
        source = _clip(model, node, high)
    for reader in readers:
        _replace(graph, old=reader.output[0], new=source)
        if any(o.name == reader.output[0] for o in graph.output):
            graph.node.append(helper.make_node("Identity", [source], [reader.output[0]]))
        graph.node.remove(reader)
    index = list(graph.node).index(node)
    if high is not None:  # the Clip was appended: put it where the pair was
        clip = onnx.NodeProto()
        clip.CopyFrom(next(n for n in graph.node if source in n.output))
        graph.node.remove(clip)
        graph.node.insert(index, clip)
    graph.node.remove(node)
    name = node.name or node.output[0]
    return [(name, node.op_type, "the rounding to integers is left out")]


def _same_grid(one: onnx.NodeProto, other: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    """Whether two nodes of a pair have one scale and zero point, under one name or two."""
    if len(one.input) != len(other.input):
        return False
    for a, b in zip(one.input[1:], other.input[1:], strict=True):
        known = constants.get(a), constants.get(b)
        if a != b and not _equal(*known):
            return False
    return True


def _equal(one: Array | None, other: Array | None) -> bool:
    return (
        one is not None
        and other is not None
        and one.dtype == other.dtype
        and np.array_equal(one, other)
    )


def _ceiling(
    graph: onnx.GraphProto, node: onnx.NodeProto, scale: Array, constants: Mapping[str, Array]
) -> float | None:
    """The upper end of the range where its lower end is 0 and the node before may be below it."""
    zero = constants.get(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
    if zero is None or scale.size != 1 or zero.dtype.kind not in "iu":
        return None
    limits = np.iinfo(zero.dtype)
    if int(zero.reshape(-1)[0]) != limits.min:
        return None
    maker = next((n for n in graph.node if node.input[0] in n.output), None)
    if maker is None or maker.op_type in KEEPS_RANGE:
        return None
    return float(scale.reshape(-1)[0]) * (limits.max - limits.min)


def _clip(model: onnx.ModelProto, node: onnx.NodeProto, high: float) -> str:
    output = f"{node.output[0]}/range"
    opset = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    name = f"{node.name or node.output[0]}/range"
    if opset < 11:
        clip = helper.make_node("Clip", [node.input[0]], [output], name=name, min=0.0, max=high)
    else:
        bounds = (f"{output}/min", f"{output}/max")
        for bound, value in zip(bounds, (0.0, high), strict=True):
            model.graph.initializer.append(
                numpy_helper.from_array(np.asarray(value, np.float32), bound)
            )
        clip = helper.make_node("Clip", [node.input[0], *bounds], [output], name=name)
    model.graph.node.append(clip)
    return output


def _replace(graph: onnx.GraphProto, *, old: str, new: str) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
