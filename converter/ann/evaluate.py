"""The AnnGraph computed node by node in NumPy: what the frontend understood, made executable."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import ModelError
from ...runtime.onnx_runtime import onnx_runtime
from ...runtime.ops import Array, Operation
from .graph import AnnGraph, AnnNode, Clip, Input, LeakyRelu, Opaque, Relu


def ann_outputs(graph: AnnGraph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every node's output (samples, *shape) by node name.

    ``inputs`` maps the name of each input node to (samples, *shape).
    """
    values: dict[str, Array] = {}
    for node in graph.nodes:
        if isinstance(node.layer, Input):
            if node.name not in inputs:
                raise ModelError(f"no data for input '{node.name}'")
            values[node.name] = np.asarray(inputs[node.name], np.float32)
        else:
            values[node.name] = compute(node, [values[name] for name in node.inputs])
    return values


def compute(node: AnnNode, xs: list[Array]) -> Array:
    """The output of one node for the outputs of those it reads."""
    layer = node.layer
    match layer:
        case Relu():
            return np.clip(xs[0], 0, layer.ceiling)
        case Clip():
            return np.clip(xs[0], layer.low, layer.high)
        case LeakyRelu():
            return np.where(xs[0] > 0, xs[0], layer.slope * xs[0])
        case Opaque():
            return _opaque(layer, xs)
    if not isinstance(layer, Operation):
        raise ModelError(f"node '{node.name}' ({node.op_type}) cannot be computed")
    y: Array = layer.apply(*xs)
    return y if node.bias is None else y + node.bias


def _opaque(layer: Opaque, xs: list[Array]) -> Array:
    ort = onnx_runtime()

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    runner = ort.InferenceSession(layer.model, options, providers=["CPUExecutionProvider"])
    names = [i.name for i in runner.get_inputs()]
    y: Array = runner.run([layer.output], dict(zip(names, xs, strict=True)))[0]
    return y
