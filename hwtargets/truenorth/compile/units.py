"""Integer neurons of TrueNorth, before they have a core: what they read, and their parameters.

``Conn`` is a block of binary synapses: plane m connects neuron o to field f on axons of type
types[m], for which the neuron's weight is values[m, o]. ``ChipUnit`` is a set of neurons with one
role. ``groups_of`` brings what a float unit reads into the one form that coding works on: groups of
P x O neurons with one shared weight matrix and at most a few bare wires (skip connections) each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal, TypeAlias

import numpy as np

from ....errors import TargetError
from ....runtime.ops import Array, Shape
from ...view.lines import Block
from .lower import Unit

Role: TypeAlias = Literal["neurons", "pool", "max", "readout", "partial"]
FLOOR = 262143  # negative threshold of every neuron: 18 bits


@dataclass(frozen=True, eq=False, kw_only=True)
class Conn:
    """fields: int64 (P, F) lines, -1 none; outputs: int64 (P, O) neurons of the unit; planes: bool
    (M, O, F); types: int (M,); values: int64 (M, O); ``grid``: shape of the positions."""

    fields: Array
    outputs: Array
    planes: Array
    types: Array
    values: Array
    grid: Shape

    @property
    def weights(self) -> Array:
        """The integer weight matrix, (O, F)."""
        return np.einsum("mo,mof->of", self.values, self.planes)


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipUnit:
    """Neurons; their spikes are lines first .. first + size - 1.

    Attributes:
        name: unique; ``layer``: the graph node it is for.
        leak, threshold, start: int64 (size,); ``start`` is the potential when the unit's window
            begins (before the first step).
        reset: 1 linear, 0 absolute (to reset_potential).
        note: what was clipped to fit the chip's widths, "" for nothing.
    """

    name: str
    layer: str
    role: Role
    first: int
    conns: tuple[Conn, ...]
    leak: Array
    threshold: Array
    start: Array
    reset: int = 1
    reset_potential: Array
    note: str = ""

    @property
    def size(self) -> int:
        return len(self.leak)

    def type_weights(self) -> Array:
        """int64 (size, 4): every neuron's weight per axon type.

        Raises AssertionError if two connections want different weights of one type."""
        out = np.zeros((self.size, 4), np.int64)
        known = np.zeros((self.size, 4), bool)
        for conn in self.conns:
            for kind, values in zip(conn.types, conn.values, strict=True):
                at = conn.outputs.reshape(-1)
                new = np.broadcast_to(values, conn.outputs.shape).reshape(-1)
                clash = known[at, kind] & (out[at, kind] != new)
                assert not clash.any(), f"unit {self.name}: type {kind} has two weights"
                out[at, kind], known[at, kind] = new, True
        return out


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """P x O neurons of a unit: outputs (P, O). fields (P, F), weights (O, F): shared (F may be 0);
    ``wires``: (lines (P, O), scale (O,)) that each neuron reads alone; ``unit``, ``grid`` as in
    ``Block``."""

    outputs: Array
    fields: Array
    weights: Array
    wires: tuple[tuple[Array, Array], ...]
    unit: int
    grid: Shape


def groups_of(unit: Unit) -> list[Group]:
    """The groups of a unit; every neuron is in exactly one.

    Raises TargetError where a neuron reads two weighted layers of different structure.
    """
    heavy = [b for b in unit.blocks if b.fields.shape[1] > 1 or b.weights.shape[0] > 1]
    light = [b for b in unit.blocks if b.fields.shape[1] == 1 and b.weights.shape[0] == 1]
    wires = _wires(light, unit.size)
    groups: list[Group] = []
    covered = np.zeros(unit.size, bool)
    for block in _merged([_present(b) for b in heavy], unit):
        clash = covered[block.outputs].any()
        covered[block.outputs] = True
        shared = [_per_channel(block.outputs, lines=lines, scale=scale) for lines, scale in wires]
        if clash or any(s is None for s in shared):
            raise TargetError(
                "neurons read two weighted layers of different structure",
                where=f"node '{unit.layer}'",
                remedy="Merge the branches, or put an activation behind one of them.",
                code="E523",
            )
        groups.append(
            Group(
                outputs=block.outputs,
                fields=block.fields,
                weights=block.weights,
                wires=tuple(s for s in shared if s is not None and np.any(s[0] >= 0)),
                unit=block.unit,
                grid=block.grid,
            )
        )
    return [*groups, *_bare(np.flatnonzero(~covered), wires)]


def _wires(blocks: Sequence[Block], size: int) -> list[tuple[Array, Array]]:
    """Bare wires by role: (line or -1, scale) of every neuron; a neuron with two wires needs two
    roles."""
    roles: list[tuple[Array, Array]] = []
    for block in blocks:
        at, lines, scale = block.outputs[:, 0], block.fields[:, 0], float(block.weights[0, 0])
        keep = (at >= 0) & (lines >= 0)
        at, lines = at[keep], lines[keep]
        free = [role for role in roles if np.all(role[0][at] < 0)]
        if not free:
            free = [(np.full(size, -1, np.int64), np.zeros(size))]
            roles += free
        known, scales = free[0]
        known[at], scales[at] = lines, scale
    return roles


def _present(block: Block) -> Block:
    """Without positions or channels that nobody has."""
    rows = np.any(block.outputs >= 0, axis=1)
    cols = np.any(block.outputs >= 0, axis=0)
    grid = block.grid if rows.all() else (int(rows.sum()),)
    return Block(
        fields=block.fields[rows],
        outputs=block.outputs[rows][:, cols],
        weights=block.weights[cols],
        grid=grid,
        unit=block.unit,
    )


def _merged(blocks: Sequence[Block], unit: Unit) -> list[Block]:
    """Blocks for the same neurons become one with all their fields."""
    out: list[Block] = []
    for block in blocks:
        if np.any(block.outputs < 0):
            raise TargetError(
                "a slice that keeps different channels at different positions",
                where=f"node '{unit.layer}'",
                remedy="Slice before the weighted layer.",
                code="E523",
            )
        same = next((i for i, b in enumerate(out) if np.array_equal(b.outputs, block.outputs)), -1)
        if same < 0:
            out.append(block)
            continue
        old = out[same]
        fields, weights = _distinct(
            np.concatenate([old.fields, block.fields], axis=1),
            weights=np.concatenate([old.weights, block.weights], axis=1),
        )
        unit_size = gcd(old.unit, block.unit) if fields.shape[1] > old.fields.shape[1] else old.unit
        out[same] = Block(
            fields=fields, outputs=old.outputs, weights=weights, grid=old.grid, unit=unit_size
        )
    return out


def _distinct(fields: Array, *, weights: Array) -> tuple[Array, Array]:
    """Columns that read the same lines become one with the sum of their weights."""
    _, first, of = np.unique(fields, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    summed = np.zeros((len(weights), len(first)))
    np.add.at(summed.T, rank[of.reshape(-1)], weights.T)
    return fields[:, first[order]], summed


def _per_channel(outputs: Array, *, lines: Array, scale: Array) -> tuple[Array, Array] | None:
    """A wire role for P x O neurons, scale (O,); None if scales differ between positions."""
    found = lines[outputs]
    scales = np.where(found >= 0, scale[outputs], -np.inf)
    common = scales.max(axis=0)
    if not np.all((found < 0) | (scales == common)):
        return None
    return found, np.where(np.isfinite(common), common, 0.0)


def _bare(neurons: Array, wires: Sequence[tuple[Array, Array]]) -> list[Group]:
    """Neurons without weighted layers, grouped by the scales of their wires."""
    if not len(neurons):
        return []
    scales = np.stack(
        [np.where(k[neurons] >= 0, s[neurons], 0.0) for k, s in wires] or [0.0 * neurons]
    )
    keys, of = np.unique(scales, axis=1, return_inverse=True)
    groups = []
    for i in range(keys.shape[1]):
        at = neurons[of.reshape(-1) == i][:, np.newaxis]
        groups.append(
            Group(
                outputs=at,
                fields=np.zeros((len(at), 0), np.int64),
                weights=np.zeros((1, 0)),
                wires=tuple(
                    (k[at], keys[r, i : i + 1])
                    for r, (k, _) in enumerate(wires)
                    if np.any(k[at] >= 0)
                ),
                unit=1,
                grid=(len(at),),
            )
        )
    return groups


def wire_conn(group: Group, lines: Array, kind: int, *, values: Array) -> Conn:
    """A connection in which every neuron reads one line of its own. values: (O,)."""
    outs = group.outputs.shape[1]
    return Conn(
        fields=lines,
        outputs=group.outputs,
        planes=np.eye(outs, dtype=bool)[np.newaxis],
        types=np.array([kind]),
        values=np.asarray(values, np.int64)[np.newaxis],
        grid=group.grid,
    )
