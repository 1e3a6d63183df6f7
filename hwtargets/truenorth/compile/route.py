"""From units to cores, and every spike to every axon that waits for it.

A neuron has one target. A line that is wanted on r axons therefore needs r neurons:

* copies of the neuron itself on its own core, where those of all its lines fit (no extra tick), or
* relays: the neuron drives one axon of a *splitter core*, whose r relay neurons (weight 1,
  threshold 1) fire in the same tick, one target each. One tick more; above 256, a tree of them.

Every axon has exactly one driver, so no two spikes can meet on it. Unit u's step t happens at tick
start[u] + t, start[u] = max over its sources s of start[s] + levels of relays of s + 1; what
arrives earlier than that on a shorter path waits in the delay of its last hop, at most 15 ticks a
hop, with relays in between where that is not enough. So a skip connection meets the branch that it
skips in the right step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....runtime.ops import Array
from .lower import Source
from .tiles import Room, Tile, axon_keys, tiles_of
from .units import ChipUnit, Conn

DELAY = 15


@dataclass(frozen=True, eq=False, kw_only=True)
class Core:
    """A core of a unit: its connections and tile; ``lines``: of its neurons in order (row by row);
    ``keys``: line * 4 + type of its axons, sorted (axon a is keys[a])."""

    unit: int
    conns: tuple[Conn, ...]
    tile: Tile
    lines: Array
    keys: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Hop:
    """One target: core, axon, and the delay to it."""

    core: int
    axon: int
    delay: int


@dataclass(eq=False)
class Relays:
    """Splitter cores of one unit: relay n on core[n] listens to axon[n] and has one target."""

    room: Room
    first_core: int
    cores: int = 0
    free_axons: int = 0
    free_neurons: int = 0
    nodes: list[tuple[int, int, int]] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)

    def node(self, line: int, targets: Array) -> tuple[int, int]:
        """A new axon with one relay per row (core, axon, delay) of ``targets``; where it is."""
        if not self.cores or self.free_axons < 1 or self.free_neurons < len(targets):
            self.cores += 1
            self.free_axons, self.free_neurons = self.room.axons, self.room.neurons
        core = self.first_core + self.cores - 1
        axon = self.room.axons - self.free_axons
        self.free_axons -= 1
        self.free_neurons -= len(targets)
        self.nodes.append((core, axon, line))
        self.targets.append(targets)
        return core, axon

    def hop(self, line: int, *, now: int, targets: Array) -> Hop:
        """The one target of a neuron that fires at ``now`` for ``line``, so that every row (core,
        axon, arrival) of ``targets`` is reached at its time."""
        if len(targets) == 1 and targets[0, 2] - now <= DELAY:
            return Hop(
                core=int(targets[0, 0]), axon=int(targets[0, 1]), delay=int(targets[0, 2]) - now
            )
        wait = int(np.clip(targets[:, 2].min() - now - DELAY, 1, DELAY))
        at = now + wait
        close = targets[:, 2] - at <= DELAY
        if close.all() and len(targets) <= self.room.neurons:
            rows = targets - np.array([0, 0, at])
        else:
            hops = [
                self.hop(line, now=at, targets=part)
                for part in self._branches(targets, close=close)
            ]
            rows = np.array([(h.core, h.axon, h.delay) for h in hops])
        core, axon = self.node(line, rows)
        return Hop(core=core, axon=axon, delay=wait)

    def _branches(self, targets: Array, *, close: Array) -> list[Array]:
        """What each relay of a node takes on: one close target each, or where those are too many a
        share of them; and all that are too far for one hop."""
        near, far = targets[close], targets[~close]
        places = self.room.neurons - (len(far) > 0)
        parts = list(np.array_split(near, min(len(near), places))) if len(near) else []
        return [*parts, far] if len(far) else parts

    def table(self) -> Array:
        """(relays, 6): core, axon, line, target core, target axon, delay."""
        if not self.nodes:
            return np.zeros((0, 6), np.int64)
        nodes = np.repeat(np.array(self.nodes, np.int64), [len(t) for t in self.targets], axis=0)
        return np.concatenate([nodes, np.concatenate(self.targets)], axis=1).astype(np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Routed:
    """Everything but the bits.

    Attributes:
        units: in execution order; cores: those of units, core number = index.
        start: tick of each unit's step 0; levels: relay levels between it and its readers.
        neurons: (n, 5) core, line, target core, target axon, delay; -1, -1, 0 without a target.
        relays: (m, 6) core, axon, line, target core, target axon, delay; relay_of: per splitter
            core, the unit it serves; splitter cores have the numbers after ``cores``.
        pins: (p, 4) line, core, axon, delay of input lines.
    """

    units: tuple[ChipUnit, ...]
    cores: tuple[Core, ...]
    start: Array
    levels: Array
    neurons: Array
    relays: Array
    relay_of: Array
    pins: Array

    @property
    def core_count(self) -> int:
        return len(self.cores) + len(self.relay_of)


def cut(units: Sequence[ChipUnit], room: Room) -> list[Core]:
    """The cores of all units, in order."""
    cores: list[Core] = []
    for number, unit in enumerate(units):
        for conns in _bundles(unit):
            for tile in tiles_of(conns, room, unit.layer):
                outputs = conns[0].outputs[np.ix_(tile.rows, tile.channels)]
                cores.append(
                    Core(
                        unit=number,
                        conns=tuple(conns),
                        tile=tile,
                        lines=unit.first + outputs.reshape(-1),
                        keys=axon_keys(conns, tile),
                    )
                )
    return cores


def _bundles(unit: ChipUnit) -> list[list[Conn]]:
    """Connections with the same outputs, together."""
    bundles: list[list[Conn]] = []
    for conn in unit.conns:
        for bundle in bundles:
            if np.array_equal(bundle[0].outputs, conn.outputs):
                bundle.append(conn)
                break
        else:
            bundles.append([conn])
    return bundles


def route(units: Sequence[ChipUnit], sources: Sequence[Source], room: Room) -> Routed:
    """Cut units into cores and connect them."""
    cores = cut(units, room)
    wanted = np.concatenate([c.keys // 4 for c in cores])
    at_core = np.repeat(np.arange(len(cores)), [len(c.keys) for c in cores])
    at_axon = np.concatenate([np.arange(len(c.keys)) for c in cores])
    order = np.argsort(wanted, kind="stable")
    wanted, at_core, at_axon = wanted[order], at_core[order], at_axon[order]
    lines = max(u.first + u.size for u in units)
    counts = np.bincount(wanted, minlength=lines)
    begins = np.cumsum(counts) - counts
    levels = _levels(units, cores, counts, room)
    start = _starts(units, sources, cores, levels)
    core_unit = np.array([c.unit for c in cores])
    arrival = start[core_unit[at_core]]
    inputs = _is_input(wanted, sources)
    pins = np.stack([wanted, at_core, at_axon, arrival], axis=1)[inputs]
    table = np.stack([at_core, at_axon, arrival], axis=1)
    neurons: list[Array] = []
    relays: list[Array] = []
    relay_of: list[int] = []
    for number in range(len(units)):
        mine = [c for c in range(len(cores)) if core_unit[c] == number]
        own = Relays(room, len(cores) + len(relay_of))
        now = int(start[number])
        neurons += [
            _connect(
                c,
                cores[c],
                now=now,
                counts=counts,
                begins=begins,
                table=table,
                relays=own,
                room=room,
            )
            for c in mine
        ]
        relay_of += [number] * own.cores
        relays.append(own.table())
    return Routed(
        units=tuple(units),
        cores=tuple(cores),
        start=start,
        levels=levels,
        neurons=np.concatenate(neurons),
        relays=np.concatenate(relays),
        relay_of=np.array(relay_of, np.int64),
        pins=pins,
    )


def _is_input(lines: Array, sources: Sequence[Source]) -> Array:
    out = np.zeros(len(lines), bool)
    for source in sources:
        out |= (lines >= source.first) & (lines < source.first + source.size)
    return out


def _copied(core: Core, counts: Array, room: Room) -> bool:
    """Whether the core has room for one neuron per target of all its lines."""
    return int(np.maximum(counts[core.lines], 1).sum()) <= room.neurons


def _levels(units: Sequence[ChipUnit], cores: Sequence[Core], counts: Array, room: Room) -> Array:
    """Relay levels of every unit: 0, 1, or more where a line has more than 256 targets."""
    levels = np.zeros(len(units), np.int64)
    for core in cores:
        if _copied(core, counts, room):
            continue
        most, need = int(counts[core.lines].max()), 1
        while most > room.neurons**need:
            need += 1
        levels[core.unit] = max(levels[core.unit], need)
    return levels


def _starts(
    units: Sequence[ChipUnit], sources: Sequence[Source], cores: Sequence[Core], levels: Array
) -> Array:
    """Tick of every unit's step 0."""
    firsts = np.array([u.first for u in units])
    order = np.argsort(firsts)
    start = np.zeros(len(units), np.int64)
    for number, unit in enumerate(units):
        fields = [np.unique(conn.fields) for conn in unit.conns]
        lines = np.unique(np.concatenate(fields)) if fields else np.zeros(0, np.int64)
        lines = lines[(lines >= 0) & ~_is_input(lines, sources)]
        before = np.unique(order[np.searchsorted(firsts[order], lines, side="right") - 1])
        start[number] = max((start[b] + levels[b] + 1 for b in before), default=0)
    return start


