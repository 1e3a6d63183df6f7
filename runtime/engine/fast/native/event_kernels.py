"""Steps of a layer driven by its spikes, compiled by numba (the extra ``fast``).

For every spike the weights it meets are added to the potentials it reaches, which stay in
registers while a position's spikes are gone through; then each row of the map is updated while it
is in the cache: bias added, compared, threshold taken off, spikes and their fan-outs counted, in
one pass. See ``event_tables`` for what says which weights go where. Samples are independent: the
loop over them is outermost, so a sample's potentials stay in the cache for a whole block of steps.
"""

from __future__ import annotations

from typing import Any

import numba

from ..events.tables import (
    COLUMNS,
    FIRST,
    LANE,
    PLACE,
    PLACES,
    POINTS,
    READY,
    RUN,
    RUNS,
    SOURCE,
    STEP,
    STRIDE,
    TARGET,
    WEIGHT,
    WIDTH,
)
from .slides import (
    gather_3_8,
    gather_3_16,
    gather_3x3_16,
    gather_5_8,
    gather_5_16,
    slide_3x16,
    slide_3x32,
    slide_8,
    slide_16,
    slide_32,
    slide_64,
)
from .vectors import (
    add_small,
    add_spikes_3x48,
    add_spikes_3x96,
    add_spikes_8,
    add_spikes_16,
    add_spikes_32,
    add_spikes_64,
    add_spikes_128,
    add_taps_8,
    add_taps_16,
    add_taps_32,
    add_taps_64,
    fire_8,
    fire_32,
    fire_on_two_8,
    fire_on_two_32,
    int_at,
    long_at,
    lowest_bits,
    nonzero_mask,
    put_long,
)


def compiled(function: Any) -> Any:
    """Compiled into its callers."""
    return numba.njit(error_model="numpy")(function)


@compiled
def _of(term, column):  # type: ignore[no-untyped-def]
    return long_at(term + 8 * column)


@compiled
def _add_run(out, weight, run, spikes, mask, stride):  # type: ignore[no-untyped-def]
    """What the spikes of ``mask`` add to one run, as much of it at a time as registers hold."""
    eights = int_at(run + 8)
    while eights >= 16:
        add_spikes_128(out, weight, run, spikes, mask, stride)
        out, weight, eights = out + 512, weight + 512, eights - 16
    if eights & 8:
        add_spikes_64(out, weight, run, spikes, mask, stride)
        out, weight = out + 256, weight + 256
    if eights & 4:
        add_spikes_32(out, weight, run, spikes, mask, stride)
        out, weight = out + 128, weight + 128
    if eights & 2:
        add_spikes_16(out, weight, run, spikes, mask, stride)
        out, weight = out + 64, weight + 64
    if eights & 1:
        add_spikes_8(out, weight, run, spikes, mask, stride)


@compiled
def _add_runs(out, weight, run, last, spikes, mask, stride):  # type: ignore[no-untyped-def]
    """What the spikes of ``mask`` add to all runs of their position."""
    eights = int_at(run + 8)
    if last - run == 3 * RUN and (eights == 6 or eights == 12):  # a kernel of 3 x 3: all at once
        if eights == 6:
            add_spikes_3x48(out, weight, run, spikes, mask, stride)
        else:
            add_spikes_3x96(out, weight, run, spikes, mask, stride)
        return
    while run < last:
        _add_run(out, weight, run, spikes, mask, stride)
        run += RUN


@compiled
def _slide_runs(out, weight, run, last, spikes, pitch, keep, stride, count):  # type: ignore[no-untyped-def]
    """The same for ``count`` positions side by side that reach three targets with each run."""
    wide = int_at(run + 8) * 32 // 3
    if last - run == 3 * RUN and (wide == 64 or wide == 128):
        if wide == 64:
            slide_3x16(out, weight, run, spikes, pitch, keep, stride, wide, count)
        else:
            slide_3x32(out, weight, run, spikes, pitch, keep, stride, wide, count)
        return
    while run < last:
        done = 0
        while wide - done >= 256:
            slide_64(out + done, weight + done, run, spikes, pitch, keep, stride, wide, count)
            done += 256
        if (wide - done) & 128:
            slide_32(out + done, weight + done, run, spikes, pitch, keep, stride, wide, count)
            done += 128
        if (wide - done) & 64:
            slide_16(out + done, weight + done, run, spikes, pitch, keep, stride, wide, count)
            done += 64
        if (wide - done) & 32:
            slide_8(out + done, weight + done, run, spikes, pitch, keep, stride, wide, count)
        run += RUN


