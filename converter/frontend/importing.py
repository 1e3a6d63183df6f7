"""From the cleaned-up ONNX graph to the AnnGraph: handlers, analog islands, all findings at once.

The graph is walked in rounds. A node whose handler finds no spiking form becomes analog in the next
round, with stand-ins for its outputs, until nothing changes; so every node is looked at even where
one before it cannot be converted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto

from ...errors import GraphError, ModelError, UnsupportedOps
from ...runtime.graph import Names
from ...runtime.ops import Array, MultiplyingOp, Shape
from ...runtime.semantics.decision import LEFT_OUT
from ..ann.graph import AnnGraph, AnnOutput, Opaque
from .builder import GraphBuilder, Value
from .file.constants import constants_of, folded
from .file.load import LoadedModel, PathLike, load_onnx
from .islands.masks import apart
from .islands.model import Border, island_model
from .islands.units import Island, units, with_light
from .node import NoSpikingForm, OnnxNode, Refused
from .ops import activation, conv, linear, merge, pool, resize, shape
from .ops.batchnorm import batch_moments, with_moments
from .refusals import STANDARD, refusal
from .registry import OPERATIONS

FAMILIES = (activation, conv, linear, merge, pool, resize, shape)  # importing them registers them
DROPPED = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax")
MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Identity")
LIGHT_REASON = "lies between analog operations"


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """The cleaned-up graph in the form the importer reads. ``computed``: tensors that depend on an
    input; ``outputs``: (name, tensor, dropped nodes) of each network output."""

    loaded: LoadedModel
    nodes: tuple[OnnxNode, ...]
    protos: Mapping[str, onnx.NodeProto]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, int]
    computed: frozenset[str]
    outputs: tuple[tuple[str, str, tuple[str, ...]], ...]

    @property
    def kept(self) -> set[str]:
        return {tensor for _, tensor, _ in self.outputs}


@dataclass(frozen=True, eq=False, kw_only=True)
class Survey:
    """What became of every node. ``analog`` and ``refused`` map node names to (reason, remedy);
    ``graph`` is None where anything is refused."""

    source: Source
    graph: AnnGraph | None
    analog: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def import_onnx(
    source: PathLike | LoadedModel, *, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> AnnGraph:
    """The network as an AnnGraph; operations without a spiking form are Opaque nodes.

    Raises ModelError where the file cannot be used, UnsupportedOps with every node that cannot
    be converted in any form.
    """
    if not isinstance(source, LoadedModel):
        source = load_onnx(source, input_shapes=input_shapes)
    result = survey(source)
    if result.graph is None:
        op = {node.name: node.op for node in result.source.nodes}
        raise UnsupportedOps(
            [(n, op[n], f"{why}. {remedy}".strip()) for n, (why, remedy) in result.refused.items()],
            where=source.path,
        )
    return result.graph


def survey(loaded: LoadedModel) -> Survey:
    """Import every node, and say what became of it."""
    source = _source(loaded)
    analog: dict[str, tuple[str, str]] = {}
    refused: dict[str, tuple[str, str]] = {}
    while True:
        members = with_light(source.nodes, analog, computed=source.computed, kept=source.kept)
        builder = _builder(source)
        fresh = _walk(source, builder, members, refused)
        for node, case in fresh:
            said = refusal(node)
            if said is not None or isinstance(case, Refused):
                refused[node.name] = said or (case.reason, case.remedy)
            else:
                analog[node.name] = (case.reason, case.remedy)
        if not fresh:
            break
    reasons = {n: analog.get(n, (LIGHT_REASON, "")) for n in members}
    graph = None if refused else _finished(*_with_copies(source, builder, members))
    return Survey(source=source, graph=graph, analog=reasons, refused=refused)


def _with_copies(
    source: Source, builder: GraphBuilder, members: set[str]
) -> tuple[Source, GraphBuilder, set[str]]:
    """The same, with what islands share copied into each."""
    nodes, inside, protos, copies = apart(source.nodes, members, source.protos, kept=source.kept)
    if not copies:
        return source, builder, members
    source = replace(
        source,
        nodes=tuple(nodes),
        protos=protos,
        shapes={**source.shapes, **{t: source.shapes[made] for t, made in copies.items()}},
        dtypes={**source.dtypes, **{t: source.dtypes[made] for t, made in copies.items()}},
        computed=source.computed | copies.keys(),
    )
    builder = _builder(source)
    _walk(source, builder, inside, {})
    return source, builder, inside


def _walk(
    source: Source, builder: GraphBuilder, members: set[str], refused: Mapping[str, object]
) -> list[tuple[OnnxNode, NoSpikingForm]]:
    """Import all nodes; those that fail get stand-ins and are returned."""
    fresh = []
    for unit in units(source.nodes, members, source.computed, source.kept):
        if isinstance(unit, Island):
            _emit_island(builder, unit)
            continue
        if unit.name in refused:
            _stand_in(builder, unit)
            continue
        try:
            _import_node(builder, unit)
        except NoSpikingForm as case:
            fresh.append((unit, case))
            _stand_in(builder, unit)
    return fresh


def _import_node(builder: GraphBuilder, node: OnnxNode) -> None:
    operation = OPERATIONS.get(node.op) if node.domain in STANDARD else None
    if operation is None:
        raise NoSpikingForm("no spiking form")
    if operation.op not in ("Cast",) and not builder.is_float(node.outputs[0]):
        raise NoSpikingForm("it does not compute floating-point numbers")
    try:
        operation.handler(builder, node)
    except GraphError as error:
        raise NoSpikingForm(error.what) from error
    except (ValueError, LookupError, ArithmeticError, TypeError) as error:
        raise NoSpikingForm(f"its settings do not fit its inputs ({error})") from error


def _stand_in(builder: GraphBuilder, node: OnnxNode) -> None:
    for tensor in node.outputs:
        if tensor and not builder.is_computed(tensor):
            builder.add_input(tensor, builder.shapes.get(tensor, ()), False)


def _emit_island(builder: GraphBuilder, island: Island) -> None:
    """One Opaque per output; their models are filled in at the end."""
    inputs = [builder.leading(builder.any_value(t)) for t in island.inputs]
    for tensor in island.outputs:
        maker = next(n for n in island.nodes if tensor in n.outputs)
        layer = Opaque(model=b"", output=tensor, ops=tuple(n.op for n in island.nodes))
        shape = builder.shapes[tensor]
        whole = builder.has_batch and shape[:1] == (1,) and len(shape) > 1
        value = builder.emit(
            maker, layer, inputs, shape=shape[1:] if whole else shape, batched=whole
        )
        builder.finish(maker, value, maker.outputs.index(tensor))


def _finished(source: Source, builder: GraphBuilder, members: set[str]) -> AnnGraph:
    batched = any(info.batched for info in source.loaded.inputs)
    records = []
    for name, tensor, dropped in source.outputs:
        if not builder.is_computed(tensor):
            raise ModelError(
                f"the output '{name}' does not depend on the input",
                where=source.loaded.path,
                remedy="Export the model without it.",
                code="E309",
            )
        value = builder.any_value(tensor)
        if batched and len(value.shape) > 1:
            value = builder.leading(value)
        records.append(AnnOutput(name=name, node=value.node, tensor=tensor, dropped=dropped))
    islands = [
        unit
        for unit in units(source.nodes, members, source.computed, source.kept)
        if isinstance(unit, Island)
    ]
    for island in islands:
        _fill(source, builder, island)
    _check_finite(source, builder)
    moments = batch_moments(source.loaded.original, source.loaded.weights)
    return AnnGraph(
        nodes=with_moments(builder.nodes.values(), moments),
        outputs=tuple(records),
        meta={
            "source": source.loaded.path,
            "sha256": source.loaded.sha256,
            LEFT_OUT: {
                record.tensor: [source.protos[name].op_type for name in record.dropped]
                for record in records
                if record.dropped
            },
        },
    )


def _check_finite(source: Source, builder: GraphBuilder) -> None:
    """Raise ModelError (E305) for weights that are no finite numbers once nodes are folded: a
    division by zero, the root of a negative variance, a product that overflows."""
    for node in builder.nodes.values():
        held = [node.layer.factors] if isinstance(node.layer, MultiplyingOp) else []
        held += [] if node.bias is None else [node.bias]
        if not all(np.isfinite(array).all() for array in held):
            raise ModelError(
                f"node '{node.name}' ({node.op_type}) has NaN or infinity in what its constants "
                "make: a division by zero, a negative variance, or numbers too large for float32",
                where=source.loaded.path,
                remedy="Check the constants of that node, or take an earlier checkpoint.",
                code="E305",
            )


def _fill(source: Source, builder: GraphBuilder, island: Island) -> None:
    values: dict[str, Value] = {t: builder.leading(builder.any_value(t)) for t in island.inputs}
    values |= {t: builder.any_value(t) for t in island.outputs}
    border = Border(
        protos=source.protos,
        values=values,
        constants=source.constants,
        shapes=source.shapes,
        dtypes=source.dtypes,
        opsets=source.loaded.cleaned.opset_import,
        ir_version=source.loaded.cleaned.ir_version,
    )
    model = island_model(island, border)
    for tensor in island.outputs:
        node = builder.nodes[values[tensor].node]
        assert isinstance(node.layer, Opaque)
        builder.nodes[node.name] = replace(node, layer=replace(node.layer, model=model))


def _source(loaded: LoadedModel) -> Source:
    graph = loaded.cleaned.graph
    constants = {**constants_of(graph), **loaded.weights}
    pairs = [(_node(proto, name), proto) for name, proto in named_nodes(graph)]
    protos = {node.name: proto for node, proto in pairs}
    nodes = [node for node, _ in pairs if node.op != "Constant"]
    nodes = folded(nodes, protos, constants, loaded.cleaned)
    given = {info.name for info in loaded.inputs}
    outputs, gone = _dropped(nodes, _made([o.name for o in graph.output], nodes, given))
    nodes = [node for node in nodes if node.name not in gone]
    computed = {info.name for info in loaded.inputs}
    for node in nodes:
        if any(t in computed for t in node.inputs) or not any(node.inputs):
            computed.update(o for o in node.outputs if o)
    infos = (*graph.input, *graph.value_info, *graph.output)
    dtypes = {v.name: v.type.tensor_type.elem_type for v in infos}
    return Source(
        loaded=loaded,
        nodes=tuple(nodes),
        protos=protos,
        constants=constants,
        shapes={v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in infos},
        dtypes=dtypes,
        computed=frozenset(computed),
        outputs=tuple(outputs),
    )


def named_nodes(graph: onnx.GraphProto) -> list[tuple[str, onnx.NodeProto]]:
    """Every node under a unique name: its own, its output's where it has none, or a number."""
    names, seen = Names(), Counter[str]()
    out = []
    for proto in graph.node:
        name = proto.name or next((o for o in proto.output if o), proto.op_type)
        seen[name] += 1
        out.append((names.new(name if seen[name] == 1 else f"{name}#{seen[name]}"), proto))
    return out


