"""The search on shared routes: prices against whole counts, and what it gains."""

from __future__ import annotations

import numpy as np
import pytest

from hwtargets.chip_nets import SMALL
from onnx2snn.hwtargets.placement import hops, mesh, search, trees
from onnx2snn.hwtargets.placement.search import exchanges, shared

from ..flows import network_flows, random_flows, random_routes


def test_prices_of_exchanges_are_the_differences_of_whole_counts() -> None:
    grid = mesh.Mesh(width=6, height=4, router=(2, 2))
    routers, rng = grid.routers(grid.slots), np.random.default_rng(1)
    routes = random_routes(17, 40, seed=2)
    state = shared.Shared(17, routes, routers, at=rng.permutation(24))

    def whole() -> float:
        found = trees.trees(routers[state.at], routes)
        return float((found.links * routes.weight).sum())

    for _ in range(30):
        r, s = rng.integers(17, size=5), rng.integers(24, size=5)  # empty places too
        delta, exchange, group, links, _ = state.price(r, s)
        before, k = whole(), int(rng.integers(5))
        assert state.cost == pytest.approx(before)
        state.exchange(int(r[k]), int(s[k]), group[exchange == k], links[exchange == k])
        assert delta[k] == pytest.approx(whole() - before)


def test_shared_routes_get_fewer_links_and_a_less_busy_one() -> None:
    cores, grid = 24, mesh.Mesh(width=8, height=4, router=(2, 2))
    routes, rng = random_routes(cores, 60, seed=3), np.random.default_rng(0)
    routers = grid.routers(grid.slots)
    state = shared.Shared(cores, routes, routers, at=np.arange(32))
    at = shared.anneal(state, seconds=0.1, least=0.0, rng=rng)
    better = shared.Shared(cores, routes, routers, at=at)
    assert better.cost < 0.95 * shared.Shared(cores, routes, routers, at=np.arange(32)).cost
    assert sorted(at) == list(range(32))
    links, excess = better.cost, better.excess()
    shared.relieve(better, seconds=0.1, rng=rng)
    after = better.cost + shared.CONGESTION * better.excess()
    assert after <= links + shared.CONGESTION * excess
    assert better.excess() < excess


def test_the_same_seed_and_work_give_the_same_places_above_the_dense_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "SMALL", 10**6)  # no layouts, which are slow
    cores, flows = 600, random_flows(600, 1800)
    grid = mesh.mesh_for(cores, cores_per_chip=120, width=16, height=8, router=(2, 2))

    def found(seconds: float, seed: int) -> np.ndarray:
        return search.place_on_mesh(cores, flows, grid, seconds, seed=seed)

    monkeypatch.setattr(search, "EXACT", (0, 0.0, 0.0))
    first = found(0.05, 1)
    np.testing.assert_array_equal(found(0.05, 1), first)
    assert (found(0.05, 2) != first).any()
    more = hops.metrics(found(0.3, 1), flows, grid)["spike_hops"]  # it uses what it is given
    assert more < hops.metrics(first, flows, grid)["spike_hops"]


def test_a_search_ends_where_all_cores_share_a_router(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[float] = []
    monkeypatch.setattr(exchanges, "_cool", lambda *_, seconds, rng: rounds.append(seconds))
    flows = random_flows(4, 6)
    grid = mesh.mesh_for(4, cores_per_chip=120, width=16, height=8, router=(2, 2))
    xy = search.place_on_mesh(4, flows, grid, 100.0, seed=0)
    assert hops.metrics(xy, flows, grid)["spike_hops"] == 0 and not rounds


def test_a_network_with_shared_routes_is_placed_the_same_way_again() -> None:
    cores, flows = network_flows(SMALL, shared=True)
    grid = mesh.mesh_for(cores, cores_per_chip=120, width=16, height=8, router=(2, 2))
    twice = [search.place_on_mesh(cores, flows, grid, 0.05, seed=4) for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    assert len(np.unique(twice[0], axis=0)) == cores
