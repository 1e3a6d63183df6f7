"""Convolutions. See ``ops``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ...errors import GraphError
from .arrays import Array, Shape, frozen, only, window_count

# Elements of one sample tile's columns that a convolution lays out at a time.
COLUMN_ELEMENTS = 300_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv:
    """Convolution over 1 to 3 spatial axes, as ONNX defines it, without bias.

    weight: (out channels, in channels / groups, *kernel); pads: begins then ends, zeros.
    """

    weight: Array
    strides: Shape
    dilations: Shape
    pads: Shape
    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen(self.weight))

    @property
    def kernel(self) -> Shape:
        return tuple(self.weight.shape[2:])

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        if len(shape) != self.weight.ndim - 1 or shape[0] != self.weight.shape[1] * self.groups:
            raise GraphError(
                f"Conv with weight {self.weight.shape} and {self.groups} groups got shape {shape}"
            )
        spatial = window_count(shape[1:], self.kernel, self.strides, self.dilations, self.pads)
        return (self.weight.shape[0], *spatial)

    def apply(self, *xs: Array) -> Array:
        x, out = xs[0], self.output_shape(xs[0].shape[1:])
        weight = self.weight.reshape(self.groups, len(self.weight) // self.groups, -1)
        y = np.empty((len(x), *out), np.result_type(x, weight))
        # A few samples at a time: their columns stay in the cache.
        size = max(1, COLUMN_ELEMENTS // (x.shape[1] * prod(self.kernel) * prod(out[1:])))
        for at in range(0, len(x), size):
            columns = self.columns(x[at : at + size])
            grouped = columns.reshape(len(columns), self.groups, weight.shape[2], -1)
            part = y[at : at + size].reshape(len(columns), self.groups, weight.shape[1], -1)
            np.matmul(weight, grouped, out=part)
        return y

    def columns(self, x: Array) -> Array:
        """The inputs of every window: (batch, in channels, kernel elements, *positions)."""
        spatial = self.output_shape(x.shape[1:])[1:]
        rank = len(self.kernel)
        if any(self.pads):
            widths = zip(self.pads[:rank], self.pads[rank:], strict=True)
            x = np.pad(x, [(0, 0), (0, 0), *widths])
        columns = np.empty((*x.shape[:2], prod(self.kernel), *spatial), x.dtype)
        for i, tap in enumerate(product(*(range(k) for k in self.kernel))):
            where = (
                slice(t * d, t * d + s * (n - 1) + 1, s)
                for t, d, s, n in zip(tap, self.dilations, self.strides, spatial, strict=True)
            )
            columns[:, :, i] = x[(slice(None), slice(None), *where)]
        return columns


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvTranspose:
    """Transposed convolution (the adjoint of ``Conv``), as ONNX defines it, without bias.

    weight: (in channels, out channels / groups, *kernel); pads are cropped from the full output.
    """

    weight: Array
    strides: Shape
    dilations: Shape
    pads: Shape
    output_padding: Shape
    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen(self.weight))

    @property
    def kernel(self) -> Shape:
        return tuple(self.weight.shape[2:])

    def _full(self, spatial: Shape) -> Shape:
        return tuple(
            s * (n - 1) + d * (k - 1) + 1 + extra
            for n, k, s, d, extra in zip(
                spatial,
                self.kernel,
                self.strides,
                self.dilations,
                self.output_padding,
                strict=True,
            )
        )

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        rank = len(self.kernel)
        if len(shape) != rank + 1 or shape[0] != self.weight.shape[0]:
            raise GraphError(f"ConvTranspose with weight {self.weight.shape} got shape {shape}")
        full = self._full(shape[1:])
        spatial = (
            n - b - e for n, b, e in zip(full, self.pads[:rank], self.pads[rank:], strict=True)
        )
        return (self.weight.shape[1] * self.groups, *spatial)

    def apply(self, *xs: Array) -> Array:
        x = xs[0]
        rank, batch, spatial = len(self.kernel), x.shape[0], x.shape[2:]
        full = self._full(spatial)
        per_group = self.weight.shape[1]
        xg = x.reshape(batch, self.groups, -1, *spatial)
        wg = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        dtype = np.result_type(x, self.weight)
        out = np.zeros((batch, self.groups, per_group, *full), dtype)
        for offset in product(*(range(k) for k in self.kernel)):
            tap: tuple[Any, ...] = (..., *offset)
            part = np.einsum("bgi...,gio->bgo...", xg, wg[tap], optimize=True)
            at: tuple[Any, ...] = tuple(
                slice(o * d, o * d + s * (n - 1) + 1, s)
                for o, d, s, n in zip(offset, self.dilations, self.strides, spatial, strict=True)
            )
            out[(Ellipsis, *at)] += part
        crop: tuple[Any, ...] = tuple(
            slice(b, n - e)
            for n, b, e in zip(full, self.pads[:rank], self.pads[rank:], strict=True)
        )
        out = out[(Ellipsis, *crop)]
        return np.ascontiguousarray(out.reshape(batch, -1, *out.shape[3:]))