def _node(proto: onnx.NodeProto, name: str) -> OnnxNode:
    return OnnxNode(
        name=name,
        op=proto.op_type,
        domain=proto.domain,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attrs={a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute},
    )


def _builder(source: Source) -> GraphBuilder:
    loaded = source.loaded
    uses = Counter(name for node in source.nodes for name in node.inputs)
    uses.update(tensor for _, tensor, _ in source.outputs)
    builder = GraphBuilder(
        constants=source.constants,
        shapes=source.shapes,
        uses=uses,
        originals=frozenset(o for n in loaded.original.graph.node for o in n.output if o),
        opset=max(o.version for o in loaded.cleaned.opset_import if o.domain in STANDARD),
        other_types=frozenset(t for t, kind in source.dtypes.items() if kind != TensorProto.FLOAT)
        - _given(source),
        has_batch=any(info.batched for info in loaded.inputs),
    )
    for info in loaded.inputs:
        builder.add_input(info.name, info.shape, info.batched)
    return builder


def _given(source: Source) -> set[str]:
    """The network's inputs and what only moves their numbers: whatever type the file gives them
    (uint8 for pixels), the host hands them to the network as numbers."""
    found = {info.name for info in source.loaded.inputs}
    for node in source.nodes:
        keeps = node.op in MOVES or (node.op == "Cast" and _widens(source, node))
        if keeps and node.domain in STANDARD and node.inputs[0] in found:
            found.update(node.outputs)
    return found


def _widens(source: Source, node: OnnxNode) -> bool:
    """Whether a Cast leaves every integer as it is."""
    before, after = (
        np.dtype(onnx.helper.tensor_dtype_to_np_dtype(source.dtypes.get(t, TensorProto.FLOAT)))
        for t in (node.inputs[0], node.outputs[0])
    )
    return before.kind in "iub" and after.kind in "iu" and np.can_cast(before, after)


def _made(outputs: Sequence[str], nodes: Sequence[OnnxNode], given: set[str]) -> list[str]:
    """``outputs`` without those that are an input of the network, unchanged, where there are
    others: nothing in them is the network's doing, and they would be judged as if."""
    source = {n.outputs[0]: n.inputs[0] for n in nodes if n.op == "Identity"}

    def through(tensor: str) -> str:
        while tensor in source:
            tensor = source[tensor]
        return tensor

    return [name for name in outputs if through(name) not in given] or list(outputs)


def _dropped(
    nodes: Sequence[OnnxNode], outputs: Sequence[str]
) -> tuple[list[tuple[str, str, tuple[str, ...]]], set[str]]:
    """Outputs as (name, tensor, dropped node names): operations of ``DROPPED`` that only an output
    reads are left out."""
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
