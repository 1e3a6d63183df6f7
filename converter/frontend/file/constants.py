"""Constant tensors of the cleaned-up graph, also those that only the importer can compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ....runtime.ops import Array
from ..node import OnnxNode
from ..refusals import refusal
from .cleanup import HEAVY_PROBE, session


def constants_of(graph: onnx.GraphProto) -> dict[str, Array]:
    """Initializers and the outputs of Constant nodes, by tensor name."""
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = _constant(node)
    return found


def _constant(node: onnx.NodeProto) -> Array:
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value, np.float32 if attribute.name.startswith("value_float") else None)


def folded(
    nodes: Sequence[OnnxNode],
    protos: Mapping[str, onnx.NodeProto],
    constants: dict[str, Array],
    model: onnx.ModelProto,
) -> list[OnnxNode]:
    """The nodes that are left after computing, into ``constants``, those with constant inputs only.

    Needed where weights are inputs of the graph, out of the optimizers' sight.
    """
    left = []
    for node in nodes:
        names = [name for name in node.inputs if name]
        known = bool(names) and all(name in constants for name in names)
        made = _computed(protos[node.name], constants, model) if known and not refusal(node) else {}
        constants.update(made)
        if not made:
            left.append(node)
    return left


def _computed(
    proto: onnx.NodeProto, constants: Mapping[str, Array], model: onnx.ModelProto
) -> dict[str, Array]:
    """The node's outputs; nothing where ONNX Runtime cannot run it alone."""
    feeds = {name: constants[name] for name in proto.input if name}
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    outputs = [name for name in proto.output if name]
    infos = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([proto], "constant", inputs, infos)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    light = sum(array.nbytes for array in feeds.values()) < HEAVY_PROBE
    try:
        runner = session(alone, bounded=light)
        return dict(zip(outputs, runner.run(outputs, feeds), strict=True))
    except Exception:
        return {}
