"""Every floating-point type becomes float32, the type in which spikes are computed."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

WIDENED = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


def widen_floats(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` with float16, bfloat16 and float64 tensors, inputs, outputs and casts
    as float32; ``model`` itself where it has none."""
    if not any(_is_wide(model.graph)):
        return model
    out = onnx.ModelProto()
    out.CopyFrom(model)
    _widen_graph(out.graph)
    return out


def _is_wide(graph: onnx.GraphProto) -> list[bool]:
    kinds = [t.data_type in WIDENED for t in graph.initializer]
    kinds += [
        v.type.tensor_type.elem_type in WIDENED
        for v in (*graph.input, *graph.output, *graph.value_info)
    ]
    for node in graph.node:
        for attribute in node.attribute:
            kinds.append(attribute.t.data_type in WIDENED)
            kinds.append(attribute.name in ("to", "dtype") and attribute.i in WIDENED)
            kinds += _is_wide(attribute.g)
    return kinds


def _widen_graph(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in WIDENED:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen_tensor(attribute.t)
            if attribute.name in ("to", "dtype") and attribute.i in WIDENED:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("g"):
                _widen_graph(attribute.g)


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in WIDENED:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
