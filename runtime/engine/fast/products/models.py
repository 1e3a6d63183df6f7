"""Models of synapse chains for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ....facts import GraphFacts
from ....file.emit import emit_chain
from ....graph import Synapse
from ....ops import MultiplyingOp, Shape


class ChainModels:
    """Serialized ONNX models of a graph's synapses, each made when it is first asked for: the
    plans of all threads and sizes of tiles share them."""

    def __init__(self, facts: GraphFacts) -> None:
        self.shapes = facts.shapes
        self.made: dict[tuple[str, Shape], bytes] = {}

    def model(
        self,
        nodes: Sequence[Synapse],
        sources: Sequence[str],
        shapes: Mapping[str, Shape] | None = None,
    ) -> bytes:
        """``nodes`` one after the other, reading ``sources`` in order, each (N, *shape); the output
        is (N, *shape of the last). ``shapes``: where they are not the graph's."""
        key = nodes[-1].name, nodes[-1].shape
        if key not in self.made:
            single = [_in_single(node) for node in nodes]
            chain = emit_chain(single, sources, shapes or self.shapes)
            self.made[key] = chain.SerializeToString()
        return self.made[key]


def _in_single(node: Synapse) -> Synapse:
    """With weights in single precision, which those of a graph made by hand may not be."""
    op = node.op
    if not isinstance(op, MultiplyingOp):
        return node
    return replace(node, op=op.with_factors(op.factors.astype(np.float32)))
