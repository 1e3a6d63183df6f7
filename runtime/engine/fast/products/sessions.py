"""Sessions of ONNX Runtime for synapse chains, one for all plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....facts import GraphFacts
from ....file.emit import emit_chain
from ....graph import Synapse
from ....ops import MultiplyingOp, Shape
from .onnxruntime import open_session


class ChainSessions:
    """ONNX Runtime's sessions of a graph's synapses, each opened when it is first asked for: the
    plans of all threads and sizes of tiles share them, and with them their weights."""

    def __init__(self, facts: GraphFacts) -> None:
        self.shapes = facts.shapes
        self.made: dict[tuple[str, Shape], Any] = {}

    def session(
        self,
        nodes: Sequence[Synapse],
        sources: Sequence[str],
        shapes: Mapping[str, Shape] | None = None,
    ) -> Any:
        """Of ``nodes`` one after another on ``sources`` in this order, each (N, *shape), which give
        (N, *shape of the last). ``shapes``: where they are not the graph's."""
        key = nodes[-1].name, nodes[-1].shape
        if key not in self.made:
            single = [_in_single(node) for node in nodes]
            chain = emit_chain(single, sources, shapes or self.shapes)
            self.made[key] = open_session(chain.SerializeToString())
        return self.made[key]


def _in_single(node: Synapse) -> Synapse:
    """With weights in single precision, which those of a graph made by hand may not be."""
    op = node.op
    if not isinstance(op, MultiplyingOp):
        return node
    return replace(node, op=op.with_factors(op.factors.astype(np.float32)))
