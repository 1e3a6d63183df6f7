"""The ONNX model of an analog island, for any number of samples.

The cleaned-up graph has batch size 1. Where every tensor at the border has its batch axis in front,
the same nodes mostly work for a batch of N; that is tried on random numbers. Where they do not, a
Scan runs them on one sample after the other, which is right for any node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ....errors import ModelError
from ....runtime.ops import Array, Shape
from ..builder import Value
from ..file.cleanup import first_line, session
from .units import Island

BATCH = "N"
OLDEST_SCAN = 9
TRIED = 2**22  # numbers per sample up to which a batch is tried out


@dataclass(frozen=True, eq=False, kw_only=True)
class Border:
    """What an island needs to know of the network around it.

    Attributes:
        protos: the ONNX node of each node name.
        values: form of each border tensor in the AnnGraph.
        constants, shapes, dtypes: by tensor name; dtypes as TensorProto numbers.
    """

    protos: Mapping[str, onnx.NodeProto]
    values: Mapping[str, Value]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, int]
    opsets: Sequence[onnx.OperatorSetIdProto]
    ir_version: int


def island_model(island: Island, border: Border) -> bytes:
    """A serialized model whose inputs and outputs are float32 (N, *sample shape) under the
    island's tensor names.

    Raises ModelError (E307) where neither form runs.
    """
    whole = all(border.values[t].batched for t in (*island.inputs, *island.outputs))
    reference = _scanned(island, border)
    largest = max(prod(border.values[t].shape) for t in (*island.inputs, *island.outputs))
    samples = _samples(island, border, 3 if largest <= TRIED else 1)
    expected = _run(reference, island, samples)
    if whole and largest <= TRIED:
        batched = _batched(island, border)
        if _same(batched, samples, expected):
            return batched.SerializeToString()
    return reference.SerializeToString()


def _samples(island: Island, border: Border, count: int) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        t: rng.random((count, *border.values[t].shape), np.float32) * np.float32(0.9)
        + np.float32(0.1)
        for t in island.inputs
    }


def _run(model: onnx.ModelProto, island: Island, samples: Mapping[str, Array]) -> list[Array]:
    try:
        arrays: list[Array] = session(model).run(None, dict(samples))
        return arrays
    except Exception as error:
        names = ", ".join(f"'{node.name}' ({node.op})" for node in island.nodes[:5])
        raise ModelError(
            f"the nodes {names}, to run as an analog part, do not run: {first_line(error)}",
            remedy="Check the model with onnx.checker.check_model and export it again.",
            code="E307",
        ) from error


def _same(model: onnx.ModelProto, samples: Mapping[str, Array], expected: Sequence[Array]) -> bool:
    try:
        found = session(model).run(None, dict(samples))
    except Exception:
        return False  # some node needs the batch size 1
    return all(
        f.shape == e.shape and np.allclose(f, e, rtol=1e-4, atol=1e-5, equal_nan=True)
        for f, e in zip(found, expected, strict=True)
    )


def _batched(island: Island, border: Border) -> onnx.ModelProto:
    nodes: list[onnx.NodeProto] = []
    constants = dict(_constants(island, border))
    for tensor in island.inputs:
        _enter(nodes, tensor, tensor=tensor, border=border)
    for node in island.nodes:
        proto = onnx.NodeProto()
        proto.CopyFrom(border.protos[node.name])
        target = border.shapes[node.outputs[0]]
        if node.op == "Reshape" and len(proto.input) == 2 and target:
            constants[f"{node.name}/shape"] = np.asarray((-1, *target[1:]), np.int64)
            proto.input[1] = f"{node.name}/shape"
        nodes.append(_inner(proto, island, border))
    nodes += [
        _cast(_made(tensor), target=tensor, kind=TensorProto.FLOAT) for tensor in island.outputs
    ]
    graph = helper.make_graph(nodes, "island", *_border_infos(island, border), _tensors(constants))
    return _model(graph, border)


def _scanned(island: Island, border: Border) -> onnx.ModelProto:
    """One Scan over the samples; its body computes one sample with the cleaned-up nodes."""
    nodes: list[onnx.NodeProto] = []
    constants = dict(_constants(island, border))
    for tensor in island.inputs:
        shape = f"{tensor}/in_shape"
        constants[shape] = np.asarray(border.values[tensor].onnx_shape, np.int64)
        nodes.append(helper.make_node("Reshape", [_sample(tensor), shape], [f"{tensor}/whole"]))
        _enter(nodes, f"{tensor}/whole", tensor=tensor, border=border)
    nodes += [_inner(border.protos[node.name], island, border) for node in island.nodes]
    for tensor in island.outputs:
        shape = f"{tensor}/out_shape"
        constants[shape] = np.asarray(border.values[tensor].shape, np.int64)
        nodes.append(_cast(_made(tensor), target=f"{tensor}/float", kind=TensorProto.FLOAT))
        nodes.append(helper.make_node("Reshape", [f"{tensor}/float", shape], [_sample(tensor)]))
    inside = [_info(_sample(t), border.values[t].shape) for t in island.inputs]
    outside = [_info(_sample(t), border.values[t].shape) for t in island.outputs]
    body = helper.make_graph(nodes, "sample", inside, outside, _tensors(constants))
    scan = helper.make_node(
        "Scan",
        list(island.inputs),
        list(island.outputs),
        body=body,
        num_scan_inputs=len(island.inputs),
    )
    return _model(helper.make_graph([scan], "island", *_border_infos(island, border)), border)


def _sample(tensor: str) -> str:
    return f"{tensor}/sample"


def _made(tensor: str) -> str:
    return f"{tensor}/made"


def _read(tensor: str) -> str:
    return f"{tensor}/read"


def _enter(nodes: list[onnx.NodeProto], source: str, *, tensor: str, border: Border) -> None:
    """``source``, a running mean in float32, as the type that the island's nodes read."""
    kind = border.dtypes.get(tensor, TensorProto.FLOAT)
    if np.dtype(helper.tensor_dtype_to_np_dtype(kind)).kind in "iub":
        # the mean of equal integers can be off by a rounding error
        nodes.append(helper.make_node("Add", [source, "island/half"], [f"{tensor}/shifted"]))
        nodes.append(helper.make_node("Floor", [f"{tensor}/shifted"], [f"{tensor}/rounded"]))
        source = f"{tensor}/rounded"
    nodes.append(_cast(source, target=_read(tensor), kind=kind))


