"""Spikes by all the cores that they go to: neurons of a core with the same destinations are one
group.

Along every axis of a layer, positions fall into classes that lie in the same tile and are read by
the same tiles of every reader. The destinations of a neuron are the product of those of its classes
(see ``traffic``), so groups are counted by classes; a neuron is only listed where a reader has no
geometry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

import numpy as np

from ....runtime.ops import Array
from ...mapping import Multicast
from ...view.network import ChipNetwork, Projection
from ..partition import Tiling
from ..traffic import axis_pairs, channel_pairs, strides

Pairs = tuple[Array, Array]  # class along an axis or of a layer, offset of a destination core


def multicast(
    network: ChipNetwork,
    tilings: Sequence[Tiling],
    rates: Mapping[str, Array] | None,
    rate: float,
) -> Multicast:
    """Groups of all layers, in order; ``rates`` and ``rate`` as for ``traffic``. Spikes within a
    core are in none."""
    placed = {t.name: t for t in tilings}
    readers: dict[str, list[tuple[Tiling, Projection]]] = {}
    for target in tilings:
        layer = network.find(target.name)
        for p in () if layer is None or layer.analog else layer.projections:
            if p.source in placed:
                readers.setdefault(p.source, []).append((target, p))
    parts = [
        _of(placed[name], found, (rates or {}).get(name), rate) for name, found in readers.items()
    ]
    first = np.cumsum([0, *(len(part.source) for part in parts)])
    groups = [part.group + at for part, at in zip(parts, first, strict=False)]
    none = np.zeros(0, np.int64)
    return Multicast(
        source=np.concatenate([none, *(part.source for part in parts)]),
        weight=np.concatenate([np.zeros(0), *(part.weight for part in parts)]),
        group=np.concatenate([none, *groups]),
        core=np.concatenate([none, *(part.core for part in parts)]),
    )


def _of(
    source: Tiling,
    readers: Sequence[tuple[Tiling, Projection]],
    measured: Array | None,
    rate: float,
) -> Multicast:
    """The groups of one layer."""
    regular = [
        (t, p, _memberships(source, target=t, p=p)) for t, p in readers if p.geometry is not None
    ]
    listed = [(t, p) for t, p in readers if p.geometry is None]
    classes = [
        np.arange(n)
        if listed
        else _classes(n, tile=source.tile[axis], readers=[found[axis] for _, _, found in regular])
        for axis, n in enumerate(source.shape)
    ]
    counts = [int(own.max()) + 1 for own in classes]
    pairs = [_product(found, classes, t, p) for t, p, found in regular]
    pairs += [_listed(t, p) for t, p in listed]
    core = np.zeros(1, np.int64)
    for own, n, tile, k in zip(classes, counts, source.tile, source.grid, strict=True):
        at = np.zeros(n, np.int64)
        at[own] = np.arange(len(own)) // tile
        core = (core[:, None] * k + at).reshape(-1)
    weight = _weights(source, classes, counts, measured, rate)
    return _merged(core + source.first, weight=weight, pairs=pairs)


def _memberships(source: Tiling, *, target: Tiling, p: Projection) -> list[tuple[Array, Array]]:
    """Per axis of the source: offsets of destination cores, and which positions each reads,
    (offsets, positions)."""
    axes = range(1, len(source.shape))
    pairs = [channel_pairs(source, target=target, p=p)]
    pairs += [axis_pairs(source, target=target, p=p, axis=axis) for axis in axes]
    return [_by_offset(offset, member=member) for _, offset, member in pairs]


def _by_offset(offset: Array, *, member: Array) -> tuple[Array, Array]:
    """Parts in different tiles of the source joined again."""
    known, at = np.unique(offset, return_inverse=True)
    joined = np.zeros((len(known), member.shape[1]), bool)
    np.logical_or.at(joined, at, member > 0)
    return known, joined


def _classes(n: int, *, tile: int, readers: Sequence[tuple[Array, Array]]) -> Array:
    """The class of each position: same tile, same readers."""
    rows = np.vstack([np.arange(n) // tile, *(member for _, member in readers)])
    return np.unique(rows, axis=1, return_inverse=True)[1].reshape(-1)


def _product(
    found: Sequence[tuple[Array, Array]],
    classes: Sequence[Array],
    target: Tiling,
    p: Projection,
) -> Pairs:
    """Every class of the layer with every core of the target that reads it."""
    group, core = np.zeros(1, np.int64), np.full(1, target.first)
    for (offset, member), own in zip(found, classes, strict=True):
        n = int(own.max()) + 1
        seen = np.zeros((n, len(offset)), bool)
        seen[own] = member.T
        at, to = np.nonzero(seen)
        group = (group[:, None] * n + at).reshape(-1)
        core = (core[:, None] + offset[to]).reshape(-1)
    for shift in _everywhere(target, p):
        core = (core[:, None] + shift).reshape(-1)
        group = np.repeat(group, len(shift))
    return group, core


def _everywhere(target: Tiling, p: Projection) -> Iterator[Array]:
    """Axes of the target that no axis of the source follows: all tiles along them read the same."""
    assert p.geometry is not None
    followed = {axis.target for axis in p.geometry.axes}
    for axis, n in enumerate(target.grid[1:]):
        if axis not in followed and n > 1:
            yield np.arange(n) * strides(target.grid)[axis + 1]


def _listed(target: Tiling, p: Projection) -> Pairs:
    """The same of single neurons, from the list of synapses."""
    matrix = p.matrix
    core = target.core_of()[matrix.rows]
    sent = np.unique(core * matrix.shape[1] + matrix.cols)
    return sent % matrix.shape[1], sent // matrix.shape[1]


def _weights(
    source: Tiling,
    classes: Sequence[Array],
    counts: Sequence[int],
    measured: Array | None,
    rate: float,
) -> Array:
    """Spikes per step of all neurons of each class of the layer."""
    if measured is None:
        total = np.full(1, rate)
        for own, n in zip(classes, counts, strict=True):
            total = np.multiply.outer(total, np.bincount(own, minlength=n)).reshape(-1)
        return total
    at = np.zeros((1,) * len(counts), np.int64)
    for axis, (own, n) in enumerate(zip(classes, counts, strict=True)):
        at = at * n + own.reshape(*(-1 if i == axis else 1 for i in range(len(counts))))
    values = np.abs(measured).reshape(-1)
    return np.bincount(at.reshape(-1), weights=values, minlength=prod(counts))


def _merged(source: Array, *, weight: Array, pairs: Iterable[Pairs]) -> Multicast:
    """Classes of a core with the same destinations together; those without spikes, or without
    another core to go to, left out."""
    found = list(pairs)
    group = np.concatenate([g for g, _ in found])
    core = np.concatenate([c for _, c in found])
    away = (core != source[group]) & (weight[group] > 0)
    span = int(core.max(initial=0)) + 1
    key = np.unique(group[away] * span + core[away])
    group, core = key // span, key % span
    marks = np.random.default_rng(0).integers(1 << 62, size=span, dtype=np.int64)
    mark = np.zeros(len(source), np.int64)  # sums of random marks tell sets of cores apart
    np.add.at(mark, group, marks[core])
    kept = np.unique(group)
    _, first, at = np.unique(
        np.stack([source[kept], mark[kept]]), axis=1, return_index=True, return_inverse=True
    )
    order = np.argsort(first)  # groups as they come
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    at = rank[at.reshape(-1)]
    total = np.bincount(at, weights=weight[kept], minlength=len(order))
    one = kept[first[order]]  # of each group a class, whose pins are the group's
    number = np.full(len(source), -1)
    number[one] = np.arange(len(one))
    own = number[group] >= 0
    sent, to = number[group][own], core[own]
    order = np.argsort(sent, kind="stable")
    return Multicast(source=source[one], weight=total, group=sent[order], core=to[order])
