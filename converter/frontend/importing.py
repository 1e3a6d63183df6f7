"""From the cleaned-up ONNX graph to the AnnGraph, one handler per node, all findings at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import GraphError, UnsupportedOps
from ...runtime.ops import Array, Shape
from ..graph import AnnGraph, AnnOutput
from . import activation, conv, linear, merge, pool, resize, shape
from .builder import GraphBuilder
from .load import LoadedModel, PathLike, load_onnx
from .registry import OPERATIONS, NoSpikingForm, OnnxNode

FAMILIES = (activation, conv, linear, merge, pool, resize, shape)  # importing them registers them
DROPPED = ("Softmax", "LogSoftmax", "ArgMax")
STANDARD = ("", "ai.onnx")


def import_onnx(
    source: PathLike | LoadedModel, *, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> AnnGraph:
    """The network as an AnnGraph.

    Raises ModelError where the file cannot be used, UnsupportedOps with every node that has no
    spiking form.
    """
    loaded = source if isinstance(source, LoadedModel) else load_onnx(
        source, input_shapes=input_shapes
    )  # fmt: skip
    graph = loaded.cleaned.graph
    nodes = [_node(proto) for proto in graph.node]
    builder = _builder(loaded, nodes)
    outputs, dropped = _dropped(nodes, [o.name for o in graph.output])
    findings = []
    for node in nodes:
        if node.name in dropped:
            continue
        try:
            _import_node(builder, node)
        except NoSpikingForm as case:
            reason = f"{case.reason}. {case.remedy}" if case.remedy else case.reason
            findings.append((node.name, node.op, reason))
            _place_holders(builder, node)
    if findings:
        raise UnsupportedOps(findings, where=loaded.path)
    return _finished(builder, loaded, outputs)


def _node(proto: onnx.NodeProto) -> OnnxNode:
    return OnnxNode(
        name=proto.name or next((o for o in proto.output if o), proto.op_type),
        op=proto.op_type,
        domain=proto.domain,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attrs={a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute},
    )


def _builder(loaded: LoadedModel, nodes: list[OnnxNode]) -> GraphBuilder:
    graph = loaded.cleaned.graph
    uses = Counter(name for node in nodes for name in node.inputs)
    uses.update(o.name for o in graph.output)
    builder = GraphBuilder(
        constants=_constants(graph),
        shapes=_shapes(graph),
        uses=uses,
        originals=frozenset(o for n in loaded.original.graph.node for o in n.output if o),
        opset=max(o.version for o in loaded.cleaned.opset_import if o.domain in STANDARD),
    )
    for info in loaded.inputs:
        builder.add_input(info.name, info.shape, info.batched)
    return builder


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = _constant(node)
    return found


def _constant(node: onnx.NodeProto) -> Array:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value, np.float32 if attribute.name.startswith("value_float") else None)


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    return {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*graph.input, *graph.value_info, *graph.output)
    }


def _import_node(builder: GraphBuilder, node: OnnxNode) -> None:
    if node.op == "Constant":
        return
    operation = OPERATIONS.get(node.op) if node.domain in STANDARD else None
    if operation is None:
        raise NoSpikingForm("no spiking form")
    try:
        operation.handler(builder, node)
    except GraphError as error:
        raise NoSpikingForm(error.what) from error


def _place_holders(builder: GraphBuilder, node: OnnxNode) -> None:
    """Stand-ins for the outputs of a node that has no form, so that the rest is looked at too."""
    for tensor in node.outputs:
        if tensor and not builder.is_computed(tensor):
            builder.add_input(tensor, builder.shapes.get(tensor, ()), False)


def _dropped(
    nodes: list[OnnxNode], outputs: list[str]
) -> tuple[list[tuple[str, str, tuple[str, ...]]], set[str]]:
    """Outputs as (name, tensor, dropped node names): a Softmax, LogSoftmax or ArgMax that only
    an output reads is left out."""
    producers = {o: node for node in nodes for o in node.outputs}
    uses = Counter(name for node in nodes for name in node.inputs)
    found: list[tuple[str, str, tuple[str, ...]]] = []
    gone: set[str] = set()
    for name in outputs:
        tensor = name
        chain: list[str] = []
        while (node := producers.get(tensor)) and node.op in DROPPED and not uses[tensor]:
            chain.insert(0, node.name)
            tensor = node.inputs[0]
            uses[tensor] -= 1
        found.append((name, tensor, tuple(chain)))
        gone.update(chain)
    return found, gone


def _finished(
    builder: GraphBuilder, loaded: LoadedModel, outputs: list[tuple[str, str, tuple[str, ...]]]
) -> AnnGraph:
    batched = any(info.batched for info in loaded.inputs)
    records = []
    for name, tensor, dropped in outputs:
        value = builder.value(tensor)
        if batched and not value.batched and len(value.shape) > 1 and value.shape[0] == 1:
            value = builder.with_batch(value)
        records.append(AnnOutput(name=name, node=value.node, tensor=tensor, dropped=dropped))
    return AnnGraph(
        nodes=tuple(builder.nodes.values()),
        outputs=tuple(records),
        meta={"source": loaded.path, "sha256": loaded.sha256},
    )
