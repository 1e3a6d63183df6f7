"""From float units to integer units: weight coding, split sums, thresholds, leaks; fitted in order.

Each unit is coded against what its sources really send (spike rates measured on the calibration
samples with everything before it already in integers), towards the input it should have (analog
mode); its weights are first corrected for the difference (``View.corrected``). Per neuron: delta
by least squares, bias by the mean error, and one factor s that makes delta * s, threshold * s and
bias * s integers within the chip's widths.

Where the fields need more than one core, each part p of the sum is a *partial-sum neuron* that
counts  c_p - sum  with c_p > 0 in its leak (so its rate is positive whatever the sign of the sum),
and the neuron itself gets -Q for each of those spikes and a leak of bias + sum of c_p. Both leaks
are positive: before its window a neuron only climbs to its initial potential and cannot fire. One
neuron per sum carries both signs, and its rounding does not grow with time; it is at most one
spike, of value q = the range of the sum per step, so ``copies`` staggered neurons divide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....errors import TargetError
from ....runtime.ops import Array
from ..run import Spikes, last_readers, run_unit, source_spikes
from .coding import Coding, encode
from .draft import Draft, Widths
from .lower import Lowered, Unit
from .measured import View
from .tiles import Room, parts_of
from .units import ChipUnit, Conn, Group, groups_of

MARGIN = 0.15  # head room of a partial sum's range


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """units in execution order; ``split``: per float unit with split sums, {parts, copies,
    spike_value: what one partial-sum spike is worth, in thresholds}; ``lines``: how many there are
    now."""

    units: tuple[ChipUnit, ...]
    split: Mapping[str, Mapping[str, float]]
    lines: int


def fit(
    lowered: Lowered,
    samples: Mapping[str, Array],
    coding: Coding,
    widths: Widths,
    room: Room,
    *,
    steps: int,
    copies: int = 1,
    tune: bool = True,
) -> Fitted:
    """Integer units for all float units. ``steps``: of the measuring runs; ``tune`` False leaves
    codes and biases as plain rounding gives them (ranges of partial sums are measured still)."""
    spikes = source_spikes(lowered.sources, samples, steps)
    fitter = _Fitter(coding, widths, room, copies, tune, lowered.lines)
    firsts = [s.first for s in lowered.sources] + [u.first for u in lowered.units]
    last = last_readers(firsts, [[b.fields for b in u.blocks] for u in lowered.units])
    for i, unit in enumerate(lowered.units):
        for made in fitter.unit(unit, spikes):
            spikes.trains[made.first] = run_unit(made, spikes).spikes
        for first in [f for f in spikes.trains if last.get(f, -1) <= i]:
            if len(spikes.trains) > 1:
                del spikes.trains[first]
    return Fitted(units=tuple(fitter.units), split=fitter.split, lines=fitter.lines)


def outline(
    lowered: Lowered, coding: Coding, widths: Widths, room: Room, *, copies: int = 1
) -> Fitted:
    """Units with the right connections and made-up numbers, for counting cores: nothing is run."""
    fitter = _Fitter(coding, widths, room, copies, False, lowered.lines)
    for unit in lowered.units:
        fitter.unit(unit, None)
    return Fitted(units=tuple(fitter.units), split=fitter.split, lines=fitter.lines)


@dataclass(eq=False)
class _Fitter:
    coding: Coding
    widths: Widths
    room: Room
    copies: int
    tune: bool
    lines: int

    def __post_init__(self) -> None:
        self.units: list[ChipUnit] = []
        self.split: dict[str, dict[str, float]] = {}

    def unit(self, unit: Unit, spikes: Spikes | None) -> list[ChipUnit]:
        """The chip units of one float unit, in execution order."""
        draft = Draft(unit)
        sums: list[ChipUnit] = []
        for group in groups_of(unit):
            if unit.role in ("pool", "max"):
                self._exact(draft, group)
            elif group.fields.shape[1] == 0:
                self._bare(draft, group)
            else:
                sums += self._coded(draft, group, spikes)
        made = [*sums, draft.chip_unit()]
        self.units += made
        return made

    def _exact(self, draft: Draft, group: Group) -> None:
        """Small integer weights, one type per distinct value."""
        values = np.unique(group.weights[group.weights != 0])
        conn = Conn(
            fields=group.fields,
            outputs=group.outputs,
            planes=np.stack([group.weights == v for v in values]),
            types=np.arange(len(values)),
            values=np.repeat(values[:, np.newaxis].astype(np.int64), len(group.weights), axis=1),
            grid=group.grid,
        )
        draft.conns.append(conn)
        draft.scale(group.outputs, scale=np.ones(len(group.weights)), widths=self.widths)

    def _bare(self, draft: Draft, group: Group) -> None:
        """Neurons that read a few lines of their own (a sum of skip connections)."""
        unit, outs = draft.unit, group.outputs
        if len(group.wires) > 4:
            raise _too_many(unit, len(group.wires), most=4)
        drive = sum((np.abs(s) for _, s in group.wires), np.zeros(1))
        bias = np.abs(unit.bias[outs]).max(axis=0)
        reach = max((float(np.abs(s).max()) for _, s in group.wires), default=1e-9)
        scale = np.minimum(self.widths.weight / reach, self.widths.leak / np.maximum(bias, 1e-9))
        scale = np.minimum(
            scale, self._longest(unit.threshold[outs].max(axis=0), drive=drive + bias)
        )
        for kind, (lines, weight) in enumerate(group.wires):
            draft.wire(group, lines, kind, values=weight * scale, widths=self.widths)
        draft.scale(outs, scale=scale, widths=self.widths)

    def _longest(self, threshold: Array, *, drive: Array) -> Array:
        """The largest s for which drive * s per step cannot overflow the potential in a window."""
        excess = np.maximum(drive - threshold, 0) * self.widths.steps + threshold + drive
        return np.minimum(
            0.95 * self.widths.potential / excess, (self.widths.threshold - 1) / threshold
        )

    def _coded(self, draft: Draft, group: Group, spikes: Spikes | None) -> list[ChipUnit]:
        view = None if spikes is None else View.measured(draft.unit, group, spikes)
        fitted = view if self.tune else None
        parts = self._parts(draft.unit, group)
        least = self._least(draft.unit, group, alone=len(parts) == 1)
        if fitted is None:
            levels, delta = encode(group.weights, self.coding, None, least)
        else:
            wanted = fitted.corrected(group.weights)
            levels, delta = encode(wanted, self.coding, fitted.moments, least)
            delta, shift = fitted.refit(levels, delta=delta)
            delta = np.maximum(delta, least)
            draft.bias[group.outputs] += shift
        if len(parts) == 1:
            self._direct(draft, group, levels, delta=delta)
            return []
        return [self._split(draft, group, view, levels, delta=delta, parts=parts)]

    def _parts(self, unit: Unit, group: Group) -> list[Array]:
        """The fields that each core reads; one part is no partial sum."""
        parts = list(parts_of(group, self.coding.axons, copies=self.copies, room=self.room))
        if len(group.wires) > 3:
            raise _too_many(unit, len(group.wires), most=3)
        if group.wires and len(group.wires) + self.coding.axons > 4 and len(parts) == 1:
            return _halves(group)  # the wires need axon types of their own
        return parts

    def _least(self, unit: Unit, group: Group, *, alone: bool) -> Array:
        """The finest delta (O,): where weights are next to nothing, thresholds in units of delta
        would outgrow their field, and so would the weights of wires that are read beside them."""
        least = unit.threshold[group.outputs].max(axis=0) / (self.widths.threshold - 1)
        for _, scale in group.wires if alone else ():
            least = np.maximum(least, np.abs(scale) / self.widths.weight)
        return np.asarray(least)

    def _direct(self, draft: Draft, group: Group, levels: Array, *, delta: Array) -> None:
        """Everything on one core."""
        unit, outs = draft.unit, group.outputs
        bias = np.abs(draft.bias[outs]).max(axis=0)
        threshold = unit.threshold[outs].max(axis=0)
        up = np.maximum(levels, 0).sum(axis=1) * delta + np.maximum(draft.bias[outs].max(axis=0), 0)
        down = np.maximum(-levels, 0).sum(axis=1) * delta / 4  # the floor is harmless: a silent
        drive = np.maximum(up, down)  # neuron stays silent; but it should not be met every time
        largest = max(abs(m) for m in self.coding.multipliers)
        limit = np.minimum(
            self.widths.weight / largest, self.widths.leak / np.maximum(bias, 1e-12) * delta
        )
        for _, scale in group.wires:
            drive = drive + np.maximum(scale, 0)
            limit = np.minimum(limit, self.widths.weight * delta / np.maximum(np.abs(scale), 1e-12))
        limit = np.minimum(limit, self._longest(threshold, drive=drive) * delta)
        gain = np.maximum(np.floor(limit), 1.0)
        draft.conns.append(
            self._coded_conn(group.fields, outputs=outs, levels=levels, gain=gain, group=group)
        )
        for kind, (lines, weight) in enumerate(group.wires, start=self.coding.axons):
            draft.wire(group, lines, kind, values=weight * gain / delta, widths=self.widths)
        draft.scale(outs, scale=gain / delta, widths=self.widths)

    def _coded_conn(
        self, fields: Array, *, outputs: Array, levels: Array, gain: Array, group: Group
    ) -> Conn:
        multipliers = np.array(self.coding.multipliers, np.int64)[:, np.newaxis]
        return Conn(
            fields=fields,
            outputs=outputs,
            planes=self.coding.planes(levels),
            types=np.arange(self.coding.axons),
            values=multipliers * gain.astype(np.int64),
            grid=group.grid,
        )

    def _split(
        self,
        draft: Draft,
        group: Group,
        view: View | None,
        levels: Array,
        *,
        delta: Array,
        parts: Sequence[Array],
    ) -> ChipUnit:
        """Partial-sum neurons, and the adding neuron in ``draft``."""
        unit, outs, n = draft.unit, group.outputs, self.copies
        low = high = np.zeros((len(parts), outs.shape[1]))
        if view is not None:
            low, high = view.ranges(levels * delta[:, None], parts)
        threshold = unit.threshold[outs].max(axis=0)
        q = np.maximum((high - low).max(axis=0) * (1 + 2 * MARGIN), 1e-3 * threshold)
        for _ in range(3):  # where little is added up: a spike is at least one unit of the adder
            offset = (high + low + q) / 2
            height = self._height(draft, group, offset.sum(axis=0))
            q = np.maximum(q, n * threshold / np.maximum(np.floor(height), 1.0))
        offset = (high + low + q) / 2
        # integers: one unit is delta / gain in the partial sums, threshold / height in the adder
        down = np.stack([np.maximum(-levels[:, p], 0).sum(axis=1) for p in parts]).max(axis=0)
        largest = max(abs(m) for m in self.coding.multipliers)
        limit = np.minimum(
            self.widths.weight / largest, 0.98 * self.widths.leak * delta / offset.max(axis=0)
        )
        limit = np.minimum(limit, self._longest(q, drive=down * delta + offset.max(axis=0)) * delta)
        gain = np.maximum(np.floor(limit), 1.0)
        per_spike, total, bias = q / n, offset.sum(axis=0), draft.bias[outs]
        most = self._height(draft, group, total)
        most = np.minimum(most, self.widths.weight * threshold / per_spike)
        weight = np.maximum(np.floor(most * per_spike / threshold), 1.0)
        height = weight * threshold / per_spike
        # up to a whole number only where that passes no bound on wires and leaks
        height = np.maximum(np.where(np.rint(height) > most, np.floor(height), np.rint(height)), 1)
        q = n * weight * threshold / height
        sums, where = self._partial(
            draft, group, levels, gain=gain, threshold=np.rint(q * gain / delta), parts=parts
        )
        adding = np.clip(
            np.rint((bias + total) * height / threshold), -self.widths.leak, self.widths.leak
        )
        exact = np.rint((adding * threshold / height - bias) * gain / delta).astype(np.int64)
        leak = np.rint(offset * gain / delta)[:, np.newaxis, :] + np.zeros((1, len(outs), 1))
        leak = _spread(leak.astype(np.int64), total=exact, limit=self.widths.leak)
        sums = replace(sums, leak=np.repeat(leak[:, :, np.newaxis], n, axis=2).reshape(-1))
        self._adding(draft, group, where, weight=weight, scale=height / threshold, leak=adding)
        self.split[unit.name] = {
            "parts": len(parts),
            "copies": n,
            "spike_value": float(np.mean(q / n / threshold)),
        }
        return sums

    def _height(self, draft: Draft, group: Group, total: Array) -> Array:
        """The largest threshold (O,) of adding neurons with leaks of ``total`` + bias."""
        threshold = draft.unit.threshold[group.outputs].max(axis=0)
        worst = np.maximum(total + draft.bias[group.outputs].max(axis=0), 1e-9)
        height = self.widths.leak * threshold / worst
        for _, scale in group.wires:
            reach = np.maximum(np.abs(scale), 1e-12)
            height = np.minimum(height, self.widths.weight * threshold / reach)
        drive = worst + sum((np.maximum(s, 0) for _, s in group.wires), np.zeros(1))
        return np.minimum(height, self._longest(threshold, drive=drive) * threshold)

    def _partial(
        self,
        draft: Draft,
        group: Group,
        levels: Array,
        *,
        gain: Array,
        threshold: Array,
        parts: Sequence[Array],
    ) -> tuple[ChipUnit, Array]:
        """The partial-sum unit (leak to be set), and its lines (copies * parts, P, O)."""
        rows, outs = group.outputs.shape
        shape = (len(parts), rows, self.copies, outs)
        size = int(np.prod(shape))
        numbers = np.arange(size).reshape(shape)
        wide = np.tile(levels, (self.copies, 1))
        conns = [
            self._coded_conn(
                group.fields[:, part],
                outputs=numbers[i].reshape(rows, -1),
                levels=wide[:, part],
                gain=-np.tile(gain, self.copies),
                group=group,
            )
            for i, part in enumerate(parts)
        ]
        flat = np.array(np.broadcast_to(threshold, shape).reshape(-1), np.int64)
        start = np.broadcast_to(phases_of(len(parts), copies=self.copies), shape).reshape(-1) * flat
        unit = ChipUnit(
            name=f"{draft.unit.name}/sums{len(self.units) + len(draft.conns)}",
            layer=draft.unit.layer,
            role="partial",
            first=self.lines,
            conns=tuple(conns),
            leak=np.zeros(size, np.int64),
            threshold=flat,
            start=np.floor(start).astype(np.int64),
            reset_potential=np.zeros(size, np.int64),
        )
        self.lines += size
        return unit, unit.first + numbers.transpose(2, 0, 1, 3).reshape(-1, rows, outs)

    def _adding(
        self, draft: Draft, group: Group, lines: Array, *, weight: Array, scale: Array, leak: Array
    ) -> None:
        """The neuron itself: -weight for every partial-sum spike."""
        count, rows, outs = lines.shape
        planes = np.zeros((1, outs, count, outs), bool)
        planes[0, np.arange(outs), :, np.arange(outs)] = True
        draft.conns.append(
            Conn(
                fields=lines.transpose(1, 0, 2).reshape(rows, count * outs),
                outputs=group.outputs,
                planes=planes.reshape(1, outs, count * outs),
                types=np.array([0]),
                values=-weight.astype(np.int64)[np.newaxis],
                grid=group.grid,
            )
        )
        for kind, (own, value) in enumerate(group.wires, start=1):
            draft.wire(group, own, kind, values=value * scale, widths=self.widths)
        draft.scale(group.outputs, scale=scale, widths=self.widths)
        draft.leak[group.outputs] = leak.astype(np.int64)


def phases_of(parts: int, *, copies: int) -> Array:
    """Initial potentials of partial-sum neurons in thresholds, (parts, 1, copies, 1): evenly spread
    over the parts too. Parts that count at like rates would else fire in the same steps, and the
    neuron that adds them up would swing by as many spikes, and fire at the crests."""
    share = (np.arange(parts) + 0.5) / parts
    return ((np.arange(copies) + share[:, np.newaxis]) / copies).reshape(parts, 1, copies, 1)


def _too_many(unit: Unit, wires: int, *, most: int) -> TargetError:
    return TargetError(
        f"{wires} skip connections into one neuron, axon types are left for {most}",
        where=f"node '{unit.layer}'",
        remedy="Add some of them up in neurons of their own (a ReLU between the sums).",
        code="E523",
    )


def _halves(group: Group) -> list[Array]:
    """The fields in two parts."""
    return list(np.array_split(np.arange(group.fields.shape[1]), 2))


def _spread(leak: Array, *, total: Array, limit: int) -> Array:
    """Leaks (parts, P, O) changed as evenly as possible so that they add up to total (P, O)."""
    missing = total - leak.sum(axis=0)
    parts = len(leak)
    share, rest = np.divmod(missing, parts)
    out = leak + share + (np.arange(parts)[:, None, None] < rest)
    return np.clip(out, 0, limit)
