"""The operation set of a converted file, and ONNX models brought to it.

ONNX Runtime inlines the functions of a model under the model's own operation set, whatever set they
import: Softmax of operation set 12 would silently become that of 13. So an analog island is brought
to the file's operation set before it gets there, by the rules of ONNX's version converter and two
that it lacks; what comes out is for the caller to verify.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.version_converter
from onnx import helper

from ...errors import ModelError

OLDEST = 19  # the first whose AveragePool has dilations
STANDARD = ("", "ai.onnx")
FLATTENED = 13  # before, Hardmax flattened its input to two axes (as Softmax, which ONNX converts)
CENTRED = 11  # before, Resize had no centres of pixels
# Operations that later sets gave more types, and nothing else that changes what was written before:
# since which set. ONNX's converter takes 10 ms to see that, and every island begins with a Cast.
WIDENED = {
    "Cast": 9,
    "Constant": 13,
    "Flatten": 13,
    "Identity": 1,
    "Reshape": 5,
    "Shape": 15,
    "Squeeze": 13,
    "Transpose": 1,
    "Unsqueeze": 13,
}


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operation set that ``model`` is written in."""
    return max((o.version for o in model.opset_import if o.domain in STANDARD), default=1)


def needed(models: Iterable[onnx.ModelProto]) -> int:
    """The oldest operation set from ``OLDEST`` on that has every operation of the models as it is
    written there, or in an older one that can be brought to it."""
    return max([OLDEST, *(_newest(m.graph.node, opset_of(m)) for m in models)])


def raised(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model in operation set ``opset``, with the same inputs and outputs.

    Raises ModelError (E327) where there is no rule for one of its operations.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    if not _same(model.graph.node, opset_of(model), after=opset):
        out = _converted(out, opset)
    del out.opset_import[:]
    out.opset_import.append(helper.make_opsetid("", opset))
    out.ir_version = ir_version(opset)
    return out


def ir_version(opset: int) -> int:
    """The version of the file format that has operation set ``opset``."""
    return max(9, helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [a.g for a in node.attribute if a.HasField("g")]


def _since(node: onnx.NodeProto, opset: int) -> int:
    """The operation set in which the node's operation became what it is in ``opset``."""
    try:
        return int(onnx.defs.get_schema(node.op_type, opset).since_version)
    except onnx.defs.SchemaError as error:
        raise ModelError(
            f"'{node.op_type}' is no operation of operation set {opset}", code="E327"
        ) from error


def _newest(nodes: Iterable[onnx.NodeProto], opset: int) -> int:
    versions = [1]
    for node in nodes:
        versions.append(_since(node, opset))
        versions += [_newest(body.node, opset) for body in _bodies(node)]
    return max(versions)


def _same(nodes: Iterable[onnx.NodeProto], before: int, *, after: int) -> bool:
    """Whether all nodes mean the same in both operation sets, by their definitions."""
    if before == after:
        return True
    return all(
        (_since(node, before) == _since(node, after) or _only_widened(node, before, after=after))
        and all(_same(body.node, before, after=after) for body in _bodies(node))
        for node in nodes
    )


def _only_widened(node: onnx.NodeProto, before: int, *, after: int) -> bool:
    return WIDENED.get(node.op_type, after + 1) <= min(_since(node, before), _since(node, after))


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model``, changed: its nodes, or those of a body where it has any, in ``opset``."""
    before = opset_of(model)
    holders = [node for node in model.graph.node if _bodies(node)]
    for node in holders:
        for body in _bodies(node):
            body.CopyFrom(raised(_alone(body, model), opset).graph)
    if holders:
        plain = [node for node in model.graph.node if not _bodies(node)]
        if not _same(plain, before, after=opset):
            raise _no_rule(model, before, opset=opset, why="control flow beside other operations")
        return model
    flat = onnx.shape_inference.infer_shapes(_flattened(model, before))
    flat.ir_version = max(4, flat.ir_version)  # constants need not be inputs
    try:
        out: onnx.ModelProto = onnx.version_converter.convert_version(flat, opset)
    except Exception as error:
        raise _no_rule(
            model, before, opset=opset, why=str(error).strip().splitlines()[0][:200]
        ) from error
    for node in out.graph.node:
        if node.op_type == "Resize" and before < CENTRED:
            kept = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            node.attribute.extend(helper.make_attribute(k, v) for k, v in kept.items())
    return out


def _no_rule(model: onnx.ModelProto, before: int, *, opset: int, why: str) -> ModelError:
    operations = ", ".join(sorted({node.op_type for node in model.graph.node}))
    return ModelError(
        f"an analog part of operation set {before} ({operations}) has no form in operation set "
        f"{opset}, that of the converted file: {why}",
        remedy=f"Export the model with operation set {opset}.",
        code="E327",
    )


def _alone(body: onnx.GraphProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """A body as a model; it reads nothing but its inputs, as islands have it."""
    imports = list(model.opset_import)
    return helper.make_model(body, opset_imports=imports, ir_version=model.ir_version)


def _flattened(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Hardmax on two axes, where it means the same in every operation set."""
    if opset >= FLATTENED or not any(n.op_type == "Hardmax" for n in model.graph.node):
        return model
    out = onnx.ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:]
    for node in model.graph.node:
        out.graph.node.extend(_on_two_axes(node) if node.op_type == "Hardmax" else [node])
    return out


def _on_two_axes(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    (x,), (y,) = node.input, node.output
    shape, flat, found = (f"{y}/hardmax/{part}" for part in ("shape", "in", "out"))
    return [
        helper.make_node("Shape", [x], [shape]),
        helper.make_node("Flatten", [x], [flat], axis=axis),
        helper.make_node("Hardmax", [flat], [found], axis=1),
        helper.make_node("Reshape", [found, shape], [y]),
    ]
