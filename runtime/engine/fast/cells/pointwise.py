"""Plain neurons behind a product with channels last, updated by the kernel of ``cells.events``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....graph import Population
from ....neurons import State
from ....ops import Array
from ...profile import Clock
from ..buffers import Arena, zeros
from ..counting import Counter
from ..events.layers import channels_last, event_shape
from ..events.tables import EVENTS
from ..products.pointwise import PointwiseLayer, PointwiseProduct
from ..products.sessions import ChainSessions
from .base import Window
from .events import FIRE, NOTHING, EventDrive, Parameters


class PointwiseCell:
    """``run`` reads spikes or currents with channels last, in the order of the layer's sources;
    group by group (``PointwiseProduct``), so that currents stay in the cache. A layer without
    synapses reads its current, all at once."""

    def __init__(
        self,
        layer: PointwiseLayer,
        lanes: int,
        block: int,
        *,
        sessions: ChainSessions,
        arena: Arena,
        counter: Counter,
        clock: Clock,
    ) -> None:
        node, neurons = layer.node, layer.neurons
        assert neurons is not None and isinstance(node, Population)
        height, width, channels = event_shape(node.shape)
        self.product: PointwiseProduct | None = None
        self.groups = [(slice(0, lanes), slice(0, height))]
        if layer.synapses:
            self.product = PointwiseProduct(
                layer, lanes, block, sessions=sessions, clock=clock, arena=arena
            )
            self.groups = self.product.groups
        self.size = width * channels
        self.v = zeros((lanes, height, width, channels), np.float32)
        self.start = channels_last(node.neuron.v_init, node.shape)
        self.parameters = Parameters(neurons, self.size)
        self.drive = EventDrive(())
        self.counts = np.zeros((block, lanes), np.int64)
        self.counter, self.clock = counter, clock

    def reset(self) -> None:
        self.v[...] = self.start

    def states(self) -> State:
        return {"v": self.v}

    def run(self, xs: Sequence[Array], out: Array, window: Window) -> int:
        """As ``Cell.run``, on (steps, samples, H, W, C); no ``xs``: all of them are silent."""
        self.parameters.choose(window.fires, window.arrives)
        counts = self.counts[: len(out)]
        for group in self.groups:
            current = xs[0] if xs and self.product is None else None
            if xs and self.product is not None:
                with self.clock.synapse:
                    current = self.product.of_group(xs, group)
            with self.clock.neuron:
                lanes, rows = group
                counted = self._fire(current, out[:, lanes, rows], group)
                counts[:, lanes] = counted if rows.start == 0 else counts[:, lanes] + counted
        events, operations = np.divmod(counts, EVENTS)
        self.counter.take(window.at, events, operations)
        return int(events.sum())

    def _fire(self, current: Array | None, out: Array, group: tuple[slice, slice]) -> Array:
        """Update the neurons of a group; what is counted, (steps, samples)."""
        lanes, rows = group
        v, parameters = self.v[lanes, rows], self.parameters.rows[rows]
        counts = np.zeros(out.shape[:2], np.int64)
        cell = (
            *(*out.shape[:3], v.ctypes.data, 0, v.strides[0]),
            *(out.ctypes.data, *out.strides[:2], 0, self.size),
            *((0, 0, 0) if current is None else (current.ctypes.data, *current.strides[:2])),
        )
        self.drive.advance(cell, parameters, NOTHING, counts, FIRE)
        return counts
