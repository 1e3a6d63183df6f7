"""Convolutions with weights larger than a core's cache, on small maps: one product for all steps.

ONNX Runtime's direct kernel reads the weights again for every few rows of every sample; here they
are read once per block of steps: half its time on VGG-16's last layers (docs/performance.md).
"""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from ....ops import Array, Shape
from ....ops.convolution import Conv
from ...profile import Clock
from ..buffers import copied, zeros
from .records import Kernel

FEW_POSITIONS = 64  # of a map, per sample
LARGE_WEIGHT_BYTES = 4_000_000  # more than a core's cache: read once for as many steps as can be


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


def large_kernel(
    op: Conv, shape: Shape, *, lanes: int, dtype: np.dtype, chunk: int, clock: Clock
) -> Kernel:
    """One product for all steps, lanes and positions (two axes, one group).

    The operand is (C ky kx, positions, time lanes): time and lanes together are the run that is
    copied, so small maps cost no more than large ones.
    """
    channels, height, width = shape
    top, left, bottom, right = op.pads
    out_channels, *plane = op.output_shape(shape)
    most = chunk * lanes
    matrix = copied(op.weight.reshape(out_channels, -1), dtype)
    padded = zeros(channels * (height + top + bottom) * (width + left + right) * most, dtype)
    flat = zeros(matrix.shape[1] * plane[0] * plane[1] * most, dtype)
    result = zeros(out_channels * plane[0] * plane[1] * most, dtype)
    taps = list(product(*(range(k) for k in op.kernel)))

    def part(buffer: Array, *axes: int) -> Array:
        return buffer[: prod(axes)].reshape(axes)

    def run(xs: list[Array], out: Array) -> None:
        count = len(out) * lanes
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
