"""Counts of spikes and synaptic operations, exact, per step.

A layer's operations in a step are the sum of its spikes weighted by their fan-out. Sums are done
in float32 only where every partial sum is an integer below 2^24, else in pieces that keep to it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...ops import Array

EXACT = 2.0**24  # integers up to here are exact in float32


class Counter:
    """Counts one layer's emissions over a block.

    Attributes:
        events, operations: (block, 1) sums over lanes, or (block, lanes) while ``by_lane``.
        by_lane: count every sample for itself (padded tiles, early exit).
    """

    def __init__(self, fan_out: Array, lanes: int, block: int, dtype: np.dtype) -> None:
        self.lanes = lanes
        self.by_lane = False
        self.events = np.zeros((block, lanes))
        self.operations = np.zeros((block, lanes))
        self.by_lanes = np.zeros((block, lanes), np.float64)
        fan = fan_out.reshape(-1)
        self.fan = fan.astype(dtype)
        self.constant = float(fan[0]) if fan.size and np.all(fan == fan[0]) else None
        self.pieces = _exact_pieces(fan)

    def start(self, by_lane: bool) -> None:
        self.by_lane = by_lane
        self.events[...] = 0
        self.operations[...] = 0
        self.by_lanes[...] = 0

    def add_spikes(self, step: int, fired: Array, *, events: int, spare: Array) -> None:
        """Count a step: ``fired`` are single bytes (lanes, *shape), 1 where a spike left,
        ``events`` their number; ``spare`` is as large and may be overwritten."""
        if self.constant is not None and not self.by_lane:
            self.events[step, 0], self.operations[step, 0] = events, events * self.constant
        else:
            np.copyto(spare, fired.view(np.int8))
            self.add(step, spare, events)

    def add(self, step: int, fired: Array, events: int) -> None:
        """Count a step: ``fired`` (lanes, *shape) is 1.0 where a spike left, ``events`` in all."""
        if self.by_lane:
            self._add_lanes(step, fired)
            return
        self.events[step, 0] = events
        if self.constant is not None:
            self.operations[step, 0] = events * self.constant
        else:
            self.operations[step, 0] = self._per_lane(fired).sum()

    def add_part(self, step: int, lanes: slice, *, neurons: slice, fired: Array) -> None:
        """Operations of a part of a step: ``fired`` (lanes, neurons) of 1.0 and 0.0, in the order
        of one lane's neurons. ``settle`` counts them."""
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
        self.events[step] = np.count_nonzero(fired.reshape(self.lanes, -1), axis=1)
        if self.constant is not None:
            self.operations[step] = self.events[step] * self.constant
        else:
            self.operations[step] = self._per_lane(fired)

    def _per_lane(self, fired: Array) -> Array:
        flat = fired.reshape(self.lanes, -1)
        total = np.zeros(self.lanes)
        for a, b in self.pieces:
            total += flat[:, a:b] @ self.fan[a:b]
        return total


def _exact_pieces(fan: Array) -> list[tuple[int, int]]:
    """Ranges of neurons whose fan-outs sum to less than 2^24."""
    running, cuts = np.cumsum(fan), [0]
    while cuts[-1] < len(fan):
        base = running[cuts[-1] - 1] if cuts[-1] else 0.0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(running, base + EXACT))))
    return list(pairwise(cuts))
