"""The standard operations under one name: "" and "ai.onnx" say the same, and ONNX's shape
inference knows the first alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx

LONG = "ai.onnx"


def name_standard_domain(model: onnx.ModelProto) -> None:
    """Write "" for "ai.onnx" in ``model``, its subgraphs and local functions."""
    for owner in (model, *model.functions):
        _name_imports(owner.opset_import)
    waiting = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    while waiting:
        node = waiting.pop()
        if node.domain == LONG:
            node.domain = ""
        waiting += _inner(node)


def _name_imports(imports: Any) -> None:
    """As ONNX Runtime reads them: where both names are there, "" counts."""
    kept = [entry for entry in imports if entry.domain != LONG]
    versions = [entry.version for entry in imports if entry.domain == LONG]
    if versions and not any(entry.domain == "" for entry in kept):
        kept.append(onnx.helper.make_opsetid("", versions[0]))
    if versions:
        del imports[:]
        imports.extend(kept)


def _inner(node: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
    for attribute in node.attribute:
        yield from attribute.g.node
        for graph in attribute.graphs:
            yield from graph.node
