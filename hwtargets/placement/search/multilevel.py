"""A start for large placements: coarsen the traffic graph, lay it out, refine on the way back.

1. Pairs of cores with much traffic are merged (heavy-edge matching) until few hundred remain.
2. Those are laid out by annealing (``mesh``), as if they were cores of equal size.
3. Level by level the pairs are split again; every node moves towards the weighted centroid of its
   partners, then ``spread`` pushes all of them apart over the mesh by recursive bisection (sort
   along the longer side, cut at the capacity), which keeps their order.

Every level costs O((nodes + edges) log nodes), and levels shrink geometrically.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ....runtime.ops import Array

COARSEST = 250
SWEEPS = 8
Pairs = tuple[Array, Array, Array]
Layout = Callable[[int, Pairs], Array]


@dataclass(frozen=True, eq=False)
class _Level:
    """Undirected pairs among nodes with sizes; ``parent`` maps to the next coarser level."""

    pairs: Pairs
    size: Array
    parent: Array | None = None


def layout(
    count: int, pairs: Pairs, usable: Array, coarsest: Layout, rng: np.random.Generator
) -> Array:
    """A position for every core, (count, 2) integers, all different, on ``usable`` cells.

    Parameters:
        pairs: undirected (a, b, weight).
        usable: bool (width, height): where cores may be; at least ``count`` cells.
        coarsest: (n, pairs) -> coordinates (n, 2) on any grid, for the few nodes that remain.
    """
    levels = _coarsened(count, pairs, rng)
    last = levels[-1]
    xy = coarsest(len(last.size), last.pairs).astype(float)
    xy = (xy + 0.5) / (xy.max(0) + 1) * np.array(usable.shape)
    for level in reversed(levels):
        if level.parent is not None:
            xy = xy[level.parent] + rng.normal(0, 0.2, (len(level.size), 2))
        xy = _relaxed(level, xy, usable=usable)
    return np.floor(xy).astype(np.int64)


def _relaxed(level: _Level, xy: Array, *, usable: Array) -> Array:
    """Alternately pull nodes to their partners' centroid and spread them; the best is kept."""
    a, b, w = level.pairs
    n = len(level.size)
    strength = np.bincount(a, weights=w, minlength=n) + np.bincount(b, weights=w, minlength=n)
    linked = strength > 0
    xy = spread(xy, size=level.size, usable=usable)
    best, best_cost = xy, _length(level.pairs, xy)
    for _ in range(SWEEPS):
        pull = np.stack(
            [
                np.bincount(a, weights=w * xy[b, d], minlength=n)
                + np.bincount(b, weights=w * xy[a, d], minlength=n)
                for d in (0, 1)
            ],
            axis=1,
        )
        wanted = xy.copy()
        wanted[linked] = 0.25 * xy[linked] + 0.75 * pull[linked] / strength[linked, None]
        xy = spread(wanted, size=level.size, usable=usable)
        cost = _length(level.pairs, xy)
        if cost < best_cost:
            best, best_cost = xy, cost
    return best


def _length(pairs: Pairs, xy: Array) -> float:
    return float((pairs[2] * np.abs(xy[pairs[0]] - xy[pairs[1]]).sum(1)).sum())


def _coarsened(count: int, pairs: Pairs, rng: np.random.Generator) -> list[_Level]:
    """Levels from fine to coarse; stops where merging hardly shrinks the graph."""
    size: Array = np.ones(count)
    levels: list[_Level] = []
    while True:
        n = len(size)
        if n <= COARSEST:
            break
        parent = _matched(n, pairs, size, rng)
        fewer = int(parent.max()) + 1
        if fewer > 0.95 * n:
            break
        levels.append(_Level(pairs, size, parent))
        size = np.bincount(parent, weights=size)
        pairs = _merged(pairs, parent, fewer)
    levels.append(_Level(pairs, size))
    return levels


