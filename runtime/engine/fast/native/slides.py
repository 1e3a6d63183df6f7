"""Instructions that go along a row of a map, for kernels compiled by numba (see ``vectors``).

Neighbours under a convolution reach nearly the same targets: what several of them share stays in
registers from one to the next, so that it is read and written once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ..events.tables import ROWS_OF_TAPS, TAPS
from .vectors import (
    INT,
    at_address,
    bytes_as_floats,
    int_there,
    intrinsic,
    looped,
    multiply_add,
    parts,
    plus,
    splat,
)

_F32, _I8, _I64 = ir.FloatType(), ir.IntType(8), ir.IntType(64)
_ZERO, _ONE = ir.Constant(_I64, 0), ir.Constant(_I64, 1)


def _slide(runs: int, floats: int) -> Any:
    """``slide(out, weight, run, spikes, pitch, keep, stride, wide, count)``: as ``add_spikes`` for
    each of ``count`` positions (at least one) side by side, ``pitch`` bytes of spikes each, of
    which the bits of ``keep`` count. Each reaches ``runs`` stretches of three targets, one target
    (``wide`` bytes, ``floats`` of which are added to) on from the last position's."""
    vector, places = parts(floats)
    group = len(places)  # vectors of a target

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        out, weight, run, spikes, pitch, keep, stride, wide, count = arguments
        targets, rows = [], []
        for i in range(runs):
            row = plus(builder, run, 12 * i)
            targets.append(builder.add(out, int_there(builder, row)))
            source = builder.add(weight, int_there(builder, plus(builder, row, 4)))
            for _tap in range(TAPS):
                rows += [plus(builder, source, place) for place in places]
                source = builder.add(source, wide)

        def reached(target: Any, tap: int) -> list[Any]:
            there = builder.add(target, builder.mul(wide, ir.Constant(_I64, tap)))
            return [at_address(builder, plus(builder, there, place), vector) for place in places]

        def read(target: Any, tap: int) -> list[Any]:
            return [builder.load(place, align=4) for place in reached(target, tap)]

        def write(target: Any, tap: int, values: list[Any]) -> None:
            for place, value in zip(reached(target, tap), values, strict=True):
                builder.store(value, place, align=4)

        def position(now: list[Any]) -> Any:
            index, *held = now
            on = builder.mul(index, wide)
            here = [builder.add(target, on) for target in targets]
            totals = []
            for i, target in enumerate(here):
                totals += [*held[2 * group * i :][: 2 * group], *read(target, 2)]
            fired = builder.add(spikes, builder.mul(index, pitch))

            def spike(inner: list[Any]) -> Any:
                bits = inner[0]
                at = builder.cttz(bits, ir.Constant(ir.IntType(1), 1))
                byte = builder.load(at_address(builder, builder.add(fired, at), _I8))
                gain = splat(builder, builder.sitofp(byte, _F32), vector.count)
                skip = builder.mul(at, stride)
                for i, row in enumerate(rows, 1):
                    there = at_address(builder, builder.add(row, skip), vector)
                    inner[i] = multiply_add(builder, gain, builder.load(there, align=4), inner[i])
                inner[0] = builder.and_(bits, builder.sub(bits, _ONE))

            flags = ir.VectorType(_I8, 64)
            values = builder.load(at_address(builder, fired, flags), align=1)
            some = builder.icmp_unsigned("!=", values, ir.Constant(flags, [0] * 64))
            mask = builder.and_(builder.bitcast(some, _I64), keep)
            _, *totals = _while(builder, [mask, *totals], spike)
            now[0] = builder.add(index, _ONE)
            for i, target in enumerate(here):
                mine = totals[TAPS * group * i :][: TAPS * group]
                write(target, 0, mine[:group])
                now[1 + 2 * group * i : 1 + 2 * group * (i + 1)] = mine[group:]
            return builder.icmp_unsigned("<", now[0], count)

        begin = [value for target in targets for tap in (0, 1) for value in read(target, tap)]
        _, *held = looped(builder, [_ZERO, *begin], position)
        end = builder.mul(count, wide)
        for i, target in enumerate(targets):
            for tap in (0, 1):
                first = group * (2 * i + tap)
                write(builder.add(target, end), tap, held[first : first + group])

    @intrinsic
    def slide(
        context: Any,
        out: Any,
        weight: Any,
        run: Any,
        spikes: Any,
        pitch: Any,
        keep: Any,
        stride: Any,
        wide: Any,
        count: Any,
    ) -> Any:
        return types.void(*[INT] * 5, types.uint64, *[INT] * 3), generate

    return slide


def _gather(rows: int, taps: int, floats: int) -> Any:
    """``gather(out, weight, spikes, run, pitch, wide, count)``: as ``add_taps`` for ``count``
    targets (at least one) of ``wide`` bytes side by side, each reached by ``rows`` times ``taps``
    sources side by side, of ``pitch`` bytes, one on from the last's."""
    vector, (_place,) = parts(floats)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        out, weight, spikes, run, pitch, wide, count = arguments
        sources, weights = [], []
        for i in range(rows * taps):
            there = plus(builder, run, 12 * i)
            if i % taps == 0:
                sources.append(builder.add(spikes, int_there(builder, there)))
            row = builder.add(weight, int_there(builder, plus(builder, there, 4)))
            weights.append(builder.load(at_address(builder, row, vector), align=4))

        def read(source: Any, position: Any) -> Any:
            there = builder.add(source, builder.mul(pitch, position))
            return bytes_as_floats(builder, there, vector)

        def target(now: list[Any]) -> Any:
            index, *held = now
            newest = plus(builder, index, taps - 1)
            window: list[Any] = []
            for i, source in enumerate(sources):
                window += [*held[i * (taps - 1) :][: taps - 1], read(source, newest)]
            place = at_address(builder, builder.add(out, builder.mul(index, wide)), vector)
            total = builder.load(place, align=4)
            for fired, row in zip(window, weights, strict=True):
                total = multiply_add(builder, fired, row, total)
            builder.store(total, place, align=4)
            now[0] = builder.add(index, _ONE)
            now[1:] = [value for i, value in enumerate(window) if i % taps]
            return builder.icmp_unsigned("<", now[0], count)

        begin = [read(source, ir.Constant(_I64, i)) for source in sources for i in range(taps - 1)]
        looped(builder, [_ZERO, *begin], target)

    @intrinsic
    def gather(
        context: Any,
        out: Any,
        weight: Any,
        spikes: Any,
        run: Any,
        pitch: Any,
        wide: Any,
        count: Any,
    ) -> Any:
        return types.void(*[INT] * 7), generate

    return gather


def _while(builder: Any, values: list[Any], step: Any) -> list[Any]:
    """``values`` after ``step`` has run as long as the first of them is not zero."""
    before = builder.block
    head, body, after = (builder.append_basic_block(n) for n in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(value.type) for value in values]
    builder.cbranch(builder.icmp_unsigned("!=", phis[0], _ZERO), body, after)
    builder.position_at_end(body)
    now = list(phis)
    step(now)
    for phi, first, next_ in zip(phis, values, now, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(next_, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return phis


slide_8, slide_16, slide_32, slide_64 = (_slide(1, n) for n in (8, 16, 32, 64))
slide_3x16, slide_3x32 = (_slide(3, n) for n in (16, 32))
gather_3x3_16 = _gather(3, 3, 16)
gather_3_16, gather_5_16 = (_gather(1, taps, 16) for taps in ROWS_OF_TAPS)
gather_3_8, gather_5_8 = (_gather(1, taps, 8) for taps in ROWS_OF_TAPS)
