"""Where each core goes, so that spikes take few links.

Two objectives, one after the other. First spike-hops: spikes per step x Manhattan distance between
routers, each spike counted once per source neuron and destination core; a quadratic assignment
problem. Then, from there on, what a network of routers carries that copies a spike where its routes
part (``trees``), and the busiest link.

Start: layers in order along a space-filling curve (generalized Hilbert, any rectangle), above
``SMALL`` slots a multilevel layout. Up to ``DENSE`` slots ``exchanges``, above ``sweeps``, again
and again until the work is done, of which the best is kept (and, up to ``EXACT`` slots, refined by
exchanges).

The search is limited by its work, not by a clock: what it finds depends on the traffic, the seed
and ``seconds`` alone, not on how fast or busy a machine is.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from math import ceil, sqrt

import numpy as np

from ....runtime.ops import Array
from ....runtime.parallel.stages import Progress, stage
from ...mapping import Multicast, Traffic
from ..bound import fewest_links
from ..mesh import Mesh, curve_of
from . import exchanges, multilevel, shared, sweeps
from .exchanges import REFINE, SEARCH, SMALL

DENSE = 520  # slots up to which the exchange matrix is used
COPIES = 0.5  # of the work for spike-hops, where routes are shared; the rest is for these
RELIEF = 0.3  # of that for the busiest link
COARSEST = 1.0  # seconds for the layout of the coarsest level
# Slots up to which the exchange matrix refines what sweeps found, its share of the work, how warm.
EXACT = (1600, 0.6, 0.01)
STARTS = 2  # layouts that are refined
AGAIN = 0.5  # how warm sweeps from the best begin
LAYOUT = 2e-5  # seconds of a layout for each core and each pair of cores with traffic


def place_on_mesh(cores: int, flows: Traffic, mesh: Mesh, seconds: float, *, seed: int) -> Array:
    """Places of the cores, (cores, 2) x, y on the joint grid, all different.

    ``seconds``: of work (see the module; it may end earlier). The result never is worse than the
    start along the curve.
    """
    slots = _compact(mesh, cores)
    pair = _symmetric(flows, cores)
    if cores < 2 or not len(pair[0]):
        return slots[:cores]
    rng = np.random.default_rng(seed)
    at, routers = np.arange(len(slots)), mesh.routers(slots)
    if len(slots) > DENSE:
        exact = EXACT[1] * seconds if len(slots) <= EXACT[0] else 0.0
        at = _large(cores, pair, slots, routers=routers, seconds=seconds - exact, rng=rng)
        if exact > 0:
            at = exchanges.anneal(
                cores, pair, routers, at=at, seconds=exact, rng=rng, warm=EXACT[2], said=REFINE
            )
        return slots[at[:cores]]
    if len(slots) > SMALL:
        at = _laid_out(cores, pair, slots, rng=rng)
    copies = seconds if flows.multicast is None else COPIES * seconds
    at = exchanges.anneal(cores, pair, routers, at=at, seconds=copies, rng=rng)
    if flows.multicast is not None and seconds > 0:
        at = _sharing(cores, flows.multicast, routers, at=at, seconds=seconds - copies, rng=rng)
    return slots[at[:cores]]


def _sharing(
    cores: int,
    routes: Multicast,
    routers: Array,
    *,
    at: Array,
    seconds: float,
    rng: np.random.Generator,
) -> Array:
    """Fewer links of shared routes, then a less busy one."""
    state = shared.Shared(cores, routes, routers, at=at)
    least = fewest_links(cores, routes, routers)
    at = shared.anneal(state, seconds=(1 - RELIEF) * seconds, least=least, rng=rng)
    state.place(at)
    shared.relieve(state, seconds=RELIEF * seconds, rng=rng)
    return state.at


def _large(
    cores: int,
    pair: multilevel.Pairs,
    slots: Array,
    *,
    routers: Array,
    seconds: float,
    rng: np.random.Generator,
) -> Array:
    """Layouts refined by sweeps, then sweeps from the best of them, until the work is done."""
    price = sweeps.SWEEP[0] + sweeps.SWEEP[1] * len(pair[0])
    layout = COARSEST + LAYOUT * (cores + len(pair[0]))
    left, whole = int(max(seconds, 0.0) / price), int(max(seconds, 0.0) / price)
    best, best_at, show = np.inf, np.arange(len(slots)), stage(SEARCH)
    at = _laid_out(cores, pair, slots, rng=rng) if len(slots) > SMALL else best_at
    for run in count():
        turns = min(sweeps.SWEEPS, left)
        cost, found = sweeps.anneal(
            pair, slots, routers, at=at, sweeps=turns, rng=rng,
            heat=1.0 if run < STARTS else AGAIN, show=partial(_sum, show, whole - left, whole),
        )  # fmt: skip
        left -= turns
        if cost < best:
            best, best_at = cost, found
        if left <= 0:
            break
        at = best_at
        if run + 1 < STARTS and len(slots) > SMALL and left * price > 2 * layout:
            at, left = _laid_out(cores, pair, slots, rng=rng), left - int(layout / price)
    show(whole, whole)
    return best_at


def _sum(show: Progress, before: int, whole: int, done: int) -> None:
    show(before + done, whole)


def _laid_out(
    cores: int, pair: multilevel.Pairs, slots: Array, *, rng: np.random.Generator
) -> Array:
    """The slot of every item by a multilevel layout."""
    index = sweeps.slot_index(slots)
    start = multilevel.layout(cores, pair, index >= 0, _coarsest(rng), rng)
    return _filled(index[start[:, 0], start[:, 1]], len(slots))


def _compact(mesh: Mesh, cores: int) -> Array:
    """The slots to use: a corner of the chip where it is much larger than the network."""
    slots = mesh.slots
    if mesh.chips > 1 or len(slots) <= 1.4 * cores + 4:
        return slots
    room = 1.4 * cores + 4
    columns, rows = mesh.router
    width = columns * ceil(max(sqrt(room), room / mesh.height) / columns)
    width = min(mesh.width, width)
    height = min(mesh.height, rows * ceil(room / width / rows))
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


def _coarsest(rng: np.random.Generator) -> multilevel.Layout:
    """Annealing of the few nodes of the coarsest level on a square of slots."""

    def lay_out(nodes: int, pair: tuple[Array, Array, Array]) -> Array:
        side = ceil(sqrt(nodes))
        slots = np.array(list(curve_of(side, height=side)))
        at = np.arange(len(slots))
        found = exchanges.anneal(nodes, pair, slots, at=at, seconds=COARSEST, rng=rng)
        return slots[found[:nodes]]

    return lay_out


def _filled(at: Array, n: int) -> Array:
    """Slots of all items: the given ones, then those left for the empty places."""
    left = np.ones(n, bool)
    left[at] = False
    return np.concatenate([at, np.flatnonzero(left)])
