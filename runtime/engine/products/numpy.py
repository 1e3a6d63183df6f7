"""What a synapse does to a block of steps, prepared once: buffers and weights in memory order.

A kernel takes signals (time or 1, *inner), spikes as small integers or currents as floats, and
writes (time, *inner) floats. Convolutions and fully connected layers are matrix products that are
made for the "rows" layout; operations that only move elements work on views in any layout.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from ...ops import Array, Broadcast, Concat, LinearOp, Pad, Reshape, Shape, Slice, Take, Transpose
from ...ops.arrays import valid_taps
from ...ops.convolution import Conv
from ...ops.linear import Add, Linear, ReduceSum, Scale
from ...ops.pool import MaxPool, SumPool
from ..buffers import copied, zeros
from ..layout import Layout
from ..profile import Clock
from .numpy_convolution import Kernel, conv_kernel, has_large_weight, product_conv_kernel

WIDE_LINEAR_BYTES = 32_000  # larger weights are packed once per chunk, not once per step


def synapse_kernel(
    op: LinearOp,
    shapes: list[Shape],
    layout: Layout,
    dtype: np.dtype,
    chunk: int,
    clock: Clock,
    most: int | None = None,
) -> Kernel:
    """The kernel of ``op`` on inputs of sample ``shapes``, for at most ``chunk`` steps at once.
    ``most``: the largest magnitude of an input of small integers, None for other inputs."""
    if layout.order == "rows":
        if isinstance(op, Conv):
            kernel = conv_kernel(op, shapes[0], layout, dtype, chunk, clock)
            if kernel is not None:
                return kernel
        if isinstance(op, Linear) and len(shapes[0]) == 1:
            return _linear_kernel(op, layout, dtype, chunk, clock)
    elif isinstance(op, Conv) and has_large_weight(op, shapes[0]):
        return product_conv_kernel(op, shapes[0], layout, dtype, chunk, clock)
    match op:
        case Scale():
            return _scale_kernel(op, shapes[0], layout, dtype)
        case Add():
            return _add_kernel(shapes, layout, dtype, chunk)
        case Concat():
            return _concat_kernel(op, layout)
        case SumPool():
            if most is not None and most * prod(op.kernel) <= np.iinfo(np.int8).max:
                return _byte_pool_kernel(op, shapes[0], layout, chunk)
            return _sum_pool_kernel(op, shapes[0], layout, dtype, chunk)
        case Reshape():
            return _reshape_kernel(op, shapes[0], layout)
        case ReduceSum():
            return _reduce_kernel(op, shapes[0], layout, dtype, chunk)
        case Pad() | Slice() | Take() | Transpose() | Broadcast():
            return _moving_kernel(op, layout)
    return plain_kernel(op, layout, dtype)


def plain_kernel(op: LinearOp, layout: Layout, dtype: np.dtype) -> Kernel:
    """Any operation, through its record: copies to (time x batch, *shape) and back."""

    def run(xs: list[Array], out: Array) -> None:
        merged = []
        for x in xs:
            natural = np.broadcast_to(x, (len(out), *x.shape[1:]))
            natural = np.ascontiguousarray(layout.natural(natural), dtype=dtype)
            merged.append(natural.reshape(-1, *natural.shape[2:]))
        y = op.apply(*merged)
        layout.natural(out)[...] = y.reshape(len(out), layout.lanes, *y.shape[1:])

    return run


def _linear_kernel(op: Linear, layout: Layout, dtype: np.dtype, chunk: int, clock: Clock) -> Kernel:
    """y = W x for all lanes: one product per step, or one for all steps where W is large."""
    weight = copied(op.weight, dtype)
    features, lanes = weight.shape[1], layout.lanes
    wide = chunk > 1 and weight.nbytes > WIDE_LINEAR_BYTES
    held = zeros(features * chunk * lanes, dtype)
    result = zeros(weight.shape[0] * chunk * lanes if wide else 0, dtype)

    def per_step(xs: list[Array], out: Array) -> None:
        x = xs[0]
        if x.dtype != dtype:
            with clock.copies:
                operand = held[: x.size].reshape(x.shape)
                np.copyto(operand, x)
            x = operand
        np.matmul(weight, x, out=out)

    def all_steps(xs: list[Array], out: Array) -> None:
        n = len(out)
        operand = held[: features * n * lanes].reshape(features, n, lanes)
        whole = result[: len(weight) * n * lanes].reshape(len(weight), n * lanes)
        with clock.copies:
            np.copyto(operand, xs[0].swapaxes(0, 1))
        np.matmul(weight, operand.reshape(features, -1), out=whole)
        with clock.copies:
            np.copyto(out, whole.reshape(-1, n, lanes).swapaxes(0, 1))

    return all_steps if wide else per_step


def _scale_kernel(op: Scale, shape: Shape, layout: Layout, dtype: np.dtype) -> Kernel:
    if op.output_shape(shape) == shape:
        scale = layout.parameter(op.scale, shape, dtype)

        def same(xs: list[Array], out: Array) -> None:
            x = as_floats(xs[0], out)
            np.multiply(x, scale, out=out)

        return same
    values = op.scale.astype(dtype)

    def broadcasting(xs: list[Array], out: Array) -> None:
        natural = layout.natural(out)
        np.multiply(_aligned(layout.natural(xs[0]), natural.ndim), values, out=natural)

    return broadcasting


def as_floats(x: Array, out: Array) -> Array:
    """``x`` itself, or a copy in ``out``: ufuncs on mixed types are several times slower."""
    if x.dtype == out.dtype:
        return x
    np.copyto(out, x)
    return out


def _aligned(x: Array, ndim: int) -> Array:
    """A natural view with sample axes of length one added in front, up to ``ndim`` axes."""
    return x[(slice(None), slice(None), *(np.newaxis,) * (ndim - x.ndim))]


def _add_kernel(shapes: list[Shape], layout: Layout, dtype: np.dtype, chunk: int) -> Kernel:
    """The sum; ``out`` may be the buffer of one of the inputs."""
    held: list[Array] = []

    def floats(x: Array) -> Array:
        if x.dtype == dtype:
            return x
        if not held:
            held.append(zeros(max(prod(layout.inner(s)) for s in shapes) * chunk, dtype))
        out = held[0][: x.size].reshape(x.shape)
        np.copyto(out, x)
        return out

    def run(xs: list[Array], out: Array) -> None:
        # The plan slices its buffers anew for every block, so identity does not tell.
        aliases = [i for i, x in enumerate(xs) if np.may_share_memory(x, out)]
        first = aliases[0] if aliases else 0
        natural = layout.natural(out)
        if not aliases:
            np.copyto(natural, _aligned(layout.natural(xs[0]), natural.ndim))
        for i, x in enumerate(xs):
            if i == first:
                continue
            if x.ndim == out.ndim and x.shape[1:] == out.shape[1:]:
                np.add(out, floats(x), out=out)
            else:
                np.add(natural, _aligned(layout.natural(x), natural.ndim), out=natural)

    return run


def _concat_kernel(op: Concat, layout: Layout) -> Kernel:
    where = (slice(None),) * (op.axis + 2)

    def run(xs: list[Array], out: Array) -> None:
        same = all(x.dtype == out.dtype for x in xs)
        natural, at = layout.natural(_words(out, layout) if same else out), 0
        for x in xs:
            part = layout.natural(_words(x, layout) if same else x)
            size = part.shape[op.axis + 2]
            np.copyto(natural[(*where, slice(at, at + size))], part)
            at += size

    return run


def _words(x: Array, layout: Layout) -> Array:
    """The same memory with an element's lanes as few large words: moving them costs less."""
    if layout.order == "batch":
        return x
    size = x.shape[-1] * x.itemsize
    for word in (np.dtype(np.complex128), np.dtype(np.int64), np.dtype(np.int32)):
        if size % word.itemsize == 0:
            return x.view(word)
    return x


