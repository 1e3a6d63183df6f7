"""Which neurons share a core: rectangles of positions times chunks of channels.

A core has 256 axons, each carrying one line on one type, so neighbouring positions of a map, which
read overlapping fields, belong together. The rectangle and the chunk are chosen to minimize

    cores * (1 + axons per core / neurons per core)

because every axon in use has to be driven by one neuron somewhere, itself or a relay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np

from ....errors import TargetError
from ....runtime.ops import Array, Shape
from .units import Conn, Group

MAX_SIDE = 24  # longest side of a rectangle that is tried
CHUNKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)  # a layer's channels, cut so
DIRECT_FACTOR = 3.0  # a layer is split only where that takes so many times fewer cores


@dataclass(frozen=True, kw_only=True)
class Room:
    """What one core holds."""

    axons: int = 256
    neurons: int = 256


@dataclass(frozen=True, eq=False, kw_only=True)
class Tile:
    """One core's share of connections with the same outputs: positions x channels."""

    rows: Array
    channels: Array


def axon_keys(conns: Sequence[Conn], tile: Tile) -> Array:
    """The axons that a tile needs, sorted: line * 4 + type."""
    found = []
    for conn in conns:
        fields = conn.fields[tile.rows]
        for kind, plane in zip(conn.types, conn.planes, strict=True):
            lines = fields[:, plane[tile.channels].any(axis=0)]
            found.append(lines[lines >= 0] * 4 + int(kind))
    if not found:
        return np.zeros(0, np.int64)
    keys = np.sort(np.concatenate(found))  # np.unique hashes, which takes ten times as long here
    return np.asarray(keys[np.diff(keys, prepend=-1) > 0])


def tiles_of(conns: Sequence[Conn], room: Room, where: str) -> list[Tile]:
    """Cut connections with the same outputs into tiles that each fit a core.

    Raises TargetError where even one neuron does not fit.
    """
    shape, grid = conns[0].outputs.shape, conns[0].grid
    ones = tuple(1 for _ in grid)
    best = min(_options(conns, grid, room), key=lambda o: o[0], default=(0.0, ones, 1))
    return [
        fitting
        for rows in _rectangles(grid, side=best[1])
        for channels in _chunks(shape[1], chunk=best[2])
        for fitting in _fit(conns, Tile(rows=rows, channels=channels), room, where)
    ]


def _options(conns: Sequence[Conn], grid: Shape, room: Room) -> Iterator[tuple[float, Shape, int]]:
    """(cost, rectangle, channels per chunk) of what fits a core: for every rectangle over the last
    two axes (one position along the others; for what has only one channel, runs of positions) the
    largest chunk. A side grows until nothing fits."""
    channels = conns[0].outputs.shape[1]
    if len(grid) == 1 or channels == 1:
        for length in sorted({min(prod(grid), n) for n in (*range(1, 9), *range(12, 257, 4))}):
            found = _best_chunk(conns, grid, side=(length,), room=room)
            if found is None:
                return
            yield found
        return
    outer, (high, wide) = tuple(1 for _ in grid[:-2]), grid[-2:]
    for h in range(1, min(high, MAX_SIDE) + 1):
        for w in range(1, min(wide, MAX_SIDE) + 1):
            found = _best_chunk(conns, grid, side=(*outer, h, w), room=room)
            if found is None:
                break
            yield found
        if w == 1 and found is None:
            return


def _best_chunk(
    conns: Sequence[Conn], grid: Shape, *, side: Shape, room: Room
) -> tuple[float, Shape, int] | None:
    """The largest chunk of channels that fits with a rectangle, and what it costs."""
    channels = conns[0].outputs.shape[1]
    rows = _middle(grid, side=side)
    before = -1
    for chunk in sorted({ceil(channels / n) for n in CHUNKS}, reverse=True):
        if prod(side) * chunk > room.neurons:
            continue
        used = len(axon_keys(conns, Tile(rows=rows, channels=np.arange(chunk))))
        if used <= room.axons:
            count = _count(grid, side=side) * ceil(channels / chunk)
            return count * (1 + used / room.neurons), side, chunk
        if used == before:  # all channels read the same: fewer of them do not help
            return None
        before = used
    return None


def _count(grid: Shape, *, side: Shape) -> int:
    """How many rectangles cover the grid."""
    if len(side) == 1:
        return ceil(prod(grid) / side[0])
    return prod(ceil(n / s) for n, s in zip(grid, side, strict=True))


