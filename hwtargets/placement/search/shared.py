"""Exchanges of cores for fewer links of shared routes (``trees``), then for a less busy link.

An exchange changes the trees of the groups that its two cores are in, and of no others, so
proposals are priced in batches of which the first that is accepted is carried out, as in
``exchanges``. What the busiest link carries beyond the busiest way into or out of a core, which no
placement changes, counts ``CONGESTION`` times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....runtime.ops import Array
from ....runtime.parallel.stages import stage
from ...mapping import Multicast
from ..trees import endpoints, loads, trees

CONGESTION = 8.0  # links that one packet less on the busiest link is worth
# Prices in seconds, as in ``exchanges``: a batch, each core of a group in it, one priced in full.
BATCH, MEMBER, WHOLE = 150e-6, 1.2e-7, (250e-6, 8e-7)
SHARING = "searching for fewer links of shared routes"
SIZE = 48  # proposals of a batch
HOT = 0.02  # the first temperature to a proposal's mean change
IDLE = 300  # batches without a gain after which the busiest link is left as it is
FIRST = 0.1  # seconds of the first round
COOLING = 1e-3  # the last temperature to the first


@dataclass(frozen=True, eq=False)
class _Lists:
    """Rows of unequal length, one after the other."""

    values: Array
    first: Array

    def of(self, rows: Array) -> tuple[Array, Array]:
        """The values of these rows, and the position in ``rows`` that each comes from."""
        sizes = self.first[rows + 1] - self.first[rows]
        owner = np.repeat(np.arange(len(rows)), sizes)
        ends = np.cumsum(sizes)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes, sizes)
        return self.values[self.first[rows][owner] + within], owner


def _lists(rows: Array, *, values: Array, count: int) -> _Lists:
    order = np.argsort(rows, kind="stable")
    return _Lists(values[order], np.searchsorted(rows[order], np.arange(count + 1)))


class Shared:
    """A placement under search: item i (a core, or beyond them an empty place) is on slot
    ``at[i]``."""

    def __init__(self, cores: int, routes: Multicast, routers: Array, *, at: Array) -> None:
        groups = len(routes.source)
        self.cores, self.routes, self.routers = cores, routes, routers
        rows = np.r_[np.arange(groups), routes.group]
        members = np.r_[routes.source, routes.core]
        self.members = _lists(rows, values=members, count=groups)  # the source first
        self.groups = _lists(members, values=rows, count=len(at))
        self.width = int(routers[:, 0].max()) + 1
        self.grid = (self.width, int(routers[:, 1].max()) + 1)
        self.place(at)
        self.floor = float(max(part.max(initial=0) for part in endpoints(cores, routes)))

    @property
    def cost(self) -> float:
        return float((self.links * self.routes.weight).sum())

    def place(self, at: Array) -> None:
        """Every item on these slots."""
        self.at = at.copy()
        self.links = self._links(self.at[self.members.values], self.members)

    def _links(self, slots: Array, lists: _Lists) -> Array:
        """Links of trees whose cores, list by list, are on these slots."""
        groups = len(lists.first) - 1
        if not groups:
            return np.zeros(0)
        x, y = self.routers[slots].T
        begin = lists.first[:-1]
        trunk = np.maximum.reduceat(x, begin) - np.minimum.reduceat(x, begin)
        sizes = np.diff(lists.first)
        owner = np.repeat(np.arange(groups), sizes)
        above = y - y[begin][owner]
        reach = np.zeros((2, groups * self.width))
        column = owner * self.width + x
        np.maximum.at(reach[0], column, above)
        np.maximum.at(reach[1], column, -above)
        return trunk + reach.sum(0).reshape(groups, self.width).sum(1)

    def price(self, r: Array, s: Array) -> tuple[Array, Array, Array, Array, int]:
        """What exchanges of r and s add to the links: the sums; every (exchange, group, links)
        that changes; and how many members were looked at."""
        found, owner = self.groups.of(np.r_[r, s])
        count = len(self.routes.source)
        key = np.unique(owner % len(r) * count + found)
        exchange, group = key // count, key % count
        member, of = self.members.of(group)
        first, second = r[exchange][of], s[exchange][of]
        moved = np.where(member == first, second, np.where(member == second, first, member))
        begins = np.flatnonzero(np.r_[True, of[1:] != of[:-1]]) if len(of) else of
        lists = _Lists(member, np.r_[begins, len(member)])
        links = self._links(self.at[moved], lists)
        change = (links - self.links[group]) * self.routes.weight[group]
        return (
            np.bincount(exchange, weights=change, minlength=len(r)),
            exchange,
            group,
            links,
            len(member),
        )

    def exchange(self, r: int, s: int, group: Array, links: Array) -> None:
        """Carry one out, after which these groups have so many links."""
        self.at[[r, s]] = self.at[[s, r]]
        self.links[group] = links

    def excess(self) -> float:
        """What the busiest link carries beyond the busiest core's."""
        at = self.routers[self.at]
        found = loads(trees(at, self.routes), self.routes.weight, self.grid)
        return max(0.0, float(found.max(initial=0)) - self.floor)