def _connect(
    number: int,
    core: Core,
    *,
    now: int,
    counts: Array,
    begins: Array,
    table: Array,
    relays: Relays,
    room: Room,
) -> Array:
    """The core's neurons (n, 5), with copies or relays for their targets."""
    lines, wanted = core.lines, counts[core.lines]
    of = np.repeat(np.arange(len(lines)), wanted)  # per target, whose it is
    at = np.arange(len(of)) + np.repeat(begins[lines] - (np.cumsum(wanted) - wanted), wanted)
    wait = table[at, 2] - now
    far = np.bincount(of, weights=wait > DELAY, minlength=len(lines)) > 0
    direct = ~far & ((wanted <= 1) | _copied(core, counts, room))
    nothing = np.full(int((wanted == 0).sum()), -1)
    pick = direct[of]
    owner = [np.flatnonzero(wanted == 0), of[pick]]
    hops = [np.stack([nothing, nothing, nothing + 1], axis=1)]
    hops.append(np.stack([table[at[pick], 0], table[at[pick], 1], wait[pick]], axis=1))
    for row in np.flatnonzero(~direct).tolist():
        line = int(lines[row])
        hop = relays.hop(line, now=now, targets=table[begins[line] : begins[line] + counts[line]])
        owner.append(np.array([row]))
        hops.append(np.array([[hop.core, hop.axon, hop.delay]]))
    index = np.concatenate(owner)
    order = np.argsort(index, kind="stable")
    rows = np.column_stack([np.full(len(index), number), lines[index], np.concatenate(hops)])
    return np.asarray(rows[order], np.int64)


def summary(routed: Routed, sizes: Mapping[str, int]) -> dict[str, float]:
    """Counts for the report. ``sizes``: neurons of the original network by layer."""
    logical = sum(sizes.values())
    computing = len(np.unique(routed.neurons[:, 1]))
    driving = len(routed.neurons) + len(routed.relays)
    return {
        "cores": routed.core_count,
        "layer_cores": len(routed.cores),
        "splitter_cores": len(routed.relay_of),
        "neurons": logical,
        "chip_neurons": driving,
        "copies": len(routed.neurons) - computing,
        "relays": len(routed.relays),
        "partial_sum_neurons": sum(u.size for u in routed.units if u.role == "partial"),
        "replication_factor": driving / max(logical, 1),
        "input_axons": len(routed.pins),
        "ticks_before_answer": int(routed.start.max()) + 1,
        "added_ticks": int(routed.start.max()) + 1 - len(sizes),
        "longest_delay": int(
            max(routed.neurons[:, 4].max(initial=0), routed.relays[:, 5].max(initial=0))
        ),
    }
