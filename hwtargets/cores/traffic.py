"""Spikes between cores: once per source neuron and destination core (multicast).

A tile of the target reads a box of the source (see ``geometry``), so the number of source neurons
in core i that core j reads is a product over axes; no synapse is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np

from ...runtime.ops import Array, Shape
from ..mapping import Traffic
from ..view.network import ChipNetwork, Projection
from .partition import Tiling


def traffic(
    network: ChipNetwork,
    tilings: Sequence[Tiling],
    rates: Mapping[str, Array] | None,
    rate: float,
) -> Traffic:
    """Spikes per time step between cores. ``rates``: measured spikes per neuron and step, in the
    layer's shape; ``rate`` is assumed for layers without. What no neurons can run (a pool of
    running maxima, an island) is on no chip, and nothing is sent to it."""
    placed = {t.name: t for t in tilings}
    rates = rates or {}
    parts: list[tuple[Array, Array, Array]] = []
    for target in tilings:
        by_source: dict[str, list[Projection]] = {}
        layer = network.find(target.name)
        for p in () if layer is None or layer.analog else layer.projections:
            if p.source in placed:
                by_source.setdefault(p.source, []).append(p)
        for source, projections in by_source.items():
            measured = rates.get(source)
            parts.append(
                _between(
                    placed[source],
                    target=target,
                    projections=projections,
                    measured=measured,
                    rate=rate,
                )
            )
    if not parts:
        none = np.zeros(0, np.int64)
        return Traffic(source=none, destination=none, weight=np.zeros(0))
    a, b, w = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return Traffic(source=a, destination=b, weight=w, measured=bool(rates))


def _between(
    source: Tiling,
    *,
    target: Tiling,
    projections: Sequence[Projection],
    measured: Array | None,
    rate: float,
) -> tuple[Array, Array, Array]:
    """Edges of all projections of one pair of layers; a neuron that several of them read is
    still sent once, so the widest one counts (a bound from below where they read different
    parts)."""
    values = None if measured is None else np.abs(measured).reshape(source.shape)
    found = [_edges(source, target=target, p=p, values=values, rate=rate) for p in projections]
    if len(found) == 1:
        return found[0]
    key = np.concatenate([a * (1 << 31) + b for a, b, _ in found])
    weight = np.concatenate([w for _, _, w in found])
    pairs, at = np.unique(key, return_inverse=True)
    widest = np.zeros(len(pairs))
    np.maximum.at(widest, at, weight)
    return pairs >> 31, pairs & ((1 << 31) - 1), widest


def _edges(
    source: Tiling, *, target: Tiling, p: Projection, values: Array | None, rate: float
) -> tuple[Array, Array, Array]:
    if p.geometry is None:
        listed = np.full(source.shape, rate) if values is None else values
        return _listed(source, target=target, p=p, values=listed)
    pairs = [channel_pairs(source, target=target, p=p)]
    used = set()
    for axis in range(1, len(source.shape)):
        pairs.append(axis_pairs(source, target=target, p=p, axis=axis))
        used.add(p.geometry.axes[axis - 1].target)
    a, b = np.zeros(1, np.int64), np.zeros(1, np.int64)
    w = np.full(1, rate) if values is None else values[np.newaxis]
    for axis, (i, j, member) in enumerate(pairs):
        if values is None:  # equal rates: a count per axis
            w = np.multiply.outer(w, member.sum(1)).reshape(-1)
        else:  # contract the next source axis with the pairs' membership (pairs, n)
            edges = w.shape[0]
            w = np.einsum("en...,pn->ep...", w, member).reshape(edges * len(i), *w.shape[2:])
        a = (a[:, None] * source.grid[axis] + i).reshape(-1)
        b = (b[:, None] + j).reshape(-1)
    a, b, w = _free_axes(target, used, a, b=b, w=w)
    keep = w > 0
    return source.first + a[keep], target.first + b[keep], w[keep]


def strides(grid: Shape) -> list[int]:
    return [int(np.prod(grid[axis + 1 :])) for axis in range(len(grid))]


def channel_pairs(source: Tiling, *, target: Tiling, p: Projection) -> tuple[Array, Array, Array]:
    """Pairs (source tile, target offset) along channels, and which source channels they share."""
    assert p.geometry is not None
    n_source, n_target = source.shape[0], target.shape[0]
    stride = strides(target.grid)[0]
    i, j, member = [], [], []
    for tj in range(target.grid[0]):
        low, high = tj * target.tile[0], min((tj + 1) * target.tile[0], n_target)
        first, last = p.geometry.source_channels(low, high, n_source, n_target)
        for ti in range(first // source.tile[0], ceil(last / source.tile[0])):
            row = np.zeros(n_source)
            row[max(first, ti * source.tile[0]) : min(last, (ti + 1) * source.tile[0])] = 1
            i.append(ti)
            j.append(tj * stride)
            member.append(row)
    return np.array(i), np.array(j), np.array(member)


def axis_pairs(
    source: Tiling, *, target: Tiling, p: Projection, axis: int
) -> tuple[Array, Array, Array]:
    """The same along a spatial axis of the source."""
    assert p.geometry is not None
    read = p.geometry.axes[axis - 1]
    n, size = source.shape[axis], source.tile[axis]
    tiles, extent, stride = 1, 1, 0
    if read.target is not None:
        at = 1 + read.target
        tiles, extent = target.grid[at], target.shape[at]
        stride = strides(target.grid)[at]
    step = target.tile[1 + read.target] if read.target is not None else 1
    i, j, member = [], [], []
    for tj in range(tiles):
        reads = read.reads(tj * step, min((tj + 1) * step, extent), n)
        for ti in np.unique(reads // size):
            row = np.zeros(n)
            row[reads[reads // size == ti]] = 1
            i.append(int(ti))
            j.append(tj * stride)
            member.append(row)
    return np.array(i, np.int64), np.array(j, np.int64), np.array(member).reshape(len(i), n)


def _free_axes(
    target: Tiling, used: set[int | None], a: Array, *, b: Array, w: Array
) -> tuple[Array, Array, Array]:
    """Target axes that no source axis follows: every tile along them reads the same."""
    step = strides(target.grid)
    for axis in range(1, len(target.shape)):
        if axis - 1 not in used and target.grid[axis] > 1:
            shift = np.arange(target.grid[axis]) * step[axis]
            b = (b[:, None] + shift).reshape(-1)
            a, w = np.repeat(a, len(shift)), np.repeat(w, len(shift))
    return a, b, w


def _listed(
    source: Tiling, *, target: Tiling, p: Projection, values: Array
) -> tuple[Array, Array, Array]:
    """Irregular projections, from the list of synapses."""
    matrix = p.matrix
    core = target.core_of()[matrix.rows]
    sent = np.unique(core * matrix.shape[1] + matrix.cols)
    neuron = sent % matrix.shape[1]
    pair = source.core_of()[neuron] * (1 << 31) + sent // matrix.shape[1]
    pairs, at = np.unique(pair, return_inverse=True)
    weight = np.bincount(at, weights=values.reshape(-1)[neuron])
    return pairs >> 31, pairs & ((1 << 31) - 1), weight
