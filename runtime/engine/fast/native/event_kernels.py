"""Steps of a layer driven by its spikes, compiled by numba (the extra ``fast``).

For every spike the weights it meets are added to the potentials it reaches, a row of output
channels at a time; then each row of the map is updated while it is in the cache: bias added,
compared, threshold taken off, spikes and their fan-outs counted, in one pass. See ``event_tables``
for what says which weights go where. Samples are independent: the loop over them is outermost, so
a sample's potentials stay in the cache for a whole block of steps.
"""

from __future__ import annotations

from typing import Any

import numba

from ..events.tables import (
    COLUMNS,
    EVENT,
    FIRST,
    LANE,
    MAGIC,
    PLACE,
    PLACES,
    POINTS,
    READY,
    RUN,
    RUNS,
    SOURCE,
    STEP,
    STRIDE,
    WEIGHT,
    WIDTH,
)
from .vectors import (
    add1_8,
    add1_16,
    add1_32,
    add2_8,
    add2_16,
    add2_32,
    add4_8,
    add4_16,
    add4_32,
    add_bytes,
    add_small,
    byte_at,
    fire_8,
    fire_32,
    float_at,
    int_at,
    long_at,
    lowest_bit,
    lowest_bits,
    nonzero_mask,
    put_event,
    put_long,
    without_lowest,
)


def compiled(function: Any) -> Any:
    """Compiled into its callers."""
    return numba.njit(error_model="numpy")(function)


@compiled
def _of(term, column):  # type: ignore[no-untyped-def]
    return long_at(term + 8 * column)


@compiled
def _collect(term, source, begin, end, events):  # type: ignore[no-untyped-def]
    """The spikes of positions [begin, end) in order, as 16 bytes each with the address of their
    weights; where they end. Three of no position follow."""
    width, magic = _of(term, WIDTH), _of(term, MAGIC)
    weight, stride = _of(term, WEIGHT), _of(term, STRIDE)
    start, size = source + begin * width, (end - begin) * width
    for i in range(0, size, 64):
        mask = nonzero_mask(start + i)
        if size - i < 64:
            mask &= lowest_bits(size - i)
        while mask != 0:
            at = i + lowest_bit(mask)
            mask = without_lowest(mask)
            p = (at * magic) >> 32
            put_event(events, begin + p, weight + (at - p * width) * stride, byte_at(start + at))
            events += EVENT
    for i in range(3):
        put_event(events + i * EVENT, -1, 0, 0.0)
    return events


@compiled
def _add_one(out, a, x, eights):  # type: ignore[no-untyped-def]
    while eights >= 4:
        add1_32(out, a, x)
        out, a, eights = out + 128, a + 128, eights - 4
    if eights & 2:
        add1_16(out, a, x)
        out, a = out + 64, a + 64
    if eights & 1:
        add1_8(out, a, x)


@compiled
def _add_two(out, a, b, x, y, eights):  # type: ignore[no-untyped-def]
    while eights >= 4:
        add2_32(out, a, b, x, y)
        out, a, b, eights = out + 128, a + 128, b + 128, eights - 4
    if eights & 2:
        add2_16(out, a, b, x, y)
        out, a, b = out + 64, a + 64, b + 64
    if eights & 1:
        add2_8(out, a, b, x, y)


@compiled
def _add_four(out, a, b, c, d, x, y, z, w, eights):  # type: ignore[no-untyped-def]
    at = 0
    while eights >= 4:
        add4_32(out + at, a + at, b + at, c + at, d + at, x, y, z, w)
        at, eights = at + 128, eights - 4
    if eights & 2:
        add4_16(out + at, a + at, b + at, c + at, d + at, x, y, z, w)
        at += 64
    if eights & 1:
        add4_8(out + at, a + at, b + at, c + at, d + at, x, y, z, w)


@compiled
def _scatter_rows(v, term, event, end):  # type: ignore[no-untyped-def]
    """Add rows of output channels: four spikes of a position together, then two, then one, so
    that potentials are read and written less often."""
    places, first, runs = _of(term, PLACES), _of(term, FIRST), _of(term, RUNS)
    while event < end:
        p = int_at(event)
        place = places + p * PLACE
        out, kind = v + int_at(place), first + 4 * int_at(place + 4)
        run, last = runs + RUN * int_at(kind), runs + RUN * int_at(kind + 4)
        x, a = float_at(event + 4), long_at(event + 8)
        if int_at(event + 3 * EVENT) == p:
            y, b = float_at(event + 20), long_at(event + 24)
            z, c = float_at(event + 36), long_at(event + 40)
            w, d = float_at(event + 52), long_at(event + 56)
            while run < last:
                at = int_at(run + 4)
                _add_four(
                    out + int_at(run), a + at, b + at, c + at, d + at, x, y, z, w, int_at(run + 8)
                )
                run += RUN
            event += 4 * EVENT
        elif int_at(event + EVENT) == p:
            y, b = float_at(event + 20), long_at(event + 24)
            while run < last:
                at = int_at(run + 4)
                _add_two(out + int_at(run), a + at, b + at, x, y, int_at(run + 8))
                run += RUN
            event += 2 * EVENT
        else:
            while run < last:
                _add_one(out + int_at(run), a + int_at(run + 4), x, int_at(run + 8))
                run += RUN
            event += EVENT


