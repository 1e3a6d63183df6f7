"""Layers driven by their spikes, one call of a compiled kernel per block of steps.

Signals and potentials are kept with channels last, (samples, H, W, C filled up to eights). The
arithmetic is that of ``NeuronParams.step`` apart from the order of the sum v + I + bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import addressof, c_int64
from math import prod

import numpy as np

from ....graph import Population
from ....neurons import State
from ....ops import Array
from ...profile import Clock
from ..buffers import copied, zeros
from ..counting import Counter
from ..events.layers import EventLayer, EventNeurons, channels_first, channels_last, event_shape
from ..events.tables import (
    COLUMNS,
    EVENTS,
    FIRST,
    LANE,
    PLACES,
    POINTS,
    READY,
    RUNS,
    SOURCE,
    STEP,
    STRIDE,
    WEIGHT,
    WIDTH,
    EventTable,
)
from ..native import loaded
from .base import Window

SCATTER, FIRE = 1, 2  # phases of the kernel
NOTHING = np.zeros((0, COLUMNS), np.int64)  # terms: no spikes are added


class EventDrive:
    """What a layer's sources add, as the kernel takes it: a row per source."""

    def __init__(self, tables: Sequence[EventTable]) -> None:
        self.kernels = loaded()
        self.terms = np.zeros((len(tables), COLUMNS), np.int64)
        for row, table in zip(self.terms, tables, strict=True):
            self._fill(row, table)
        self.tables = tables  # the rows have their addresses

    def _fill(self, row: Array, table: EventTable) -> None:
        row[WIDTH] = table.width
        row[STRIDE] = table.weight[0].nbytes
        row[POINTS] = table.points
        for column, array in (
            (WEIGHT, table.weight),
            (PLACES, table.places),
            (FIRST, table.first),
            (RUNS, table.runs),
            (READY, table.ready),
        ):
            assert array.flags.c_contiguous
            row[column] = array.ctypes.data

    def heard(self, xs: Sequence[Array | None]) -> Array:
        """The rows of sources that are not silent, for spikes (steps, samples, H, W, C)."""
        rows = []
        for term, x in zip(self.terms, xs, strict=True):
            if x is not None:
                row = term.copy()
                row[SOURCE] = x.ctypes.data
                row[[STEP, LANE]] = x.strides[:2]
                rows.append(row)
        return np.array(rows, np.int64).reshape(len(rows), COLUMNS)

    def advance(
        self, cell: tuple[int, ...], rows: Array, terms: Array, counts: Array, phases: int
    ) -> None:
        """``event_kernels.advance``."""
        assert counts.flags.c_contiguous
        addresses = (rows.ctypes.data, terms.ctypes.data, len(terms))
        given = (c_int64 * len(cell))(*cell)
        self.kernels.advance(addressof(given), *addresses, counts.ctypes.data, phases)

    def fill(self, current: Array, terms: Array) -> None:
        """The current (steps, samples, H, W, C) of the ``heard``."""
        current[...] = 0
        size, (step, lane) = current.shape, current.strides[:2]
        cell = (*size[:3], current.ctypes.data, step, lane, *(0,) * 8)
        self.advance(cell, NOTHING, terms, NOTHING, SCATTER)


def tables_of(layer: EventLayer) -> list[EventTable]:
    return [source.table for source in layer.sources]


class EventCurrent:
    """A kernel of ``kernels``: the current of spikes with channels last, in ONNX's order."""

    def __init__(self, layer: EventLayer, lanes: int, chunk: int) -> None:
        self.drive, self.lanes = EventDrive(tables_of(layer)), lanes
        self.shape = layer.shape
        self.held = zeros((chunk, lanes, *event_shape(self.shape)), np.float32)

    def __call__(self, xs: list[Array], out: Array) -> None:
        v = self.held[: len(out)]
        self.drive.fill(v, self.drive.heard(xs))
        np.copyto(out, channels_first(v, self.shape))


class WindowSums:
    """A kernel: spikes with channels last summed over the windows of a pool, as bytes."""

    def __init__(self, table: EventTable) -> None:
        self.table, self.kernels = table, loaded()

    def __call__(self, xs: list[Array], out: Array) -> None:
        x, table = xs[0], self.table
        out[...] = 0
        cell = (
            *(len(out), x.shape[1], x.ctypes.data, *x.strides[:2]),
            *(out.ctypes.data, *out.strides[:2], len(table.places), table.width),
        )
        given = (c_int64 * len(cell))(*cell)
        tables = (array.ctypes.data for array in (table.places, table.first, table.runs))
        self.kernels.sum_windows(addressof(given), *tables)


class SharedCurrent:
    """The current of a synapse that several populations read, with channels last. ``run`` reads
    spikes, as ``EventCell`` does."""

    def __init__(self, layer: EventLayer, clock: Clock) -> None:
        self.drive, self.clock = EventDrive(tables_of(layer)), clock

    def reset(self) -> None:
        return

    def states(self) -> State:
        return {}

    def run(self, xs: Sequence[Array | None], out: Array, window: Window, owned: bool) -> int:
        """As ``Cell.run``; how many sources are not silent."""
        terms = self.drive.heard(xs)
        with self.clock.synapse:
            self.drive.fill(out, terms)
        return len(terms)


