"""Batches of exchanges towards the weighted centroid of each core's partners with a falling
temperature, O(edges) per sweep (force-directed refinement, Jin et al. 2023, annealed).

Sweeps are counted, not timed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....runtime.ops import Array

SWEEPS = 400
SWEEP = (50e-6, 1.05e-7)  # seconds of a sweep: for itself, for each pair of cores with traffic


def anneal(
    pair: tuple[Array, Array, Array],
    slots: Array,
    routers: Array,
    *,
    at: Array,
    sweeps: int,
    rng: np.random.Generator,
    show: Callable[[int], None],
    heat: float = 1.0,
) -> tuple[float, Array]:
    """Sweeps of exchanges towards centroids, in batches that touch each core at most once: the
    spike-hops, and the slot of every item. ``routers``: that of each slot; ``heat``: how warm it
    begins, at 1 as warm as a start needs that says little; ``show`` hears after every sweep how
    many were made."""
    index = slot_index(slots)
    a = np.concatenate([pair[0], pair[1]])
    b = np.concatenate([pair[1], pair[0]])
    w = np.concatenate([pair[2], pair[2]])
    order = np.argsort(a, kind="stable")
    a, b, w = a[order], b[order], w[order]
    n = len(slots)
    item = np.empty(n, np.int64)
    item[at] = np.arange(n)
    strength = np.maximum(np.bincount(a, weights=w, minlength=n), 1e-12)
    at = at.copy()
    best, best_at = cost_of(pair, routers, at=at), at.copy()
    for sweep in range(sweeps):
        progress = 1 - heat * (1 - sweep / sweeps)
        noise = 0.6 + 1.5 * (1 - progress) ** 2
        _sweep(
            slots,
            routers=routers,
            index=index,
            a=a,
            b=b,
            w=w,
            strength=strength,
            at=at,
            item=item,
            noise=noise,
            heat=1 - progress,
            rng=rng,
        )
        cost = cost_of(pair, routers, at=at)
        if cost < best:
            best, best_at = cost, at.copy()
        show(sweep + 1)
    return best, best_at


def slot_index(slots: Array) -> Array:
    """(width, height) -> slot number, the nearest used one where the grid has gaps (-1)."""
    out = np.full(tuple(slots.max(0) + 1), -1, np.int64)
    out[slots[:, 0], slots[:, 1]] = np.arange(len(slots))
    return out


def cost_of(pair: tuple[Array, Array, Array], routers: Array, *, at: Array) -> float:
    """Spike-hops of items on these slots."""
    xy = routers[at]
    return float((pair[2] * np.abs(xy[pair[0]] - xy[pair[1]]).sum(1)).sum())


def _sweep(
    slots: Array,
    *,
    routers: Array,
    index: Array,
    a: Array,
    b: Array,
    w: Array,
    strength: Array,
    at: Array,
    item: Array,
    noise: float,
    heat: float,
    rng: np.random.Generator,
) -> None:
    """One batch: every core proposes the slot near its partners' centroid."""
    n = len(slots)
    xy = slots[at].astype(np.float32)
    pull = [np.bincount(a, weights=w * xy[b, d], minlength=n) / strength for d in (0, 1)]
    wanted = np.stack(pull, 1) + rng.normal(0, noise, (n, 2))
    limits = np.array(index.shape) - 1
    cell = np.clip(np.rint(wanted), 0, limits).astype(np.int64)
    q = index[cell[:, 0], cell[:, 1]]
    movers = np.flatnonzero((q >= 0) & (q != at) & (strength > 1e-11))
    i, j = _disjoint(rng.permutation(movers), q=q, item=item, n=n)
    if not len(i):
        return
    partner = np.full(n, -1)
    partner[i], partner[j] = j, i
    to = at.copy()
    to[i], to[j] = at[j], at[i]
    # change of every moved item's edges with its partners where they are now, its own swap aside
    on = (partner[a] >= 0) & (partner[a] != b)
    ea, eb, ew = a[on], b[on], w[on]
    old, new, other = routers[at[ea]], routers[to[ea]], routers[at[eb]]
    change = ew * (np.abs(new - other).sum(1) - np.abs(old - other).sum(1))
    delta = np.bincount(ea, weights=change, minlength=n)
    total = delta[i] + delta[j]
    scale = 0.02 * heat**2 * (strength[i] + strength[j])
    good = total < -scale * np.log(np.maximum(rng.random(len(i)), 1e-12)) * (heat > 0.05) - 1e-9
    good &= rng.random(len(i)) < 0.7  # neighbours that move at once would chase each other
    i, j = i[good], j[good]
    at[i], at[j] = to[i], to[j]
    item[at[i]], item[at[j]] = i, j


def _disjoint(order: Array, *, q: Array, item: Array, n: int) -> tuple[Array, Array]:
    """Exchanges (i, occupant of q[i]) in which every item occurs once: the first claim wins."""
    other = item[q[order]]
    claim = np.full(n, len(order))
    rank = np.arange(len(order))
    np.minimum.at(claim, order, rank)
    np.minimum.at(claim, other, rank)
    keep = (claim[order] == rank) & (claim[other] == rank)
    return order[keep], other[keep]
