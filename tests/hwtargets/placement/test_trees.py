"""Shared routes against a walk along every link, and the bound below every placement."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnx2snn.hwtargets.mapping import Multicast
from onnx2snn.hwtargets.placement import hops, mesh, trees
from onnx2snn.hwtargets.placement.bound import fewest_links

from .flows import random_routes

Link = tuple[int, int, int]


def walked(at: np.ndarray, routes: Multicast, group: int) -> set[Link]:
    """The links that the routes of a group take, x first, each once."""
    found: set[Link] = set()
    for core in routes.core[routes.group == group]:
        x, y = at[routes.source[group]].tolist()
        goal = at[core].tolist()
        while [x, y] != goal:
            if x != goal[0]:
                direction, step = (0, 1) if goal[0] > x else (1, -1)
                found.add((x, y, direction))
                x += step
            else:
                direction, step = (2, 1) if goal[1] > y else (3, -1)
                found.add((x, y, direction))
                y += step
    return found


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 4), height=st.integers(1, 3), router=st.sampled_from([(1, 1), (2, 2)]),
    chips=st.sampled_from([1, 2]), seed=st.integers(0, 99),
)  # fmt: skip
def test_links_of_shared_routes_are_those_that_a_walk_takes_and_no_fewer_than_the_bound(
    width: int, height: int, router: tuple[int, int], chips: int, seed: int
) -> None:
    grid = mesh.Mesh(
        width=width * router[0] + router[0], height=height * router[1] + router[1], chips=chips,
        across=chips, router=router,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    cores = min(len(grid.slots), 14)
    assume(cores > 6)
    routes = random_routes(cores, 9, seed)
    xy = grid.slots[rng.permutation(len(grid.slots))[:cores]]
    at, loads = grid.routers(xy), np.zeros((*grid.router_grid, 4))
    found = trees.trees(at, routes)
    for group, links in enumerate(found.links):
        own = walked(at, routes, group)
        assert links == len(own)
        for link in own:
            loads[link] += routes.weight[group]
    np.testing.assert_allclose(trees.loads(found, routes.weight, grid.router_grid), loads)
    measured = hops.links(xy, routes, grid)
    assert measured["router_link_packets"] == pytest.approx(loads.sum())
    assert measured["router_link_packets_least"] <= loads.sum() + 1e-9
    ends = routes.weight.sum() + routes.weight[routes.group].sum()
    assert measured["link_packets"] == pytest.approx(loads.sum() + ends)
    assert measured["busiest_link_least"] <= measured["busiest_link"]
    assert measured["busiest_link"] >= loads.max()


@pytest.mark.parametrize("router", [(1, 1), (2, 1)], ids=["own", "shared"])
def test_the_bound_is_below_the_best_of_all_placements_and_not_far(
    router: tuple[int, int],
) -> None:
    """Six cores on six slots: all 720 placements."""
    grid = mesh.Mesh(width=3 * router[0], height=2 // router[0], router=router)
    routers = grid.routers(grid.slots)
    for seed in range(4):
        routes = random_routes(6, 7, seed)
        costs = [
            float((trees.trees(routers[list(order)], routes).links * routes.weight).sum())
            for order in permutations(range(6))
        ]
        least = fewest_links(6, routes, routers)
        assert 0.6 * min(costs) <= least <= min(costs) + 1e-9