class EventCell:
    """Plain neurons. ``run`` reads spikes with channels last, in the order of the layer's sources,
    or one constant current (1, samples, *shape)."""

    def __init__(
        self, layer: EventLayer, lanes: int, block: int, counter: Counter, clock: Clock
    ) -> None:
        node, neurons = layer.node, layer.neurons
        assert neurons is not None and isinstance(node, Population)
        self.shape, self.lanes, self.counter = node.shape, lanes, counter
        height, *line = event_shape(node.shape)
        self.size = prod(line)
        self.v = zeros((lanes, height, *line), np.float32)
        self.bias = channels_last(node.bias, node.shape)
        self.start = channels_last(node.neuron.v_init, node.shape)
        self.steady = None if layer.sources else zeros(self.v.shape, np.float32)
        self.steady_for: tuple[bool, bool] | None = None
        self.parameters = Parameters(neurons, self.size)
        self.drive = EventDrive(tables_of(layer))
        self.counts = np.zeros((block, lanes), np.int64)
        self.clock = clock

    def reset(self) -> None:
        self.v[...] = self.start
        self.steady_for = None

    def states(self) -> State:
        return {"v": self.v} if self.steady is None else {"v": self.v, "steady": self.steady}

    def run(self, xs: Sequence[Array | None], out: Array, window: Window, owned: bool) -> int:
        """As ``Cell.run``, on (steps, samples, H, W, C); ``xs`` None: a silent source."""
        self._set_current(xs, window)
        terms = self.drive.heard(xs if self.steady is None else ())
        counts = self.counts[: len(out)]
        if not self.clock.measures:
            self._advance(terms, out=out, counts=counts, phases=SCATTER | FIRE)
        else:
            for i in range(len(out)):
                with self.clock.synapse:
                    self._advance(
                        terms, out=out[i : i + 1], counts=counts[i : i + 1], phases=SCATTER
                    )
                with self.clock.neuron:
                    self._advance(terms, out=out[i : i + 1], counts=counts[i : i + 1], phases=FIRE)
                terms[:, SOURCE] += terms[:, STEP]
        return self._count(counts, window)

    def _advance(self, terms: Array, *, out: Array, counts: Array, phases: int) -> None:
        v = self.v
        cell = (
            *(len(out), self.lanes, v.shape[1], v.ctypes.data, 0, v.strides[0]),
            *(out.ctypes.data, *out.strides[:2]),
            *(0 if self.steady is None else self.steady.strides[0], self.size, 0, 0, 0),
        )
        self.drive.advance(cell, self.parameters.rows, terms, counts, phases)

    def _set_current(self, xs: Sequence[Array | None], window: Window) -> None:
        """Which thresholds and currents the kernel sees: none fire outside the window."""
        self.parameters.choose(window.fires, window.arrives)
        if self.steady is None:
            return
        x = xs[0]
        now = (x is not None, window.arrives)
        if self.steady_for != now:
            if x is None:
                self.steady[...] = 0
            else:
                inside = channels_first(self.steady, self.shape)
                np.copyto(inside, x[0])
            if window.arrives:
                np.add(self.steady, self.bias, out=self.steady)
            self.steady_for = now
        height, row = self.v.shape[1], self.size * 4
        self.parameters.rows[:, 1] = self.steady.ctypes.data + np.arange(height) * row

    def _count(self, counts: Array, window: Window) -> int:
        events, operations = np.divmod(counts, EVENTS)
        self.counter.take(window.at, events, operations)
        return int(events.sum())


class Parameters:
    """Addresses of every row's thresholds, biases and fan-outs, (H, 3) in ``rows``."""

    def __init__(self, layer: EventNeurons, size: int) -> None:
        never, nothing = np.full((1, size), np.inf), np.zeros((1, size))
        self.held = {
            "threshold": copied(layer.threshold[0], np.float32),
            "bias": copied(layer.bias[0], np.float32),
            "fan_out": copied(layer.fan_out[0], np.int32),
            "never": copied(never, np.float32),
            "nothing": copied(nothing, np.float32),
        }
        step = size * 4
        start = {name: array.ctypes.data for name, array in self.held.items()}
        self.threshold = start["threshold"] + layer.threshold[1] * step
        self.bias = start["bias"] + layer.bias[1] * step
        self.never, self.nothing = start["never"], start["nothing"]
        self.rows = np.zeros((len(self.bias), 3), np.int64)
        self.rows[:, 2] = start["fan_out"] + layer.fan_out[1] * step

    def choose(self, fires: bool, arrives: bool) -> None:
        self.rows[:, 0] = self.threshold if fires else self.never
        self.rows[:, 1] = self.bias if arrives else self.nothing
