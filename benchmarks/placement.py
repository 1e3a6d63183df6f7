"""Core placement: against a Hilbert curve with pairwise swaps at equal wall time, and scaling.

    python benchmarks/placement.py compare [SECONDS]   PilotNet and ResNet-20, both searches
    python benchmarks/placement.py scale [SECONDS]     synthetic networks up to 100,000 cores

The baseline is what a plain program would do: layers in order along a Hilbert curve, then random
cores moved to the noisy centroid of their partners, by an exchange if that lowers the spike-hops.
Traffic is a multicast count (one per source neuron and destination core) at 0.1 spikes per neuron
and step. Prints one JSON line per run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "hwtargets"))

from chip_nets import PILOTNET, RESNET20, build

from onnx2snn.hwtargets import chip_view, load_target
from onnx2snn.hwtargets.cores.mapping import CORES
from onnx2snn.hwtargets.cores.partition import partition
from onnx2snn.hwtargets.cores.traffic import traffic
from onnx2snn.hwtargets.mapping import Traffic
from onnx2snn.hwtargets.placement.hops import metrics
from onnx2snn.hwtargets.placement.mesh import Mesh, mesh_for
from onnx2snn.hwtargets.placement.search import place_on_mesh


def cut(graph: Any) -> tuple[int, Traffic]:
    """Cores of a network on Loihi 2, and their traffic."""
    target, network = load_target("loihi2"), chip_view(graph)
    tilings, broken = partition(network, target, CORES.request(target).options.memory, inputs=False)
    assert not broken
    return sum(t.cores for t in tilings), traffic(network, tilings, None, 0.1)


def swap_baseline(cores: int, flows: Traffic, mesh: Mesh, seconds: float, seed: int) -> np.ndarray:
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
        hops = np.abs(at[near[core]] - cell).sum(1)
        return float((weight[core] * hops * (near[core] != without)).sum())

    end = perf_counter() + seconds
    while perf_counter() < end:
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


def compare(seconds: float) -> None:
    """Both searches on both networks, three seeds."""
    for name, net in (("PilotNet", PILOTNET), ("ResNet-20", RESNET20)):
        cores, flows = cut(build(*net, cheap=True))
        mesh = mesh_for(cores, cores_per_chip=120, width=12, height=10)
        for search in (swap_baseline, place_on_mesh):
            for seed in range(3):
                found = metrics(search(cores, flows, mesh, seconds, seed=seed), flows, mesh)
                _say(
                    net=name,
                    cores=cores,
                    search=search.__name__,
                    seconds=seconds,
                    seed=seed,
                    spike_hops=round(found["spike_hops"]),
                    max_link=round(found["max_link"]),
                )


def scale(seconds: float) -> None:
    """3 x 3 convolutions of 64 channels on maps of growing size; ``seconds`` for annealing after
    the multilevel start."""
    for side, layers in ((64, 6), (128, 6), (256, 8), (512, 13)):
        begin = perf_counter()
        cores, flows = cut(build((64, side, side), [("conv", 64, 3, 1, 1)] * layers, cheap=True))
        partitioned = perf_counter() - begin
        mesh = mesh_for(cores, cores_per_chip=120, width=12, height=10)
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
    {"compare": compare, "scale": scale}[what](limit)
