"""What a placement costs on the mesh: hops, link loads, chip crossings. Routing is X, then Y."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.ops import Array
from ..mapping import Traffic
from .mesh import Mesh

ROUNDING = 1e-12  # of all packets


def link_loads(xy: Array, flows: Traffic, width: int, *, height: int) -> Array:
    """Spikes per step over every link, X first then Y: (width, height, 4) east, west, north (y
    grows), south."""
    a, b, w = xy[flows.source], xy[flows.destination], flows.weight
    loads = np.zeros((4, width + 1, height + 1))
    right, up = b[:, 0] > a[:, 0], b[:, 1] > a[:, 1]
    for direction, on in ((0, right), (1, b[:, 0] < a[:, 0])):
        low, high = np.minimum(a[on, 0], b[on, 0]), np.maximum(a[on, 0], b[on, 0])
        offset = direction  # a link belongs to the router it leaves
        np.add.at(loads[direction], (low + offset, a[on, 1]), w[on])
        np.add.at(loads[direction], (high + offset, a[on, 1]), -w[on])
    for direction, on in ((2, up), (3, b[:, 1] < a[:, 1])):
        low, high = np.minimum(a[on, 1], b[on, 1]), np.maximum(a[on, 1], b[on, 1])
        offset = direction - 2
        np.add.at(loads[direction], (b[on, 0], low + offset), w[on])
        np.add.at(loads[direction], (b[on, 0], high + offset), -w[on])
    loads[:2] = np.cumsum(loads[:2], axis=1)
    loads[2:] = np.cumsum(loads[2:], axis=2)
    loads[loads < ROUNDING * w.sum()] = 0  # what differences of sums leave on idle links
    return np.moveaxis(loads, 0, 2)[:width, :height]


def metrics(xy: Array, flows: Traffic, mesh: Mesh) -> dict[str, Any]:
    """Spike-hops per step, energy (unitless: 1 per router, 0.1 per wire), hops, links."""
    if not len(flows.weight):
        keys = ("packets", "spike_hops", "energy", "avg_hops", "max_hops", "max_link")
        return {**dict.fromkeys(keys, 0.0), "chip_crossings": 0.0, "measured": flows.measured}
    a, b, w = xy[flows.source], xy[flows.destination], flows.weight
    hops = np.abs(a - b).sum(1)
    width = int(xy[:, 0].max()) + 1
    height = int(xy[:, 1].max()) + 1
    crossing = w[mesh.chip_of(a) != mesh.chip_of(b)].sum()
    return {
        "packets": float(w.sum()),
        "spike_hops": float((w * hops).sum()),
        "energy": float((w * ((hops + 1) + 0.1 * hops)).sum()),
        "avg_hops": float((w * hops).sum() / w.sum()) if w.sum() else 0.0,
        "max_hops": int(hops.max()),
        "max_link": float(link_loads(xy, flows, width, height=height).max()),
        "chip_crossings": float(crossing),
        "measured": flows.measured,
    }