def pool_taps(op: SumPool | MaxPool, shape: Shape) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """For each window element, as indices of the last axes: the outputs that have it inside the
    input, and where it lies there."""
    rank = len(op.kernel)
    out = op.output_shape(shape)[1:]
    axes = [
        list(
            valid_taps(
                op.kernel[i], op.strides[i], op.dilations[i], op.pads[i], shape[i + 1], out[i]
            )
        )
        for i in range(rank)
    ]
    return [
        ((Ellipsis, *(tap[1] for tap in taps)), (Ellipsis, *(tap[2] for tap in taps)))
        for taps in product(*axes)
    ]


def _sum_pool_kernel(
    op: SumPool, shape: Shape, layout: Layout, dtype: np.dtype, chunk: int
) -> Kernel:
    taps = pool_taps(op, shape)
    if op.kernel == shape[1:] and not any(op.pads) and prod(op.output_shape(shape)[1:]) == 1:
        axes = tuple(range(1, len(shape)))
        return _reduce_kernel(ReduceSum(axes=axes, keepdims=True), shape, layout, dtype, chunk)
    held = zeros((chunk, *layout.inner(shape)), dtype)

    def run(xs: list[Array], out: Array) -> None:
        x, natural = layout.natural(as_floats(xs[0], held[: len(xs[0])])), layout.natural(out)
        out[...] = 0
        for target, source in taps:
            part = natural[target]
            np.add(part, x[source], out=part)

    return run


