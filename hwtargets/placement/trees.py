"""Routes that are shared: a spike to several cores is one packet as far as its ways are the same.

Routes go along x, then y, so those of one group of spikes (``Multicast``) form a tree: a trunk
along the row of its source, and a branch in every column where it has a destination. A link of the
tree carries the group's spikes once. The links between a core and its router carry what the core
sends, once per spike, and what it receives, once per spike and destination core, wherever cores
are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...runtime.ops import Array
from ..mapping import Multicast


@dataclass(frozen=True, eq=False)
class Trees:
    """Extents of every tree on the grid of routers. Trunks: source x, y, and from ``west`` to
    ``east``, (groups,). Branches: group, column, and from ``north`` (least y) to ``south``."""

    x: Array
    y: Array
    west: Array
    east: Array
    group: Array
    column: Array
    north: Array
    south: Array

    @property
    def links(self) -> Array:
        """Links between routers of every tree, (groups,)."""
        branch = np.bincount(self.group, weights=self.south - self.north, minlength=len(self.x))
        return np.asarray(self.east - self.west + branch)


def trees(at: Array, routes: Multicast) -> Trees:
    """The trees of all groups. ``at``: x, y of each core's router."""
    x, y = at[routes.source].T
    pin_x, pin_y = at[routes.core].T
    west, east = x.copy(), x.copy()
    np.minimum.at(west, routes.group, pin_x)
    np.maximum.at(east, routes.group, pin_x)
    columns = int(at[:, 0].max(initial=0)) + 1
    key, branch = np.unique(routes.group * columns + pin_x, return_inverse=True)
    group, column = key // columns, key % columns
    north, south = y[group], y[group]
    np.minimum.at(north, branch, pin_y)
    np.maximum.at(south, branch, pin_y)
    return Trees(x, y, west, east, group, column, north, south)


def loads(found: Trees, weight: Array, grid: tuple[int, int]) -> Array:
    """Packets per step over every link between routers: (width, height, 4) east, west, north (y
    grows), south."""
    out = np.zeros((4, grid[0] + 1, grid[1] + 1))
    row, column = found.y[found.group], found.column
    for direction, low, high in ((0, found.x, found.east), (1, found.west, found.x)):
        shift = direction  # a link belongs to the router it leaves
        np.add.at(out[direction], (low + shift, found.y), weight)
        np.add.at(out[direction], (high + shift, found.y), -weight)
    carried = weight[found.group]
    for direction, low, high in ((2, row, found.south), (3, found.north, row)):
        shift = direction - 2
        np.add.at(out[direction], (column, low + shift), carried)
        np.add.at(out[direction], (column, high + shift), -carried)
    out[:2], out[2:] = np.cumsum(out[:2], axis=1), np.cumsum(out[2:], axis=2)
    return np.maximum(np.moveaxis(out, 0, 2)[: grid[0], : grid[1]], 0)


def endpoints(cores: int, routes: Multicast) -> tuple[Array, Array]:
    """Packets per step from every core to its router, and from the router to it, (cores,)."""
    sent = np.bincount(routes.source, weights=routes.weight, minlength=cores)
    received = np.bincount(routes.core, weights=routes.weight[routes.group], minlength=cores)
    return sent, received
