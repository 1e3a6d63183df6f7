"""Placement: the search against its start and a baseline, and that it depends on its work alone."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from hwtargets.chip_nets import PILOTNET, RESNET20
from onnx2snn.hwtargets.mapping import Traffic
from onnx2snn.hwtargets.placement import hops, mesh, search
from onnx2snn.hwtargets.placement.search import exchanges, multilevel, sweeps

from ..flows import network_flows, random_flows


def test_the_gain_matrix_stays_exact_over_many_exchanges() -> None:
    rng = np.random.default_rng(3)
    n = 30
    flow = np.triu(rng.integers(0, 5, (n, n)), 1).astype(float)
    flow += flow.T
    slots = mesh.Mesh(width=6, height=5).slots
    distance = np.abs(slots[:, None] - slots[None]).sum(2).astype(float)
    state = exchanges._started(flow, distance=distance, at=np.arange(n))
    for _ in range(200):
        r, s = (int(v) for v in rng.choice(n, 2, replace=False))
        delta = float(state.deltas(np.array([r]), np.array([s]))[0])
        state.exchange(r, s, delta)
        exact = (flow * distance[np.ix_(state.at, state.at)]).sum() / 2
        assert state.cost == pytest.approx(exact)


@pytest.mark.parametrize("cores", [90, 700])
def test_a_slow_machine_finds_the_same_places(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COARSEST", 0.03)
    grid = mesh.mesh_for(cores, cores_per_chip=120, width=12, height=10)
    flows = random_flows(cores, 4 * cores)
    first = search.place_on_mesh(cores, flows, grid, 0.05, seed=2)
    for module, name, seconds in ((exchanges, "_started", 0.02), (sweeps, "_sweep", 0.002)):
        monkeypatch.setattr(module, name, slowly(getattr(module, name), seconds))
    np.testing.assert_array_equal(search.place_on_mesh(cores, flows, grid, 0.05, seed=2), first)
    assert (first != grid.slots[:cores]).any()


def slowly(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        sleep(seconds)
        return function(*args, **named)

    return call


MORE_TIME = (1.5, 6, 20)  # seconds: on a busy machine the search gets little of the first


@pytest.mark.parametrize(("cores", "dense"), [(90, True), (700, False)])
def test_every_core_has_its_own_slot_and_the_search_beats_its_start(
    cores: int, dense: bool
) -> None:
    a = np.arange(cores - 1)
    ring = Traffic(
        source=np.r_[a, a], destination=np.r_[a + 1, (a * 7) % cores], weight=np.ones(2 * cores - 2)
    )
    grid = mesh.mesh_for(cores, cores_per_chip=120, width=12, height=10)
    assert (len(grid.slots) <= search.DENSE) == dense
    start = hops.metrics(grid.slots[:cores], ring, grid)["spike_hops"]
    for seconds in MORE_TIME:
        xy = search.place_on_mesh(cores, ring, grid, seconds / 3, seed=0)
        assert len(np.unique(xy, axis=0)) == cores
        known = {tuple(s) for s in grid.slots.tolist()}
        assert all(tuple(p) in known for p in xy.tolist())
        if hops.metrics(xy, ring, grid)["spike_hops"] < 0.9 * start:
            return
    pytest.fail("no better than the start")


def swaps_towards_centroids(cores: int, flows: Traffic, slots: np.ndarray, end: float) -> float:
    """The baseline: greedy exchanges from the curve, in plain Python, until the time is over."""
    rng, at = np.random.default_rng(0), slots[:cores].copy()
    taken = {tuple(s): -1 for s in slots.tolist()} | {
        tuple(p): i for i, p in enumerate(at.tolist())
    }
    partners: list[list[tuple[int, float]]] = [[] for _ in range(cores)]
    for a, b, w in zip(flows.source, flows.destination, flows.weight, strict=True):
        partners[a].append((int(b), float(w)))
        partners[b].append((int(a), float(w)))
    near = [np.array([p for p, _ in row]) for row in partners]
    weight = [np.array([w for _, w in row]) for row in partners]

    def cost(i: int, cell: np.ndarray, skip: int) -> float:
        return float((weight[i] * np.abs(at[near[i]] - cell).sum(1) * (near[i] != skip)).sum())

    while monotonic() < end:
        i = int(rng.integers(cores))
        centre = (at[near[i]] * weight[i][:, None]).sum(0) / weight[i].sum()
        goal = np.rint(centre + rng.normal(0, 1.5, 2)).astype(int)
        j, here = taken.get(tuple(goal.tolist()), -2), at[i].copy()
        if j in (-2, i):
            continue
        before = cost(i, here, j) + (cost(j, goal, i) if j >= 0 else 0)
        after = cost(i, goal, j) + (cost(j, here, i) if j >= 0 else 0)
        if after < before - 1e-9:
            at[i] = goal
            taken[tuple(goal.tolist())], taken[tuple(here.tolist())] = i, j
            if j >= 0:
                at[j] = here
    distance = np.abs(at[flows.source] - at[flows.destination]).sum(1)
    return float((distance * flows.weight).sum())


@pytest.mark.parametrize("net", [PILOTNET, RESNET20], ids=["PilotNet", "ResNet-20"])
def test_fewer_spike_hops_than_hilbert_with_swaps_at_equal_wall_time(net: tuple) -> None:
    cores, flows = network_flows(net)
    grid = mesh.mesh_for(cores, cores_per_chip=120, width=12, height=10)
    for seconds in MORE_TIME:
        baseline = swaps_towards_centroids(cores, flows, grid.slots, monotonic() + seconds)
        xy = search.place_on_mesh(cores, flows, grid, seconds, seed=0)
        if hops.metrics(xy, flows, grid)["spike_hops"] < baseline:
            return
    pytest.fail("no better than the baseline")


def test_spreading_gives_every_node_a_cell_of_its_own_and_keeps_the_order() -> None:
    rng = np.random.default_rng(0)
    usable = np.ones((13, 9), bool)
    usable[5:8, 2:5] = False
    count = int(usable.sum()) - 7
    xy = rng.random((count, 2)) * (3, 2) + (5, 4)  # all in one corner of the mesh
    cells = np.floor(multilevel.spread(xy, size=np.ones(count), usable=usable)).astype(int)
    assert len(np.unique(cells, axis=0)) == count
    assert usable[cells[:, 0], cells[:, 1]].all()
    left = xy[:, 0] < np.median(xy[:, 0])
    assert cells[left, 0].mean() < cells[~left, 0].mean() - 4


@pytest.mark.slow
def test_a_hundred_thousand_cores_are_placed_in_time_that_grows_like_n_log_n() -> None:
    seconds = {}
    for side, layers in ((128, 13), (512, 13)):
        begin = monotonic()
        net = ((64, side, side), [("conv", 64, 3, 1, 1)] * layers)
        cores, flows = network_flows(net)
        grid = mesh.mesh_for(cores, cores_per_chip=120, width=12, height=10)
        xy = search.place_on_mesh(cores, flows, grid, 0.0, seed=0)
        seconds[cores] = monotonic() - begin
        start = hops.metrics(grid.slots[:cores], flows, grid)["spike_hops"]
        assert hops.metrics(xy, flows, grid)["spike_hops"] < 0.15 * start
    (small, fast), (large, slow) = sorted(seconds.items())
    assert large > 100_000 and slow < 600
    assert slow / fast < 1.5 * (large * np.log(large)) / (small * np.log(small))
