"""Simulated annealing over all pairwise exchanges: a quadratic assignment problem.

The matrix flow x distance makes a proposal O(1), an accepted one O(slots^2), all in NumPy.

The work is counted in prices, not timed: what is found depends on the traffic, the random numbers
and ``seconds`` alone. Seconds are those of the core that the prices were measured on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....runtime.ops import Array
from ....runtime.parallel.stages import stage

SMALL = 150  # slots up to which annealing starts from the curve
SEARCH = "searching for places on the mesh"
REFINE = "refining the places on the mesh"
# Prices in seconds, measured on one core of a Xeon server (2.x GHz, 2026).
PROPOSALS = (18e-6, 2.5e-8)  # a batch of exchanges proposed: for the batch, for each
EXCHANGE = (14e-6, 6e-10)  # one carried out: for itself, for each pair of slots


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


def anneal(
    cores: int,
    pair: tuple[Array, Array, Array],
    routers: Array,
    *,
    at: Array,
    seconds: float,
    rng: np.random.Generator,
    warm: float | None = None,
    said: str = SEARCH,
) -> Array:
    """The slot of every item, from those it has in ``at`` on. ``routers``: that of each slot.

    Annealing in rounds that double in length, each from the best so far and cooler than the
    first; ends when two rounds in a row gain less than 0.1 %, or nothing has to travel. ``warm``:
    how it begins, 1 being where most exchanges are accepted; None: 1 from the curve, a tenth from
    a layout. ``said``: what who watches hears."""
    n = len(routers)
    flow = np.zeros((n, n))
    flow[pair[0], pair[1]] = flow[pair[1], pair[0]] = pair[2]
    distance = np.abs(routers[:, None] - routers[None]).sum(2).astype(float)
    best = _started(flow, distance=distance, at=at)
    r, s = rng.integers(cores, size=512), rng.integers(n, size=512)
    hot = float(np.abs(best.deltas(r, s)).mean()) or 1.0
    best_cost, best_at = best.cost, best.at.copy()
    heat = (1.0 if n <= SMALL else 0.1) if warm is None else warm
    length, idle = 0.002 * n, 0
    whole, show = round(1000 * seconds), stage(said)
    while seconds > 0 and idle < 2 and best_cost > 1e-9:
        state = _started(flow, distance=distance, at=best_at)
        cost, at = _cool(state, cores, hot * heat, seconds=min(length, seconds), rng=rng)
        seconds -= length
        show(min(whole - round(1000 * seconds), whole), whole)
        idle = idle + 1 if cost > best_cost * 0.999 else 0
        if cost < best_cost:
            best_cost, best_at = cost, at
        length, heat = 2 * length, min(heat, 0.3)
    show(whole, whole)
    return best_at


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
