"""The bits: routed units as the record that the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....runtime.ops import Array
from ..file import UNUSED, Crossbars, nowhere
from .lower import Lowered, Reading
from .route import Core, Routed
from .tiles import Room
from .units import FLOOR, ChipUnit


def at_window(units: Sequence[ChipUnit], start: Array) -> list[ChipUnit]:
    """Units whose potential at their window's begin can be reached on the chip.

    The leak acts from tick 0. A positive one climbs to the initial potential (the chip starts at
    start - leak * ticks, where it cannot fire); a negative one has to come down to it from below
    the threshold, so with |leak| * ticks large the window begins lower:
    start <= threshold - 1 - |leak| * (ticks - 1).
    """
    out = []
    for unit, ticks in zip(units, start.tolist(), strict=True):
        if ticks:
            highest = unit.threshold - 1 + np.minimum(unit.leak, 0) * (ticks - 1)
            lowered = np.where(unit.leak < 0, np.minimum(unit.start, highest), unit.start)
            unit = replace(unit, start=lowered)
        out.append(unit)
    return out


def emit(routed: Routed, lowered: Lowered, room: Room, steps: int) -> Crossbars:
    """All cores. ``routed.units`` must be ``at_window`` already."""
    units = routed.units
    firsts = np.array([u.first for u in units])
    order = np.argsort(firsts)
    line = routed.neurons[:, 1]
    owner = order[np.searchsorted(firsts[order], line, side="right") - 1]
    local = line - firsts[owner]
    values = {
        name: _gather(units, owner, local=local, name=name)
        for name in ("leak", "threshold", "start", "reset_potential", "weights", "reset")
    }
    potential = values["start"] - values["leak"] * routed.start[owner]
    bits = _neuron_bits(routed, room)
    relays = routed.relays
    relay_bits = np.zeros((len(relays), room.axons), bool)
    relay_bits[np.arange(len(relays)), relays[:, 1]] = True
    zeros, ones = np.zeros(len(relays), np.int64), np.ones(len(relays), np.int64)
    core = np.r_[routed.neurons[:, 0], relays[:, 0]]
    by_core = np.argsort(core, kind="stable")
    counts = np.bincount(core, minlength=routed.core_count)
    slot = np.arange(len(core)) - np.repeat(np.cumsum(counts) - counts, counts)
    lines = _lines(routed, lowered.readings, line)

    def both(own: Array, relay: Array) -> Array:
        return np.concatenate([own, relay])[by_core]

    return Crossbars(
        **nowhere(routed.core_count),
        axon_types=_axon_types(routed, room),
        core=core[by_core],
        neuron=slot,
        synapses=np.packbits(both(bits, relay_bits), axis=1),
        weights=both(values["weights"], np.tile([1, 0, 0, 0], (len(relays), 1))),
        leak=both(values["leak"], zeros),
        threshold=both(values["threshold"], ones),
        floor=np.full(len(core), FLOOR),
        reset=both(values["reset"], ones),
        reset_potential=both(values["reset_potential"], zeros),
        potential=both(potential, zeros),
        target_core=both(routed.neurons[:, 2], relays[:, 3]),
        target_axon=both(routed.neurons[:, 3], relays[:, 4]),
        delay=both(routed.neurons[:, 4], relays[:, 5]),
        output=both(lines["output"], zeros - 1),
        **_pins(routed, lowered),
        line_readout=lines["readout"],
        line_element=lines["element"],
        line_start=lines["start"],
        line_value=lines["value"],
        header=_header(routed, lowered, steps),
    )


def _gather(units: Sequence[ChipUnit], owner: Array, *, local: Array, name: str) -> Array:
    """One parameter of every neuron in the table."""
    shape = (len(owner), 4) if name == "weights" else (len(owner),)
    out = np.zeros(shape, np.int64)
    for number, unit in enumerate(units):
        mine = owner == number
        if not mine.any():
            continue
        match name:
            case "weights":
                found = unit.type_weights()
            case "reset":
                found = np.full(unit.size, unit.reset)
            case _:
                found = getattr(unit, name)
        out[mine] = found[local[mine]]
    return out


def _neuron_bits(routed: Routed, room: Room) -> Array:
    """Synapses of all neurons, bool (n, axons); copies of a neuron have the same."""
    bits = np.zeros((len(routed.neurons), room.axons), bool)
    begins = np.searchsorted(routed.neurons[:, 0], np.arange(len(routed.cores) + 1))
    for number, core in enumerate(routed.cores):
        rows = slice(begins[number], begins[number + 1])
        lines, own = routed.neurons[rows, 1], core_bits(core, room)
        order = np.argsort(core.lines)
        bits[rows] = own[order[np.searchsorted(core.lines[order], lines)]]
    return bits


def core_bits(core: Core, room: Room) -> Array:
    """Synapses of a core's distinct neurons, bool (len(core.lines), axons)."""
    rows, channels = core.tile.rows, core.tile.channels
    bits = np.zeros((len(rows), len(channels), room.axons), bool)
    made = 0
    for conn in core.conns:
        fields = conn.fields[rows]
        for kind, plane in zip(conn.types, conn.planes, strict=True):
            outs, taps = np.nonzero(plane[channels])
            lines = fields[:, taps]
            row, at = np.nonzero(lines >= 0)
            axon = np.searchsorted(core.keys, lines[row, at] * 4 + int(kind))
            bits[row, outs[at], axon] = True
            made += len(row)
    assert made == bits.sum(), "a neuron reads one line twice on one axon type"
    return bits.reshape(-1, room.axons)


