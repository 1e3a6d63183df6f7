"""Runs integer units on spikes, unit by unit: all steps and samples of one unit at a time.

Time is relative: step t of a unit reads step t of its sources. The routing gives every path from a
source to a reader the same number of ticks, so that this is what the chip computes, each unit's
window shifted by its own latency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..runtime.encoding import encode
from ..runtime.graph import Input
from ..runtime.ops import Array
from .truenorth_lower import Reading, Source
from .truenorth_units import FLOOR, ChipUnit, Conn

GATHER = 1 << 25  # elements of a gathered block of fields


@dataclass(eq=False)
class Spikes:
    """Spike trains uint8 (steps, samples, size) of sources and units, by their first line."""

    trains: dict[int, Array] = field(default_factory=dict)

    def read(self, fields: Array) -> tuple[list[int], Array]:
        """Whose trains ``fields`` needs, and the fields as columns of their concatenation (the
        column after the last is silence)."""
        firsts = np.array(sorted(self.trains), np.int64)
        owner = np.searchsorted(firsts, fields, side="right") - 1
        needed = np.unique(owner[fields >= 0])
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
    """The inputs' spike trains, spread evenly over the steps (encoding "rate")."""
    spikes = Spikes()
    for source in sources:
        node = Input(name=source.name, shape=source.shape, encoding="rate")
        train = encode(node, unit_range(source, x[source.name]), 0, steps, 0, 0)
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
    2^24; potentials are 20 bits wide)."""
    steps, samples = next(iter(spikes.trains.values())).shape[:2]
    readers = [_Reader(conn, spikes) for conn in unit.conns]
    v = np.empty((samples, unit.size), np.float32)
    v[...] = unit.start
    threshold = unit.threshold.astype(np.float32)
    leak = unit.leak.astype(np.float32)
    out = np.empty((steps, samples, unit.size), np.uint8)
    floored, highest = 0, 0.0
    step = max(
        min(GATHER // max(samples * max((r.width for r in readers), default=1), 1), steps), 1
    )
    for t0 in range(0, steps, step):
        count = min(step, steps - t0)
        current = np.zeros((count, samples, unit.size), np.float32)
        current += leak
        for reader in readers:
            reader.add(spikes, slice(t0, t0 + count), current)
        for t in range(count):
            v += current[t]
            highest = max(highest, float(v.max(initial=0)))
            under = v < -FLOOR
            if under.any():
                floored += int(under.sum())
                np.maximum(v, np.float32(-FLOOR), out=v)
            fires = np.greater_equal(v, threshold)
            out[t0 + t] = fires
            if unit.reset:
                v -= fires * threshold
            else:
                np.copyto(v, unit.reset_potential.astype(np.float32), where=fires)
    return UnitRun(out, floored, highest)


class _Reader:
    """One connection, ready to be evaluated on blocks of time."""

    def __init__(self, conn: Conn, spikes: Spikes) -> None:
        self.names, self.columns = spikes.read(conn.fields)
        self.weights = np.ascontiguousarray(conn.weights.T.astype(np.float32))
        self.outputs = conn.outputs
        self.width = conn.fields.size
        first, count = int(conn.outputs.min()), conn.outputs.size
        run = np.arange(first, first + count)
        self.run = slice(first, first + count)  # where the outputs are consecutive
        self.rows_first = bool(np.array_equal(conn.outputs.reshape(-1), run))
        self.channels_first = bool(np.array_equal(conn.outputs.T.reshape(-1), run))
        self.private = _private(conn)

    def add(self, spikes: Spikes, steps: slice, current: Array) -> None:
        parts = [spikes.trains[n][steps] for n in self.names]
        silent = np.zeros((*current.shape[:2], 1), np.uint8)
        table = np.concatenate([*parts, silent], axis=2)
        read = np.take(table.reshape(-1, table.shape[2]), self.columns, axis=1)
        if self.private is not None:  # (steps * samples, P, count * O): add up, then weigh
            own = read.reshape(len(read), read.shape[1], -1, len(self.private))
            found = own.sum(axis=2, dtype=np.float32) * self.private
        else:
            found = read.reshape(-1, read.shape[2]).astype(np.float32) @ self.weights
        found = found.reshape(*current.shape[:2], *self.outputs.shape)
        if self.rows_first:
            current[:, :, self.run] += found.reshape(*current.shape[:2], -1)
        elif self.channels_first:
            current[:, :, self.run] += found.swapaxes(2, 3).reshape(*current.shape[:2], -1)
        else:
            current[:, :, self.outputs.reshape(-1)] += found.reshape(*current.shape[:2], -1)


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
            used = np.unique(lines[lines >= 0])
            for first in np.unique(known[np.searchsorted(known, used, side="right") - 1]):
                out[int(first)] = i
    return out


def run_network(
    units: Sequence[ChipUnit],
    sources: Sequence[Source],
    readings: Sequence[Reading],
    x: Mapping[str, Array],
    steps: int,
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
