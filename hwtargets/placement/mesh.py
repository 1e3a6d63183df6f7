"""The mesh of a board: chips side by side, cores on a grid, and the routers that they share.

Places of cores are those of a grid of cores. Where cores share a router (``router``), a block of
them lies around it: hops are counted between routers, see ``Mesh.routers``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from ...runtime.ops import Array


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Chips of width x height cores, side by side in ``across`` columns; ``chips`` in use.
    ``router``: (columns, rows) of cores that share one."""

    width: int
    height: int
    chips: int = 1
    across: int = 1
    cores_per_chip: int = 0
    router: tuple[int, int] = (1, 1)

    @property
    def slots(self) -> Array:
        """(slots, 2) x, y on the joint grid of all chips, along the curve of each chip in turn."""
        curve = np.array(list(curve_of(self.width, height=self.height)))
        if self.cores_per_chip:
            curve = curve[: self.cores_per_chip]
        chip = np.arange(self.chips)
        row, column = chip // self.across, chip % self.across
        column = np.where(row % 2 == 1, self.across - 1 - column, column)  # serpentine over chips
        corner = np.stack([column * self.width, row * self.height], axis=1)
        return (corner[:, None, :] + curve[None]).reshape(-1, 2)

    def routers(self, xy: Array) -> Array:
        """The router of each place, x, y on the joint grid of routers."""
        return np.asarray(xy // np.array(self.router))

    @property
    def router_grid(self) -> tuple[int, int]:
        """Width and height of the joint grid of routers."""
        down = ceil(self.chips / self.across)
        width, height = self.across * self.width, down * self.height
        return ceil(width / self.router[0]), ceil(height / self.router[1])

    def chip_of(self, xy: Array) -> Array:
        """The chip under each position."""
        column, row = xy[:, 0] // self.width, xy[:, 1] // self.height
        column = np.where(row % 2 == 1, self.across - 1 - column, column)
        return np.asarray(row * self.across + column)


def mesh_for(
    cores: int, *, cores_per_chip: int, width: int, height: int, router: tuple[int, int] = (1, 1)
) -> Mesh:
    """The smallest number of chips, as square as possible. A width of 0 means unknown: a square
    grid of cores, each with a router."""
    if not width:
        width = ceil(sqrt(cores_per_chip))
        height, router = ceil(cores_per_chip / width), (1, 1)
    chips = max(1, ceil(cores / cores_per_chip))
    across = max(1, round(sqrt(chips * height / width)))
    return Mesh(
        width=width, height=height, chips=chips, across=across, cores_per_chip=cores_per_chip,
        router=router,
    )  # fmt: skip


def curve_of(width: int, *, height: int) -> Iterator[tuple[int, int]]:
    """A space-filling curve through every cell of a rectangle, neighbours adjacent (a Hilbert
    curve for any size: the rectangle is cut along its longer side, else into a U of three)."""
    if width >= height:
        yield from _curve(0, y=0, ax=width, ay=0, bx=0, by=height)
    else:
        yield from _curve(0, y=0, ax=0, ay=height, bx=width, by=0)


def _sign(n: int) -> int:
    return (n > 0) - (n < 0)


def _curve(x: int, *, y: int, ax: int, ay: int, bx: int, by: int) -> Iterator[tuple[int, int]]:
    """From (x, y) along the major side a, with minor side b."""
    length, depth = abs(ax + ay), abs(bx + by)
    dx, dy, ex, ey = _sign(ax), _sign(ay), _sign(bx), _sign(by)
    if depth == 1:
        yield from ((x + i * dx, y + i * dy) for i in range(length))
        return
    if length == 1:
        yield from ((x + i * ex, y + i * ey) for i in range(depth))
        return
    ax2, ay2, bx2, by2 = ax // 2, ay // 2, bx // 2, by // 2
    if 2 * length > 3 * depth:
        if abs(ax2 + ay2) % 2 and length > 2:
            ax2, ay2 = ax2 + dx, ay2 + dy
        yield from _curve(x, y=y, ax=ax2, ay=ay2, bx=bx, by=by)
        yield from _curve(x + ax2, y=y + ay2, ax=ax - ax2, ay=ay - ay2, bx=bx, by=by)
        return
    if abs(bx2 + by2) % 2 and depth > 2:
        bx2, by2 = bx2 + ex, by2 + ey
    yield from _curve(x, y=y, ax=bx2, ay=by2, bx=ax2, by=ay2)
    yield from _curve(x + bx2, y=y + by2, ax=ax, ay=ay, bx=bx - bx2, by=by - by2)
    yield from _curve(
        x + (ax - dx) + (bx2 - ex),
        y=y + (ay - dy) + (by2 - ey),
        ax=-bx2,
        ay=-by2,
        bx=-(ax - ax2),
        by=-(ay - ay2),
    )
