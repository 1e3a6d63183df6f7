"""Max pools as trees of neurons: max(a, b) = a + relu(b - a), one population per pair.

``a`` stays linear, so the result is right for negative values too, and what is not pooled away
needs no neuron: a window of k values takes at most k - 1 neurons. Windows are pooled axis by axis,
the one that shrinks most first; along an axis of stride 1 the maxima of overlapping windows are
shared where that takes fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ....runtime.graph import Names
from ....runtime.ops import Array, LinearOp
from ....runtime.ops.arrays import window_count
from ....runtime.ops.linear import Add, Scale
from ....runtime.ops.moves import Pad, Slice, Take
from ....runtime.ops.pool import MaxPool
from ..graph import AnnGraph, AnnNode, Relu
from ..ranges import ranges

NEVER_WINS = -1e29  # next to it any activation is nothing


def tree_maxpool(graph: AnnGraph) -> AnnGraph:
    """Every MaxPool as its tree; the last node keeps the name and tensor.

    A pool with a window of nothing but padding, whose maximum is no number, stays as it is.
    """
    names = Names(node.name for node in graph.nodes)
    by_name = {node.name: node for node in graph.nodes}
    known = ranges(graph)
    nodes: list[AnnNode] = []
    for node in graph.nodes:
        if isinstance(node.layer, MaxPool):
            op, source = _unpadded(node.layer, by_name[node.inputs[0]], by_name)
            tree = _Tree(node, op, names, positive=known[source.name][0] >= 0)
            nodes.extend(tree.nodes_on(source))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _unpadded(
    op: MaxPool, source: AnnNode, nodes: Mapping[str, AnnNode]
) -> tuple[MaxPool, AnnNode]:
    """The pool and what it reads, without a Pad between them by numbers that never win, as some
    exporters write a pool's own padding: a difference to such a number keeps nothing of the other.
    """
    if not isinstance(source.layer, Pad) or source.bias is None:
        return op, source
    rank = len(source.shape)
    begins, ends = source.layer.pads[:rank], source.layer.pads[rank:]
    inside = tuple(slice(b, n - e) for b, e, n in zip(begins, ends, source.shape, strict=True))
    outside = np.ones(source.shape, bool)
    outside[inside] = False
    full = np.broadcast_to(source.bias, source.shape)
    if begins[0] or ends[0] or np.any(full[~outside]) or np.any(full[outside] > NEVER_WINS):
        return op, source
    own = zip(op.pads, (*begins[1:], *ends[1:]), strict=True)
    return replace(op, pads=tuple(a + b for a, b in own)), nodes[source.inputs[0]]


class _Tree:
    """The nodes of one pool. ``positive``: what it pools is never below zero."""

    def __init__(self, pool: AnnNode, op: MaxPool, names: Names, *, positive: bool) -> None:
        self.pool, self.op, self.names, self.positive = pool, op, names, positive
        self.nodes: list[AnnNode] = []

    def nodes_on(self, source: AnnNode) -> list[AnnNode]:
        """The tree's nodes in execution order; the pool itself where there is no tree."""
        op, rank = self.op, len(self.op.kernel)
        counts = window_count(
            source.shape[1:],
            kernel=op.kernel,
            strides=op.strides,
            dilations=op.dilations,
            pads=op.pads,
        )
        axes = [
            _Span(
                axis=i + 1,
                size=source.shape[i + 1],
                count=counts[i],
                kernel=op.kernel[i],
                stride=op.strides[i],
                dilation=op.dilations[i],
                begin=op.pads[i],
                end=op.pads[rank + i],
            )
            for i in range(rank)
        ]
        if any(span.empty for span in axes):
            return [self.pool]
        value = source
        for span in sorted(axes, key=lambda a: a.count / a.size):
            value = self._along(value, span)
        if value is source:
            value = self._new("same", Scale(scale=np.ones((), np.float32)), value)
        final = replace(self.pool, layer=value.layer, inputs=value.inputs)
        return [*self.nodes[:-1], final]

    def _along(self, x: AnnNode, span: _Span) -> AnnNode:
        """``x`` pooled along one axis."""
        if span.begin or span.end:
            x = self._padded(x, span)
        if span.stride > 1 or sum(n for _, n in span.doublings()) >= span.pairs:
            return self._pairwise(x, span)
        for step, length in span.doublings():
            first = self._part(x, span.axis, start=0, stride=1, count=length)
            second = self._part(x, span.axis, start=step * span.dilation, stride=1, count=length)
            x = self._larger(first, second)
        return x

    def _pairwise(self, x: AnnNode, span: _Span) -> AnnNode:
        """The values of each window in pairs, the maxima in pairs, ..."""
        if span.kernel == span.stride == 1:
            return x
        items = [
            self._part(x, span.axis, start=i * span.dilation, stride=span.stride, count=span.count)
            for i in range(span.kernel)
        ]
        while len(items) > 1:
            pairs = zip(items[::2], items[1::2], strict=False)
            odd = items[-1:] if len(items) % 2 else []
            items = [*(self._larger(a, b) for a, b in pairs), *odd]
        return items[0]

    def _larger(self, a: AnnNode, b: AnnNode) -> AnnNode:
        minus = self._new("minus", Scale(scale=np.asarray(-1, np.float32)), a)
        difference = self._new("difference", Add(), b, minus)
        over = self._new("over", Relu(beside=True), difference)
        return self._new("max", Add(), a, over)

    def _padded(self, x: AnnNode, span: _Span) -> AnnNode:
        """Padding that never wins: zeros where nothing is below them, else copies of values that
        are in the same windows."""
        if not self.positive:
            return self._new("padded", Take(axis=span.axis, indices=span.within()), x)
        pads = [0] * (2 * len(x.shape))
        pads[span.axis], pads[len(x.shape) + span.axis] = span.begin, span.end
        return self._new("padded", Pad(pads=tuple(pads)), x)

    def _part(self, x: AnnNode, axis: int, *, start: int, stride: int, count: int) -> AnnNode:
        starts, stops, steps = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
        starts[axis], stops[axis], steps[axis] = start, start + (count - 1) * stride + 1, stride
        section = Slice(starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))
        return self._new("part", section, x)

    def _new(self, part: str, layer: Relu | LinearOp, *read: AnnNode) -> AnnNode:
        shape = read[0].shape
        if not isinstance(layer, Relu):
            shape = layer.output_shape(*(node.shape for node in read))
        node = AnnNode(
            name=self.names.new(f"{self.pool.name}/{part}"),
            layer=layer,
            inputs=tuple(node.name for node in read),
            shape=shape,
            op_type=self.pool.op_type,
        )
        self.nodes.append(node)
        return node


