"""Models of single convolutions in ONNX Runtime's own channel-blocked order.

They hold no numbers: input, weights, bias and the sum they add to are all inputs, in the order
that ``blocked`` prepares. The operation is internal to ONNX Runtime; the runtime tries it before it
relies on it.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto, helper

from .....ops.convolution import Conv
from ..terms import Term
from . import needed_models

DOMAIN = "com.microsoft.nchwc"


def blocked_models(terms: Iterable[tuple[Term, ...]]) -> dict[str, bytes]:
    """Serialized models for all convolutions of ``terms``, by ``model_key``."""
    needed = needed_models(terms)
    return {key: _model(conv, add).SerializeToString() for key, (conv, add) in needed.items()}


def _model(conv: Conv, add: bool) -> onnx.ModelProto:
    names = ["x", "w", "b", *(["s"] if add else [])]
    node = helper.make_node(
        "Conv",
        names,
        ["y"],
        domain=DOMAIN,
        kernel_shape=list(conv.kernel),
        strides=list(conv.strides),
        dilations=list(conv.dilations),
        pads=list(conv.pads),
        group=conv.groups,
    )

    def info(name: str) -> onnx.ValueInfoProto:
        rank = 1 if name == "b" else 4
        dims: list[str | int | None] = [f"{name}{i}" for i in range(rank)]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    graph = helper.make_graph([node], "convolution", [info(n) for n in names], [info("y")])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)