def _matched(n: int, pairs: Pairs, size: Array, rng: np.random.Generator) -> Array:
    """The coarse node of every node: mutual best partners are merged, in a few rounds; what is
    left alone is paired up in order, so that every level shrinks."""
    a, b, w = pairs
    score = w / (size[a] * size[b]) * (1 + 1e-3 * rng.random(len(w)))
    mate = np.full(n, -1)
    for _ in range(4):
        free = (mate[a] < 0) & (mate[b] < 0)
        fa, fb, fs = a[free], b[free], score[free]
        if not len(fa):
            break
        choice = np.full(n, -1)
        order = np.argsort(fs)  # later writes win: the best partner stays
        choice[fa[order]] = fb[order]
        best = np.full(n, -np.inf)
        np.maximum.at(best, fa, fs)
        reverse = np.full(n, -np.inf)
        np.maximum.at(reverse, fb, fs)
        back = np.full(n, -1)
        back[fb[order]] = fa[order]
        choice = np.where(reverse > best, back, choice)
        nodes = np.flatnonzero(choice >= 0)
        mutual = nodes[choice[choice[nodes]] == nodes]
        mate[mutual] = choice[mutual]
    alone = np.flatnonzero(mate < 0)
    alone = alone[: len(alone) // 2 * 2]
    mate[alone[::2]], mate[alone[1::2]] = alone[1::2], alone[::2]
    mate = np.where(mate < 0, np.arange(n), mate)
    leader = np.minimum(mate, np.arange(n))
    return np.unique(leader, return_inverse=True)[1]


def _merged(pairs: Pairs, parent: Array, count: int) -> Pairs:
    a, b = parent[pairs[0]], parent[pairs[1]]
    low, high, keep = np.minimum(a, b), np.maximum(a, b), a != b
    key, at = np.unique(low[keep] * count + high[keep], return_inverse=True)
    weight = np.bincount(at, weights=pairs[2][keep], minlength=len(key))
    return key // count, key % count, weight


def spread(xy: Array, *, size: Array, usable: Array) -> Array:
    """Positions pushed apart so that every region of the mesh holds no more than it has cells.

    Recursive bisection of the mesh: in every region the nodes are sorted along its longer side
    and cut where the halves' capacities are. Nodes of size one end at the centre of a cell of
    their own; a larger node ends at the centre of its region.
    """
    n = len(size)
    area = np.zeros(np.add(usable.shape, 1), np.int64)
    area[1:, 1:] = usable.cumsum(0).cumsum(1)
    box = np.array([[0, usable.shape[0], 0, usable.shape[1]]])
    region = np.zeros(n, np.int64)
    while True:
        wide = box[:, 1] - box[:, 0] >= box[:, 3] - box[:, 2]
        single = (box[:, 1] - box[:, 0] <= 1) & (box[:, 3] - box[:, 2] <= 1)
        count = np.bincount(region, minlength=len(box))
        alone = (count <= 1) & (_cells(area, box=box) > 1) & (np.max(size, initial=1) > 1)
        active = ~single & ~alone & (count > 0)
        if not active[region].any():
            break
        region, box = _cut(
            xy, size=size, region=region, box=box, wide=wide, active=active, area=area
        )
    centre = np.stack([(box[:, 0] + box[:, 1]) / 2, (box[:, 2] + box[:, 3]) / 2], axis=1)
    return np.asarray(centre[region])


def _cells(area: Array, *, box: Array) -> Array:
    x0, x1, y0, y1 = box.T
    return np.asarray(area[x1, y1] - area[x0, y1] - area[x1, y0] + area[x0, y0])


def _cut(
    xy: Array,
    *,
    size: Array,
    region: Array,
    box: Array,
    wide: Array,
    active: Array,
    area: Array,
) -> tuple[Array, Array]:
    """Every active region becomes two: regions 2r and 2r + 1."""
    left, right = box.copy(), box.copy()
    middle = np.where(wide, (box[:, 0] + box[:, 1]) // 2, (box[:, 2] + box[:, 3]) // 2)
    for axis, on in ((0, wide & active), (2, ~wide & active)):
        left[on, axis + 1] = middle[on]
        right[on, axis] = middle[on]
    held_left, held_right = _cells(area, box=left), _cells(area, box=right)
    along = np.where(wide[region], xy[:, 0], xy[:, 1])
    order = np.lexsort((along, region))
    sorted_region, sorted_size = region[order], size[order]
    total = np.bincount(region, weights=size, minlength=len(box))
    before = np.r_[0, np.cumsum(total)[:-1]]
    reached = np.cumsum(sorted_size) - before[sorted_region]
    share = total * held_left / np.maximum(held_left + held_right, 1)
    share = np.minimum(np.maximum(np.round(share), total - held_right), held_left)
    goes_left = reached - sorted_size / 2 < share[sorted_region]
    goes_left |= ~active[sorted_region]
    new = np.empty(len(region), np.int64)
    new[order] = 2 * sorted_region + ~goes_left
    boxes = np.empty((2 * len(box), 4), box.dtype)
    boxes[0::2], boxes[1::2] = left, right
    kept, compact = np.unique(new, return_inverse=True)
    return compact, boxes[kept]
