"""Models of synapse chains for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....facts import GraphFacts
from ....file.emit import emit_chain
from ....graph import Synapse
from ....ops import MultiplyingOp


class ChainModels:
    """Serialized ONNX models of a graph's synapses, each made when it is first asked for: the
    plans of all threads and sizes of tiles share them."""

    def __init__(self, facts: GraphFacts) -> None:
        self.shapes = facts.shapes
        self.made: dict[str, bytes] = {}

    def model(self, nodes: Sequence[Synapse], sources: Sequence[str]) -> bytes:
        """``nodes`` one after the other, reading ``sources`` in order, each (N, *shape); the output
        is (N, *shape of the last)."""
        name = nodes[-1].name
        if name not in self.made:
            single = [_in_single(node) for node in nodes]
            self.made[name] = emit_chain(single, sources, self.shapes).SerializeToString()
        return self.made[name]


def _in_single(node: Synapse) -> Synapse:
    """With weights in single precision, which those of a graph made by hand may not be."""
    op = node.op
    if not isinstance(op, MultiplyingOp):
        return node
    return replace(node, op=op.with_factors(op.factors.astype(np.float32)))
