"""Runs integer units on spikes, unit by unit: all steps and samples of one unit at a time.

Time is relative: step t of a unit reads step t of its sources. The routing gives every path from a
source to a reader the same number of ticks, so that this is what the chip computes, each unit's
window shifted by its own latency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...runtime.graph import Input
from ...runtime.ops import Array
from ...runtime.semantics.encoding import encode
from .compile.lower import Reading, Source
from .compile.units import FLOOR, ChipUnit, Conn

CACHED = 1 << 19  # fields and potentials that are worked on at a time


@dataclass(eq=False)
class Spikes:
    """Spike trains uint8 (steps, samples, size) of sources and units, by their first line."""

    trains: dict[int, Array] = field(default_factory=dict)

    def read(self, fields: Array) -> tuple[list[int], Array]:
        """Whose trains ``fields`` needs, and the fields as columns of their concatenation (the
        column after the last is silence)."""
        firsts = np.array(sorted(self.trains), np.int64)
        owner = np.searchsorted(firsts, fields, side="right") - 1
        needed = np.flatnonzero(np.bincount(owner[fields >= 0]))
        sizes = np.array([self.trains[int(firsts[i])].shape[2] for i in needed], np.int64)
        starts = np.cumsum(sizes) - sizes
        shift = np.zeros(len(firsts) + 1, np.int64)
        shift[needed] = starts - firsts[needed]
        columns = np.where(fields >= 0, fields + shift[owner], sizes.sum())
        return [int(firsts[i]) for i in needed], columns

    def rates(self, fields: Array) -> Array:
        """Mean spikes per step, float64 (samples, *fields.shape)."""
        names, columns = self.read(fields)
        means = [self.trains[n].mean(axis=0, dtype=np.float64) for n in names]
        size = len(next(iter(self.trains.values()))[0])
        table = np.concatenate([*means, np.zeros((size, 1))], axis=1)
        return np.asarray(table[:, columns])


def source_spikes(sources: Iterable[Source], x: Mapping[str, Array], steps: int) -> Spikes:
    """The inputs' spike trains, spread evenly over the steps (encoding "rate"), or those of the
    neurons that code them."""
    spikes = Spikes()
    for source in sources:
        if source.coder is not None:
            train = source.coder.spikes(x, steps)
            spikes.trains[source.first] = train.reshape(*train.shape[:2], -1).astype(np.uint8)
            continue
        node = Input(name=source.name, shape=source.shape, encoding="rate")
        values = unit_range(source, x[source.name])
        train = encode(node, values, first_step=0, steps=steps, seed=0, offset=0)
        spikes.trains[source.first] = train.reshape(steps, len(train[0]), -1).astype(np.uint8)
    return spikes


def unit_range(source: Source, x: Array) -> Array:
    """Samples in spikes per step, clipped to [0, 1]."""
    scaled = (np.asarray(x, np.float64) - source.low) / (source.high - source.low)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class UnitRun:
    """spikes: uint8 (steps, samples, size); floored: how often a potential met the negative
    threshold; highest: the largest potential seen."""

    spikes: Array
    floored: int
    highest: float


def run_unit(unit: ChipUnit, spikes: Spikes) -> UnitRun:
    """All steps of one unit. Currents and potentials are integers held in float32 (exact below
    2^24; potentials are 20 bits wide). A few neurons, samples and steps at a time, so that all of
    it stays in the processor's cache."""
    steps, samples = next(iter(spikes.trains.values())).shape[:2]
    out = np.empty((steps, samples, unit.size), np.uint8)
    floored, highest = 0, 0.0
    for run, readers in _pieces(unit, [_Reader(conn, spikes) for conn in unit.conns]):
        neurons = _Neurons(unit, run)
        width = neurons.size + max((r.width for r in readers), default=0)
        several = max(CACHED // width, 1)
        for first in range(0, samples, several):
            some = slice(first, min(first + several, samples))
            neurons.begin(some.stop - first)
            block = max(CACHED // (width * (some.stop - first)), 1)
            for t0 in range(0, steps, block):
                span = slice(t0, min(t0 + block, steps))
                neurons.run(
                    _currents(readers, spikes, span, samples=some, run=run), out[span, some, run]
                )
        floored, highest = floored + neurons.floored, max(highest, neurons.highest)
    return UnitRun(out, floored, highest)


def _pieces(unit: ChipUnit, readers: Sequence[_Reader]) -> list[tuple[slice, list[_Reader]]]:
    """Runs of neurons with what they read: one per connection where no neuron has two."""
    ordered = sorted(readers, key=lambda r: r.run.start)
    ends = [r.run.stop for r in ordered]
    apart = [r.run.start for r in ordered] + [unit.size] == [0, *ends]
    if apart and all(r.rows_first or r.channels_first for r in readers):
        return [(r.run, [r]) for r in ordered]
    return [(slice(0, unit.size), list(readers))]


def _currents(
    readers: Sequence[_Reader], spikes: Spikes, steps: slice, *, samples: slice, run: slice
) -> Array:
    """Input of a run of neurons without their leaks, float32 (steps, samples, size)."""
    shape = (steps.stop - steps.start, samples.stop - samples.start, run.stop - run.start)
    if len(readers) == 1 and readers[0].run == run:
        return readers[0].read(spikes, steps, samples).reshape(shape)
    current = np.zeros(shape, np.float32)
    for reader in readers:
        current[:, :, reader.where] += reader.read(spikes, steps, samples)
    return current


class _Neurons:
    """A run of a unit's neurons, potentials (samples, size); counts as in ``UnitRun``."""

    def __init__(self, unit: ChipUnit, run: slice) -> None:
        self.threshold = unit.threshold[run].astype(np.float32)
        self.leak = unit.leak[run].astype(np.float32)
        self.start = unit.start[run].astype(np.float32)
        self.to = None if unit.reset else unit.reset_potential[run].astype(np.float32)
        self.size = len(self.leak)
        self.floored, self.highest = 0, 0.0
        self.v = np.empty((0, self.size), np.float32)

    def begin(self, samples: int) -> None:
        self.v = np.tile(self.start, (samples, 1))

    def run(self, current: Array, out: Array) -> None:
        """Some steps; ``current`` (steps, samples, size) is overwritten, spikes go to ``out``."""
        v, floor = self.v, np.float32(-FLOOR)
        for drive, fires in zip(current, out, strict=True):
            v += drive
            v += self.leak
            self.highest = max(self.highest, float(v.max(initial=0)))
            if v.min(initial=0) < floor:
                self.floored += int(np.count_nonzero(v < floor))
                np.maximum(v, floor, out=v)
            spiking = fires.view(bool)
            np.greater_equal(v, self.threshold, out=spiking)
            if self.to is None:
                np.copyto(drive, fires)
                drive *= self.threshold
                v -= drive
            else:
                np.copyto(v, self.to, where=spiking)


class _Reader:
    """One connection, ready to be evaluated on blocks of time.

    ``run``: from its first neuron to its last; ``where``: its neurons in the order of ``read``."""

    def __init__(self, conn: Conn, spikes: Spikes) -> None:
        self.names, self.columns = spikes.read(conn.fields)
        self.weights = np.ascontiguousarray(conn.weights.T.astype(np.float32))
        self.width = conn.fields.size
        self.shape = conn.outputs.shape
        first, count = int(conn.outputs.min()), conn.outputs.size
        self.run = slice(first, int(conn.outputs.max()) + 1)
        consecutive = np.arange(first, first + count)
        self.rows_first = bool(np.array_equal(conn.outputs.reshape(-1), consecutive))
        self.channels_first = bool(np.array_equal(conn.outputs.T.reshape(-1), consecutive))
        in_order = self.rows_first or self.channels_first
        self.where = self.run if in_order else conn.outputs.reshape(-1)
        self.private = _private(conn)
        self.rounds = [] if self.private is None else _rounds(self.columns, self.shape[1])

    def read(self, spikes: Spikes, steps: slice, samples: slice) -> Array:
        """The current of its neurons, float32 (steps, samples, P * O), ordered as ``where``."""
        parts = [spikes.trains[n][steps, samples] for n in self.names]
        silent = np.zeros((*parts[0].shape[:2], 1), np.uint8)
        table = np.concatenate([*parts, silent], axis=2)
        table = table.reshape(-1, table.shape[2])
        if self.private is not None:  # add up, then weigh
            found = self._added(table) * self.private
        else:
            read = np.take(table, self.columns, axis=1, mode="clip").astype(np.float32)
            found = (read.reshape(-1, read.shape[2]) @ self.weights).reshape(-1, *self.shape)
        if self.channels_first and not self.rows_first:
            found = found.swapaxes(1, 2)
        return np.ascontiguousarray(found).reshape(*parts[0].shape[:2], -1)

    def _added(self, table: Array) -> Array:
        """How many of its private lines fire, per neuron: float32 (rows, P, O)."""
        kind = np.uint8 if len(self.rounds) < 256 else np.uint16
        total = np.zeros((len(table), self.shape[0] * self.shape[1]), kind)
        for lines in self.rounds:
            total += table[:, lines]
        return total.reshape(-1, *self.shape).astype(np.float32)


def _rounds(columns: Array, outs: int) -> list[slice | Array]:
    """Columns (P, count * O) as ``count`` indices of P * O columns, slices where they are
    consecutive."""
    found: list[slice | Array] = []
    for lines in np.split(columns, columns.shape[1] // outs, axis=1):
        flat, first = lines.reshape(-1), int(lines[0, 0])
        together = np.array_equal(flat, np.arange(first, first + flat.size))
        found.append(slice(first, first + flat.size) if together else flat)
    return found


def _private(conn: Conn) -> Array | None:
    """The weights (O,) if field i * O + o is read by neuron o alone, with one weight; else None."""
    planes, outs, fields = conn.planes.shape
    if planes != 1 or fields % outs:
        return None
    pattern = np.tile(np.eye(outs, dtype=bool), (1, fields // outs))
    if not np.array_equal(conn.planes[0], pattern):
        return None
    return np.asarray(conn.values[0].astype(np.float32))


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkRun:
    """readouts: per reading (steps, samples, *shape); rates: mean spikes per step of every line;
    floored: per unit, how often a potential met the negative threshold; highest: the largest
    potential of any neuron; trains: spikes (steps, samples, size) of the units asked for."""

    readouts: Mapping[str, Array]
    rates: Array
    floored: Mapping[str, int]
    highest: float
    trains: Mapping[str, Array]


def last_readers(firsts: Sequence[int], read: Sequence[Sequence[Array]]) -> dict[int, int]:
    """First line of a source or unit -> index of the last reader; ``read``: per reader, its
    arrays of lines."""
    known = np.array(sorted(firsts), np.int64)
    out: dict[int, int] = {}
    for i, fields in enumerate(read):
        for lines in fields:
            owner = np.searchsorted(known, lines[lines >= 0], side="right") - 1
            for first in known[np.flatnonzero(np.bincount(owner))]:
                out[int(first)] = i
    return out


def run_network(
    units: Sequence[ChipUnit],
    sources: Sequence[Source],
    readings: Sequence[Reading],
    x: Mapping[str, Array],
    steps: int,
    *,
    keep: Sequence[str] = (),
) -> NetworkRun:
    """Run all units on samples x; spike trains are dropped as soon as nobody reads them."""
    spikes = source_spikes(sources, x, steps)
    firsts = [s.first for s in sources] + [u.first for u in units]
    last = last_readers(firsts, [[c.fields for c in u.conns] for u in units])
    by_unit = {r.unit: r for r in readings}
    rates = np.zeros(max(u.first + u.size for u in units))
    readouts: dict[str, Array] = {}
    trains: dict[str, Array] = {}
    floored: dict[str, int] = {}
    highest = 0.0
    for source in sources:
        train = spikes.trains[source.first]
        rates[source.first : source.first + source.size] = train.mean(axis=(0, 1))
    for i, unit in enumerate(units):
        run = run_unit(unit, spikes)
        floored[unit.name], highest = run.floored, max(highest, run.highest)
        rates[unit.first : unit.first + unit.size] = run.spikes.mean(axis=(0, 1))
        spikes.trains[unit.first] = run.spikes
        if unit.name in by_unit:
            readouts[by_unit[unit.name].name] = readout(by_unit[unit.name], run.spikes)
        if unit.name in keep:
            trains[unit.name] = run.spikes
        for first in [f for f in spikes.trains if last.get(f, -1) <= i]:
            if len(spikes.trains) > 1:
                del spikes.trains[first]
    return NetworkRun(
        readouts=readouts, rates=rates, floored=floored, highest=highest, trains=trains
    )


def readout(reading: Reading, train: Array) -> Array:
    """The readout after every step, (steps, samples, *shape), from its unit's spikes."""
    copies = train.shape[2] // len(reading.value)
    counts = train.reshape(*train.shape[:2], copies, -1).sum(axis=2).cumsum(axis=0, dtype=np.int64)
    t = np.arange(1, len(train) + 1).reshape(-1, 1, 1)
    out = counts * reading.value / t - reading.offset
    return np.asarray(out.reshape(*train.shape[:2], *reading.shape))
