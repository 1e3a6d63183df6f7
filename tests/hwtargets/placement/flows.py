"""Traffic for tests of the mesh and of the search on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwtargets.chip_nets import build
from onnx2snn.hwtargets import chip_view, load_target
from onnx2snn.hwtargets.cores.load.multicast import multicast
from onnx2snn.hwtargets.cores.mapping import CORES
from onnx2snn.hwtargets.cores.partition import partition
from onnx2snn.hwtargets.cores.traffic import traffic
from onnx2snn.hwtargets.mapping import Multicast, Traffic


def random_flows(cores: int, edges: int, seed: int = 0) -> Traffic:
    rng = np.random.default_rng(seed)
    return Traffic(
        source=rng.integers(cores, size=edges),
        destination=rng.integers(cores, size=edges),
        weight=rng.integers(1, 9, edges).astype(float),
    )


def random_routes(cores: int, groups: int, seed: int = 0) -> Multicast:
    """Groups of one to five destinations, never the source."""
    rng = np.random.default_rng(seed)
    source = rng.integers(cores, size=groups)
    rows = [
        rng.choice(np.delete(np.arange(cores), s), rng.integers(1, 6), replace=False)
        for s in source
    ]
    return Multicast(
        source=source,
        weight=rng.integers(1, 9, groups).astype(float),
        group=np.repeat(np.arange(groups), [len(row) for row in rows]),
        core=np.concatenate(rows),
    )


def network_flows(net: tuple, *, shared: bool = False) -> tuple[int, Traffic]:
    """Cores of a network on Loihi 2 and their traffic; ``shared``: with its groups."""
    target, network = load_target("loihi2"), chip_view(build(*net, cheap=True))
    tilings, _ = partition(network, target, CORES.request(target).options.memory, False)
    flows = traffic(network, tilings, None, 0.1)
    if shared:
        flows = replace(flows, multicast=multicast(network, tilings, None, 0.1))
    return sum(t.cores for t in tilings), flows
