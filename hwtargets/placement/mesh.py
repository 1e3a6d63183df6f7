"""Cores on the mesh: where each core goes so that spikes travel few hops.

Objective: sum over core pairs of (spikes per step) x (Manhattan distance), each spike counted once
per source neuron and destination core; routing is X first, then Y.

Start: layers in order along a space-filling curve (generalized Hilbert, any rectangle), above
``SMALL`` slots a multilevel layout. Then, up to ``DENSE`` slots, simulated annealing over all
pairwise exchanges (a quadratic assignment problem): the matrix flow x distance makes a proposal
O(1), an accepted one O(slots^2), all in NumPy. Above, batches of exchanges towards the weighted
centroid of each core's partners with a falling temperature, O(edges) per sweep (force-directed
refinement, Jin et al. 2023, annealed).

The search is limited by its work, not by a clock: what it finds depends on the traffic, the seed
and ``seconds`` alone, not on how fast or busy a machine is. Seconds are those of the core that the
prices below were measured on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from ...runtime.ops import Array
from ...runtime.parallel.stages import stage
from ..mapping import Traffic
from . import multilevel

SMALL = 150  # slots up to which annealing starts from the curve
DENSE = 520  # slots up to which the exchange matrix is used
SWEEPS = 400
SEARCH = "searching for places on the mesh"
# Prices in seconds, measured on one core of a Xeon server (2.x GHz, 2026).
PROPOSALS = (18e-6, 2.5e-8)  # a batch of exchanges proposed: for the batch, for each
EXCHANGE = (14e-6, 6e-10)  # one carried out: for itself, for each pair of slots
SWEEP = (50e-6, 1.05e-7)  # a sweep: for itself, for each pair of cores with traffic
COARSEST = 1.0  # for the layout of the coarsest level


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Chips of width x height routers, side by side in ``across`` columns; ``chips`` in use."""

    width: int
    height: int
    chips: int = 1
    across: int = 1
    cores_per_chip: int = 0

    @property
    def slots(self) -> Array:
        """(slots, 2) x, y on the joint grid of all chips, along the curve of each chip in turn."""
        curve = np.array(list(curve_of(self.width, height=self.height)))
        if self.cores_per_chip:
            curve = curve[: self.cores_per_chip]
        chip = np.arange(self.chips)
        row, column = chip // self.across, chip % self.across
        column = np.where(row % 2 == 1, self.across - 1 - column, column)  # serpentine over chips
        corner = np.stack([column * self.width, row * self.height], axis=1)
        return (corner[:, None, :] + curve[None]).reshape(-1, 2)

    def chip_of(self, xy: Array) -> Array:
        """The chip under each position."""
        column, row = xy[:, 0] // self.width, xy[:, 1] // self.height
        column = np.where(row % 2 == 1, self.across - 1 - column, column)
        return np.asarray(row * self.across + column)


def mesh_for(cores: int, *, cores_per_chip: int, width: int, height: int) -> Mesh:
    """The smallest number of chips, as square as possible. A width of 0 means unknown: a square
    grid of routers."""
    if not width:
        width = ceil(sqrt(cores_per_chip))
        height = ceil(cores_per_chip / width)
    chips = max(1, ceil(cores / cores_per_chip))
    across = max(1, round(sqrt(chips * height / width)))
    return Mesh(
        width=width, height=height, chips=chips, across=across, cores_per_chip=cores_per_chip
    )


def curve_of(width: int, *, height: int) -> Iterator[tuple[int, int]]:
    """A space-filling curve through every cell of a rectangle, neighbours adjacent (a Hilbert
    curve for any size: the rectangle is cut along its longer side, else into a U of three)."""
    if width >= height:
        yield from _curve(0, y=0, ax=width, ay=0, bx=0, by=height)
    else:
        yield from _curve(0, y=0, ax=0, ay=height, bx=width, by=0)


def _sign(n: int) -> int:
    return (n > 0) - (n < 0)


def _curve(x: int, *, y: int, ax: int, ay: int, bx: int, by: int) -> Iterator[tuple[int, int]]:
    """From (x, y) along the major side a, with minor side b."""
    length, depth = abs(ax + ay), abs(bx + by)
    dx, dy, ex, ey = _sign(ax), _sign(ay), _sign(bx), _sign(by)
    if depth == 1:
        yield from ((x + i * dx, y + i * dy) for i in range(length))
        return
    if length == 1:
        yield from ((x + i * ex, y + i * ey) for i in range(depth))
        return
    ax2, ay2, bx2, by2 = ax // 2, ay // 2, bx // 2, by // 2
    if 2 * length > 3 * depth:
        if abs(ax2 + ay2) % 2 and length > 2:
            ax2, ay2 = ax2 + dx, ay2 + dy
        yield from _curve(x, y=y, ax=ax2, ay=ay2, bx=bx, by=by)
        yield from _curve(x + ax2, y=y + ay2, ax=ax - ax2, ay=ay - ay2, bx=bx, by=by)
        return
    if abs(bx2 + by2) % 2 and depth > 2:
        bx2, by2 = bx2 + ex, by2 + ey
    yield from _curve(x, y=y, ax=bx2, ay=by2, bx=ax2, by=ay2)
    yield from _curve(x + bx2, y=y + by2, ax=ax, ay=ay, bx=bx - bx2, by=by - by2)
    yield from _curve(
        x + (ax - dx) + (bx2 - ex),
        y=y + (ay - dy) + (by2 - ey),
        ax=-bx2,
        ay=-by2,
        bx=-(ax - ax2),
        by=-(ay - ay2),
    )


