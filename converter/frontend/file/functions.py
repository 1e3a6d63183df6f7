"""How many nodes a model has once its local functions are written out, without doing so.

Thirty functions of which each calls the one before twice are 2^30 nodes: in a file of 2 KB. ONNX's
shape inference and ONNX Runtime would write them all out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import onnx

from ....errors import ModelError

MOST_NODES = 200_000  # written out; the largest models that are exported have some 10,000
DEEPEST_CALLS = 64

Key: TypeAlias = tuple[str, str]


def check_functions(model: onnx.ModelProto, where: str) -> None:
    """Raise ModelError: E303 where functions call themselves or are nested too deep, E311 where
    they are too many nodes."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[Key, int] = {}
    for key in functions:
        _measure(key, functions, sizes, where)
    total = _size(model.graph.node, sizes)
    if total > MOST_NODES:
        raise ModelError(
            f"with its local functions written out the model has more than {MOST_NODES} nodes",
            where=where,
            remedy="Export it without functions that call each other this often.",
            code="E311",
        )


def _measure(
    start: Key,
    functions: Mapping[Key, onnx.FunctionProto],
    sizes: dict[Key, int],
    where: str,
    above: tuple[Key, ...] = (),
) -> None:
    """Fill in the size of ``start`` and of all that it calls."""
    if start in sizes:
        return
    if start in above or len(above) >= DEEPEST_CALLS:
        how = "calls itself" if start in above else f"is nested more than {DEEPEST_CALLS} deep"
        raise ModelError(
            f"the local function '{start[1]}' {how}",
            where=where,
            remedy="The file is damaged; export the model again.",
            code="E303",
        )
    for called in dict.fromkeys(_calls(functions[start].node)):
        if called in functions:
            _measure(called, functions, sizes, where, (*above, start))
    sizes[start] = _size(functions[start].node, sizes)


def _size(nodes: Iterable[onnx.NodeProto], sizes: Mapping[Key, int]) -> int:
    return min(sum(sizes.get(key, 1) for key in _calls(nodes)), MOST_NODES + 1)


def _calls(nodes: Iterable[onnx.NodeProto]) -> list[Key]:
    """(domain, op) of every node, those of subgraphs included."""
    found, waiting = [], list(nodes)
    while waiting:
        node = waiting.pop()
        found.append((node.domain, node.op_type))
        for attribute in node.attribute:
            waiting += attribute.g.node
            waiting += [inner for graph in attribute.graphs for inner in graph.node]
    return found
