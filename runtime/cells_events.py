"""A layer of plain neurons driven by its spikes, one call of a compiled kernel per block of steps.

Signals and potentials are kept with channels last, (samples, H, W, C filled up to eights). The
arithmetic is that of ``NeuronParams.step`` apart from the order of the sum v + I + bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .buffers import copied, zeros
from .cells import Window
from .counting import Counter
from .event_tables import EventTable
from .event_terms import EventLayer, as_map, channels_last
from .layout import Layout
from .neuron import State
from .ops import Array, Shape
from .profile import Clock

SCATTER, FIRE = 1, 2  # phases of the kernel


def event_shape(shape: Shape) -> Shape:
    """(H, W, C filled up) of a sample shape."""
    channels, *plane = as_map(shape)
    return (*plane, -(-channels // 8) * 8)


def channels_first(x: Array, shape: Shape) -> Array:
    """A view (..., *shape) of a signal (..., H, W, C filled up)."""
    inside = np.moveaxis(x[..., : shape[0]], -1, -3)
    return inside.reshape(*x.shape[:-3], *shape)


class EventCell:
    """``sources`` in order are what ``run`` reads: with channels last, or one constant current
    (1, *inner) in the plan's layout."""

    def __init__(
        self, layer: EventLayer, layout: Layout, block: int, counter: Counter, clock: Clock
    ) -> None:
        from . import event_kernels  # needs numba

        self.kernels: Any = event_kernels
        self.layer, self.layout, self.counter = layer, layout, counter
        height, *line = event_shape(layer.node.shape)
        self.size = prod(line)
        self.v = zeros((layout.lanes, height, *line), np.float32)
        self.bias = channels_last(layer.node.bias, layer.node.shape)
        self.start = channels_last(layer.node.neuron.v_init, layer.node.shape)
        self.steady = None if layer.tables else zeros(self.v.shape, np.float32)
        self.steady_for: tuple[bool, bool] | None = None
        self.parameters = _Parameters(layer, self.size)
        self.terms = _terms(layer.tables, event_kernels)
        most = max((t.width * len(t.places) for t in layer.tables if not t.points), default=0)
        self.events = np.empty((most + 3) * event_kernels.EVENT, np.uint8)
        self.counts = np.zeros((block, layout.lanes), np.int64)
        self.clock = clock

    def reset(self) -> None:
        self.v[...] = self.start
        self.steady_for = None

    def states(self) -> State:
        return {"v": self.v} if self.steady is None else {"v": self.v, "steady": self.steady}

    def run(self, xs: Sequence[Array | None], out: Array, window: Window, owned: bool) -> int:
        """As ``Cell.run``, on (steps, samples, H, W, C); ``xs`` None: a silent source."""
        self._set_current(xs, window)
        terms = self.terms.copy()
        for term, x in zip(terms, xs if self.layer.tables else (), strict=True):
            if x is not None:
                term[[self.kernels.SOURCE, self.kernels.STEP, self.kernels.LANE]] = (
                    x.ctypes.data,
                    x.strides[0],
                    x.strides[1],
                )
        heard = [i for i, x in enumerate(xs) if x is not None and self.layer.tables]
        counts = self.counts[: len(out)]
        if not self.clock.measures:
            self._advance(terms, heard, out, counts, SCATTER | FIRE)
        else:
            for i in range(len(out)):
                with self.clock.synapse:
                    self._advance(terms, heard, out[i : i + 1], counts[i : i + 1], SCATTER)
                with self.clock.neuron:
                    self._advance(terms, heard, out[i : i + 1], counts[i : i + 1], FIRE)
                terms[:, self.kernels.SOURCE] += terms[:, self.kernels.STEP]
        return self._count(counts, window)

    def _advance(
        self, terms: Array, heard: list[int], out: Array, counts: Array, phases: int
    ) -> None:
        v, steady = self.v, self.steady
        cell = (
            len(out),
            self.layout.lanes,
            v.shape[1],
            v.ctypes.data,
            v.strides[0],
            out.ctypes.data,
            out.strides[0],
            out.strides[1],
            0 if steady is None else steady.strides[0],
            self.size,
        )
        rows, heard_terms = self.parameters.rows, terms[heard]
        self.kernels.advance(cell, rows, heard_terms, self.events, counts, phases)

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
                inside = channels_first(self.steady, self.layer.node.shape)
                np.copyto(inside, self.layout.natural(x)[0])
            if window.arrives:
                np.add(self.steady, self.bias, out=self.steady)
            self.steady_for = now
        height, row = self.v.shape[1], self.size * 4
        self.parameters.rows[:, 1] = self.steady.ctypes.data + np.arange(height) * row

    def _count(self, counts: Array, window: Window) -> int:
        events, operations = np.divmod(counts, self.kernels.EVENTS)
        self.counter.take(window.at, events, operations)
        return int(events.sum())


class _Parameters:
    """Addresses of every row's thresholds, biases and fan-outs, (H, 3) in ``rows``."""

    def __init__(self, layer: EventLayer, size: int) -> None:
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


def _terms(tables: Sequence[EventTable], kernels: Any) -> Array:
    """What the kernel takes, a row per term; the spikes' addresses are filled in for every run."""
    terms = np.zeros((len(tables), kernels.COLUMNS), np.int64)
    for row, table in zip(terms, tables, strict=True):
        row[kernels.WIDTH] = table.width
        row[kernels.MAGIC] = 2**32 // table.width + 1
        row[kernels.STRIDE] = table.weight[0].nbytes
        row[kernels.POINTS] = table.points
        for column, array in (
            (kernels.WEIGHT, table.weight),
            (kernels.PLACES, table.places),
            (kernels.FIRST, table.first),
            (kernels.RUNS, table.runs),
            (kernels.READY, table.ready),
        ):
            assert array.flags.c_contiguous
            row[column] = array.ctypes.data
    return terms
