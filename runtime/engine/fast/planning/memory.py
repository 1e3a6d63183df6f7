"""The memory of what segments pass on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ....graph import Input, Node, Readout, SpikingGraph
from ....ops import Array
from ..buffers import zeros
from .orders import Orders
from .segment import Segment


def signal_buffers(
    graph: SpikingGraph, segments: Sequence[Segment], block: int, orders: Orders
) -> dict[str, Array]:
    """A buffer of ``block`` steps for what each segment passes on, reused when its last reader is
    done, and for every input that is not constant."""
    last = {name: i for i, s in enumerate(segments) for name in s.sources}
    out: dict[str, Array] = {}
    free: list[Array] = []
    inputs = {node.name for node in graph.of(Input)}
    for node in graph.of(Input):
        if node.encoding != "constant":
            out[node.name] = zeros((block, orders.lanes, *node.shape), np.int8)
    for i, segment in enumerate(segments):
        if not isinstance(segment.node, Readout):
            out[segment.node.name] = _signal(segment.node, block, orders, free)
        done = [name for name in segment.sources if last[name] == i and name in out]
        free += [_raw(out[name]) for name in done if name not in inputs]
    return out


def _signal(node: Node, block: int, orders: Orders, free: list[Array]) -> Array:
    dtype = orders.dtypes[node.name]
    shape = (block, *orders.memory_shape(node))
    size = prod(shape) * dtype.itemsize
    fitting = [raw for raw in free if raw.nbytes >= size]
    if not fitting:
        return zeros(size, np.uint8).view(dtype).reshape(shape)
    raw = min(fitting, key=lambda r: r.nbytes)
    free[:] = [r for r in free if r is not raw]
    return raw[:size].view(dtype).reshape(shape)


def _raw(signal: Array) -> Array:
    """The bytes of a signal's buffer."""
    return signal.reshape(-1).view(np.uint8)
