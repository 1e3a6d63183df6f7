"""One coding in every sum, for neurons whose spikes are decoded otherwise than a current
(``runtime.neurons.differential``): what they meet goes through a pair of these neurons."""

from __future__ import annotations

from dataclasses import replace

from ..graph import AnnGraph, Relu
from .pairs import Pairs


def one_coding(graph: AnnGraph) -> AnnGraph:
    """The same values, with x = Relu(x) - Relu(-x) for a current of the input's that is read
    together with what neurons send: beside a branch that a residual sum adds, say."""
    pairs = Pairs(graph)
    sent: set[str] = set()  # the nodes behind neurons
    for node in graph.nodes:
        behind = [name in sent for name in node.inputs]
        if any(behind) and not all(behind):
            inputs = tuple(name if name in sent else pairs.spikes(name) for name in node.inputs)
            node = replace(node, inputs=inputs)
        if any(behind) or isinstance(node.layer, Relu):
            sent.add(node.name)
        pairs.nodes.append(node)
    return replace(graph, nodes=tuple(pairs.nodes))
