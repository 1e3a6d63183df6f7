"""Arrays of samples, checked against what a graph's inputs take; and which of many are taken."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import DataError
from ...spelling import spelled
from ..graph import Input, SpikingGraph
from ..ops import Array


def spread_over(count: int, *, most: int) -> Array:
    """At most ``most`` of ``count`` sample numbers, evenly spread from the first to the last: data
    are often sorted by class."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def as_inputs(
    graph: SpikingGraph, inputs: Array | Mapping[str, Array], dtype: np.dtype | type
) -> dict[str, Array]:
    """One float array (samples, *shape) per input node. Raises DataError where they do not fit."""
    nodes = graph.of(Input)
    if not isinstance(inputs, Mapping):
        if len(nodes) != 1:
            names = [n.name for n in nodes]
            raise DataError(f"the network has inputs {names}: give one array for each", code="E211")
        inputs = {nodes[0].name: inputs}
    out: dict[str, Array] = {}
    for node in nodes:
        if node.name not in inputs:
            raise DataError(f"no data for input '{node.name}'", code="E211")
        x = np.asarray(inputs[node.name])
        if x.shape[1:] != node.shape:
            raise DataError(
                f"input '{node.name}' takes samples of shape {node.shape}, got {x.shape[1:]}",
                remedy=f"Check {spelled('layout')} and the data's key.",
                code="E212",
            )
        out[node.name] = np.ascontiguousarray(x, dtype=dtype)
    sizes = {len(x) for x in out.values()}
    if sizes == {0}:
        raise DataError("the data has no samples", code="E213")
    if len(sizes) != 1:
        raise DataError(f"inputs differ in their number of samples: {sorted(sizes)}", code="E214")
    if any(not np.isfinite(x).all() for x in out.values()):
        raise DataError("the data has NaN or infinite values", code="E215")
    return out
