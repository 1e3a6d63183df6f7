"""A few vector instructions for kernels compiled by numba (the extra ``fast``).

LLVM does not see that two rows of floats do not overlap, so it would add them one by one: these
intrinsics say it in its own vectors of any length, which it maps to the processor's registers.
Arguments named after arrays are addresses (int64); lengths are in floats.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

intrinsic: Any = extending.intrinsic
_declared: Any = cgutils.get_or_insert_function
INT, FLOAT = types.int64, types.float32
_F32, _I8, _I32, _I64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType(kind))


def _splat(builder: Any, scalar: Any, count: int) -> Any:
    """A vector of ``count`` times ``scalar``."""
    kind = ir.VectorType(scalar.type, count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, count), [0] * count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _adder(rows: int, floats: int) -> Any:
    """``add(out, row 1, ..., gain 1, ...)``: out += gain 1 * row 1 + ..., ``floats`` of each."""
    vector = ir.VectorType(_F32, floats)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        out = _at(builder, arguments[0], vector)
        total = builder.load(out, align=4)
        parts = []
        for row, gain in zip(arguments[1 : 1 + rows], arguments[1 + rows :], strict=True):
            values = builder.load(_at(builder, row, vector), align=4)
            parts.append(builder.fmul(values, _splat(builder, gain, floats)))
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [builder.fadd(a, b) for a, b in pairs]
        builder.store(builder.fadd(total, parts[0]), out, align=4)

    if rows == 1:

        @intrinsic
        def add_one(context: Any, out: Any, a: Any, x: Any) -> Any:
            return types.void(INT, INT, FLOAT), generate

        return add_one
    if rows == 2:

        @intrinsic
        def add_two(context: Any, out: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
            return types.void(INT, INT, INT, FLOAT, FLOAT), generate

        return add_two

    @intrinsic
    def add_four(
        context: Any, out: Any, a: Any, b: Any, c: Any, d: Any, x: Any, y: Any, z: Any, w: Any
    ) -> Any:
        return types.void(*[INT] * 5, *[FLOAT] * 4), generate

    return add_four


def _firer(floats: int) -> Any:
    """``fire(v, threshold, current, fan, spikes)``: v += current; a spike (a byte of 1) where v
    is at least the threshold, which is taken off. Gives the number of spikes times 2^40 plus the
    sum of their fan-outs (int32)."""
    vector, flags = ir.VectorType(_F32, floats), ir.VectorType(_I8, floats)
    counts = ir.VectorType(_I32, floats)

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        v, threshold, current, fan, spikes = arguments
        theta = builder.load(_at(builder, threshold, vector), align=4)
        now = builder.load(_at(builder, v, vector), align=4)
        now = builder.fadd(now, builder.load(_at(builder, current, vector), align=4))
        fired = builder.fcmp_ordered(">=", now, theta)
        taken = builder.select(fired, theta, ir.Constant(vector, [0.0] * floats))
        builder.store(builder.fsub(now, taken), _at(builder, v, vector), align=4)
        builder.store(builder.zext(fired, flags), _at(builder, spikes, flags), align=1)
        each = builder.load(_at(builder, fan, counts), align=4)
        each = builder.select(fired, each, ir.Constant(counts, [0] * floats))
        name = f"llvm.vector.reduce.add.v{floats}i32"
        kind = ir.FunctionType(_I32, [counts])
        add = _declared(builder.module, kind, name)
        operations = builder.zext(builder.call(add, [each]), _I64)
        bits = builder.zext(builder.bitcast(fired, ir.IntType(floats)), _I64)
        events = builder.shl(builder.ctpop(bits), ir.Constant(_I64, 40))
        return builder.add(events, operations)

    @intrinsic
    def fire(context: Any, v: Any, threshold: Any, current: Any, fan: Any, spikes: Any) -> Any:
        return types.int64(*[INT] * 5), generate

    return fire


@intrinsic
def nonzero_mask(context: Any, bytes_: Any) -> Any:
    """Bit i is set where byte i of 64 is not zero."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_I8, 64)
        values = builder.load(_at(builder, arguments[0], vector), align=1)
        flags = builder.icmp_unsigned("!=", values, ir.Constant(vector, [0] * 64))
        return builder.bitcast(flags, _I64)

    return types.uint64(INT), generate


