"""Integer parameters of a unit in the making, and the widths that they have to fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....runtime.ops import Array
from ...target import HardwareTarget
from .lower import Unit
from .units import ChipUnit, Conn, Group, wire_conn


@dataclass(frozen=True, kw_only=True)
class Widths:
    """The chip's integer ranges, and the longest window that no potential may overflow in."""

    weight: int
    leak: int
    threshold: int
    potential: int
    steps: int

    @classmethod
    def of(cls, target: HardwareTarget, steps: int) -> Widths:
        """From a target's limits."""
        return cls(
            weight=int(target.limit("weight_max")),
            leak=int(target.limit("leak_max")),
            threshold=int(target.limit("threshold_max")),
            potential=int(target.limit("potential_max")),
            steps=steps,
        )


class Draft:
    """Integer parameters of a unit while its groups are fitted; ``bias`` is the corrected one."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.bias = unit.bias.copy()
        self.conns: list[Conn] = []
        self.leak = np.zeros(unit.size, np.int64)
        self.threshold = np.ones(unit.size, np.int64)
        self.start = np.zeros(unit.size, np.int64)
        self.reset = np.zeros(unit.size, np.int64)
        self.clipped = 0
        self.clipped_wires = 0

    def wire(self, group: Group, lines: Array, kind: int, *, values: Array, widths: Widths) -> None:
        """A line of its own for every neuron of a group; values: (O,), before rounding. One that
        stands for more thresholds than a weight can say is clipped: the neuron owes so many spikes
        then that it fires in every step."""
        rounded = np.rint(values)
        self.clipped_wires += int((np.abs(rounded) > widths.weight).sum())
        kept = np.clip(rounded, -widths.weight, widths.weight)
        self.conns.append(wire_conn(group, lines, kind, values=kept))

    def scale(self, outputs: Array, *, scale: Array, widths: Widths) -> None:
        """Set threshold, leak and potential of neurons (P, O); scale (O,): integers per unit of
        the membrane."""
        limit = widths.leak
        threshold = np.maximum(np.rint(self.unit.threshold[outputs] * scale), 1)
        share = self.unit.v_init[outputs] / self.unit.threshold[outputs]
        self.threshold[outputs] = threshold
        self.start[outputs] = np.floor(share * threshold)
        leak = np.rint(self.bias[outputs] * scale)
        self.leak[outputs] = np.clip(leak, -limit, limit)
        self.clipped += int((np.abs(leak) > limit).sum())
        self.reset[outputs] = np.rint(self.unit.v_reset * scale)

    def chip_unit(self) -> ChipUnit:
        return ChipUnit(
            name=self.unit.name,
            layer=self.unit.layer,
            role=self.unit.role,
            first=self.unit.first,
            conns=tuple(self.conns),
            leak=self.leak,
            threshold=self.threshold,
            start=self.start,
            reset=1 if self.unit.reset == "subtract" else 0,
            reset_potential=self.reset,
            note=", ".join(self._clipped()),
        )

    def _clipped(self) -> Iterator[str]:
        if self.clipped:
            yield f"{self.clipped} of {self.unit.size} leaks"
        if self.clipped_wires:
            yield f"{self.clipped_wires} skip connections"