def place_on_mesh(cores: int, flows: Traffic, mesh: Mesh, seconds: float, *, seed: int) -> Array:
    """Positions of the cores, (cores, 2) x, y on the joint grid.

    ``seconds``: of work (see the module; it may end earlier). The result never is worse than the
    start along the curve.
    """
    slots = _compact(mesh, cores)
    pair = _symmetric(flows, cores)
    if cores < 2 or not len(pair[0]):
        return slots[:cores]
    rng = np.random.default_rng(seed)
    at = np.arange(len(slots))  # slot of each item, empty places last
    if len(slots) > SMALL:
        index = _slot_index(slots)
        start = multilevel.layout(cores, pair, index >= 0, _coarsest(rng), rng)
        at = _filled(index[start[:, 0], start[:, 1]], len(slots))
    search = _search if len(slots) <= DENSE else _anneal
    return search(cores, pair, slots, at=at, seconds=seconds, rng=rng)


def _compact(mesh: Mesh, cores: int) -> Array:
    """The slots to use: a corner of the chip where it is much larger than the network."""
    slots = mesh.slots
    if mesh.chips > 1 or len(slots) <= 1.4 * cores + 4:
        return slots
    room = 1.4 * cores + 4
    width = min(mesh.width, max(ceil(sqrt(room)), ceil(room / mesh.height)))
    height = min(mesh.height, ceil(room / width))
    curve = np.array(list(curve_of(width, height=height)))
    known = {(int(x), int(y)) for x, y in slots}
    inside = curve[[(int(x), int(y)) in known for x, y in curve]]
    return inside if len(inside) >= cores else slots


def _symmetric(flows: Traffic, cores: int) -> tuple[Array, Array, Array]:
    """Undirected pairs a < b with their total weight."""
    a = np.minimum(flows.source, flows.destination).astype(np.int64)
    b = np.maximum(flows.source, flows.destination).astype(np.int64)
    keep = a != b
    key, at = np.unique(a[keep] * cores + b[keep], return_inverse=True)
    weight = np.bincount(at, weights=flows.weight[keep], minlength=len(key))
    return key // cores, key % cores, weight


@dataclass
class _Exchange:
    """A placement under search: item i sits on slot ``at[i]`` (items beyond the cores are empty
    places). near: distance between items; gain = flow @ near."""

    flow: Array
    near: Array
    gain: Array
    at: Array
    cost: float

    def deltas(self, r: Array, s: Array) -> Array:
        """Change of cost by exchanging items r and s, elementwise."""
        g = self.gain
        return np.asarray(
            g[r, s] + g[s, r] - g[r, r] - g[s, s] + 2 * self.flow[r, s] * self.near[r, s]
        )

    def exchange(self, r: int, s: int, delta: float) -> None:
        """Exchange two items in place, O(items^2)."""
        _exchange(self.flow, near=self.near, gain=self.gain, at=self.at, r=r, s=s)
        self.cost += delta


def _started(flow: Array, *, distance: Array, at: Array) -> _Exchange:
    near = distance[np.ix_(at, at)]
    cost = float((flow * near).sum() / 2)
    return _Exchange(flow, near, flow @ near, at.copy(), cost)


def _search(
    cores: int,
    pair: tuple[Array, Array, Array],
    slots: Array,
    *,
    at: Array,
    seconds: float,
    rng: np.random.Generator,
) -> Array:
    """Annealing in rounds that double in length, each from the best so far and cooler than the
    first; ends when two rounds in a row gain less than 0.1 %."""
    n = len(slots)
    flow = np.zeros((n, n))
    flow[pair[0], pair[1]] = flow[pair[1], pair[0]] = pair[2]
    distance = np.abs(slots[:, None] - slots[None]).sum(2).astype(float)
    best = _started(flow, distance=distance, at=at)
    r, s = rng.integers(cores, size=512), rng.integers(n, size=512)
    hot = float(np.abs(best.deltas(r, s)).mean()) or 1.0
    best_cost, best_at = best.cost, best.at.copy()
    length, heat, idle = 0.002 * n, 1.0 if n <= SMALL else 0.1, 0
    whole, show = round(1000 * seconds), stage(SEARCH)
    while seconds > 0 and idle < 2:
        state = _started(flow, distance=distance, at=best_at)
        cost, at = _cool(state, cores, hot * heat, seconds=min(length, seconds), rng=rng)
        seconds -= length
        show(min(whole - round(1000 * seconds), whole), whole)
        idle = idle + 1 if cost > best_cost * 0.999 else 0
        if cost < best_cost:
            best_cost, best_at = cost, at
        length, heat = 2 * length, min(heat, 0.3)
    show(whole, whole)
    return slots[best_at[:cores]]