@compiled
def _add_points(v, term, source, begin, end):  # type: ignore[no-untyped-def]
    """Where channels reach one channel each: eight of a position at a time, spikes or not, which
    costs less than finding the spikes."""
    places, first, runs = _of(term, PLACES), _of(term, FIRST), _of(term, RUNS)
    width, weight = _of(term, WIDTH), _of(term, WEIGHT)
    for p in range(begin, end):
        place = places + p * PLACE
        out, kind = v + int_at(place), first + 4 * int_at(place + 4)
        run, last = runs + RUN * int_at(kind), runs + RUN * int_at(kind + 4)
        spikes = source + p * width
        while run < last:
            to, at = out + int_at(run), weight + int_at(run + 4)
            for j in range(0, width, 8):
                add_bytes(to + 4 * j, spikes + j, at + 4 * j)
            run += RUN


@compiled
def _fire_row(v, theta, current, fan, spikes, size):  # type: ignore[no-untyped-def]
    """Update ``size`` neurons (a multiple of eight); events and operations, packed."""
    total = 0
    at = 0
    while at + 32 <= size:
        total += fire_32(v + 4 * at, theta + 4 * at, current + 4 * at, fan + 4 * at, spikes + at)
        at += 32
    while at < size:
        total += fire_8(v + 4 * at, theta + 4 * at, current + 4 * at, fan + 4 * at, spikes + at)
        at += 8
    return total


@compiled
def _receive(v, term, y, step, lane, events):  # type: ignore[no-untyped-def]
    """Add what row ``y`` of the map still needs from a term's source."""
    ready = _of(term, READY)
    begin, end = int_at(ready + 4 * y), int_at(ready + 4 * y + 4)
    if begin >= end:
        return
    source = _of(term, SOURCE) + step * _of(term, STEP) + lane * _of(term, LANE)
    if _of(term, POINTS):
        _add_points(v, term, source, begin, end)
    else:
        _scatter_rows(v, term, events, _collect(term, source, begin, end, events))


def advance(cell, rows, terms, count, events, counts, phases):  # type: ignore[no-untyped-def]
    """Steps of a layer for all samples. All but ``count`` and ``phases`` are addresses.

    Parameters:
        cell: (11,) int64: steps, samples, rows of the map, and in bytes: potentials, from a step
            (0: they stay) and from a sample to the next; spikes, from a step and from a sample to
            the next; from a sample's current to the next; neurons of a row of the map.
        rows: (H, 3) addresses of each row's thresholds, current of a step, and fan-outs.
        terms: (count, COLUMNS) int64, what adds to the potentials.
        events: scratch for the spikes of a whole map and three more, 16 bytes each.
        counts: (steps, samples) int64, events times ``EVENTS`` plus operations.
        phases: 1 adds spikes, 2 updates neurons, 3 does both, row by row.
    """
    steps, lanes, height = _of(cell, 0), _of(cell, 1), _of(cell, 2)
    potentials, v_step, v_lane = _of(cell, 3), _of(cell, 4), _of(cell, 5)
    spikes, s_step, s_lane = _of(cell, 6), _of(cell, 7), _of(cell, 8)
    c_lane, size = _of(cell, 9), _of(cell, 10)
    for lane in range(lanes):
        for t in range(steps):
            v = potentials + t * v_step + lane * v_lane
            out = spikes + t * s_step + lane * s_lane
            total = 0
            for y in range(height):
                if phases & 1:
                    for k in range(count):
                        _receive(v, terms + 8 * COLUMNS * k, y, t, lane, events)
                if phases & 2:
                    at = rows + 24 * y
                    theta, current, fan = long_at(at), long_at(at + 8), long_at(at + 16)
                    now = v + 4 * y * size
                    total += _fire_row(
                        now, theta, current + lane * c_lane, fan, out + y * size, size
                    )
            if phases & 2:
                put_long(counts + 8 * (t * lanes + lane), total)


def sum_windows(cell, places, first, runs):  # type: ignore[no-untyped-def]
    """Sums of small integers over windows of each channel, added to ``out``. All are addresses.

    Parameters:
        cell: (10,) int64: steps, samples, and in bytes: source, from a step and from a sample to
            the next; out, the same; positions of the source, and bytes of each.
        places, first, runs: as in ``event_tables``, for floats where there are bytes here.
    """
    steps, lanes = _of(cell, 0), _of(cell, 1)
    source, s_step, s_lane = _of(cell, 2), _of(cell, 3), _of(cell, 4)
    out, o_step, o_lane = _of(cell, 5), _of(cell, 6), _of(cell, 7)
    positions, width = _of(cell, 8), _of(cell, 9)
    for lane in range(lanes):
        for t in range(steps):
            spikes, to = source + t * s_step + lane * s_lane, out + t * o_step + lane * o_lane
            for p in range(positions):
                target, kind = (
                    int_at(places + PLACE * p),
                    first + 4 * int_at(places + PLACE * p + 4),
                )
                for r in range(int_at(kind), int_at(kind + 4)):
                    at = to + ((target + int_at(runs + RUN * r)) >> 2)
                    for j in range(0, width, 8):
                        add_small(at + j, spikes + p * width + j)
