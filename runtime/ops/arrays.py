"""Arrays, shapes, and the windows that convolutions and pools look through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...errors import GraphError

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = Sequence[Shape]  # of all inputs of an operation
BLOCK = 1 << 20  # numbers


def frozen(array: Any, dtype: Any = None) -> Array:
    """A read-only array: a copy only where needed, so that records can be shared safely."""
    out = np.asarray(array, dtype=dtype)
    if out.flags.writeable:
        out = out.copy() if out.base is not None or out is array else out
        out.flags.writeable = False
    return out


def own(array: Array) -> Array:
    """``array``, which nobody else has, made read-only: ``frozen`` then has nothing to copy."""
    array.flags.writeable = False
    return array


def row_blocks(array: Array) -> Iterator[slice]:
    """Slices of the first axis, of ``BLOCK`` numbers or one row: what is computed of a large array
    a block at a time needs no second one of its size."""
    rows = max(1, BLOCK * len(array) // max(array.size, 1))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)


def only(shapes: Shapes) -> Shape:
    """The single shape of an operation with one input. Raises GraphError for another number."""
    if len(shapes) != 1:
        raise GraphError(f"an operation with one input was given {len(shapes)}")
    return shapes[0]


def window_count(
    spatial: Shape, *, kernel: Shape, strides: Shape, dilations: Shape, pads: Shape
) -> Shape:
    """How many windows fit along each spatial axis (floor rule).

    Raises GraphError where a window is larger than the padded input.
    """
    rank = len(kernel)
    counts = tuple(
        (n + b + e - (d * (k - 1) + 1)) // s + 1
        for n, k, s, d, b, e in zip(
            spatial, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True
        )
    )
    if any(c < 1 for c in counts):
        raise GraphError(f"a window of {kernel} does not fit into {spatial} padded by {pads}")
    return counts


def windows_of(
    x: Array, kernel: Shape, strides: Shape, dilations: Shape, pads: Shape, *, fill: float = 0
) -> Array:
    """A view (batch, channel, *positions, *kernel) of x (batch, channel, *spatial), padded."""
    rank = len(kernel)
    if any(pads):
        widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
        x = np.pad(x, widths, constant_values=fill)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    view = sliding_window_view(x, reach, axis=tuple(range(2, 2 + rank)))
    steps = tuple(slice(None, None, s) for s in strides)
    inner = tuple(slice(None, None, d) for d in dilations)
    return view[(slice(None), slice(None), *steps, *inner)]


def valid_taps(
    kernel: int, *, stride: int, dilation: int, pad: int, size: int, size_out: int
) -> Iterator[tuple[int, slice, slice]]:
    """For each kernel element along an axis: outputs it reaches, and the inputs they read."""
    for tap in range(kernel):
        shift = tap * dilation - pad
        low = max(0, -(shift // stride))
        high = min(size_out, (size - 1 - shift) // stride + 1)
        if low < high:
            first = low * stride + shift
            yield tap, slice(low, high), slice(first, first + (high - low - 1) * stride + 1, stride)


def numbered(shape: Shape) -> Array:
    """Element numbers from 1, as one sample: (1, *shape). Zero is left for what is no element."""
    return np.arange(1, prod(shape) + 1, dtype=np.int64).reshape(1, *shape)


def narrowed(array: Array) -> Array:
    """The array with every axis along which it is constant cut to length one."""
    for axis, n in enumerate(array.shape):
        first = np.take(array, [0], axis=axis)
        if n > 1 and np.array_equal(np.broadcast_to(first, array.shape), array):
            array = first
    return array


def compact_scale(scale: Array) -> Array:
    """A scale without axes along which it is constant; the same everywhere, it is a scalar."""
    out = narrowed(np.asarray(scale, np.float32))
    return out.reshape(()) if out.size == 1 else out


def sum_to(y: Array, shape: Shape) -> Array:
    """Undoes broadcasting: sums ``y`` over the axes along which ``shape`` was repeated."""
    y = y.sum(axis=tuple(range(y.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and y.shape[i] != 1)
    return y.sum(axis=axes, keepdims=True) if axes else y
