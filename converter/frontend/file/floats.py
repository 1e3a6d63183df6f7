"""Every floating-point type becomes float32, the type in which spikes are computed; and numbers
that rewrites would take for 0 or 1 are kept from them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NEAR = 1e-4  # onnxscript takes 1e-8 for 0, and 1 + 1e-5 for 1
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


def hide_small(graph: onnx.GraphProto) -> list[TensorProto]:
    """Single numbers that are nearly, not quite, 0 or 1 (what keeps a logarithm from 0, say) become
    inputs of ``graph``, whose values no rewrite looks at. ``show`` them afterwards."""
    known = {value.name for value in graph.input}
    hidden = [t for t in graph.initializer if t.name not in known and _is_near(t)]
    for tensor in hidden:
        graph.initializer.remove(tensor)
        made = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        graph.input.append(made)
    return hidden


def show(graph: onnx.GraphProto, hidden: Sequence[TensorProto]) -> None:
    names = {tensor.name for tensor in hidden}
    kept = [value for value in graph.input if value.name not in names]
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.extend(hidden)


def _is_near(tensor: TensorProto) -> bool:
    if tensor.data_type not in (TensorProto.FLOAT, *WIDENED) or prod(tensor.dims) != 1:
        return False
    value = float(numpy_helper.to_array(tensor).ravel()[0])
    return any(0 < abs(value - whole) < NEAR for whole in (0, 1))
