"""How many staggered neurons each partial sum gets: the option ``copies``, a number or "auto".

A second neuron per partial sum halves what rounding to whole spikes loses. "auto" gives it wherever
that needs no more chips than one does: the cores of a chip that is there anyway cost nothing but
power. Both are cut into cores and routed without fitting, which tells their cores but for a few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ....display import counted
from ....errors import TargetError
from ...target import HardwareTarget
from .coding import coding_of
from .draft import Widths
from .fit import outline
from .lower import Lowered
from .route import route
from .tiles import Room

Copies: TypeAlias = int | Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class Count:
    """Cores of one variant with ``copies`` neurons per partial sum; None where it has no TrueNorth
    form. ``split``: whether there are partial sums."""

    cores: int | None
    per_chip: int
    copies: int = 1
    split: bool = False

    @property
    def chips(self) -> int:
        return -(-(self.cores or 0) // self.per_chip)

    def entry(self, change: str, chips: int) -> dict[str, Any]:
        """A line of the report's ``would_fit``; None where there is no form to count."""
        if self.cores is None:
            return {"change": change, "fits": False, "cores": None, "chips": None}
        fits = self.chips <= chips
        size = {"cores": self.cores, "chips": self.chips, "copies": self.copies}
        return {"change": change, "fits": fits, **size}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The number of neurons per partial sum and why; ``counted``: what was compared, by number."""

    number: int
    why: str
    counted: Mapping[int, Count]

    @property
    def facts(self) -> dict[str, Any]:
        """For the report: number, reason, and cores and chips of what was compared."""
        compared = [
            {"copies": n, "cores": c.cores, "chips": c.chips}
            for n, c in self.counted.items()
            if c.cores is not None
        ]
        return {"number": self.number, "why": self.why, "counted": compared}


def choose(lowered: Lowered, target: HardwareTarget, coding: str, copies: Copies) -> Chosen:
    """The number of neurons per partial sum for a coding; see the module."""
    if copies != "auto":
        return Chosen(number=copies, why="as asked for", counted={})
    one = count(lowered, target, coding, 1)
    if not one.split:
        return Chosen(number=1, why="no fan-in is split, so there are none", counted={1: one})
    return _judged(one, count(lowered, target, coding, 2))


def after_fit(chosen: Chosen, cores: int) -> Chosen:
    """The choice with the cores that fitting really led to, which can be a few more than counted:
    one copy where a chip more would be needed for two after all."""
    if len(chosen.counted) < 2 or chosen.number == 1:
        return chosen
    one, two = chosen.counted[1], chosen.counted[2]
    return _judged(one, replace(two, cores=cores))


def _judged(one: Count, two: Count) -> Chosen:
    both = {1: one, 2: two}
    if two.cores is None:
        return Chosen(number=1, why="two have no room on a core", counted=both)
    free = two.chips <= one.chips
    sizes = (
        f"two take {counted(two.cores, 'core')} on {counted(two.chips, 'chip')}, one {one.cores:,}"
    )
    why = ", no chip more" if free else f" on {one.chips:,}"
    return Chosen(number=2 if free else 1, why=sizes + why, counted=both)


def count_chosen(lowered: Lowered, target: HardwareTarget, coding: str, copies: Copies) -> Count:
    """Cores of a variant, with the number of neurons per partial sum that it would get."""
    chosen = choose(lowered, target, coding, copies)
    known = chosen.counted.get(chosen.number)
    return known or count(lowered, target, coding, chosen.number)


def count(lowered: Lowered, target: HardwareTarget, coding: str, copies: int = 1) -> Count:
    """Cut and route, without fitting or running anything."""
    room = Room(axons=int(target.limit("axons")), neurons=int(target.limit("neurons")))
    per_chip = int(target.limit("cores_per_chip"))
    try:
        made = outline(lowered, coding_of(coding), Widths.of(target, 1), room, copies=copies)
        routed = route(made.units, lowered.sources, room)
    except TargetError:
        return Count(cores=None, per_chip=per_chip, copies=copies)
    return Count(cores=routed.core_count, per_chip=per_chip, copies=copies, split=bool(made.split))
