"""Arrays that begin at a cache line, and parameters as long rows.

NumPy aligns large arrays to 16 bytes only; then every 64-byte vector load touches two cache lines,
which costs the matrix products and the neuron updates up to half of their speed.
"""

from __future__ import annotations

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
