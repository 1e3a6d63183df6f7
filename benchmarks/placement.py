"""Core placement: against plain searches at equal processor time, tiles that balance, and scaling.

    python benchmarks/placement.py compare [SECONDS]   PilotNet and ResNet-20, all searches
    python benchmarks/placement.py tiles               the busiest core, tiles as cut and balanced
    python benchmarks/placement.py scale [SECONDS]     synthetic networks up to 100,000 cores

Two baselines get the processor time that the search here took. ``swaps``: what a plain program
would do, layers in order along a Hilbert curve, then random cores moved to the noisy centroid of
their partners, by an exchange if that lowers the spike-hops. ``edges``: the number of edges from
core to core (neurons times destination cores, whatever they fire) as a quadratic assignment
problem, by steepest descent over all exchanges from random starts, of which the best is kept.
On two meshes: 12 x 10 cores with a router each, and 8 x 4 routers of four cores.
Traffic is a multicast count (one per source neuron and destination core) at 0.1 spikes per neuron
and step. Prints one JSON line per run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "hwtargets"))

from chip_nets import PILOTNET, RESNET20, build

from onnx2snn.hwtargets import chip_view, load_target
from onnx2snn.hwtargets.cores.load.balance import balanced
from onnx2snn.hwtargets.cores.load.multicast import multicast
from onnx2snn.hwtargets.cores.load.work import work
from onnx2snn.hwtargets.cores.mapping import CORES
from onnx2snn.hwtargets.cores.partition import partition
from onnx2snn.hwtargets.cores.traffic import traffic
from onnx2snn.hwtargets.mapping import Traffic
from onnx2snn.hwtargets.placement.hops import metrics
from onnx2snn.hwtargets.placement.mesh import Mesh, mesh_for
from onnx2snn.hwtargets.placement.search import place_on_mesh

RATE = 0.1  # spikes per neuron and step
MESHES = {
    "12 x 10": {"width": 12, "height": 10},
    "8 x 4 of 4": {"width": 16, "height": 8, "router": (2, 2)},
}


def cut(graph: Any) -> tuple[int, Traffic]:
    """Cores of a network on Loihi 2, and their traffic."""
    target, network = load_target("loihi2"), chip_view(graph)
    tilings, broken = partition(network, target, CORES.request(target).options.memory, inputs=False)
    assert not broken
    flows = traffic(network, tilings, None, RATE)
    flows = replace(flows, multicast=multicast(network, tilings, None, RATE))
    return sum(t.cores for t in tilings), flows


def swaps(cores: int, flows: Traffic, mesh: Mesh, seconds: float, seed: int) -> np.ndarray:
    """Hilbert curve, then greedy exchanges towards centroids until the time is over."""
    slots = mesh.slots
    width, height = slots.max(0) + 1
    usable = np.zeros((width, height), bool)
    usable[slots[:, 0], slots[:, 1]] = True
    at = slots[:cores].copy()
    taken = np.full((width, height), -1)
    taken[at[:, 0], at[:, 1]] = np.arange(cores)
    partners: list[list[tuple[int, float]]] = [[] for _ in range(cores)]
    for a, b, w in zip(flows.source, flows.destination, flows.weight, strict=True):
        partners[a].append((int(b), float(w)))
        partners[b].append((int(a), float(w)))
    near = [np.array([p for p, _ in row], int) for row in partners]
    weight = [np.array([w for _, w in row]) for row in partners]
    rng = np.random.default_rng(seed)

    def cost(core: int, cell: np.ndarray, without: int) -> float:
        hops = np.abs(mesh.routers(at[near[core]]) - mesh.routers(cell)).sum(1)
        return float((weight[core] * hops * (near[core] != without)).sum())

    end = process_time() + seconds
    while process_time() < end:
        i = int(rng.integers(cores))
        if not len(near[i]):
            continue
        centre = (at[near[i]] * weight[i][:, None]).sum(0) / weight[i].sum()
        goal = np.clip(np.rint(centre + rng.normal(0, 1.5, 2)), 0, (width - 1, height - 1))
        goal, here = goal.astype(int), at[i].copy()
        if not usable[tuple(goal)] or (goal == here).all():
            continue
        j = int(taken[tuple(goal)])
        before = cost(i, here, j) + (cost(j, goal, i) if j >= 0 else 0)
        after = cost(i, goal, j) + (cost(j, here, i) if j >= 0 else 0)
        if after < before - 1e-9:
            at[i] = goal
            taken[tuple(goal)], taken[tuple(here)] = i, j
            if j >= 0:
                at[j] = here
    return at


def edges(cores: int, flows: Traffic, mesh: Mesh, seconds: float, seed: int) -> np.ndarray:
    """Steepest descent over all exchanges of the quadratic assignment of edge counts."""
    slots = mesh.slots
    n, at = len(slots), mesh.routers(slots)
    distance = np.abs(at[:, None] - at[None]).sum(2).astype(float)
    flow = np.zeros((n, n))
    np.add.at(flow, (flows.source, flows.destination), flows.weight / RATE)
    flow += flow.T
    np.fill_diagonal(flow, 0)
    rng, end = np.random.default_rng(seed), process_time() + seconds
    best, kept = np.inf, np.arange(n)
    while process_time() < end:
        order = rng.permutation(n)
        while process_time() < end:
            near = distance[np.ix_(order, order)]
            gain = flow @ near
            own = gain.diagonal()
            delta = gain + gain.T - own[:, None] - own[None] + 2 * flow * near
            r, s = np.unravel_index(int(delta.argmin()), delta.shape)
            if delta[r, s] > -1e-9:
                break
            order[[r, s]] = order[[s, r]]
        cost = float((flow * distance[np.ix_(order, order)]).sum())
        if cost < best:
            best, kept = cost, order
    return slots[kept[:cores]]


def compare(seconds: float) -> None:
    """All searches on both networks and meshes, three seeds."""
    for name, net in (("PilotNet", PILOTNET), ("ResNet-20", RESNET20)):
        cores, flows = cut(build(*net, cheap=True))
        for called, shape in MESHES.items():
            mesh = mesh_for(cores, cores_per_chip=120, **shape)
            for seed in range(3):
                begin = process_time()
                here = place_on_mesh(cores, flows, mesh, seconds, seed=seed)
                taken = process_time() - begin
                _compared("here", here, flows, mesh, net=name, on=called, seed=seed, cpu=taken)
                for search in (swaps, edges):
                    other = search(cores, flows, mesh, taken, seed=seed)
                    _compared(
                        search.__name__, other, flows, mesh, net=name, on=called, seed=seed,
                        cpu=taken,
                    )  # fmt: skip


def _compared(
    search: str, xy: np.ndarray, flows: Traffic, mesh: Mesh, *, cpu: float, **of: Any
) -> None:
    found = metrics(xy, flows, mesh)
    counts = ("spike_hops", "router_link_packets", "link_packets", "link_packets_least")
    busy = ("busiest_link", "busiest_link_least")
    _say(
        search=search, **of, cpu_seconds=round(cpu, 1),
        **{key: round(found[key]) for key in (*counts, *busy)}, gap=round(found["link_gap"], 3),
    )  # fmt: skip


def tiles(_: float) -> None:
    """The busiest core's synaptic operations per step, with the vendor's tiles and balanced."""
    target = load_target("loihi2")
    memory = CORES.request(target).options.memory
    for name, net in (("PilotNet", PILOTNET), ("ResNet-20", RESNET20)):
        network = chip_view(build(*net, cheap=True))
        before, _over = partition(network, target, memory, inputs=False)
        after = balanced(network, target, memory, before, None, rate=RATE, sent=1.0)
        for called, cut_so in (("fewest", before), ("balanced", after)):
            load = work(network, target, memory, cut_so, None, rate=RATE, sent=1.0).synops
            flows = traffic(network, cut_so, None, RATE)
            _say(
                net=name, tiles=called, cores=len(load), busiest=round(load.max()),
                mean=round(load.mean()),
                packets=round(flows.weight[flows.source != flows.destination].sum()),
            )  # fmt: skip


def scale(seconds: float) -> None:
    """3 x 3 convolutions of 64 channels on maps of growing size; ``seconds`` for annealing after
    the multilevel start."""
    for side, layers in ((64, 6), (128, 6), (256, 8), (512, 13)):
        begin = perf_counter()
        cores, flows = cut(build((64, side, side), [("conv", 64, 3, 1, 1)] * layers, cheap=True))
        partitioned = perf_counter() - begin
        mesh = mesh_for(cores, cores_per_chip=120, **MESHES["12 x 10"])
        start = metrics(mesh.slots[:cores], flows, mesh)["avg_hops"]
        begin = perf_counter()
        found = metrics(place_on_mesh(cores, flows, mesh, seconds, seed=0), flows, mesh)
        placed = perf_counter() - begin
        _say(
            cores=cores,
            edges=len(flows.weight),
            partition_seconds=round(partitioned, 2),
            placement_seconds=round(placed, 2),
            microseconds_per_n_log_n=round(
                1e6 * (partitioned + placed) / (cores * np.log2(cores)), 2
            ),
            hilbert_avg_hops=round(start, 2),
            avg_hops=round(found["avg_hops"], 2),
        )


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "compare"
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else (20.0 if what == "compare" else 0.0)
    {"compare": compare, "tiles": tiles, "scale": scale}[what](limit)
