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
    add_scaled,
    fire_8,
    fire_32,
    lowest_bit,
    nonzero_mask,
    spike_at,
)

# Columns of ``terms``: what a term's spikes are and where its tables begin.
SOURCE, STEP, LANE, WIDTH, MAGIC, WEIGHT, STRIDE, POINTS, AT, KINDS, RUNS, TARGETS = range(12)
COLUMNS = 12
EVENTS = 1 << 40  # of a count: events times this, plus operations


def _compiled(function: Any) -> Any:
    """Compiled on first use and kept on disk, where there is a place for it."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that can be written
        return numba.njit(nogil=True)(function)


@_compiled
def _collect(source, begin, end, width, magic, position, channel, gain):  # type: ignore[no-untyped-def]
    """The spikes of positions [begin, end), ``width`` channels each, in order; their number."""
    count = 0
    start, size = source + begin * width, (end - begin) * width
    for i in range(0, size, 32):
        mask = nonzero_mask(start + i)
        if size - i < 32:
            mask &= (1 << (size - i)) - 1
        while mask:
            at = i + lowest_bit(mask)
            mask &= mask - 1
            p = (at * magic) >> 32
            position[count] = begin + p
            channel[count] = at - p * width
            gain[count] = spike_at(start + at)
            count += 1
    for i in range(3):
        position[count + i] = -1
    return count


@_compiled
def _add_one(out, a, x, eights):  # type: ignore[no-untyped-def]
    while eights >= 4:
        add1_32(out, a, x)
        out, a, eights = out + 128, a + 128, eights - 4
    if eights & 2:
        add1_16(out, a, x)
        out, a = out + 64, a + 64
    if eights & 1:
        add1_8(out, a, x)


@_compiled
def _add_two(out, a, b, x, y, eights):  # type: ignore[no-untyped-def]
    while eights >= 4:
        add2_32(out, a, b, x, y)
        out, a, b, eights = out + 128, a + 128, b + 128, eights - 4
    if eights & 2:
        add2_16(out, a, b, x, y)
        out, a, b = out + 64, a + 64, b + 64
    if eights & 1:
        add2_8(out, a, b, x, y)


@_compiled
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


@_compiled
def _scatter_rows(v, count, term, places, first, runs, position, channel, gain):  # type: ignore[no-untyped-def]
    """Add rows of output channels: four spikes of a position together, then two, then one, so
    that potentials are read and written less often."""
    weight, stride = term[WEIGHT], term[STRIDE]
    i = 0
    while i < count:
        p = position[i]
        place = term[AT] + p
        out, kind = v + places[place, 0], term[KINDS] + places[place, 1]
        low, high = term[RUNS] + first[kind], term[RUNS] + first[kind + 1]
        a, x = weight + channel[i] * stride, gain[i]
        if position[i + 3] == p:
            b, y = weight + channel[i + 1] * stride, gain[i + 1]
            c, z = weight + channel[i + 2] * stride, gain[i + 2]
            d, w = weight + channel[i + 3] * stride, gain[i + 3]
            for r in range(low, high):
                to, at = out + runs[r, 0], runs[r, 1]
                _add_four(to, a + at, b + at, c + at, d + at, x, y, z, w, runs[r, 2])
            i += 4
        elif position[i + 1] == p:
            b, y = weight + channel[i + 1] * stride, gain[i + 1]
            for r in range(low, high):
                at = runs[r, 1]
                _add_two(out + runs[r, 0], a + at, b + at, x, y, runs[r, 2])
            i += 2
        else:
            for r in range(low, high):
                _add_one(out + runs[r, 0], a + runs[r, 1], x, runs[r, 2])
            i += 1


@_compiled
def _scatter_points(v, count, term, places, first, runs, targets, position, channel, gain):  # type: ignore[no-untyped-def]
    """Add single weights: channels that reach one channel each."""
    for i in range(count):
        c = channel[i]
        target = targets[term[TARGETS] + c]
        if target < 0:
            continue
        place = term[AT] + position[i]
        out, kind = v + places[place, 0] + target, term[KINDS] + places[place, 1]
        weight = term[WEIGHT] + c * 4
        for r in range(term[RUNS] + first[kind], term[RUNS] + first[kind + 1]):
            add_scaled(out + runs[r, 0], weight + runs[r, 1], gain[i])


@_compiled
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


@_compiled
def advance(  # type: ignore[no-untyped-def]
    cell, rows, terms, places, first, runs, ready, targets, position, channel, gain, counts, phases
):
    """Steps of a layer for all samples.

    Parameters:
        cell: (9,) steps, samples, and (in bytes from one sample or step to the next) v, sample of
            v, spikes, step, sample of spikes, sample of the current; neurons of a row of the map.
        rows: (H, 3) addresses of each row's thresholds, current of a step, and fan-outs.
        terms: (terms, COLUMNS); ``places`` .. ``targets``: their tables, one after the other.
        ready: (terms, H) source positions that must have been added before a row is updated.
        position, channel, gain: scratch for the spikes of a whole map.
        counts: (steps, samples) events times ``EVENTS`` plus operations.
        phases: 1 adds spikes, 2 updates neurons, 3 does both, row by row.
    """
    steps, lanes, potentials, v_lane, spikes, s_step, s_lane, c_lane, size = cell
    for lane in range(lanes):
        v = potentials + lane * v_lane
        for t in range(steps):
            out = spikes + t * s_step + lane * s_lane
            total = 0
            for y in range(len(rows)):
                for k in range(len(terms) if phases & 1 else 0):
                    term = terms[k]
                    begin, end = ready[k, y - 1] if y else 0, ready[k, y]
                    if begin >= end:
                        continue
                    source = term[SOURCE] + t * term[STEP] + lane * term[LANE]
                    count = _collect(
                        source, begin, end, term[WIDTH], term[MAGIC], position, channel, gain
                    )
                    if term[POINTS]:
                        _scatter_points(
                            v, count, term, places, first, runs, targets, position, channel, gain
                        )
                    else:
                        _scatter_rows(v, count, term, places, first, runs, position, channel, gain)
                if phases & 2:
                    current = rows[y, 1] + lane * c_lane
                    total += _fire_row(
                        v + 4 * y * size, rows[y, 0], current, rows[y, 2], out + y * size, size
                    )
            if phases & 2:
                counts[t, lane] = total