def _middle(grid: Shape, *, side: Shape) -> Array:
    """The positions of a rectangle in the middle, where no padding saves axons."""
    if len(side) == 1:
        start = min(prod(grid) // 2, prod(grid) - side[0])
        return np.arange(start, start + side[0])
    starts = [min(n // 2, n - s) for n, s in zip(grid, side, strict=True)]
    return _rectangle(grid, starts, side=side)


def _rectangle(grid: Shape, starts: Sequence[int], *, side: Shape) -> Array:
    ranges = [np.arange(a, min(a + s, n)) for a, s, n in zip(starts, side, grid, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*ranges, indexing="ij"), grid).reshape(-1)


def _rectangles(grid: Shape, *, side: Shape) -> Iterator[Array]:
    if len(side) == 1:
        for start in range(0, prod(grid), side[0]):
            yield np.arange(start, min(start + side[0], prod(grid)))
        return
    for starts in product(*(range(0, n, s) for n, s in zip(grid, side, strict=True))):
        yield _rectangle(grid, starts, side=side)


def _chunks(channels: int, *, chunk: int) -> Iterator[Array]:
    for start in range(0, channels, chunk):
        yield np.arange(start, min(start + chunk, channels))


def _fit(conns: Sequence[Conn], tile: Tile, room: Room, where: str) -> list[Tile]:
    """The tile, halved until every part fits a core."""
    used = len(axon_keys(conns, tile))
    if used <= room.axons and len(tile.rows) * len(tile.channels) <= room.neurons:
        return [tile]
    if len(tile.rows) * len(tile.channels) == 1:
        raise TargetError(
            f"one neuron needs {used} axons, a core has {room.axons}",
            where=f"node '{where}'",
            remedy="Use a coding with fewer axons per input.",
            code="E524",
        )
    if len(tile.rows) > 1:
        half = len(tile.rows) // 2
        parts = [Tile(rows=r, channels=tile.channels) for r in (tile.rows[:half], tile.rows[half:])]
    else:
        half = len(tile.channels) // 2
        parts = [
            Tile(rows=tile.rows, channels=c) for c in (tile.channels[:half], tile.channels[half:])
        ]
    return [fitting for part in parts for fitting in _fit(conns, part, room, where)]


def parts_of(group: Group, axons: int, *, copies: int, room: Room) -> list[Array]:
    """How a group's fields are cut: one part (everything on one core) or several whose sums are
    added by another neuron. Returns indices into the fields, per part.

    ``axons``: per input; ``copies``: staggered partial-sum neurons per sum. Parts are whole
    channels; their number minimizes the cost of cores, but a layer that fits unsplit is only
    split where that takes ``DIRECT_FACTOR`` times fewer cores.
    """
    fields = group.fields.shape[1]
    everything = [np.arange(fields)]
    own = len(group.wires)
    if fields * axons + own <= room.axons and group.outputs.size <= room.neurons:
        return everything  # all of it on one core, which no split can undercut
    options: list[tuple[float, list[Array]]] = []
    unit = group.unit if group.unit * axons + own <= room.axons else 1
    units = ceil(fields / unit)
    fewest = max(ceil(units / max(room.axons // (unit * axons), 1)), 1)
    neurons = group.outputs.size
    for count in sorted(
        {*range(fewest, min(fewest + 8, units) + 1), min(2 * fewest, units), min(4 * fewest, units)}
    ):
        if count == 1 and fields * axons + own > room.axons:
            continue
        parts = [p for p in _even(fields, unit=unit, units=units, count=count) if len(p)]
        cost = _tile_cost(group, parts[0], axons, own=own if count == 1 else 0, room=room)
        if cost is None:
            continue
        adding = neurons * (copies * len(parts) + own) / room.axons if count > 1 else 0.0
        options.append((cost * len(parts) + adding, parts))
    if not options:
        return _even(fields, unit=1, units=fields, count=ceil(fields * axons / room.axons))
    best = min(options, key=lambda o: o[0])
    whole = next((o for o in options if len(o[1]) == 1), None)
    if whole is not None and whole[0] <= DIRECT_FACTOR * best[0]:
        return everything
    return best[1]


def _even(fields: int, *, unit: int, units: int, count: int) -> list[Array]:
    return [
        np.concatenate([np.arange(u * unit, min((u + 1) * unit, fields)) for u in chunk])
        for chunk in np.array_split(np.arange(units), count)
        if len(chunk)
    ]


def _tile_cost(group: Group, part: Array, axons: int, *, own: int, room: Room) -> float | None:
    """The least cost of computing one part for all neurons; None if one position is too much."""
    outs = group.outputs.shape[1]
    conn = Conn(
        fields=group.fields[:, part],
        outputs=group.outputs,
        planes=np.ones((axons, outs, len(part)), bool),
        types=np.arange(axons),
        values=np.ones((axons, outs), np.int64),
        grid=group.grid,
    )
    smaller = Room(axons=room.axons - own, neurons=room.neurons)
    return min((cost for cost, _, _ in _options([conn], group.grid, smaller)), default=None)
