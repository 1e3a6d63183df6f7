"""Models of synapse chains for ONNX Runtime."""

from __future__ import annotations

from ...facts import GraphFacts
from ...file.emit import emit_chain
from ...graph import SpikingGraph
from ...ops import WeightedOp
from .blocked_models import blocked_models


def synapse_models(graph: SpikingGraph) -> dict[str, bytes]:
    """For every chain of synapses with weights, one serialized ONNX model that computes it, by the
    name of the chain's last synapse: what ``runtime.engine.simulator`` takes as ``kernels``.

    A model reads the chain's sources in order, each (N, *shape), and gives (N, *shape of the last).
    Models of single convolutions in ONNX Runtime's own order come with them (see ``blocked``).
    """
    facts = GraphFacts(graph)
    return {
        chain.nodes[-1].name: emit_chain(
            chain.nodes, chain.sources, facts.shapes
        ).SerializeToString()
        for chain in facts.chains
        if any(isinstance(node.op, WeightedOp) for node in chain.nodes)
    } | blocked_models(facts)
