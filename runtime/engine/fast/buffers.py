"""Arrays that begin at a cache line, and parameters as long rows.

NumPy aligns large arrays to 16 bytes only; then every 64-byte vector load touches two cache lines,
which costs the matrix products and the neuron updates up to half of their speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...ops import Array, Shape

LINE = 64
LONG = 24576  # elements of a parameter row: long inner loops, in a small part of L2


def zeros(shape: Shape | int, dtype: Any) -> Array:
    """``numpy.zeros``, aligned to a cache line and with one to spare behind it: kernels that load
    whole vectors may read (not write) over the end."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    kind = np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    raw = np.zeros(size + 2 * LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(kind).reshape(shape)


class Arena:
    """Memory that kernels share which run one after the other, each for the time of its call."""

    def __init__(self) -> None:
        self.raw = zeros(0, np.uint8)

    def arrays(self, shapes: Sequence[Shape], dtype: Any) -> list[Array]:
        """Arrays behind each other, whose memory stays as it is; those of another call may be in
        the same place."""
        kind = np.dtype(dtype)
        sizes = [-(-prod(shape) * kind.itemsize // LINE) * LINE for shape in shapes]
        if self.raw.size < sum(sizes):  # views of the smaller one stay valid
            self.raw = zeros(sum(sizes), np.uint8)
        begin = [sum(sizes[:i]) for i in range(len(sizes))]
        ends = [at + prod(shape) * kind.itemsize for at, shape in zip(begin, shapes, strict=True)]
        return [
            self.raw[at:end].view(kind).reshape(shape)
            for at, end, shape in zip(begin, ends, shapes, strict=True)
        ]


def copied(values: Array, dtype: Any) -> Array:
    """A contiguous aligned copy of ``values``."""
    out = zeros(values.shape, dtype)
    out[...] = values
    return out


def long_row(values: Array, shape: Shape, lanes: int, dtype: Any) -> Array:
    """``values``, which broadcast to a sample ``shape``, as (1, length), to combine with a step of
    ``lanes`` samples reshaped to (-1, length): one number where they are all the same, else as
    many samples' as ``LONG`` elements hold, for few long inner loops."""
    if values.size == 1:
        return copied(values.reshape(1, 1), dtype)
    row = np.broadcast_to(values, shape).reshape(1, -1)
    times = [k for k in range(1, lanes + 1) if lanes % k == 0 and k * row.size <= LONG]
    return copied(np.tile(row, max(times, default=1)), dtype)
