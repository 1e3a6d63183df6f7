"""A few vector instructions for kernels compiled by numba (the extra ``fast``).

LLVM does not see that two rows of floats do not overlap, so it would add them one by one: these
intrinsics say it in its own vectors of any length, which it maps to the processor's registers.
Arguments named after arrays are addresses (int64); lengths are in floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

intrinsic: Any = extending.intrinsic
_declared: Any = cgutils.get_or_insert_function
INT = types.int64
REGISTER = 16  # floats of the processor's largest vectors: two smaller ones are as good
_F32, _I8, _I32, _I64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)


def at_address(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType(kind))


def splat(builder: Any, scalar: Any, count: int) -> Any:
    """A vector of ``count`` times ``scalar``."""
    kind = ir.VectorType(scalar.type, count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, count), [0] * count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def looped(builder: Any, values: Sequence[Any], step: Callable[[list[Any]], Any]) -> list[Any]:
    """``values`` after ``step``, which changes the list it is given, has run once or more: as long
    as the condition that it gives holds."""
    before = builder.block
    body, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(body)
    builder.position_at_end(body)
    phis = [builder.phi(value.type) for value in values]
    now = list(phis)
    again = step(now)
    for phi, first, next_ in zip(phis, values, now, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(next_, builder.block)
    builder.cbranch(again, body, after)
    builder.position_at_end(after)
    return now


def parts(floats: int) -> tuple[Any, list[int]]:
    """The vectors that ``floats`` are made of: their type, and at which byte each begins."""
    width = min(floats, REGISTER)
    return ir.VectorType(_F32, width), [4 * i for i in range(0, floats, width)]


def plus(builder: Any, address: Any, more: int) -> Any:
    return builder.add(address, ir.Constant(_I64, more))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once where the processor does that."""
    once = ("contract",)
    return builder.fadd(c, builder.fmul(a, b, flags=once), flags=once)


def int_there(builder: Any, address: Any) -> Any:
    return builder.sext(builder.load(at_address(builder, address, _I32)), _I64)


def bytes_as_floats(builder: Any, address: Any, vector: Any) -> Any:
    """Signed bytes as floats."""
    values = builder.load(at_address(builder, address, ir.VectorType(_I8, vector.count)), align=1)
    return builder.sitofp(values, vector)


def _spike_adder(runs: int, floats: int) -> Any:
    """``add(out, weight, run, spikes, mask, stride)``: for every bit of ``mask``, at least one, its
    row of weights times its spike is added to ``runs`` stretches of ``floats``, which stay in
    registers meanwhile. ``run``: a row of a table's ``runs``, and those behind it."""
    vector, places = parts(floats)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        out, weight, run, spikes, mask, stride = arguments
        outs, rows = [], []
        for i in range(runs):
            row = plus(builder, run, 12 * i)
            target = builder.add(out, int_there(builder, row))
            source = builder.add(weight, int_there(builder, plus(builder, row, 4)))
            outs += [at_address(builder, plus(builder, target, place), vector) for place in places]
            rows += [plus(builder, source, place) for place in places]

        def step(now: list[Any]) -> Any:
            bits, *totals = now
            at = builder.cttz(bits, ir.Constant(ir.IntType(1), 1))
            byte = builder.load(at_address(builder, builder.add(spikes, at), _I8))
            gain = splat(builder, builder.sitofp(byte, _F32), vector.count)
            on = builder.mul(at, stride)
            for i, (row, total) in enumerate(zip(rows, totals, strict=True), 1):
                values = builder.load(at_address(builder, builder.add(row, on), vector), align=4)
                now[i] = multiply_add(builder, gain, values, total)
            now[0] = builder.and_(bits, builder.sub(bits, ir.Constant(_I64, 1)))
            return builder.icmp_unsigned("!=", now[0], ir.Constant(_I64, 0))

        begin = [builder.load(place, align=4) for place in outs]
        for place, total in zip(outs, looped(builder, [mask, *begin], step)[1:], strict=True):
            builder.store(total, place, align=4)

    @intrinsic
    def add_spikes(
        context: Any, out: Any, weight: Any, run: Any, spikes: Any, mask: Any, stride: Any
    ) -> Any:
        return types.void(INT, INT, INT, INT, types.uint64, INT), generate

    return add_spikes