@intrinsic
def lowest_bit(context: Any, bits: Any) -> Any:
    """The position of the lowest bit that is set; there is one."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def lowest_bits(context: Any, count: Any) -> Any:
    """A mask of the lowest ``count`` bits, 1 to 64."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        left = builder.sub(ir.Constant(_I64, 64), arguments[0])
        return builder.lshr(ir.Constant(_I64, -1), left)

    return types.uint64(INT), generate


@intrinsic
def without_lowest(context: Any, bits: Any) -> Any:
    """The same bits without the lowest one."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.and_(arguments[0], builder.sub(arguments[0], ir.Constant(_I64, 1)))

    return types.uint64(types.uint64), generate


@intrinsic
def byte_at(context: Any, address: Any) -> Any:
    """The signed byte there, as a float32."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.sitofp(builder.load(_at(builder, arguments[0], _I8)), _F32)

    return types.float32(INT), generate


@intrinsic
def float_at(context: Any, address: Any) -> Any:
    """The float32 there."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load(_at(builder, arguments[0], _F32))

    return types.float32(INT), generate


@intrinsic
def int_at(context: Any, address: Any) -> Any:
    """The int32 there."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.sext(builder.load(_at(builder, arguments[0], _I32)), _I64)

    return types.int64(INT), generate


@intrinsic
def long_at(context: Any, address: Any) -> Any:
    """The int64 there."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load(_at(builder, arguments[0], _I64))

    return types.int64(INT), generate


@intrinsic
def put_long(context: Any, address: Any, value: Any) -> Any:
    """Write an int64."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        builder.store(arguments[1], _at(builder, arguments[0], _I64))

    return types.void(INT, INT), generate


@intrinsic
def put_event(context: Any, address: Any, position: Any, row: Any, gain: Any) -> Any:
    """Write 16 bytes: a position (int32), a gain (float32), the address of a row (int64)."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        at, position, row, gain = arguments
        builder.store(builder.trunc(position, _I32), _at(builder, at, _I32))
        after = builder.add(at, ir.Constant(_I64, 4))
        builder.store(gain, _at(builder, after, _F32))
        builder.store(row, _at(builder, builder.add(at, ir.Constant(_I64, 8)), _I64))

    return types.void(INT, INT, INT, FLOAT), generate


@intrinsic
def add_bytes(context: Any, out: Any, bytes_: Any, weight: Any) -> Any:
    """Eight floats: out += weight * bytes."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        vector, bytes_ = ir.VectorType(_F32, 8), ir.VectorType(_I8, 8)
        target = _at(builder, arguments[0], vector)
        spikes = builder.load(_at(builder, arguments[1], bytes_), align=1)
        weight = builder.load(_at(builder, arguments[2], vector), align=4)
        part = builder.fmul(builder.sitofp(spikes, vector), weight)
        builder.store(builder.fadd(builder.load(target, align=4), part), target, align=4)

    return types.void(INT, INT, INT), generate


@intrinsic
def add_small(context: Any, out: Any, bytes_: Any) -> Any:
    """Eight bytes: out += bytes."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> None:
        vector = ir.VectorType(_I8, 8)
        target, source = (_at(builder, a, vector) for a in arguments)
        total = builder.add(builder.load(target, align=1), builder.load(source, align=1))
        builder.store(total, target, align=1)

    return types.void(INT, INT), generate


add1_8, add1_16, add1_32 = (_adder(1, n) for n in (8, 16, 32))
add2_8, add2_16, add2_32 = (_adder(2, n) for n in (8, 16, 32))
add4_8, add4_16, add4_32 = (_adder(4, n) for n in (8, 16, 32))
fire_8, fire_32 = _firer(8), _firer(32)
