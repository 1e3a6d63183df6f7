"""Analog islands as functions of the emitted model."""

from __future__ import annotations

import onnx
from onnx import helper

from .. import graph as snn
from .neurons import integrate_and_fire as fn

# Values of what makes an island's output finite.
SETTLING = ("settled", "nan", "inf", "odd", "zero")


def _new(name: str, taken: set[str]) -> str:
    """A name that is not taken, which then is."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def island_function(node: snn.Analog, name: str, model: onnx.ModelProto) -> onnx.FunctionProto:
    """The island's ONNX model as a function of our domain, 0 where it has no finite value (see
    ``semantics.islands.settled``); its weights become constants."""
    taken = {name for part in model.graph.node for name in (*part.input, *part.output)}
    taken |= {i.name for i in (*model.graph.input, *model.graph.initializer)}
    out, nan, inf, odd, zero = (_new(f"{node.output}_{role}", taken) for role in SETTLING)
    settling = [
        helper.make_node("IsNaN", [node.output], [nan]),
        helper.make_node("IsInf", [node.output], [inf]),
        helper.make_node("Or", [nan, inf], [odd]),
        helper.make_node("Constant", [], [zero], value_float=0.0),
        helper.make_node("Where", [odd, zero, node.output], [out]),
    ]
    weights = [helper.make_node("Constant", [], [i.name], value=i) for i in model.graph.initializer]
    held = {i.name for i in model.graph.initializer}
    return helper.make_function(
        fn.DOMAIN,
        name,
        [i.name for i in model.graph.input if i.name not in held],
        [out],
        [*weights, *model.graph.node, *settling],
        list(model.opset_import),
        doc_string="Analog island: " + ", ".join(node.ops),
    )