def _cool(
    state: _Exchange, cores: int, hot: float, *, seconds: float, rng: np.random.Generator
) -> tuple[float, Array]:
    """Metropolis exchanges at a falling temperature. Proposals are evaluated in batches, of which
    the first accepted is carried out: most proposals of a cold state are refused."""
    n, batch, spent = len(state.at), 16, 0.0
    exchange = EXCHANGE[0] + EXCHANGE[1] * n * n
    best, best_at = state.cost, state.at.copy()
    while spent < seconds:
        temperature = hot * 1e-3 ** (spent / seconds)
        for _ in range(16):
            r, s = rng.integers(cores, size=batch), rng.integers(n, size=batch)
            delta = state.deltas(r, s)
            threshold = temperature * rng.exponential(size=batch)
            spent += PROPOSALS[0] + PROPOSALS[1] * batch
            taken = np.flatnonzero((delta < threshold) & (r != s))
            if not len(taken):
                batch = min(2 * batch, 4096)
                continue
            k = int(taken[0])
            batch = max(8, min(4096, 2 * k + 8))
            state.exchange(int(r[k]), int(s[k]), float(delta[k]))
            spent += exchange
            if state.cost < best - 1e-9:
                best, best_at = state.cost, state.at.copy()
    return best, best_at


def _exchange(flow: Array, *, near: Array, gain: Array, at: Array, r: int, s: int) -> None:
    """Exchange items r and s in place; gain = flow @ near stays true."""
    gain += np.outer(flow[:, s] - flow[:, r], near[r] - near[s])
    for array in (gain, near):
        array[:, [r, s]] = array[:, [s, r]]
    near[[r, s]] = near[[s, r]]
    at[[r, s]] = at[[s, r]]


def _anneal(
    cores: int,
    pair: tuple[Array, Array, Array],
    slots: Array,
    *,
    at: Array,
    seconds: float,
    rng: np.random.Generator,
) -> Array:
    """Sweeps of exchanges towards centroids, in batches that touch each core at most once."""
    index = _slot_index(slots)
    a = np.concatenate([pair[0], pair[1]])
    b = np.concatenate([pair[1], pair[0]])
    w = np.concatenate([pair[2], pair[2]])
    order = np.argsort(a, kind="stable")
    a, b, w = a[order], b[order], w[order]
    n = len(slots)
    item = np.empty(n, np.int64)
    item[at] = np.arange(n)
    strength = np.maximum(np.bincount(a, weights=w, minlength=n), 1e-12)
    best, best_at = _cost(pair, slots, at=at), at.copy()
    sweeps = int(min(SWEEPS, max(seconds, 0.0) / (SWEEP[0] + SWEEP[1] * len(pair[0]))))
    show = stage(SEARCH)
    for sweep in range(sweeps):
        progress = sweep / sweeps
        noise = 0.6 + 1.5 * (1 - progress) ** 2
        _sweep(
            slots,
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
        cost = _cost(pair, slots, at=at)
        if cost < best:
            best, best_at = cost, at.copy()
        show(sweep + 1, sweeps)
    return slots[best_at[:cores]]


def _coarsest(rng: np.random.Generator) -> multilevel.Layout:
    """Annealing of the few nodes of the coarsest level on a square of slots."""

    def lay_out(count: int, pair: tuple[Array, Array, Array]) -> Array:
        side = ceil(sqrt(count))
        slots = np.array(list(curve_of(side, height=side)))
        at = np.arange(len(slots))
        return _search(count, pair, slots, at=at, seconds=COARSEST, rng=rng)

    return lay_out


def _filled(at: Array, n: int) -> Array:
    """Slots of all items: the given ones, then those left for the empty places."""
    left = np.ones(n, bool)
    left[at] = False
    return np.concatenate([at, np.flatnonzero(left)])


def _slot_index(slots: Array) -> Array:
    """(width, height) -> slot number, the nearest used one where the grid has gaps (-1)."""
    out = np.full(tuple(slots.max(0) + 1), -1, np.int64)
    out[slots[:, 0], slots[:, 1]] = np.arange(len(slots))
    return out


def _cost(pair: tuple[Array, Array, Array], slots: Array, *, at: Array) -> float:
    xy = slots[at]
    return float((pair[2] * np.abs(xy[pair[0]] - xy[pair[1]]).sum(1)).sum())


def _sweep(
    slots: Array,
    *,
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
    old, new, other = slots[at[ea]], slots[to[ea]], slots[at[eb]]
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