def _tap_adder(floats: int) -> Any:
    """``add(out, weight, spikes, run, last)``: ``floats`` channels of a position, each from its
    own: the spikes that each run says times the weights it says, until ``last``."""
    vector, places = parts(floats)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        out, weight, spikes, first, last = arguments

        def step(now: list[Any]) -> Any:
            run, *totals = now
            source = builder.add(spikes, int_there(builder, run))
            row = builder.add(weight, int_there(builder, plus(builder, run, 4)))
            for i, (place, total) in enumerate(zip(places, totals, strict=True), 1):
                fired = bytes_as_floats(builder, plus(builder, source, place // 4), vector)
                there = at_address(builder, plus(builder, row, place), vector)
                now[i] = multiply_add(builder, fired, builder.load(there, align=4), total)
            now[0] = plus(builder, run, 12)
            return builder.icmp_unsigned("<", now[0], last)

        outs = [at_address(builder, plus(builder, out, place), vector) for place in places]
        begin = [builder.load(place, align=4) for place in outs]
        for place, total in zip(outs, looped(builder, [first, *begin], step)[1:], strict=True):
            builder.store(total, place, align=4)

    @intrinsic
    def add_taps(context: Any, out: Any, weight: Any, spikes: Any, run: Any, last: Any) -> Any:
        return types.void(*[INT] * 5), generate

    return add_taps


def _firer(floats: int, currents: int) -> Any:
    """``fire(v, threshold, fan, spikes, times, current, ...)``, of ``times`` (at least one)
    ``floats``: v += the sum of one or two currents; a spike (a byte of 1) where v is at least the
    threshold, which is taken off. Gives the number of spikes times 2^40 plus the sum of their
    fan-outs (int32)."""
    vector, flags = ir.VectorType(_F32, floats), ir.VectorType(_I8, floats)
    counts = ir.VectorType(_I32, floats)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        v, threshold, fan, spikes, times, *currents = arguments

        def step(now: list[Any]) -> Any:
            i, events, operations = now
            on = builder.mul(i, ir.Constant(_I64, 4 * floats))
            place, *read = (
                at_address(builder, builder.add(a, on), vector) for a in (v, threshold, *currents)
            )
            theta, *added = (builder.load(address, align=4) for address in read)
            more = added[0] if len(added) == 1 else builder.fadd(added[1], added[0])
            charge = builder.fadd(builder.load(place, align=4), more)
            fired = builder.fcmp_ordered(">=", charge, theta)
            taken = builder.select(fired, theta, ir.Constant(vector, [0.0] * floats))
            builder.store(builder.fsub(charge, taken), place, align=4)
            target = builder.add(spikes, builder.mul(i, ir.Constant(_I64, floats)))
            builder.store(builder.zext(fired, flags), at_address(builder, target, flags), align=1)
            each = builder.load(at_address(builder, builder.add(fan, on), counts), align=4)
            each = builder.select(fired, each, ir.Constant(counts, [0] * floats))
            bits = builder.zext(builder.bitcast(fired, ir.IntType(floats)), _I64)
            now[0] = plus(builder, i, 1)
            now[1] = builder.add(events, builder.ctpop(bits))
            now[2] = builder.add(operations, each)
            return builder.icmp_unsigned("<", now[0], times)

        nothing = [ir.Constant(_I64, 0), ir.Constant(_I64, 0), ir.Constant(counts, [0] * floats)]
        _, events, operations = looped(builder, nothing, step)
        kind = ir.FunctionType(_I32, [counts])
        add = _declared(builder.module, kind, f"llvm.vector.reduce.add.v{floats}i32")
        total = builder.zext(builder.call(add, [operations]), _I64)
        return builder.add(builder.shl(events, ir.Constant(_I64, 40)), total)

    if currents == 1:

        @intrinsic
        def fire(
            context: Any, v: Any, threshold: Any, fan: Any, spikes: Any, times: Any, current: Any
        ) -> Any:
            return types.int64(*[INT] * 6), generate

        return fire

    @intrinsic
    def fire_on_two(
        context: Any, v: Any, threshold: Any, fan: Any, spikes: Any, times: Any, a: Any, b: Any
    ) -> Any:
        return types.int64(*[INT] * 7), generate

    return fire_on_two


@intrinsic
def nonzero_mask(context: Any, bytes_: Any) -> Any:
    """Bit i is set where byte i of 64 is not zero."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_I8, 64)
        values = builder.load(at_address(builder, arguments[0], vector), align=1)
        flags = builder.icmp_unsigned("!=", values, ir.Constant(vector, [0] * 64))
        return builder.bitcast(flags, _I64)

    return types.uint64(INT), generate


@intrinsic
def lowest_bits(context: Any, count: Any) -> Any:
    """A mask of the lowest ``count`` bits, 1 to 64."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        left = builder.sub(ir.Constant(_I64, 64), arguments[0])
        return builder.lshr(ir.Constant(_I64, -1), left)

    return types.uint64(INT), generate


@intrinsic
def int_at(context: Any, address: Any) -> Any:
    """The int32 there."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.sext(builder.load(at_address(builder, arguments[0], _I32)), _I64)

    return types.int64(INT), generate


@intrinsic
def long_at(context: Any, address: Any) -> Any:
    """The int64 there."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load(at_address(builder, arguments[0], _I64))

    return types.int64(INT), generate


@intrinsic
def put_long(context: Any, address: Any, value: Any) -> Any:
    """Write an int64."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        builder.store(arguments[1], at_address(builder, arguments[0], _I64))

    return types.void(INT, INT), generate


@intrinsic
def add_small(context: Any, out: Any, bytes_: Any) -> Any:
    """Eight bytes: out += bytes."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        vector = ir.VectorType(_I8, 8)
        target, source = (at_address(builder, a, vector) for a in arguments)
        total = builder.add(builder.load(target, align=1), builder.load(source, align=1))
        builder.store(total, target, align=1)

    return types.void(INT, INT), generate


add_spikes_8, add_spikes_16, add_spikes_32, add_spikes_64, add_spikes_128 = (
    _spike_adder(1, n) for n in (8, 16, 32, 64, 128)
)
add_spikes_3x48, add_spikes_3x96 = (_spike_adder(3, n) for n in (48, 96))
add_taps_8, add_taps_16, add_taps_32, add_taps_64 = (_tap_adder(n) for n in (8, 16, 32, 64))
fire_8, fire_32 = _firer(8, 1), _firer(32, 1)
fire_on_two_8, fire_on_two_32 = _firer(8, 2), _firer(32, 2)
