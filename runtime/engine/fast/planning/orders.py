"""In which memory order each signal of a plan is kept, and what brings it into another.

Layers driven by spikes and products between them pass on (samples, H, W, C filled up), layers in
blocks of channels (samples, C / B, H, W, B), all others (samples, *shape) as ONNX Runtime reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from ....graph import Node
from ....ops import Array, Shape
from ...profile import Clock
from ..buffers import Arena, zeros
from ..cells.events import WindowSums
from ..events.layers import EventLayer, channels_first, event_shape
from ..products.blocked import block_shape, from_blocks
from ..products.blocked.layers import BlockedLayers
from ..products.records import Kernel
from .segment import Step


class Orders:
    """See the module. ``channels_last``: what is kept so; ``dtypes``: of all signals."""

    def __init__(
        self,
        lanes: int,
        shapes: Mapping[str, Shape],
        blocked: BlockedLayers,
        last: Set[str],
        dtypes: Mapping[str, np.dtype],
    ) -> None:
        self.lanes, self.shapes, self.blocked = lanes, shapes, blocked
        self.channels_last, self.dtypes = last, dtypes
        self.arena = Arena()  # of sums: each layer's are read before the next layer's are made

    def memory_shape(self, node: Node) -> Shape:
        """The memory shape of one step of what a node passes on."""
        if node.name in self.channels_last:
            return self._event_shape(node.shape)
        if node.name in self.blocked.terms:
            return (self.lanes, *block_shape(node.shape, self.blocked.size))
        return (self.lanes, *node.shape)

    def moved(self, names: Sequence[str], chunk: int, clock: Clock) -> list[Step]:
        """Signals that are kept in another order brought into (samples, *shape), for at most
        ``chunk`` steps at once."""

        def reorder(name: str) -> Kernel:
            def run(xs: list[Array], out: Array) -> None:
                with clock.copies:
                    x = self._natural(name, xs[0])
                    np.copyto(out.reshape(x.shape), x)

            return run

        elsewhere = [n for n in names if n in self.channels_last or n in self.blocked.terms]
        held = {n: zeros((chunk, self.lanes, *self.shapes[n]), self.dtypes[n]) for n in elsewhere}
        return [(reorder(n), (n,), n, held[n]) for n in elsewhere]

    def for_events(
        self, layer: EventLayer, chunk: int, clock: Clock
    ) -> tuple[list[Step], tuple[str, ...]]:
        """What brings a layer's sources into the order its kernel reads, and the signals it reads:
        the sources with channels last, their sums, or sums of windows of these."""
        steps: dict[str, Step] = {}
        reads = []
        sums = {s.names: self._event_shape(self.shapes[s.names[0]]) for s in layer.sources}
        sums = {names: (chunk, *shape) for names, shape in sums.items() if len(names) > 1}
        held = dict(zip(sums, self.arena.arrays(list(sums.values()), np.int8), strict=True))
        for i, source in enumerate(layer.sources):
            for name in source.names:
                if name not in self.channels_last and name not in steps:
                    buffer = zeros((chunk, *self._event_shape(self.shapes[name])), np.int8)
                    steps[name] = (self._to_channels_last(name, clock), (name,), name, buffer)
            name = " + ".join(source.names)
            if source.names in held:
                steps[name] = (_sum, source.names, name, held[source.names])
            if source.pool is not None:
                pooled = f"{name} summed for {layer.node.name} {i}"
                buffer = zeros((chunk, *self._event_shape(source.pooled)), np.int8)
                steps[pooled] = (WindowSums(source.pool), (name,), pooled, buffer)
                name = pooled
            reads.append(name)
        return list(steps.values()), tuple(reads)

    def _to_channels_last(self, name: str, clock: Clock) -> Kernel:
        shape = self.shapes[name]

        def run(xs: list[Array], out: Array) -> None:
            with clock.copies:
                x = self._natural(name, xs[0])
                np.copyto(channels_first(out, shape).reshape(x.shape), x)

        return run

    def _event_shape(self, shape: Shape) -> Shape:
        return (self.lanes, *event_shape(shape))

    def _natural(self, name: str, x: Array) -> Array:
        """A view (time, lanes, *shape) of a signal in whatever order it is kept, with the channels
        of blocks (C / B, H, W, B) split in two."""
        if name in self.channels_last:
            return channels_first(x, self.shapes[name])
        return from_blocks(x) if name in self.blocked.terms else x


def _sum(xs: list[Array], out: Array) -> None:
    """A kernel: a sum of signals in one order."""
    np.add(xs[0], xs[1], out=out)
    for x in xs[2:]:
        np.add(out, x, out=out)
