"""How few links any placement needs: a bound from below for the packets on links between routers.

A tree reaches every destination, so it has at least as many links as any of its destinations is
away, or as any mixture of these distances; and at least one link less than the routers that its
cores fill. So each group's spikes may be shared out: among its destinations, among the two ends of
each of these routes, and the count of routers. At every core the shares of its partners are then
set against places in the order of their distance (the largest at its own router, as many as fit,
the next largest one link away, ...), which no placement can undercut: Gilmore and Lawler's bound of
the quadratic assignment problem, for any shares. The shares are improved by exponentiated
gradient ascent, since the bound is a concave function of them.
"""

from __future__ import annotations

import numpy as np

from ...runtime.ops import Array
from ..mapping import Multicast

ROUNDS, LEAST_ROUNDS = 300, 3
PINS = 20_000  # above, fewer rounds, so that as many shares are moved in all
STEP = 1.0


def fewest_links(cores: int, routes: Multicast, routers: Array) -> float:
    """Packets x links between routers that any placement has at the least, per step.

    ``routers``: x, y of the router of each slot where a core can be.
    """
    if not len(routes.source):
        return 0.0
    groups, pins = len(routes.source), len(routes.core)
    per_router = int(np.unique(routers, axis=0, return_counts=True)[1].max())
    away = _ranked_distances(routers, per_router=per_router)
    share = _Shares(cores, routes, away, per_router=per_router)
    mass = np.full(2 * pins + groups, 1.0)
    rounds = max(LEAST_ROUNDS, min(ROUNDS, ROUNDS * PINS // max(pins, 1)))
    best = 0.0
    for turn in range(rounds):
        mass /= share.totals(mass)
        value, slope = share.bound(mass)
        best = max(best, value)
        mass = mass * np.exp(STEP / np.sqrt(1 + turn) * slope)
    return best


class _Shares:
    """Shares of each group: of every pin at its source, at its destination, and of the count of
    routers, in this order."""

    def __init__(self, cores: int, routes: Multicast, away: Array, *, per_router: int) -> None:
        self.away, self.weight = away, routes.weight
        self.group = np.r_[routes.group, routes.group, np.arange(len(routes.source))]
        size = np.bincount(routes.group, minlength=len(routes.source)) + 1
        self.filled = np.ceil(size / per_router) - 1.0
        source = routes.source[routes.group]
        key = np.r_[source * cores + routes.core, routes.core * cores + source]
        known, self.pair = np.unique(key, return_inverse=True)
        self.core = known // cores
        self.first = np.searchsorted(self.core, np.arange(cores))

    def totals(self, mass: Array) -> Array:
        """Of each share that of its group."""
        return np.bincount(self.group, weights=mass)[self.group]

    def bound(self, mass: Array) -> tuple[float, Array]:
        """The bound, and how it grows with each share, per spike."""
        ends = len(self.pair)
        carried = mass * self.weight[self.group]
        flow = np.bincount(self.pair, weights=carried[:ends], minlength=len(self.core))
        order = np.lexsort((-flow, self.core))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - self.first[self.core]
        distance = self.away[np.minimum(rank, len(self.away) - 1)]
        value = float((flow * distance).sum() + (carried[ends:] * self.filled).sum())
        return value, np.r_[distance[self.pair], self.filled]


def _ranked_distances(routers: Array, *, per_router: int) -> Array:
    """Of the other slots in order of their distance from one, the least that any slot sees: those
    of a place in the middle of a whole rectangle."""
    width, height = (routers.max(0) - routers.min(0) + 1).tolist()
    offsets = (np.arange(height) + 1) // 2  # rows from the middle on
    found = [per_router - 1]  # at the own router
    while sum(found) < len(routers) - 1:
        reach = 2 * np.maximum(len(found) - offsets, -0.5) + 1  # columns of each row, 0 beyond
        within = per_router * int(np.minimum(reach, width).sum())
        found.append(within - sum(found) - 1)
    return np.repeat(np.arange(len(found)), found).astype(float)
