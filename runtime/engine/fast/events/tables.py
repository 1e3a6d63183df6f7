"""Which weights a spike adds where: tables for the event-driven kernels, made once per network.

Maps are kept with channels last, (H, W, C) with C filled up to a multiple of eight; vectors are
maps of one position. Where the taps of a convolution that a position reaches lie side by side in
the target (a row of a 3 x 3 kernel with stride 1), the weights are ordered so that they do too, and
one run adds them all. Positions that reach their targets in the same pattern share its runs, so
tables stay small; borders, strides, dilations and pools before the convolution are only other
patterns.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from ....ops import Array, Shape
from ....ops.arrays import valid_taps
from ....ops.convolution import Conv
from ..buffers import copied

LANE_FLOATS = 8  # channels are filled up to a multiple of this
FLOAT = 4  # bytes
LARGEST = 2**31 - 1
PAIR = 32  # most channels of two positions taken as one: more have spikes enough to share a visit
TAPS = 3  # targets side by side that kernels keep in registers
ROWS_OF_TAPS = (3, 5)  # taps side by side whose sources they keep there

# Columns of a term, int64: its spikes (address, bytes from a step and from a sample to the next),
# its channels filled up, its weights and the bytes of a channel's row, whether channels reach one
# channel each, and addresses of its tables (``events.tables``).
SOURCE, STEP, LANE, WIDTH, WEIGHT, STRIDE, POINTS, PLACES, FIRST, RUNS, READY = range(11)
COLUMNS = 11
PLACE, TARGET, RUN = 12, 16, 12  # bytes of a row of ``places``, with ``points``, and of ``runs``
EVENTS = 1 << 40  # of a count: events times this, plus operations


@dataclass(frozen=True, eq=False)
class EventTable:
    """How the spikes of one source reach a layer.

    Attributes:
        weight: (C in, taps, C out filled up): rows, or with ``points`` (taps, C in filled up).
        points: whether each channel reaches one channel, as many on as the others.
        places: (positions, 3) int32: bytes to the first float reached, the kind of position, and
            how many positions from it on lie side by side, are of its kind, reach three targets
            with each of their runs, each one target on from the last's (1 where it does not).
            With ``points`` (positions of the target, 4): bytes to its first float, to the first
            spike that reaches it, the kind, and how many from it on are reached by rows of as many
            taps, each one source on from the last.
        first: (kinds + 1,) int32: the runs of each kind.
        runs: (runs, 3) int32: bytes on from the first float (``points``: spike), bytes into the
            weights (of a row of ``weight``), and the length in eights of floats (``points``: how
            many runs a row of taps has, 1 where kernels know no row of that length).
        ready: (1 + H out,) int32: how many rows of ``places`` must have been added before each row
            of the target is complete, from 0.
        positions: of the source.
        width: channels in, filled up.
        operations: connections of one sample, the dense number of additions.
    """

    weight: Array
    points: bool
    places: Array
    first: Array
    runs: Array
    ready: Array
    positions: int
    width: int
    operations: int


def filled(channels: int) -> int:
    """Channels with room for whole vectors."""
    return -(-channels // LANE_FLOATS) * LANE_FLOATS


def event_table(convs: tuple[Conv, ...], shape: Shape) -> EventTable | None:
    """The table of convolutions one after the other on spikes (C, H, W): pools and scales per
    channel, then any convolution of one group, depthwise, or selection. None for others."""
    if len(convs) == 1:
        convs, shape = _paired(convs[0], shape)
    gain = np.ones(shape[0], np.float32)
    positions, line = prod(shape[1:]), shape[2]
    sources: Array = np.arange(positions)
    reached: Array = sources
    for conv in convs[:-1]:
        weight = conv.weight.reshape(len(conv.weight), -1)
        if not _is_depthwise(conv, shape) or np.any(weight != weight[:, :1]):
            return None
        gain = gain * weight[:, 0]
        sources, reached, _ = _joined(sources, reached=reached, taps=_taps(conv, shape))
        shape = conv.output_shape(shape)
    conv = convs[-1]
    sources, reached, taps = _joined(sources, reached=reached, taps=_taps(conv, shape))
    out = conv.output_shape(shape)
    width = filled(shape[0])
    if width * width * positions > LARGEST or filled(out[0]) * prod(out[1:]) * FLOAT > LARGEST:
        return None
    made = _weights(conv, shape, gain)
    if made is None or made[0].nbytes > LARGEST:
        return None
    weight, shift = made
    points, wide, ends = shift is not None, filled(out[0]) * FLOAT, prod(out[1:])
    if points:  # a target gathers what reaches it
        kinds = _patterns(
            reached, others=sources, taps=taps, positions=ends, size=width, step=width * FLOAT
        )
        begin = np.arange(ends) * wide + (shift or 0) * FLOAT
        rows = _rows_of_taps(kinds[1], runs=kinds[2], width=width)
        places = _with_neighbours(
            np.column_stack([begin, *kinds[0].T]), slides=rows > 1, line=out[2], on=(wide, width)
        )
        ready: Array = np.arange(1 + out[1], dtype=np.int32) * out[2]
    else:
        kinds = _patterns(
            sources,
            others=reached,
            taps=taps,
            positions=positions,
            size=wide,
            step=wide,
            merge=True,
        )
        three = kinds[2][:, 2] * (FLOAT * LANE_FLOATS) == TAPS * wide
        slides = np.array([a < b and three[a:b].all() for a, b in itertools.pairwise(kinds[1])])
        places = _with_neighbours(kinds[0], slides=slides, line=line, on=(wide,))
        ready = _ready(sources // line, target_rows=reached // out[2], rows=out[1]) * line
    _, first, runs = kinds
    uses = int(np.count_nonzero(conv.weight)) // prod(conv.kernel)  # per tap, on average
    return EventTable(
        weight=weight,
        points=points,
        places=places,
        first=first,
        runs=runs,
        ready=ready,
        positions=positions,
        width=width,
        operations=uses * len(sources),
    )


def _paired(conv: Conv, shape: Shape) -> tuple[tuple[Conv, ...], Shape]:
    """A convolution of stride 2 along x with each two positions side by side as one that has the
    channels of both, as they lie in memory: half as many positions, whose spikes reach the same
    targets, although a third more weights are added, which are zero. Others as they are."""
    (out, inside, rows, taps), (_, height, line) = conv.weight.shape, shape
    fits = conv.groups == 1 and inside == filled(inside) and 2 * inside <= PAIR
    if conv.strides[1] != 2 or conv.dilations[1] != 1 or line % 2 or taps < 2 or not fits:
        return (conv,), shape
    top, left, bottom, _ = conv.pads
    before = -(-left // 2)  # pairs
    pairs = (taps - 1 - left) // 2 + before + 1
    after = conv.output_shape(shape)[2] - 1 + pairs - before - line // 2
    if after < 0:
        return (conv,), shape
    weight = np.zeros((out, 2, inside, rows, pairs), conv.weight.dtype)
    for pair, side in product(range(pairs), range(2)):
        tap = 2 * (pair - before) + side + left
        if 0 <= tap < taps:
            weight[:, side, :, :, pair] = conv.weight[..., tap]
    paired = Conv(
        weight=weight.reshape(out, 2 * inside, rows, pairs),
        strides=(conv.strides[0], 1),
        dilations=(conv.dilations[0], 1),
        pads=(top, before, bottom, after),
    )
    return (paired,), (2 * inside, height, line // 2)


def _is_depthwise(conv: Conv, shape: Shape) -> bool:
    return conv.groups == shape[0] == len(conv.weight)


def _taps(conv: Conv, shape: Shape) -> tuple[Array, Array, Array]:
    """(source position, target position, tap) of every connection between positions. Taps are
    numbered backwards along x, so that neighbours in the target are neighbours there too."""
    out = conv.output_shape(shape)
    axes = [
        list(
            valid_taps(
                conv.kernel[i],
                stride=conv.strides[i],
                dilation=conv.dilations[i],
                pad=conv.pads[i],
                size=shape[i + 1],
                size_out=out[i + 1],
            )
        )
        for i in range(2)
    ]
    found: list[tuple[Array, Array, Array]] = []
    for (ky, to_y, from_y), (kx, to_x, from_x) in product(*axes):
        source = np.add.outer(np.r_[from_y] * shape[2], np.r_[from_x]).ravel()
        target = np.add.outer(np.r_[to_y] * out[2], np.r_[to_x]).ravel()
        tap = ky * conv.kernel[1] + conv.kernel[1] - 1 - kx
        found.append((source, target, np.full(len(source), tap)))
    if not found:
        none = np.zeros(0, np.int64)
        return none, none, none
    sources, targets, taps = (np.concatenate(part) for part in zip(*found, strict=True))
    return sources, targets, taps


def _joined(
    sources: Array, *, reached: Array, taps: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """Connections ``sources`` -> ``reached`` continued by those of ``taps``."""
    order = np.argsort(taps[0], kind="stable")
    begin, target, tap = taps[0][order], taps[1][order], taps[2][order]
    low: Array = np.searchsorted(begin, reached)
    times: Array = np.searchsorted(begin, reached, "right") - low
    index = np.repeat(low - np.cumsum(times) + times, times) + np.arange(times.sum())
    return np.repeat(sources, times), target[index], tap[index]


def _weights(conv: Conv, shape: Shape, gain: Array) -> tuple[Array, int | None] | None:
    """Weights in the order of the kernels; where channel c reaches channel c + n alone, also n."""
    channels, out = shape[0], len(conv.weight)
    weight = conv.weight.astype(np.float32).reshape(out, -1, *conv.kernel)[..., ::-1]
    weight = weight.reshape(out, weight.shape[1], -1)  # (out, in, taps)
    single, shift = None, 0
    if _is_depthwise(conv, shape) and channels > 1:
        single = weight[:, 0]
    elif conv.groups > 1:
        return None
    else:
        used = np.any(weight, axis=2)
        to, origin = np.nonzero(used)
        shift = int(to[0] - origin[0]) if len(to) else 0
        inside = channels + shift <= out and filled(channels) + shift <= filled(out)
        if out > 1 and shift >= 0 and inside and np.all(to - origin == shift):
            single = weight[np.arange(channels) + shift, np.arange(channels)]
    if single is None:
        rows = np.zeros((channels, weight.shape[2], filled(out)), np.float32)
        rows[:, :, :out] = weight.transpose(1, 2, 0) * gain[:, np.newaxis, np.newaxis]
        return copied(rows, np.float32), None
    points = np.zeros((single.shape[1], filled(channels)), np.float32)
    points[:, :channels] = single.T * gain
    return copied(points, np.float32), shift


def _patterns(
    owners: Array,
    *,
    others: Array,
    taps: Array,
    positions: int,
    size: int,
    step: int,
    merge: bool = False,
) -> tuple[Array, Array, Array]:
    """``places`` (the last two columns), ``first`` and ``runs`` of ``EventTable`` for connections
    of ``positions``, the ``owners``, with ``others`` of ``size`` bytes each; ``step``: bytes of a
    tap's weights; ``merge``: what lies side by side is one run."""
    order = np.lexsort((taps, others, owners))
    owners, others, taps = owners[order], others[order], taps[order]
    begins = np.ones(len(owners), bool)
    if merge:
        follows = (np.diff(owners) == 0) & (np.diff(others) == 1) & (np.diff(taps) == 1)
        begins[1:] = ~follows
    starts = np.flatnonzero(begins)
    length = np.diff(np.append(starts, len(owners))) * (size // (FLOAT * LANE_FLOATS))
    owner, to, at = owners[starts], others[starts], taps[starts] * step
    count = np.bincount(owner, minlength=positions)
    before = np.cumsum(count) - count
    base = np.zeros(positions, np.int64)
    base[count > 0] = to[before[count > 0]]
    each = np.full((positions, max(int(count.max(initial=0)), 1), 3), -1, np.int64)
    rank = np.arange(len(owner)) - before[owner]
    each[owner, rank] = np.stack([(to - base[owner]) * size, at, length], axis=1)
    kinds, kind = np.unique(each.reshape(positions, -1), axis=0, return_inverse=True)
    kinds = kinds.reshape(len(kinds), -1, 3)
    used = kinds[:, :, 2] >= 0
    first = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    places = np.stack([base * size, kind.reshape(-1)], axis=1)
    return places.astype(np.int32), first.astype(np.int32), kinds[used].astype(np.int32)


def _with_neighbours(places: Array, *, slides: Array, line: int, on: tuple[int, ...]) -> Array:
    """``places`` with their last column. ``slides``: of which kinds neighbours are gone through
    together; ``line``: positions in a row; ``on``: bytes from one's first columns to the next's."""
    index = np.arange(len(places))
    ends = (index + 1) % line == 0
    ends[:-1] |= np.any(np.diff(places, axis=0) != (*on, 0), axis=1)
    ends |= ~slides[places[:, -1]]
    last = np.minimum.accumulate(np.where(ends, index, len(places))[::-1])[::-1]
    return np.column_stack([places, last - index + 1]).astype(np.int32)


def _rows_of_taps(first: Array, *, runs: Array, width: int) -> Array:
    """How many taps side by side the rows have by which each kind of target is reached, 1 where
    kernels know no such rows; written into ``runs`` too."""
    found = np.ones(len(first) - 1, np.int64)
    runs[:, 2] = 1
    for kind, (a, b) in enumerate(itertools.pairwise(first)):
        for taps in ROWS_OF_TAPS:
            if a == b or (b - a) % taps:
                continue
            moves = np.diff(runs[a:b, :2].reshape(-1, taps, 2), axis=1)
            if np.all(moves == (width, -FLOAT * width)):
                found[kind] = runs[a:b, 2] = taps
                break
    return found


def _ready(source_rows: Array, *, target_rows: Array, rows: int) -> Array:
    """From 0: how many rows of the source must be added before each target row is complete."""
    last = np.zeros(1 + rows, np.int32)
    np.maximum.at(last, target_rows + 1, (source_rows + 1).astype(np.int32))
    return np.maximum.accumulate(last)
