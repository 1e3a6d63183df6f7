"""Convolutions. See ``ops``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ...errors import GraphError
from .arrays import Array, Shape, Shapes, numbered, only, window_count, windows_of
from .operation import Connections, WeightedOp, listed, operation

# Elements of one sample tile's columns that a convolution lays out at a time.
COLUMN_ELEMENTS = 300_000


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(WeightedOp):
    """Convolution over 1 to 3 spatial axes, as ONNX defines it, without bias.

    weight: (out channels, in channels / groups, *kernel); pads: begins then ends, zeros.
    """

    pattern = "windows"
    channel_axis = 0

    weight: Array
    strides: Shape
    dilations: Shape
    pads: Shape
    groups: int = 1

    @property
    def kernel(self) -> Shape:
        return tuple(self.weight.shape[2:])

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        if len(shape) != self.weight.ndim - 1 or shape[0] != self.weight.shape[1] * self.groups:
            raise GraphError(
                f"Conv with weight {self.weight.shape} and {self.groups} groups got shape {shape}"
            )
        spatial = window_count(
            shape[1:],
            kernel=self.kernel,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
        )
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
            where = section(tap, self.dilations, self.strides, spatial)
            columns[:, :, i] = x[(slice(None), slice(None), *where)]
        return columns

    def terms(self, *shapes: Shape) -> int:
        return prod(self.weight.shape[1:])

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        rank, spatial = len(self.kernel), shapes[0][1:]
        padded = (
            n + b + e for n, b, e in zip(spatial, self.pads[:rank], self.pads[rank:], strict=True)
        )
        reached = _reached(
            y.shape[1:], kernel=self.kernel, strides=self.strides, dilations=self.dilations
        )
        back = ConvTranspose(
            weight=self.weight,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
            output_padding=tuple(n - r for n, r in zip(padded, reached, strict=True)),
            groups=self.groups,
        )
        return back.apply(y[np.newaxis])[0]

    def connections(self, position: int, shapes: Shapes) -> Connections:
        (shape,) = shapes
        outs, positions = len(self.weight), prod(self.output_shape(shape)[1:])
        spans = (self.kernel, self.strides, self.dilations, self.pads)
        windows = windows_of(numbered(shape), *spans)
        # (channels, positions, taps) -> per group (positions, channels of the group * taps)
        windows = windows.reshape(shape[0], positions, prod(self.kernel))
        groups = windows.reshape(self.groups, shape[0] // self.groups, positions, -1)
        cols = groups.transpose(0, 2, 1, 3).reshape(self.groups, positions, -1)
        index = np.repeat(cols, outs // self.groups, axis=0).reshape(outs * positions, -1)
        return listed(index, np.repeat(self.weight.reshape(outs, -1), positions, axis=0))

    def fan_out(self, shape: Shape) -> Array:
        rank = len(self.kernel)
        nonzero = (self.weight != 0).astype(np.float64)
        # weight (out, in/groups, k): each input channel is read by its own group's outputs
        per_group = nonzero.reshape(self.groups, -1, *nonzero.shape[1:]).sum(axis=1)
        uses = per_group.reshape(-1, *self.kernel)  # (in channels, *kernel)
        out_spatial = self.output_shape(shape)[1:]
        begin, end = self.pads[:rank], self.pads[rank:]
        padded = np.zeros(
            (shape[0], *(n + b + e for n, b, e in zip(shape[1:], begin, end, strict=True)))
        )
        for offset in product(*(range(k) for k in self.kernel)):
            where = section(offset, self.dilations, self.strides, out_spatial)
            of_tap = uses[(slice(None), *offset)].reshape(-1, *(1,) * rank)
            padded[(slice(None), *where)] += of_tap
        inner = (slice(b, b + n) for b, n in zip(begin, shape[1:], strict=True))
        return padded[(slice(None), *inner)]

    def per_output(self, values: Array) -> Array:
        return values.reshape(-1, *(1,) * (self.weight.ndim - 1))

    def per_input(self, channels: Array) -> Array:
        # Output channel o of group g reads the input channels of its group.
        per_group = channels.reshape(self.groups, 1, -1)
        outs = len(self.weight) // self.groups
        whole = np.broadcast_to(per_group, (self.groups, outs, per_group.shape[2]))
        return whole.reshape(len(self.weight), -1, *(1,) * len(self.kernel))

    def absolute_sums(self, shape: Shape, axis: int) -> Array:
        weight = np.abs(self.weight.astype(np.float64))
        return weight.reshape(len(weight), -1).sum(axis=1)


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class ConvTranspose(WeightedOp):
    """Transposed convolution (the adjoint of ``Conv``), as ONNX defines it, without bias.

    weight: (in channels, out channels / groups, *kernel); pads are cropped from the full output.
    """

    pattern = "irregular"
    channel_axis = 0

    weight: Array
    strides: Shape
    dilations: Shape
    pads: Shape
    output_padding: Shape
    groups: int = 1

    @property
    def kernel(self) -> Shape:
        return tuple(self.weight.shape[2:])

    def _full(self, spatial: Shape) -> Shape:
        reached = _reached(
            spatial, kernel=self.kernel, strides=self.strides, dilations=self.dilations
        )
        return tuple(n + extra for n, extra in zip(reached, self.output_padding, strict=True))

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
            at: tuple[Any, ...] = section(offset, self.dilations, self.strides, spatial)
            out[(Ellipsis, *at)] += part
        crop: tuple[Any, ...] = tuple(
            slice(b, n - e)
            for n, b, e in zip(full, self.pads[:rank], self.pads[rank:], strict=True)
        )
        out = out[(Ellipsis, *crop)]
        return np.ascontiguousarray(out.reshape(batch, -1, *out.shape[3:]))

    def terms(self, *shapes: Shape) -> int:
        return len(self.weight) // self.groups * prod(self.kernel)

    def most_connections(self, *shapes: Shape) -> int:
        return prod(only(shapes)) * prod(self.weight.shape[1:])

    def _back(self) -> Conv:
        """The convolution from the output to the input, of which this is the adjoint."""
        return Conv(
            weight=self.weight,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
            groups=self.groups,
        )

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        # Output padding longer than a stride gives positions beyond the input.
        inside = tuple(slice(0, n) for n in shapes[0])
        x: Array = self._back().apply(y[np.newaxis])[0]
        return x[inside]

    def connections(self, position: int, shapes: Shapes) -> Connections:
        (shape,) = shapes
        back, out = self._back(), self.output_shape(shape)
        found = back.output_shape(out)
        rows, cols, values = back.connections(0, [out])
        if found != shape:  # as in ``adjoint``
            at = np.unravel_index(rows, found)
            inside = np.all([i < n for i, n in zip(at, shape, strict=True)], axis=0)
            rows = np.ravel_multi_index(tuple(i[inside] for i in at), shape)
            cols, values = cols[inside], values[inside]
        return cols, rows, values

    def fan_out(self, shape: Shape) -> Array:
        rank = len(self.kernel)
        # (in channels, *kernel): the outputs of its group
        uses = (self.weight != 0).astype(np.float64).sum(axis=1)
        full = np.zeros(self._full(shape[1:]))
        crops = zip(full.shape, self.pads[:rank], self.pads[rank:], strict=True)
        full[tuple(slice(b, n - e) for n, b, e in crops)] = 1
        total = np.zeros(shape)
        for offset in product(*(range(k) for k in self.kernel)):
            reached = full[section(offset, self.dilations, self.strides, shape[1:])]
            total += uses[(slice(None), *offset)].reshape(-1, *(1,) * rank) * reached
        return total

    def per_output(self, values: Array) -> Array:
        column, tail = values.reshape(-1), (1,) * len(self.kernel)
        if column.size == 1:
            return column.reshape(1, 1, *tail)
        per_group = column.reshape(self.groups, 1, -1)
        ins = len(self.weight) // self.groups
        whole = np.broadcast_to(per_group, (self.groups, ins, per_group.shape[2]))
        return whole.reshape(len(self.weight), -1, *tail)

    def per_input(self, channels: Array) -> Array:
        return channels.reshape(-1, 1, *(1,) * len(self.kernel))

    def absolute_sums(self, shape: Shape, axis: int) -> Array:
        weight = np.abs(self.weight.astype(np.float64))  # (in, out / groups, *kernel)
        per_group = weight.reshape(self.groups, -1, *weight.shape[1:]).sum(axis=1)
        return per_group.reshape(self.groups * weight.shape[1], -1).sum(axis=1)


def section(offset: Shape, dilations: Shape, strides: Shape, count: Shape) -> tuple[slice, ...]:
    """Where kernel element ``offset`` of ``count`` windows lies along the padded spatial axes."""
    return tuple(
        slice(o * d, o * d + s * (n - 1) + 1, s)
        for o, d, s, n in zip(offset, dilations, strides, count, strict=True)
    )


def _reached(count: Shape, *, kernel: Shape, strides: Shape, dilations: Shape) -> Shape:
    """Along each spatial axis, how many positions ``count`` windows reach."""
    return tuple(
        s * (n - 1) + d * (k - 1) + 1
        for n, k, s, d in zip(count, kernel, strides, dilations, strict=True)
    )