def _byte_pool_kernel(op: SumPool, shape: Shape, layout: Layout, chunk: int) -> Kernel:
    """Sums of spikes that a byte holds, along one axis after the other: long runs first."""
    passes: list[tuple[Array, list[Any], list[tuple[Any, Any]]]] = []
    out = op.output_shape(shape)
    for i in range(len(op.kernel)):
        window = (op.kernel[i], op.strides[i], op.dilations[i], op.pads[i])
        taps = list(valid_taps(*window, shape[i + 1], out[i + 1]))
        after = (slice(None),) * (len(op.kernel) - 1 - i)
        shape = (*shape[: i + 1], out[i + 1], *shape[i + 2 :])
        held = zeros((chunk, *layout.inner(shape)), np.int8)
        # the first two that reach all of the output fill it, the others are added
        whole = [tap for tap, target, _ in taps if target == slice(0, out[i + 1])][:2]
        pair = [(..., source, *after) for tap, _, source in taps if tap in whole]
        others = [
            ((..., target, *after), (..., source, *after))
            for tap, target, source in taps
            if tap not in whole
        ]
        passes.append((held, pair, others))

    def run(xs: list[Array], out: Array) -> None:
        x = sums = xs[0]
        for held, pair, others in passes:
            sums = held[: len(out)]
            before, now = layout.natural(x), layout.natural(sums)
            if len(pair) == 2:
                np.add(before[pair[0]], before[pair[1]], out=now)
            elif pair:
                np.copyto(now, before[pair[0]])
            else:
                now[...] = 0
            for target, source in others:
                part = now[target]
                np.add(part, before[source], out=part)
            x = sums
        np.copyto(out, sums)

    return run


def _reduce_kernel(
    op: ReduceSum, shape: Shape, layout: Layout, dtype: np.dtype, chunk: int
) -> Kernel:
    """A sum over axes: over all space in two passes along the memory order, else as it comes."""
    held = zeros((chunk, *layout.inner(shape)), dtype)
    over_space = layout.order == "rows" and len(shape) == 3 and set(op.axes) == {1, 2}
    axes = tuple(a + 2 for a in op.axes)
    lines = zeros((chunk, shape[0], shape[-1], layout.lanes) if over_space else 0, dtype)

    def run(xs: list[Array], out: Array) -> None:
        n = len(out)
        x = as_floats(xs[0], held[:n])
        if over_space:
            np.add.reduce(x, axis=1, out=lines[:n])
            np.add.reduce(lines[:n], axis=2, out=out.reshape(n, shape[0], layout.lanes))
        else:
            natural = layout.natural(out)
            np.sum(layout.natural(x), axis=axes, keepdims=op.keepdims, out=natural)

    return run


def _reshape_kernel(op: Reshape, shape: Shape, layout: Layout) -> Kernel:
    """Element order is (*shape) per sample; whichever side is stored so makes it one copy."""

    def run(xs: list[Array], out: Array) -> None:
        x, n, lanes = xs[0], len(out), layout.lanes
        if layout.order == "batch":
            np.copyto(out.reshape(n, lanes, *shape), x)
        elif len(op.shape) != 3:
            np.copyto(out.reshape(n, *shape, lanes), layout.samples_last(x))
        else:
            ordered = np.ascontiguousarray(layout.samples_last(x))
            np.copyto(layout.samples_last(out), ordered.reshape(-1, *op.shape, lanes))

    return run


def _moving_kernel(op: Pad | Slice | Take | Transpose | Broadcast, layout: Layout) -> Kernel:
    def run(xs: list[Array], out: Array) -> None:
        same = xs[0].dtype == out.dtype
        x = layout.natural(_words(xs[0], layout) if same else xs[0])
        y = layout.natural(_words(out, layout) if same else out)
        match op:
            case Pad():
                rank = len(op.pads) // 2
                y[...] = 0
                inner = (slice(b, b + n) for b, n in zip(op.pads[:rank], x.shape[2:], strict=True))
                np.copyto(y[(slice(None), slice(None), *inner)], x)
            case Slice():
                np.copyto(y, x[(slice(None), slice(None), *op._index())])
            case Take():
                np.copyto(y, np.take(x, op.indices, axis=op.axis + 2))
            case Transpose():
                np.copyto(y, x.transpose(0, 1, *(p + 2 for p in op.perm)))
            case Broadcast():
                np.copyto(y, _aligned(x, y.ndim))

    return run
