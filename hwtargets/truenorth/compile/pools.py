"""Pools as spiking neurons: sums by neurons that add spikes, maxima by differences.

add_up:   a neuron whose threshold is how many input spikes make one output spike
maximum:  max(a, b) = a + relu(b - a), in a tree: two neurons and two ticks per stage
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

import numpy as np

from ....errors import TargetError
from ....runtime import graph as g
from ....runtime.ops import Array, Shape, windows_of
from ...view.lines import Block, Signal, Wires, apply, blocks_of


class Builder(Protocol):
    """What pools need of ``lower``."""

    notes: list[str]
    lines: int

    def analog(self, blocks: Sequence[Block], size: int) -> Array: ...

    def add_unit(
        self,
        name: str,
        *,
        layer: str,
        role: Any,
        shape: Shape,
        blocks: Sequence[Block],
        bias: Array,
        threshold: Array,
        v_init: Array,
    ) -> tuple[Array, Any]: ...

    def new_lines(self, shape: Shape, rates: Array, scale: Array | float) -> Signal: ...


def add_up(build: Builder, node: g.Synapse, signal: Signal) -> Signal | None:
    """Neurons that add the spikes of each window, or None where the pool is left to the weights:
    windows of one element, constants, currents, or lines that are worth different amounts."""
    (term,) = signal.terms
    if not isinstance(term, Wires) or np.any(signal.constant):
        return None
    size = prod(node.shape)
    blocks = blocks_of(apply(node.op, [signal], node.name))
    if not blocks or any(len(np.unique(b.weights)) > 1 for b in blocks):
        return None
    worth = np.zeros(size)
    for b in blocks:
        worth[b.outputs[:, 0]] = b.weights[0, 0]
    if blocks[0].fields.shape[1] < 2 or np.any(worth <= 0):
        return None
    ones = _merged(blocks)
    sums = build.analog(ones, size)
    threshold = max(float(np.ceil(np.quantile(sums, 0.9999))), 1.0)
    rates, _ = build.add_unit(
        node.name,
        layer=node.name,
        role="pool",
        shape=node.shape,
        blocks=ones,
        bias=np.zeros(size),
        threshold=np.asarray(threshold),
        v_init=np.asarray(threshold // 2),
    )
    build.notes.append(
        "Average pools are neurons that add spikes (one tick each); their counts are rounded to "
        "whole spikes."
    )
    return build.new_lines(node.shape, rates, (worth * threshold).reshape(node.shape))


def _merged(blocks: Sequence[Block]) -> list[Block]:
    """Pool blocks as one block with weights of one."""
    fields = np.concatenate([b.fields for b in blocks])
    outputs = np.concatenate([b.outputs for b in blocks])
    order = np.argsort(outputs[:, 0])
    return [
        Block(
            fields=fields[order],
            outputs=outputs[order],
            weights=np.ones((1, fields.shape[1])),
            grid=(len(fields),),
        )
    ]


def maximum(build: Builder, node: g.MaxPool, signal: Signal) -> Signal:
    """The max pool as a tree of differences.

    Raises TargetError E522 for a maximum over currents or over unequal thresholds.
    """
    wires = signal.terms[0] if len(signal.terms) == 1 else None
    if not isinstance(wires, Wires) or np.any(signal.constant) or np.any(node.bias):
        raise TargetError(
            "a maximum over currents: TrueNorth can only take the maximum of spike rates",
            where=f"node '{node.name}'",
            remedy="Put the ReLU before the max pool (the result is the same), or use average "
            "pooling.",
            code="E522",
        )
    op, size = node.op, prod(node.shape)
    spans = (op.kernel, op.strides, op.dilations, op.pads)
    ids = (windows_of(wires.ids[np.newaxis] + 1, *spans)[0] - 1).reshape(size, -1)
    scale = windows_of(wires.scale[np.newaxis], *spans)[0].reshape(size, -1)
    worth = scale.max(axis=1)
    if np.any((ids >= 0) & (scale != worth[:, np.newaxis])):
        raise TargetError(
            "a maximum over neurons with different thresholds",
            where=f"node '{node.name}'",
            remedy="Convert with thresholds per channel or per layer.",
            code="E522",
        )
    items = [ids[:, i] for i in range(ids.shape[1])]
    stage = 0
    while len(items) > 1:
        pairs = [
            _max_of(build, node, f"{stage}.{i}", a, b)
            for i, (a, b) in enumerate(zip(items[::2], items[1::2], strict=False))
        ]
        items = [*pairs, *items[2 * len(pairs) :]]
        stage += 1
    build.notes.append(
        f"Max pool '{node.name}' is a tree of max(a, b) = a + relu(b - a) in spikes: "
        f"{2 * (ids.shape[1] - 1) * size:,} neurons and {2 * stage} ticks; exact in the mean, "
        "biased upwards by at most about a spike per stage where spikes interleave."
    )
    final = Wires(items[0].reshape(node.shape), worth.reshape(node.shape))
    return Signal(shape=node.shape, constant=np.zeros(node.shape), terms=(final,))


def _max_of(build: Builder, node: g.MaxPool, label: str, a: Array, b: Array) -> Array:
    """Line numbers of max(a, b), for arrays of line numbers."""
    difference = _pairwise(build, node, f"over{label}", (a, b), (-1.0, 1.0))
    return _pairwise(build, node, f"max{label}", (a, difference), (1.0, 1.0))


def _pairwise(
    build: Builder,
    node: g.MaxPool,
    label: str,
    pair: tuple[Array, Array],
    weights: tuple[float, float],
) -> Array:
    """Neurons of threshold 1 that read two lines each; their lines."""
    size = len(pair[0])
    block = Block(
        fields=np.stack(pair, axis=1),
        outputs=np.arange(size)[:, np.newaxis],
        weights=np.array([weights]),
        grid=(size,),
    )
    first = build.lines
    rates, _ = build.add_unit(
        f"{node.name}/{label}",
        layer=node.name,
        role="max",
        shape=(size,),
        blocks=[block],
        bias=np.zeros(size),
        threshold=np.asarray(1.0),
        v_init=np.asarray(0.0),
    )
    build.new_lines((size,), rates, 1.0)
    return np.arange(first, first + size)
