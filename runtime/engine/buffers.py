"""Arrays that begin at a cache line.

NumPy aligns large arrays to 16 bytes only; then every 64-byte vector load touches two cache lines,
which costs the matrix products and the neuron updates up to half of their speed.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..ops import Array, Shape

LINE = 64


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