@dataclass(frozen=True, kw_only=True)
class _Span:
    """The windows along one sample axis of ``size`` values: ``count`` of them; ``begin`` and
    ``end`` pad it."""

    axis: int
    size: int
    count: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int

    @property
    def pairs(self) -> int:
        """Maxima of pairs where windows share none."""
        return (self.kernel - 1) * self.count

    def doublings(self) -> list[tuple[int, int]]:
        """At stride 1, windows of 1, 2, 4, ... positions up to the kernel: by how many positions
        the second of two is shifted, and how many maxima that takes."""
        out, width, length = [], 1, self.begin + self.size + self.end
        while width < self.kernel:
            step = min(width, self.kernel - width)
            width, length = width + step, length - step * self.dilation
            out.append((step, length))
        return out

    @property
    def empty(self) -> bool:
        """Whether some window holds padding alone."""
        first = np.arange(self.count)[:, np.newaxis] * self.stride - self.begin
        taps = first + np.arange(self.kernel) * self.dilation
        return not bool(((taps >= 0) & (taps < self.size)).any(axis=1).all())

    def within(self) -> Array:
        """Of every padded position the nearest value that any window over it reads as well: a whole
        number of dilations away."""
        at = np.arange(-self.begin, self.size + self.end)
        before, behind = at % self.dilation, at - self.size + 1
        behind = at - self.dilation * -(-behind // self.dilation)
        return np.where(at < 0, before, np.where(at >= self.size, behind, at))
