"""Sums and maxima over windows. See ``ops``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, Shape, only, window_count, windows_of


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool:
    """Windows of each channel; pads: begins then ends."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        spatial = window_count(shape[1:], self.kernel, self.strides, self.dilations, self.pads)
        return (shape[0], *spatial)


@dataclass(frozen=True, eq=False, kw_only=True)
class SumPool(_Pool):
    """Sum over windows of each channel. An average pool is a SumPool and a Scale."""

    def apply(self, *xs: Array) -> Array:
        windows = windows_of(xs[0], self.kernel, self.strides, self.dilations, self.pads)
        return windows.sum(axis=tuple(range(-len(self.kernel), 0)), dtype=xs[0].dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(_Pool):
    """Maximum over windows of each channel; padding never wins. Not linear, but homogeneous:
    max(c x) = c max(x) for c >= 0, so it is exact on cumulated spikes (see ``graph.MaxPool``)."""

    def apply(self, *xs: Array) -> Array:
        x = xs[0]
        fill = np.finfo(x.dtype).min if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        windows = windows_of(x, self.kernel, self.strides, self.dilations, self.pads, fill)
        return windows.max(axis=tuple(range(-len(self.kernel), 0)))