@compiled
def _add_rows(v, term, source, begin, end):  # type: ignore[no-untyped-def]
    """Add rows of output channels: what a position's spikes reach is read and written once for as
    many of them as a word of flags has."""
    places, first, runs = _of(term, PLACES), _of(term, FIRST), _of(term, RUNS)
    width, weight, stride = _of(term, WIDTH), _of(term, WEIGHT), _of(term, STRIDE)
    p = begin
    while p < end:
        place = places + p * PLACE
        out, kind = v + int_at(place), first + 4 * int_at(place + 4)
        count = min(int_at(place + 8), end - p)
        run, last = runs + RUN * int_at(kind), runs + RUN * int_at(kind + 4)
        for i in range(0, width if run < last else 0, 64):
            spikes, rows = source + p * width + i, weight + i * stride
            keep = lowest_bits(min(width - i, 64))
            if count > 1:
                _slide_runs(out, rows, run, last, spikes, width, keep, stride, count)
                continue
            mask = nonzero_mask(spikes) & keep
            if mask != 0:
                _add_runs(out, rows, run, last, spikes, mask, stride)
        p += count


@compiled
def _gather_16(out, weight, spikes, run, last, pitch, wide, count):  # type: ignore[no-untyped-def]
    """What reaches 16 channels of ``count`` targets side by side, by rows of taps."""
    taps = int_at(run + 8)
    if taps == 3 and last - run == 9 * RUN:
        gather_3x3_16(out, weight, spikes, run, pitch, wide, count)
        return
    while run < last:
        if taps == 3:
            gather_3_16(out, weight, spikes, run, pitch, wide, count)
        else:
            gather_5_16(out, weight, spikes, run, pitch, wide, count)
        run += taps * RUN


@compiled
def _gather_8(out, weight, spikes, run, last, pitch, wide, count):  # type: ignore[no-untyped-def]
    """The same for eight."""
    taps = int_at(run + 8)
    while run < last:
        if taps == 3:
            gather_3_8(out, weight, spikes, run, pitch, wide, count)
        else:
            gather_5_8(out, weight, spikes, run, pitch, wide, count)
        run += taps * RUN


@compiled
def _add_points(v, term, source, begin, end):  # type: ignore[no-untyped-def]
    """Where channels reach one channel each: all that reaches a position, spikes or not, which
    costs less than finding the spikes."""
    places, first, runs = _of(term, PLACES), _of(term, FIRST), _of(term, RUNS)
    width, weight = _of(term, WIDTH), _of(term, WEIGHT)
    p = begin
    while p < end:
        place = places + p * TARGET
        out, spikes = v + int_at(place), source + int_at(place + 4)
        kind = first + 4 * int_at(place + 8)
        count = min(int_at(place + 12), end - p)
        run, last = runs + RUN * int_at(kind), runs + RUN * int_at(kind + 4)
        p += count
        if run == last:
            continue
        j = 0
        if count > 1:
            wide = int_at(place + TARGET) - int_at(place)
            while j + 16 <= width:
                _gather_16(out + 4 * j, weight + 4 * j, spikes + j, run, last, width, wide, count)
                j += 16
            if j < width:
                _gather_8(out + 4 * j, weight + 4 * j, spikes + j, run, last, width, wide, count)
            continue
        while j + 64 <= width:
            add_taps_64(out + 4 * j, weight + 4 * j, spikes + j, run, last)
            j += 64
        if (width - j) & 32:
            add_taps_32(out + 4 * j, weight + 4 * j, spikes + j, run, last)
            j += 32
        if (width - j) & 16:
            add_taps_16(out + 4 * j, weight + 4 * j, spikes + j, run, last)
            j += 16
        if (width - j) & 8:
            add_taps_8(out + 4 * j, weight + 4 * j, spikes + j, run, last)