def anneal(state: Shared, *, seconds: float, least: float, rng: np.random.Generator) -> Array:
    """The slot of every item with the fewest links that was found.

    Rounds that double in length, each from the best so far and cooler than the one before; ends
    when two in a row gain less than 0.1 %, or with no more than the ``least`` that any placement
    has.
    """
    n = len(state.at)
    r, s = rng.integers(state.cores, size=256), rng.integers(n, size=256)
    hot = HOT * float(np.abs(state.price(r, s)[0]).mean()) or 1.0
    best, best_at, idle, length, left = state.cost, state.at.copy(), 0, FIRST, seconds
    show, whole = stage(SHARING), round(1000 * seconds)
    while left > 0 and idle < 2 and best > least + 1e-9:
        cost, at = _cool(state, hot, seconds=min(length, left), rng=rng)
        left -= length
        show(min(whole - round(1000 * left), whole), whole)
        idle = idle + 1 if cost > best * 0.999 else 0
        if cost < best:
            best, best_at = cost, at
        state.place(best_at)
        length, hot = 2 * length, 0.7 * hot
    show(whole, whole)
    return best_at


def _cool(
    state: Shared, hot: float, *, seconds: float, rng: np.random.Generator
) -> tuple[float, Array]:
    """Exchanges at a falling temperature: the fewest links, and where items were then."""
    n, spent = len(state.at), 0.0
    cost = best = state.cost
    best_at = state.at.copy()
    while spent < seconds:
        temperature = hot * COOLING ** (spent / seconds)
        r, s = rng.integers(state.cores, size=SIZE), rng.integers(n, size=SIZE)
        delta, exchange, group, links, looked = state.price(r, s)
        spent += BATCH + MEMBER * looked
        taken = np.flatnonzero((delta < temperature * rng.exponential(size=SIZE)) & (r != s))
        if not len(taken):
            continue
        k = int(taken[0])
        own = exchange == k
        state.exchange(int(r[k]), int(s[k]), group[own], links[own])
        cost += float(delta[k])
        if cost < best - 1e-9:
            best, best_at = cost, state.at.copy()
    return best, best_at


def relieve(state: Shared, *, seconds: float, rng: np.random.Generator) -> None:
    """Exchanges that lower links plus ``CONGESTION`` times the excess of the busiest link, until
    there is none, ``IDLE`` batches gained nothing, or the work is done."""
    n, spent, excess, idle = len(state.at), 0.0, state.excess(), 0
    whole = WHOLE[0] + WHOLE[1] * len(state.members.values)
    while spent < seconds and excess > 0 and idle < IDLE:
        idle += 1
        r, s = rng.integers(state.cores, size=SIZE), rng.integers(n, size=SIZE)
        delta, exchange, group, links, looked = state.price(r, s)
        spent += BATCH + MEMBER * looked
        for k in np.argsort(delta, kind="stable")[:8]:
            if delta[k] >= CONGESTION * excess or r[k] == s[k]:
                break
            own = exchange == k
            before = state.links[group[own]]
            state.exchange(int(r[k]), int(s[k]), group[own], links[own])
            spent += whole
            less = excess - state.excess()
            if delta[k] < CONGESTION * less - 1e-9:
                excess, idle = excess - less, 0
                break
            state.exchange(int(r[k]), int(s[k]), group[own], before)
