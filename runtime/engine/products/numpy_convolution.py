"""Convolutions on blocks of spikes in the "rows" layout, as matrix products.

With maps kept as (H, C, W, lanes), only the horizontal axis needs im2col (kernel-width copies
instead of kernel-area); the kernel-height rows an output row reads are consecutive in memory. Each
output row is one product W (out, ky kx C) @ rows (ky kx C, W out lanes), small enough for the
BLAS kernels that work without packing, and its operands are still in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...ops import Array, Shape
from ...ops.arrays import valid_taps
from ...ops.convolution import Conv
from ..buffers import copied, zeros
from ..layout import Layout
from ..profile import Clock

Kernel: TypeAlias = Callable[[list[Array], Array], None]

FEW_POSITIONS = 64  # of a map, per sample
LARGE_WEIGHT_BYTES = 4_000_000  # more than a core's cache: read once for as many steps as can be
WIDE_WEIGHT_BYTES = 200_000  # larger weights are read once per chunk, not once per row and step


def has_large_weight(op: object, shape: Shape) -> bool:
    """Whether one product over all steps beats ONNX Runtime's direct kernel, which reads the
    weights again for every few rows of every sample: they do not stay in the cache, and the maps
    are too small to use them often (measured: docs/performance.md)."""
    return (
        isinstance(op, Conv)
        and op.groups == 1
        and len(shape) == 3
        and op.weight.nbytes > LARGE_WEIGHT_BYTES
        and prod(op.output_shape(shape)[1:]) <= FEW_POSITIONS
    )


def _as_plane(op: Conv, shape: Shape) -> tuple[Shape, Shape, Shape, Shape, tuple[int, ...]]:
    """(input (C, H, W), kernel, strides, dilations, pads) of a 1-D or 2-D convolution."""
    if len(shape) == 2:
        return (
            (shape[0], 1, shape[1]),
            (1, *op.kernel),
            (1, *op.strides),
            (1, *op.dilations),
            (0, op.pads[0], 0, op.pads[1]),
        )
    return shape, op.kernel, op.strides, op.dilations, op.pads


def conv_kernel(
    op: Conv, shape: Shape, layout: Layout, dtype: np.dtype, chunk: int, clock: Clock
) -> Kernel | None:
    """A matrix product per output row, offset sums for depthwise, None where neither fits."""
    if len(shape) not in (2, 3):
        return None
    plane, kernel, _, dilations, _ = _as_plane(op, shape)
    depthwise = op.groups == plane[0] == op.weight.shape[0] and op.groups > 1
    if (op.groups > 1 and not depthwise) or (dilations[0] > 1 and kernel[0] > 1):
        return None
    columns = _Columns(op, shape, layout, dtype, chunk)
    if depthwise:
        return _depthwise_kernel(op, columns, layout, dtype, clock)
    # (out, kernel y, kernel x, in): the order of the rows in the columns buffer
    weight = op.weight.reshape(op.weight.shape[0], op.weight.shape[1], *kernel)
    matrix = copied(weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1), dtype)
    if matrix.nbytes > WIDE_WEIGHT_BYTES:
        return _wide_conv_kernel(matrix, columns, clock, dtype)
    windows = columns.windows()

    def run(xs: list[Array], out: Array) -> None:
        n = len(out)
        with clock.copies:
            columns.fill(xs[0])
        rows = out.reshape(n, columns.height_out, len(matrix), -1)
        np.matmul(matrix, windows[:n], out=rows)

    return run


_PACKED = {4: np.int32, 8: np.int64}


class _Columns:
    """im2col over the horizontal axis only: (time, H + pads, kernel x, C, W out, lanes).

    Borders are zeroed once and never written. The kernel-height rows that an output row reads are
    consecutive in memory, so ``windows`` is a view: the vertical axis costs no copy.
    """

    def __init__(self, op: Conv, shape: Shape, layout: Layout, dtype: np.dtype, chunk: int):
        plane, self.kernel, self.strides, dilations, pads = _as_plane(op, shape)
        channels, height, width = plane
        out = op.output_shape(shape)
        self.height_out = 1 if len(shape) == 2 else out[1]
        self.width_out = out[-1]
        self.plane, self.lanes, self.chunk = plane, layout.lanes, chunk
        top, left, bottom, _ = pads
        # With a kernel one row high only the rows that are read are kept.
        self.thin = self.kernel[0] == 1 and top == bottom == 0
        self.rows = slice(0, None, self.strides[0]) if self.thin else slice(None)
        stored = self.height_out if self.thin else height + top + bottom
        self.step = 1 if self.thin else self.strides[0]
        self.inside = slice(0, stored) if self.thin else slice(top, top + height)
        self.buffer = zeros(
            (chunk, stored, self.kernel[1], channels, self.width_out, layout.lanes), dtype
        )
        self.taps = list(
            valid_taps(self.kernel[1], self.strides[1], dilations[1], left, width, self.width_out)
        )

    def fill(self, x: Array) -> None:
        """Copy a signal (time, H, C, W, lanes) or (time, C, W, lanes) in."""
        n = len(x)
        x = x.reshape(n, self.plane[1], self.plane[0], self.plane[2], self.lanes)
        x = x[:, self.rows][:, : self.inside.stop - self.inside.start]
        target = self.buffer[:n, self.inside]
        for tap, outside, source in self.taps:
            section = x[:, :, :, source]
            if self.strides[1] > 1 and x.dtype == np.int8 and self.lanes in _PACKED:
                # A sample's lanes as one integer: the strided part of the copy moves whole words.
                words = section.view(_PACKED[self.lanes])
                section = np.ascontiguousarray(words).view(np.int8)
            np.copyto(target[:, :, tap, :, outside], section)

    def windows(self) -> Array:
        """(chunk, H out, kernel y * kernel x * C, W out * lanes), a view with overlaps."""
        time, row, _, _, _, item = self.buffer.strides
        line = self.width_out * self.lanes
        depth = self.kernel[0] * self.kernel[1] * self.plane[0]
        return as_strided(
            self.buffer,
            (self.chunk, self.height_out, depth, line),
            (time, row * self.step, line * item, item),
            writeable=False,
        )


def _wide_conv_kernel(matrix: Array, columns: _Columns, clock: Clock, dtype: np.dtype) -> Kernel:
    """Large weights: all rows and steps in one product, so the weights are read once."""
    height, line = columns.height_out, columns.width_out * columns.lanes
    depth = matrix.shape[1]
    windows = columns.windows()
    flat = zeros((depth, columns.chunk * height * line), dtype)
    result = zeros((len(matrix), columns.chunk * height * line), dtype)

    def run(xs: list[Array], out: Array) -> None:
        n = len(out)
        size = n * height * line
        operand = flat.reshape(-1)[: depth * size].reshape(depth, size)
        whole = result.reshape(-1)[: len(matrix) * size].reshape(len(matrix), size)
        with clock.copies:
            columns.fill(xs[0])
            np.copyto(operand.reshape(depth, n, height, line), windows[:n].transpose(2, 0, 1, 3))
        np.matmul(matrix, operand, out=whole)
        with clock.copies:
            source = whole.reshape(-1, n, height, line).transpose(1, 2, 0, 3)
            np.copyto(out.reshape(n, height, -1, line), source)

    return run


def product_conv_kernel(
    op: Conv, shape: Shape, layout: Layout, dtype: np.dtype, chunk: int, clock: Clock
) -> Kernel:
    """One product for all steps, lanes and positions, in the "batch" layout (2-D, one group).

    The operand is (C ky kx, positions, time lanes): time and lanes together are the run that is
    copied, so small maps cost no more than large ones.
    """
    channels, height, width = shape
    top, left, bottom, right = op.pads
    out_channels, *plane = op.output_shape(shape)
    most = chunk * layout.lanes
    matrix = copied(op.weight.reshape(out_channels, -1), dtype)
    padded = zeros(channels * (height + top + bottom) * (width + left + right) * most, dtype)
    flat = zeros(matrix.shape[1] * plane[0] * plane[1] * most, dtype)
    result = zeros(out_channels * plane[0] * plane[1] * most, dtype)
    taps = list(product(*(range(k) for k in op.kernel)))

    def part(buffer: Array, *axes: int) -> Array:
        return buffer[: prod(axes)].reshape(axes)

    def run(xs: list[Array], out: Array) -> None:
        count = len(out) * layout.lanes
        with clock.copies:
            x = part(padded, channels, height + top + bottom, width + left + right, count)
            x[...] = 0
            inside = x[:, top : top + height, left : left + width]
            np.copyto(inside, xs[0].reshape(count, *shape).transpose(1, 2, 3, 0))
            operand = part(flat, channels, len(taps), *plane, count)
            for i, tap in enumerate(taps):
                where = (
                    slice(t * d, t * d + s * (n - 1) + 1, s)
                    for t, d, s, n in zip(tap, op.dilations, op.strides, plane, strict=True)
                )
                np.copyto(operand[:, i], x[(slice(None), *where)])
        whole = part(result, out_channels, *plane, count)
        rows = operand.reshape(matrix.shape[1], -1)
        np.matmul(matrix, rows, out=whole.reshape(out_channels, -1))
        with clock.copies:
            np.copyto(out.reshape(count, out_channels, *plane), whole.transpose(3, 0, 1, 2))

    return run


def _depthwise_kernel(
    op: Conv, columns: _Columns, layout: Layout, dtype: np.dtype, clock: Clock
) -> Kernel:
    """One channel in, one out: per row and channel a (1, taps) @ (taps, W out lanes) product.

    The taps of one channel are equally spaced in the columns buffer (kernel rows follow each
    other, and within a row the horizontal taps), so the operand is a view here too.
    """
    channels = columns.plane[0]
    weight = copied(op.weight.reshape(channels, 1, -1), dtype)
    line = columns.width_out * layout.lanes
    time, row, tap, channel, _, item = columns.buffer.strides
    operand = as_strided(
        columns.buffer,
        (columns.chunk, columns.height_out, channels, weight.shape[2], line),
        (time, row * columns.step, channel, tap, item),
        writeable=False,
    )

    def run(xs: list[Array], out: Array) -> None:
        n = len(out)
        with clock.copies:
            columns.fill(xs[0])
        rows = out.reshape(n, columns.height_out, channels, 1, line)
        np.matmul(weight, operand[:n], out=rows)

    return run