def _axon_types(routed: Routed, room: Room) -> Array:
    out = np.full((routed.core_count, room.axons), UNUSED)
    for number, core in enumerate(routed.cores):
        out[number, : len(core.keys)] = core.keys % 4
    out[routed.relays[:, 0], routed.relays[:, 1]] = 0
    return out


def _pins(routed: Routed, lowered: Lowered) -> dict[str, Array]:
    line, core, axon, delay = routed.pins.T
    firsts = np.array([s.first for s in lowered.sources])
    order = np.argsort(firsts)
    which = order[np.searchsorted(firsts[order], line, side="right") - 1]
    return {
        "pin_input": which,
        "pin_element": line - firsts[which],
        "pin_core": core,
        "pin_axon": axon,
        "pin_delay": delay,
    }


def _lines(routed: Routed, readings: Sequence[Reading], line: Array) -> dict[str, Array]:
    """Output lines: the table, and the line that each neuron drives (-1 for none)."""
    output = np.full(len(line), -1)
    columns: dict[str, list[Array]] = {k: [] for k in ("readout", "element", "start", "value")}
    by_name = {u.name: i for i, u in enumerate(routed.units)}
    count = 0
    for number, reading in enumerate(readings):
        unit = by_name[reading.unit]
        size, elements = routed.units[unit].size, len(reading.value)
        first = routed.units[unit].first
        mine = (line >= first) & (line < first + size)
        output[mine] = count + line[mine] - first
        element = np.arange(size) % elements
        columns["readout"].append(np.full(size, number))
        columns["element"].append(element)
        columns["start"].append(np.full(size, routed.start[unit]))
        columns["value"].append(reading.value[element])
        count += size
    return {"output": output, **{k: np.concatenate(v) for k, v in columns.items()}}


def _header(routed: Routed, lowered: Lowered, steps: int) -> dict[str, Any]:
    return {
        "inputs": [
            {
                "name": s.name,
                "shape": list(s.shape),
                "low": s.low.reshape(-1).tolist(),
                "high": s.high.reshape(-1).tolist(),
                **({} if s.coder is None else {"neurons": s.coder.document()}),
            }
            for s in lowered.sources
        ],
        "readouts": [
            {"name": r.name, "shape": list(r.shape), "offset": r.offset.tolist()}
            for r in lowered.readings
        ],
        "steps": steps,
        "ticks": int(routed.start.max()) + steps,
        "units": [u.name for u in routed.units],
        "core_unit": [c.unit for c in routed.cores] + routed.relay_of.tolist(),
    }