def _cast(source: str, *, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def _inner(proto: onnx.NodeProto, island: Island, border: Border) -> onnx.NodeProto:
    """The node with border tensors under their inner names."""
    out = onnx.NodeProto()
    out.CopyFrom(proto)
    inner = {t: _read(t) for t in island.inputs} | {t: _made(t) for t in island.outputs}
    for index, name in enumerate(out.input):
        out.input[index] = inner.get(name, name)
    for index, name in enumerate(out.output):
        out.output[index] = inner.get(name, name)
    return out


def _constants(island: Island, border: Border) -> Mapping[str, Array]:
    # In the nodes' order, so that the same model gives the same bytes in every process.
    read = [t for node in island.nodes for t in node.inputs if t in border.constants]
    return {"island/half": np.asarray(0.5, np.float32)} | {t: border.constants[t] for t in read}


def _tensors(constants: Mapping[str, Array]) -> list[TensorProto]:
    return [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]


def _info(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _border_infos(
    island: Island, border: Border
) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    inputs = [_info(t, (BATCH, *border.values[t].shape)) for t in island.inputs]
    outputs = [_info(t, (BATCH, *border.values[t].shape)) for t in island.outputs]
    return inputs, outputs


def _model(graph: onnx.GraphProto, border: Border) -> onnx.ModelProto:
    opsets = [
        helper.make_opsetid(o.domain, max(o.version, OLDEST_SCAN) if not o.domain else o.version)
        for o in border.opsets
    ]
    return helper.make_model(graph, opset_imports=opsets, ir_version=border.ir_version)
