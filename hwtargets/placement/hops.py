"""What a placement costs on the mesh: hops, link loads, chip crossings. Routing is X, then Y."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.ops import Array
from ..mapping import Multicast, Traffic
from . import trees
from .bound import fewest_links
from .mesh import Mesh

ROUNDING = 1e-12  # of all packets


def link_loads(at: Array, flows: Traffic, grid: tuple[int, int]) -> Array:
    """Spikes per step over every link between routers, X first then Y: (width, height, 4) east,
    west, north (y grows), south. ``at``: each core's router."""
    (width, height), a, b, w = grid, at[flows.source], at[flows.destination], flows.weight
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
    """Spike-hops per step, energy (unitless: 1 per router, 0.1 per wire), hops, links; and what
    links carry where routes are shared, with the least that they carry anywhere (``links``)."""
    if not len(flows.weight):
        keys = ("packets", "spike_hops", "energy", "avg_hops", "max_hops", "max_link")
        return {**dict.fromkeys(keys, 0.0), "chip_crossings": 0.0, "measured": flows.measured}
    shared = links(xy, flows.routes, mesh)
    chip, at, w = mesh.chip_of(xy), mesh.routers(xy), flows.weight
    hops = np.abs(at[flows.source] - at[flows.destination]).sum(1)
    crossing = w[chip[flows.source] != chip[flows.destination]].sum()
    return {
        "packets": float(w.sum()),
        "spike_hops": float((w * hops).sum()),
        "energy": float((w * ((hops + 1) + 0.1 * hops)).sum()),
        "avg_hops": float((w * hops).sum() / w.sum()) if w.sum() else 0.0,
        "max_hops": int(hops.max()),
        "max_link": float(link_loads(at, flows, mesh.router_grid).max(initial=0)),
        "chip_crossings": float(crossing),
        "measured": flows.measured,
        **shared,
    }


def links(xy: Array, routes: Multicast, mesh: Mesh) -> dict[str, float]:
    """Packets per step over all links, those between core and router counted, where routes are
    shared; over the busiest; the least of both that any placement has; and the gaps to these, as
    shares of what this one has."""
    at, used = mesh.routers(xy), mesh.routers(mesh.slots)
    found = trees.trees(at, routes)
    between = float((found.links * routes.weight).sum())
    ends = trees.endpoints(len(xy), routes)
    fixed, busiest_end = float(sum(e.sum() for e in ends)), float(max(e.max() for e in ends))
    carried = trees.loads(found, routes.weight, mesh.router_grid).max(initial=0)
    least = fewest_links(len(xy), routes, used)
    total, busiest = between + fixed, max(float(carried), busiest_end)
    return {
        "link_packets": total,
        "link_packets_least": least + fixed,
        "link_gap": (between - least) / total if total else 0.0,
        "router_link_packets": between,
        "router_link_packets_least": least,
        "busiest_link": busiest,
        "busiest_link_least": busiest_end,
    }
