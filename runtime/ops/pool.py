"""Sums and maxima over windows. See ``ops``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from .arrays import Array, Shape, Shapes, numbered, only, window_count, windows_of
from .convolution import section
from .operation import Connections, LinearOp, Operation, Scales, listed, operation


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool:
    """Windows of each channel; pads: begins then ends."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        spatial = window_count(
            shape[1:],
            kernel=self.kernel,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
        )
        return (shape[0], *spatial)

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        scale = scales[0]
        return scale if scale is None or prod(scale.shape[1:]) == 1 else None


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class SumPool(_Pool, LinearOp):
    """Sum over windows of each channel. An average pool is a SumPool and a Scale."""

    array = ""
    pattern = "windows"

    def apply(self, *xs: Array) -> Array:
        windows = windows_of(
            xs[0], self.kernel, strides=self.strides, dilations=self.dilations, pads=self.pads
        )
        return windows.sum(axis=tuple(range(-len(self.kernel), 0)), dtype=xs[0].dtype)

    def terms(self, *shapes: Shape) -> int:
        return prod(self.kernel)

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        rank, (channels, *spatial) = len(self.kernel), shapes[0]
        begin, end = self.pads[:rank], self.pads[rank:]
        sizes = (n + b + e for n, b, e in zip(spatial, begin, end, strict=True))
        padded = np.zeros((channels, *sizes), np.result_type(y, np.float64))
        for offset in product(*(range(k) for k in self.kernel)):
            where = section(offset, self.dilations, self.strides, y.shape[1:])
            padded[(slice(None), *where)] += y
        inner = (slice(b, b + n) for b, n in zip(begin, spatial, strict=True))
        return padded[(slice(None), *inner)]

    def connections(self, position: int, shapes: Shapes) -> Connections:
        spans = (self.kernel, self.strides, self.dilations, self.pads)
        windows = windows_of(numbered(shapes[0]), *spans)
        return listed(windows.reshape(-1, prod(self.kernel)), np.ones(1))


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(_Pool, Operation):
    """Maximum over windows of each channel; padding never wins. Not linear, but homogeneous:
    max(c x) = c max(x) for c >= 0, so it is exact on cumulated spikes (see ``graph.MaxPool``)."""

    array = ""

    def apply(self, *xs: Array) -> Array:
        x = xs[0]
        fill = np.finfo(x.dtype).min if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        windows = windows_of(
            x,
            self.kernel,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
            fill=fill,
        )
        return windows.max(axis=tuple(range(-len(self.kernel), 0)))

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        scale = super().carry_scale(scales, shapes)
        return scale if scale is None or np.all(scale > 0) else None
