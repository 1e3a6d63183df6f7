"""Signals at some places of a map: what a search looks at is often one in a hundred of them.

A convolution is the product of its weights with the windows of these places, and only what lies in
the windows is asked for; spikes that are kept are read there. Everything else is computed whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ...runtime import graph as snn
from ...runtime.ops import Array
from ...runtime.ops.convolution import Conv
from ...runtime.semantics.walk import ask
from .stream import BLOCK, Block, Replaying


def signal_at(
    replay: Replaying, name: str, part: slice, end: int, places: Array
) -> Iterator[tuple[int, int, Array]]:
    """``stream.blocks`` at the ``places`` of a node of shape (channels, *positions), whose numbers
    they are: (steps, batch, channels, places)."""
    first = replay.start(name)
    each = 4 * _widest(replay, name, len(places)) * (part.stop - part.start)
    count = max(1, min(end - first, BLOCK // each))
    kept: dict[Any, Any] = {}
    for t0 in range(first, end, count):
        steps = min(count, end - t0)
        yield t0, steps, _at(Block(replay, part, t0, steps, kept=kept), name, places, known={})


def _within(replay: Replaying, name: str) -> tuple[snn.Synapse, bool] | None:
    """A synapse whose places need some of its inputs' only, and whether it is a convolution."""
    node = replay.nodes[name]
    if not isinstance(node, snn.Synapse) or name in replay.steady:
        return None
    if isinstance(node.op, Conv):
        return node, True
    same = all(replay.nodes[source].shape == node.shape for source in node.inputs)
    return (node, False) if node.op.adds and same and len(node.shape) > 1 else None


def _at(block: Block, name: str, places: Array, *, known: dict[str, Array]) -> Array:
    """``known``: signals that have been computed whole in this block."""
    replay, node = block.replay, block.replay.nodes[name]
    within = _within(replay, name)
    if within is not None and within[1]:
        return _windows(block, within[0], places, known)
    if within is not None:
        total, *others = (_at(block, source, places, known=known) for source in within[0].inputs)
        for other in others:
            total = total + other
        return total
    train = replay.trains.get(name)
    if train is not None and len(places) < prod(node.shape[1:]):
        there = train.spikes[block.part.start][:, : block.batch]
        there = there.reshape(*there.shape[:3], -1)[..., places]
        threshold = np.broadcast_to(train.threshold, node.shape).reshape(node.shape[0], -1)
        some = replace(train, threshold=threshold[:, places], spikes={block.part.start: there})
        return block.sent(name, some)
    whole = ask(replay.nodes, block, name, known)
    return whole.reshape(*whole.shape[:3], -1)[..., places]


def _windows(block: Block, node: snn.Synapse, places: Array, known: dict[str, Array]) -> Array:
    """A convolution at its ``places``."""
    op, source = node.op, block.replay.nodes[node.inputs[0]]
    assert isinstance(op, Conv)
    index, inside = _reached(op, source.shape[1:], out=node.shape[1:], places=places)
    x = _at(block, node.inputs[0], index.ravel(), known=known)
    time, batch, channels = x.shape[:3]
    x = x.reshape(-1, channels, *index.shape)
    if not inside.all():
        x = x * inside
    x = x.reshape(len(x), op.groups, -1, len(places))
    weight = op.weight.reshape(op.groups, -1, x.shape[2]).astype(np.float32, copy=False)
    return np.matmul(weight, x).reshape(time, batch, -1, len(places))


def _reached(
    op: Conv, shape: tuple[int, ...], *, out: tuple[int, ...], places: Array
) -> tuple[Array, Array]:
    """The positions (kernel elements, places) of an input of ``shape`` that the windows at the
    ``places`` of ``out`` have, and whether there are such: else they are of the padding."""
    at = np.array(np.unravel_index(places, out))
    taps = np.array(list(product(*map(range, op.kernel)))).T
    strides, dilations, pads = (
        np.array(x).reshape(-1, 1, 1) for x in (op.strides, op.dilations, op.pads[: len(op.kernel)])
    )
    where = at[:, np.newaxis] * strides + taps[:, :, np.newaxis] * dilations - pads
    inside = np.all((where >= 0) & (where < np.reshape(shape, (-1, 1, 1))), axis=0)
    index = np.ravel_multi_index(tuple(np.where(inside, where, 0)), shape)
    return index, inside.astype(np.float32)


def _widest(replay: Replaying, name: str, places: int) -> int:
    """Values of the largest array on the way to the ``places``."""
    within, node = _within(replay, name), replay.nodes[name]
    if within is not None:
        inner = places
        if isinstance(within[0].op, Conv):
            inner *= prod(within[0].op.kernel)
        own = node.shape[0] * places
        return max(own, *(_widest(replay, source, inner) for source in within[0].inputs))
    size = (node.shape or (1,))[0] * places
    some = name in replay.trains and places < prod(node.shape[1:])
    return size if some else max(size, replay.widest(name))
