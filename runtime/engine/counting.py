"""Counts of spikes and synaptic operations, exact, per step.

A layer's operations in a step are the sum of its spikes weighted by their fan-out. Sums are done
in float32 only where every partial sum is an integer below 2^24, else in pieces that keep to it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..ops import Array, Shape
from .buffers import copied, zeros
from .layout import Layout

EXACT = 2.0**24  # integers up to here are exact in float32


class Counter:
    """Counts one layer's emissions over a block.

    Attributes:
        events, operations: (block, 1) sums over lanes, or (block, lanes) while ``by_lane``.
        by_lane: count every sample for itself (padded tiles, early exit).
    """

    def __init__(self, fan_out: Array, layout: Layout, block: int, dtype: np.dtype) -> None:
        self.layout = layout
        self.by_lane = False
        self.events = np.zeros((block, layout.lanes))
        self.operations = np.zeros((block, layout.lanes))
        self.by_lanes = np.zeros((block, layout.lanes), np.float64)
        fan = layout.per_neuron(fan_out)
        self.fan = fan.astype(dtype)
        self._ones = np.ones(len(fan), dtype)
        self.constant = float(fan[0]) if fan.size and np.all(fan == fan[0]) else None
        self.pieces = _exact_pieces(fan)
        self.table = self._table(fan, fan_out, dtype)
        self.channels = self._over_channels(fan_out, dtype)

    def _over_channels(self, fan_out: Array, dtype: np.dtype) -> _ChannelSums | None:
        if self.layout.order != "rows" or fan_out.ndim != 3 or np.any(fan_out != fan_out[:1]):
            return None
        channels, _, width = fan_out.shape
        if not 4 <= channels <= 255 or width * self.layout.lanes % 4:
            return None
        counter = Counter(fan_out[:1], self.layout, 0, dtype)
        counter.events, counter.operations = self.events, self.operations
        return _ChannelSums(counter, fan_out.shape, self.layout.lanes, dtype)

    def _table(self, fan: Array, fan_out: Array, dtype: np.dtype) -> Array | None:
        """Fan-outs of a whole step with its lanes, (rows, row length): one dot product per row."""
        if self.constant is not None or self.layout.order != "rows":
            return None
        rows = fan_out.shape[1] if fan_out.ndim == 3 else 1
        if fan.sum() * self.layout.lanes < EXACT:
            rows = 1
        table = copied(np.repeat(fan, self.layout.lanes).reshape(rows, -1), dtype)
        return table if table.sum(axis=1, dtype=np.float64).max() < EXACT else None

    def start(self, by_lane: bool) -> None:
        self.by_lane = by_lane
        self.events[...] = 0
        self.operations[...] = 0
        self.by_lanes[...] = 0

    def add_spikes(self, step: int, fired: Array, events: int, spare: Array) -> None:
        """Count a step: ``fired`` are single bytes in the order of *inner, 1 where a spike left,
        ``events`` their number; ``spare`` is as large and may be overwritten."""
        if self.constant is not None and not self.by_lane:
            self.events[step, 0], self.operations[step, 0] = events, events * self.constant
        elif self.channels is not None:
            self.channels.counter.by_lane = self.by_lane
            self.channels.add(step, fired, events)
        else:
            np.copyto(spare, fired.view(np.int8))
            self.add(step, spare, events)

    def add(self, step: int, fired: Array, events: int) -> None:
        """Count a step: ``fired`` (*inner) is 1.0 where a spike left, ``events`` their number."""
        if self.by_lane:
            self._add_lanes(step, fired)
            return
        self.events[step, 0] = events
        if self.constant is not None:
            self.operations[step, 0] = events * self.constant
        elif self.table is not None and len(self.table) == 1:
            self.operations[step, 0] = np.dot(fired.reshape(-1), self.table[0])
        elif self.table is not None:
            rows = fired.reshape(len(self.table), 1, -1)
            dots = np.matmul(rows, self.table[:, :, np.newaxis])
            self.operations[step, 0] = dots.sum(dtype=np.float64)
        else:
            self.operations[step, 0] = self._per_lane(fired).sum()

    def add_part(self, step: int, lanes: slice, neurons: slice, fired: Array) -> None:
        """Operations of a part of a step: ``fired`` (lanes, neurons) of 1.0 and 0.0, in the order
        of one lane's neurons (layouts with a sample's neurons together). ``settle`` counts them."""
        if len(self.pieces) == 1:
            out = self.by_lanes[step, lanes]
            if neurons.start == 0:
                np.matmul(fired, self.fan[neurons], out=out)
            else:
                out += fired @ self.fan[neurons]
            return
        for a, b in self.pieces:
            low, high = max(a, neurons.start), min(b, neurons.stop)
            if low < high:
                dots = fired[:, low - neurons.start : high - neurons.start] @ self.fan[low:high]
                self.by_lanes[step, lanes] += dots

    def settle(self, first: int, fired: Array, events: list[int]) -> None:
        """Count steps from ``first`` whose operations ``add_part`` has seen: ``fired`` (steps,
        lanes, neurons) of ones and zeros, ``events`` their number in each step. Where all fan-outs
        are ``constant``, ``add_part`` need not have seen them."""
        where = slice(first, first + len(events))
        if self.by_lane:
            # No events are listed while a start lag lasts: there are no rows to fill then.
            self.events[where] = np.count_nonzero(fired[: len(events)], axis=2)
            self.operations[where] = self.by_lanes[where]
        else:
            self.events[where, 0] = events
            self.operations[where, 0] = self.by_lanes[where].sum(axis=1)
        if self.constant is not None:
            self.operations[where] = self.events[where] * self.constant

    def take(self, first: int, events: Array, operations: Array) -> None:
        """Steps from ``first`` counted elsewhere: (steps, lanes) each."""
        where = slice(first, first + len(events))
        if self.by_lane:
            self.events[where], self.operations[where] = events, operations
        else:
            self.events[where, 0] = events.sum(axis=1)
            self.operations[where, 0] = operations.sum(axis=1)

    def _add_lanes(self, step: int, fired: Array) -> None:
        flat = self.layout.neurons_by_lanes(fired)
        self.events[step] = self._ones @ flat
        if self.constant is not None:
            self.operations[step] = self.events[step] * self.constant
        else:
            self.operations[step] = self._per_lane(fired)

    def _per_lane(self, fired: Array) -> Array:
        flat = self.layout.neurons_by_lanes(fired)
        total = np.zeros(self.layout.lanes)
        for a, b in self.pieces:
            total += self.fan[a:b] @ flat[a:b]
        return total


class _ChannelSums:
    """Where all channels of a position have the same fan-out: spikes are summed over channels,
    which a byte holds, four bytes as an integer; ``counter`` counts the sums."""

    def __init__(self, counter: Counter, shape: Shape, lanes: int, dtype: np.dtype) -> None:
        channels, height, width = shape
        self.counter = counter
        self.words = (height, channels, width * lanes // 4)
        self.sums = zeros((height, width * lanes // 4), np.uint32)
        self.floats = zeros((height, width * lanes), dtype)

    def add(self, step: int, fired: Array, events: int) -> None:
        words = fired.reshape(-1).view(np.uint32).reshape(self.words)
        np.add.reduce(words, axis=1, out=self.sums, dtype=np.uint32)
        np.copyto(self.floats, self.sums.view(np.uint8))
        self.counter.add(step, self.floats, events)


def _exact_pieces(fan: Array) -> list[tuple[int, int]]:
    """Ranges of neurons whose fan-outs sum to less than 2^24."""
    running, cuts = np.cumsum(fan), [0]
    while cuts[-1] < len(fan):
        base = running[cuts[-1] - 1] if cuts[-1] else 0.0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(running, base + EXACT))))
    return list(pairwise(cuts))
