"""What islands share apart from each other: a copy for each, so that none reads another's currents.

The mask of an attention is computed once from the network's inputs and added to the scores in front
of every Softmax. As a current between islands it is the lowest number there is, times the step: it
overflows. In the island that adds it, it is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import onnx

from ....runtime.graph import Names
from ..node import OnnxNode
from .units import WEIGHTED

MOST = 32  # nodes between the inputs and what is copied
MOVING = ("Unsqueeze", "Expand", "Reshape", "Cast", "GatherND")
CHOOSING = ("And", "Or", "Not", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
MASKS = frozenset(("Mul", "Where", *MOVING, *CHOOSING))


def apart(
    nodes: Sequence[OnnxNode],
    members: Collection[str],
    protos: Mapping[str, onnx.NodeProto],
    *,
    kept: Collection[str],
) -> tuple[list[OnnxNode], set[str], dict[str, onnx.NodeProto], dict[str, str]]:
    """``nodes`` (in execution order), ``members`` and ``protos`` with the copies, and the original
    of every tensor that a copy makes. A node is copied where islands alone read it, to add it,
    and where it depends on nothing but the inputs, by few operations without weights.
    """
    names = Names(node.name for node in nodes)
    tensors = Names(t for node in nodes for t in (*node.inputs, *node.outputs))
    light = _of_inputs(nodes)
    now = {node.name: node for node in nodes}
    order = [node.name for node in nodes]
    protos, original, inside = dict(protos), dict[str, str](), set(members)
    for node in reversed(nodes):
        if node.name not in members or node.name not in light or node.op not in MASKS:
            continue
        made = node.outputs[0]
        readers = [other for other in now.values() if made in other.inputs]
        added = all(r.name in inside and (r.op == "Add" or r.op in MASKS) for r in readers)
        if made in kept or len(readers) < 2 or not added:
            continue
        for reader in readers[1:]:
            tensor, name = tensors.new(f"{made}/copy"), names.new(f"{node.name}/copy")
            original[tensor] = made
            inside.add(name)
            now[name] = replace(now[node.name], name=name, outputs=(tensor,))
            protos[name] = _renamed(protos[node.name], name, {made: tensor}, outputs=True)
            order.insert(order.index(reader.name), name)
            read = tuple(tensor if t == made else t for t in reader.inputs)
            now[reader.name] = replace(reader, inputs=read)
            protos[reader.name] = _renamed(
                protos[reader.name], reader.name, {made: tensor}, outputs=False
            )
    return [now[name] for name in order], inside, protos, original


def _of_inputs(nodes: Sequence[OnnxNode]) -> set[str]:
    """The names of nodes that the inputs alone decide, by at most ``MOST`` light operations."""
    before: dict[str, frozenset[str] | None] = {}
    for node in nodes:
        found: frozenset[str] | None = frozenset((node.name,))
        for tensor in node.inputs:
            more = before.get(tensor, frozenset())
            found = None if found is None or more is None else found | more
        heavy = node.op in WEIGHTED or found is None or len(found) > MOST
        before |= dict.fromkeys(node.outputs, None if heavy else found)
    return {node.name for node in nodes if before[node.outputs[0]] is not None}


def _renamed(
    proto: onnx.NodeProto, name: str, names: Mapping[str, str], *, outputs: bool
) -> onnx.NodeProto:
    out = onnx.NodeProto()
    out.CopyFrom(proto)
    out.name = name
    given = out.output if outputs else out.input
    for index, tensor in enumerate(given):
        given[index] = names.get(tensor, tensor)
    return out
