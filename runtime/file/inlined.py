"""The converted file for runtimes without local functions: their bodies in place of their calls.

The shape of every value stands in it. Those that ONNX's inference leaves open (a Reshape to a shape
that is computed) are seen in ONNX Runtime, in two runs of other numbers of steps and samples: what
differs between them is open.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, inliner, shape_inference

from ..graph import Input, SpikingGraph
from ..onnx_runtime import onnx_runtime
from ..ops import Array

SEEN = ((2, 1), (3, 2))  # steps and samples
MOST_BYTES = 2**31 - 1  # of a model that is one message


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the shapes that ONNX infers from its inputs; as it is where it is too large
    for one message."""
    if model.ByteSize() > MOST_BYTES // 2:
        return model
    return shape_inference.infer_shapes(model, data_prop=True)


def without_functions(model: onnx.ModelProto, graph: SpikingGraph, steps: str) -> onnx.ModelProto:
    """The file of ``graph`` in operations of the standard alone; ``steps``: its input of that
    name."""
    flat = inliner.inline_local_functions(model)
    kept = [entry for entry in flat.opset_import if not entry.domain]
    del flat.opset_import[:]
    flat.opset_import.extend(kept)
    shaped = with_shapes(flat)
    unknown = _without_shape(shaped)
    if unknown:
        shaped.graph.value_info.extend(_seen(shaped, unknown, graph, steps))
    return shaped


def _without_shape(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    known = {
        info.name
        for info in (*graph.value_info, *graph.input, *graph.output)
        if info.type.tensor_type.HasField("shape")
    }
    return [name for node in graph.node for name in node.output if name and name not in known]


def _seen(
    model: onnx.ModelProto, names: list[str], graph: SpikingGraph, steps: str
) -> list[onnx.ValueInfoProto]:
    """Declarations of values ``names``. Those without a shape that stand there are taken out."""
    kept = [info for info in model.graph.value_info if info.name not in set(names)]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnx_runtime().InferenceSession(shown.SerializeToString())
    runs = [session.run(names, _feed(graph, steps, at)) for at in SEEN]
    return [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(first.dtype),
            [a if a == b else None for a, b in zip(first.shape, second.shape, strict=True)],
        )
        for name, first, second in zip(names, *runs, strict=True)
    ]


def _feed(graph: SpikingGraph, steps: str, at: tuple[int, int]) -> dict[str, Array]:
    count, samples = at
    zeros = {n.name: np.zeros((samples, *n.shape), np.float32) for n in graph.of(Input)}
    return {**zeros, steps: np.array([count], np.int64)}
