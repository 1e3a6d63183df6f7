"""Nodes that no output needs."""

from __future__ import annotations

from dataclasses import replace

from ..graph import AnnGraph, Input


def drop_dead(graph: AnnGraph) -> AnnGraph:
    """Remove every node that no output reads, directly or not. Inputs stay."""
    needed = {output.node for output in graph.outputs}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    kept = tuple(n for n in graph.nodes if n.name in needed or isinstance(n.layer, Input))
    return replace(graph, nodes=kept)