@compiled
def _fire_row(v, theta, fan, spikes, size, current, more):  # type: ignore[no-untyped-def]
    """Update ``size`` neurons (a multiple of eight) with one current, or with ``more`` (not 0) two;
    events and operations, packed."""
    total = 0
    many = size // 32
    done = 32 * many
    at, rest = 4 * done, (size - done) // 8
    if more == 0:
        if many:
            total = fire_32(v, theta, fan, spikes, many, current)
        if rest:
            total += fire_8(v + at, theta + at, fan + at, spikes + done, rest, current + at)
        return total
    if many:
        total = fire_on_two_32(v, theta, fan, spikes, many, current, more)
    if rest:
        total += fire_on_two_8(
            v + at, theta + at, fan + at, spikes + done, rest, current + at, more + at
        )
    return total


@compiled
def _receive(v, term, y, step, lane):  # type: ignore[no-untyped-def]
    """Add what row ``y`` of the map still needs from a term's source."""
    source = _of(term, SOURCE) + step * _of(term, STEP) + lane * _of(term, LANE)
    ready = _of(term, READY)
    begin, end = int_at(ready + 4 * y), int_at(ready + 4 * y + 4)
    if begin >= end:
        return
    if _of(term, POINTS):
        _add_points(v, term, source, begin, end)
    else:
        _add_rows(v, term, source, begin, end)


def advance(cell, rows, terms, count, counts, phases):  # type: ignore[no-untyped-def]
    """Steps of a layer for all samples. All but ``count`` and ``phases`` are addresses.

    Parameters:
        cell: (14,) int64: steps, samples, rows of the map, and in bytes: potentials, from a step
            (0: they stay) and from a sample to the next; spikes, from a step and from a sample to
            the next; from a sample's current to the next; neurons of a row of the map; another
            current of every step (0: there is none), from a step and from a sample to the next.
        rows: (H, 3) addresses of each row's thresholds, current of a step, and fan-outs.
        terms: (count, COLUMNS) int64, what adds to the potentials.
        counts: (steps, samples) int64, events times ``EVENTS`` plus operations.
        phases: 1 adds spikes, 2 updates neurons, 3 does both, row by row.
    """
    steps, lanes, height = _of(cell, 0), _of(cell, 1), _of(cell, 2)
    potentials, v_step, v_lane = _of(cell, 3), _of(cell, 4), _of(cell, 5)
    spikes, s_step, s_lane = _of(cell, 6), _of(cell, 7), _of(cell, 8)
    c_lane, size = _of(cell, 9), _of(cell, 10)
    others, o_step, o_lane = _of(cell, 11), _of(cell, 12), _of(cell, 13)
    for lane in range(lanes):
        for t in range(steps):
            v = potentials + t * v_step + lane * v_lane
            out = spikes + t * s_step + lane * s_lane
            total = 0
            for y in range(height):
                if phases & 1:
                    for k in range(count):
                        _receive(v, terms + 8 * COLUMNS * k, y, t, lane)
                if phases & 2:
                    at = rows + 24 * y
                    theta, current, fan = long_at(at), long_at(at + 8), long_at(at + 16)
                    now, other = 4 * y * size, 0
                    if others:
                        other = others + t * o_step + lane * o_lane + now
                    total += _fire_row(
                        v + now, theta, fan, out + y * size, size, current + lane * c_lane, other
                    )
            if phases & 2:
                put_long(counts + 8 * (t * lanes + lane), total)


def sum_windows(cell, places, first, runs):  # type: ignore[no-untyped-def]
    """Sums of small integers over windows of each channel, added to ``out``. All are addresses.

    Parameters:
        cell: (10,) int64: steps, samples, and in bytes: source, from a step and from a sample to
            the next; out, the same; positions of ``out``, and bytes of each.
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
                place = places + TARGET * p
                target, kind = to + (int_at(place) >> 2), first + 4 * int_at(place + 8)
                for r in range(int_at(kind), int_at(kind + 4)):
                    at = spikes + int_at(place + 4) + int_at(runs + RUN * r)
                    for j in range(0, width, 8):
                        add_small(target + j, at + j)
