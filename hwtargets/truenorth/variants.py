"""What would fit on TrueNorth instead: every suggestion has been compiled to its last bit.

Variants are counted first, which is cheap. One that has room is then fitted on a few samples, cut,
routed and emitted; it is suggested only where that breaks no limit.

Three kinds, the first of each that fits: more chips, a coding with fewer axons per input, and a
narrower network: the same structure with an evenly spaced share of the channels of every hidden
layer (to be trained as such; here its neurons and lines are left out and the rest is counted).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ...display import counted
from ...errors import TargetError
from ...runtime.ops import Array, Shape
from ..mapping import SHARES, Request
from ..target import HardwareTarget
from ..view.lines import Block
from ..view.network import ChipNetwork
from .compile import compile_lowered
from .compile.coding import CODINGS, coding_of
from .compile.copies import Copies, Count, count_chosen
from .compile.lower import Lowered, Unit, lower
from .compile.options import TrueNorthOptions
from .file import violations

FITTED_ON = 8  # samples: integers stay within their fields whatever they are fitted on
FEWER = ("axons3", "ternary")  # codings in the order of their axons per input


def would_fit(
    network: ChipNetwork,
    target: HardwareTarget,
    request: Request[TrueNorthOptions],
    known: Mapping[str, Count],
    chips: int,
    *,
    broken: Sequence[str] = (),
) -> tuple[Mapping[str, Any], ...]:
    """Variants that were counted, {change, fits, cores, chips, copies}: each with as many neurons
    per partial sum as it would get if it were followed with the request's option ``copies``;
    ``still``: limits that it breaks all the same.

    ``known``: by coding, what was counted already; ``broken``: limits that the network itself
    breaks when it is compiled; ``chips``: how many there are.
    """
    inputs = {n.name: _samples(n.shape, request) for n in network.inputs}
    try:
        lowered = lower(network.graph, inputs, output_copies=request.options.output_copies)
    except TargetError:
        return ()  # no size would help
    coding, copies = request.options.coding, request.options.copies

    def coded(name: str) -> Count:
        return known.get(name) or count_chosen(lowered, target, name, copies)

    now = coded(coding)

    def compiled(what: Lowered, name: str, number: int) -> Sequence[str]:
        return _still(what, target, inputs, request, coding=name, copies=number)

    kinds = (
        _boards(now, target, broken),
        _codings(coding, coded, lambda name, number: compiled(lowered, name, number)),
        _narrower(
            lowered, target, coding, copies, now, chips=chips, keep=network.answers,
            compiled=lambda what, number: compiled(what, coding, number),
        ),
    )  # fmt: skip
    found = [_first(kind, chips) for kind in kinds]
    return tuple(entry for entry in found if entry is not None)


def _samples(shape: Shape, request: Request[TrueNorthOptions]) -> Array:
    for x in (request.calib, request.x):
        if x is not None:
            return np.asarray(x[:FITTED_ON], np.float32)
    return np.random.default_rng(0).random((FITTED_ON, *shape), np.float32)


def _still(
    lowered: Lowered,
    target: HardwareTarget,
    samples: Mapping[str, Array],
    request: Request[TrueNorthOptions],
    *,
    coding: str,
    copies: int,
) -> list[str]:
    """The limits that the emitted cores of a variant break, or the code of why there are none."""
    try:
        net = compile_lowered(
            lowered, target, samples, steps=request.steps, coding=coding, copies=copies,
            tune=request.options.tune, fit_steps=request.options.fit_steps,
            emit_cores=request.options.emit,
        )  # fmt: skip
    except TargetError as error:
        return [error.code]
    return [] if net.crossbars is None else [v.rule for v in violations(net.crossbars, target)]


@dataclass(frozen=True, eq=False)
class Variant:
    """What changes, its count, how many chips it is meant for (0: all that there are), and what
    compiling it gives: the limits that it breaks."""

    change: str
    found: Count
    meant: int
    still: Callable[[], Sequence[str]]


def _first(variants: Iterator[Variant], chips: int) -> Mapping[str, Any] | None:
    """The first that fits when it is compiled, else the last that was tried."""
    entry: Mapping[str, Any] | None = None
    for v in variants:
        entry = v.found.entry(v.change, v.meant or chips)
        still = v.still() if entry["fits"] else ()
        if entry["fits"] and not still:
            break
        entry |= {"fits": False, "still": sorted(still)} if still else {}
    return entry


def _boards(now: Count, target: HardwareTarget, broken: Sequence[str]) -> Iterator[Variant]:
    if now.cores is None:
        return
    holding = [name for name, n in target.boards.items() if int(n) >= now.chips]
    known = f" (such as {holding[0]})" if holding else ""
    yield Variant(f"a board of {counted(now.chips, 'chip')}{known}", now, now.chips, lambda: broken)


def _codings(
    coding: str, coded: Callable[[str], Count], compiled: Callable[[str, int], Sequence[str]]
) -> Iterator[Variant]:
    most = coding_of(coding).axons
    for name in FEWER:
        axons = CODINGS[name].axons
        if axons < most:
            found = coded(name)
            change = f"coding={name} ({axons} axons per input instead of {most})"
            yield Variant(change, found, 0, partial(compiled, name, found.copies))


def _narrower(
    lowered: Lowered,
    target: HardwareTarget,
    coding: str,
    copies: Copies,
    now: Count,
    *,
    chips: int,
    keep: frozenset[str],
    compiled: Callable[[Lowered, int], Sequence[str]],
) -> Iterator[Variant]:
    """Shares of the channels, from the largest that can be hoped for: cores fall at most with
    the square of the share."""
    room = chips * now.per_chip
    for share in SHARES:
        if now.cores is not None and now.cores * share**2 > room and share > SHARES[-1]:
            continue
        thin = thinned(lowered, share, keep=keep)
        found = count_chosen(thin, target, coding, copies)
        change = f"{share:g} times the channels of every hidden layer"
        yield Variant(change, found, 0, partial(compiled, thin, found.copies))


def thinned(lowered: Lowered, share: float, *, keep: frozenset[str] = frozenset()) -> Lowered:
    """The network without some channels: of every layer but those in ``keep`` an evenly spaced
    share is kept, and of pools and maxima what still has something to read."""
    lines = np.full(lowered.lines + 1, -1, np.int64)  # the last one is for -1, nothing
    total = 0
    for source in lowered.sources:
        lines[source.first : source.first + source.size] = total + np.arange(source.size)
        total += source.size
    sources = [replace(s, first=int(lines[s.first])) for s in lowered.sources]
    units = []
    for unit in lowered.units:
        kept = _kept(unit, lines, 1.0 if unit.layer in keep else share)
        own = lines[unit.first : unit.first + unit.size]
        own[kept] = total + np.arange(kept.sum())
        units.append(_thin_unit(unit, kept, lines=lines, first=total))
        total += int(kept.sum())
    return replace(
        lowered,
        sources=tuple(sources),
        units=tuple(units),
        lines=total,
        rates=np.zeros((1, total), np.float32),
    )


def _kept(unit: Unit, lines: Array, share: float) -> Array:
    """Which neurons of a unit stay."""
    if unit.role == "readout":
        return np.ones(unit.size, bool)
    if unit.role == "neurons" and prod(unit.shape) == unit.size:
        channels = unit.shape[0]
        few = max(1, round(share * channels))
        chosen = np.zeros(channels, bool)
        chosen[np.arange(few) * channels // few] = True
        return np.repeat(chosen, unit.size // channels)
    kept = np.zeros(unit.size + 1, bool)
    for block in unit.blocks:
        reads = np.any(lines[block.fields] >= 0, axis=1)
        kept[block.outputs[reads].reshape(-1)] = True
    return kept[:-1]


def _thin_unit(unit: Unit, kept: Array, *, lines: Array, first: int) -> Unit:
    number = np.full(unit.size + 1, -1, np.int64)
    number[:-1][kept] = np.arange(kept.sum())
    blocks = [_thin_block(b, number[b.outputs], fields=lines[b.fields]) for b in unit.blocks]
    return replace(
        unit,
        first=first,
        blocks=tuple(b for b in blocks if b is not None),
        bias=unit.bias[kept],
        threshold=unit.threshold[kept],
        v_init=unit.v_init[kept],
        target=unit.target[:, kept],
    )


def _thin_block(block: Block, outputs: Array, *, fields: Array) -> Block | None:
    """A block with other numbers, without positions, neurons and fields that nobody needs."""
    rows = np.any(outputs >= 0, axis=1) & np.any(fields >= 0, axis=1)
    outs, ins = np.any(outputs >= 0, axis=0), np.any(fields >= 0, axis=0)
    if not (rows.any() and outs.any() and ins.any()):
        return None
    return Block(
        fields=fields[rows][:, ins],
        outputs=outputs[rows][:, outs],
        weights=block.weights[np.ix_(outs, ins)],
        grid=_grid(block.grid, rows),
        unit=block.unit,
    )


def _grid(grid: Sequence[int], rows: Array) -> Shape:
    """The shape of the positions that are left: whole slices of the first axis, or a list."""
    slices = rows.reshape(grid).reshape(grid[0], -1)
    if np.array_equal(slices.all(axis=1), slices.any(axis=1)):
        return (int(slices.any(axis=1).sum()), *grid[1:])
    return (int(rows.sum()),)
