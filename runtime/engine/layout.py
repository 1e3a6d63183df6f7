"""How the engine keeps signals in memory: which axis is where, for a tile of samples ("lanes").

Records and readouts speak of (batch, *sample shape). Inside the engine two orders are used:

* "rows" (the NumPy engine): feature maps (C, H, W) are kept as (H, C, W, batch), everything else
  as (*shape, batch). A row of the map with all its channels is one contiguous run, so that a
  convolution is, per output row, one matrix product with kernel-height consecutive rows (no
  im2col over the vertical axis), per-channel parameters repeat from row to row (small arrays that
  stay in the L1 cache), and the neuron update is one long loop.
* "batch" (ONNX Runtime's order): (batch, *shape).

Code that only moves or combines elements works on ``natural`` views and does not care.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from ..ops import Array, Shape
from .buffers import copied, zeros

LONG = 24576  # elements of a parameter row: a small part of a core's L2 cache
Order = Literal["rows", "batch"]


@dataclass(frozen=True)
class Layout:
    """``lanes`` samples side by side, in ``order``. Signals have a leading time axis."""

    lanes: int
    order: Order = "rows"

    def inner(self, shape: Shape) -> Shape:
        """The memory shape of one step of a signal with sample shape ``shape``."""
        if self.order == "batch":
            return (self.lanes, *shape)
        if len(shape) == 3:
            return (shape[1], shape[0], shape[2], self.lanes)
        return (*shape, self.lanes)

    def natural(self, x: Array) -> Array:
        """A view (time, batch, *shape) of a signal (time, *inner)."""
        if self.order == "batch":
            return x
        if x.ndim == 5:
            return x.transpose(0, 4, 2, 1, 3)
        return np.moveaxis(x, -1, 1)

    def samples_last(self, x: Array) -> Array:
        """A view (time, *shape, batch) of a signal (time, *inner)."""
        if self.order == "batch":
            return np.moveaxis(x, 1, -1)
        return x.transpose(0, 2, 1, 3, 4) if x.ndim == 5 else x

    def parameter(self, values: Array, shape: Shape, dtype: np.dtype) -> Array:
        """``values`` (broadcasting to ``shape``) in memory order, ready to combine with one step.

        A single value stays one number; the outermost memory axis has length one where the values
        do not vary along it, the others are written out so that inner loops are long.
        """
        if values.size == 1:
            return np.asarray(values.ravel()[0], dtype)
        full = np.broadcast_to(values, shape)
        if self.order == "batch":
            return copied(full, dtype)[np.newaxis]
        lanes = np.broadcast_to(full, (1, self.lanes, *shape))
        inner = zeros((1, *self.inner(shape)), dtype)
        self.natural(inner)[...] = lanes
        inner = inner[0]
        same = len(shape) == 3 and values.shape[-2:-1] in ((1,), ())
        return copied(inner[:1], dtype) if same else inner

    def long_rows(self, values: Array, shape: Shape) -> Array:
        """A result of ``parameter`` as (1, length), to combine with a step reshaped to (-1,
        length): where its rows repeat, several are written out, for few long inner loops."""
        height, size = self.inner(shape)[0], prod(self.inner(shape))
        if values.ndim == 0 or values.size == size:
            return values.reshape(1, -1)
        row = values.reshape(1, -1)
        times = [k for k in range(1, height + 1) if height % k == 0 and k * row.size <= LONG]
        return copied(np.tile(row, max(times, default=1)), values.dtype)

    def per_neuron(self, values: Array) -> Array:
        """(neurons,) of ``values`` (*shape) in the memory order of one lane."""
        if self.order == "rows" and values.ndim == 3:
            values = values.transpose(1, 0, 2)
        return np.ascontiguousarray(values).reshape(-1)

    def neurons_by_lanes(self, x: Array) -> Array:
        """One step (*inner) as a view (neurons, lanes)."""
        if self.order == "batch":
            return x.reshape(self.lanes, -1).T
        return x.reshape(-1, self.lanes)

    def nbytes(self, shape: Shape, dtype: np.dtype) -> int:
        """Bytes of one step."""
        return prod(shape) * self.lanes * dtype.itemsize
