"""Whether a chip may hold a network at all, told from kinds and shapes in a fraction of a second.

A "no" is certain: ``place`` refuses the network, as it is, too. A "yes" is not: sizes are lower
bounds, for the network before calibration, and what they leave open is said beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from ..mapping import ChipMapping, Least
from ..rules import tangled
from ..target import HardwareTarget, Violation
from ..view.network import ChipNetwork


@dataclass(frozen=True, eq=False, kw_only=True)
class Screening:
    """What is known before anything is calibrated.

    Attributes:
        kinds: neurons and operations that the chip has no means for.
        sizes: limits that any placement exceeds.
        cores, chips: that any placement takes at the least; 0 where nothing is known.
        board: the smallest known one with so many chips, "" for none; available: chips of the
            largest, as ``place`` assumes.
        conditions: what a "yes" still depends on, in words.
        remedy: how another conversion makes a "no" a "yes", in words; "" where none is known to.
    """

    kinds: tuple[Violation, ...]
    sizes: tuple[Violation, ...]
    cores: int
    chips: int
    board: str
    available: int
    conditions: tuple[str, ...]
    remedy: str = ""

    @property
    def may_fit(self) -> bool:
        return not self.violations

    @property
    def violations(self) -> tuple[Violation, ...]:
        return (*self.kinds, *self.sizes)


def screen(network: ChipNetwork, target: HardwareTarget, mapping: ChipMapping[Any]) -> Screening:
    """``mapping``: the target's."""
    knots = tangled(network)
    kinds = knots or mapping.kinds(network, target)
    options = mapping.request(target).options
    found = Least() if knots else mapping.least(network, target, options)
    per_chip, available = int(target.limit("cores_per_chip")), target.largest_board
    chips = ceil(found.cores / per_chip)
    sizes = found.violations
    if chips > available:
        sizes = (*sizes, _too_many(network, found.cores, limit=per_chip * available))
    return Screening(
        kinds=kinds,
        sizes=sizes,
        cores=found.cores,
        chips=chips,
        board=target.smallest_board(chips) or "",
        available=available,
        conditions=found.conditions,
    )


def _too_many(network: ChipNetwork, cores: int, *, limit: int) -> Violation:
    return Violation(
        node=max(network.layers, key=lambda layer: layer.neurons).name,
        rule="cores",
        used=cores,
        limit=limit,
        remedy="At least as many cores are needed: fewer channels or a smaller input. `onnx2snn "
        "place` computes what would fit.",
    )
