"""Stateless operations on arrays: what a synapse does to spikes or currents.

Every record works per sample: shapes carry no batch axis, ``apply`` takes and returns arrays with
one leading axis that may hold a batch, or time and batch together. All records but ``MaxPool`` are
linear and have no bias: a bias is a current into a neuron, so it belongs to the node with state
(see ``graph``). The records are shared by the ANN graph and the spiking graph.

Adding an operation: one record here (or in ``moves``) with ``output_shape`` and ``apply``, one
emitter in ``converter.onnxfile``, one handler in ``converter.frontend``; the tests parametrized
over ``ALL_OPS`` then ask for an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ..errors import GraphError
from .arrays import Array, Shape, frozen, only, window_count, windows_of
from .moves import Broadcast, Concat, Pad, Reshape, Slice, Take, Transpose

__all__ = [
    "ALL_OPS",
    "LINEAR_OPS",
    "Add",
    "Array",
    "Broadcast",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Linear",
    "LinearOp",
    "MaxPool",
    "Pad",
    "ReduceSum",
    "Reshape",
    "Scale",
    "Shape",
    "Slice",
    "SumPool",
    "Take",
    "Transpose",
    "frozen",
    "windows_of",
]

# Elements of one sample tile's columns that a convolution lays out at a time.
COLUMN_ELEMENTS = 300_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear:
    """y[..., o] = sum_i weight[o, i] x[..., i], on the last axis. weight: (out, in)."""

    weight: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen(self.weight))

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        if not shape or shape[-1] != self.weight.shape[1]:
            raise GraphError(f"Linear takes {self.weight.shape[1]} features, got shape {shape}")
        return (*shape[:-1], self.weight.shape[0])

    def apply(self, *xs: Array) -> Array:
        return xs[0] @ self.weight.T


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Scale:
    """y = scale * x. scale broadcasts to the sample's shape (a channel scale is (C, 1, 1))."""

    scale: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", frozen(self.scale))

    def output_shape(self, *shapes: Shape) -> Shape:
        return np.broadcast_shapes(only(shapes), self.scale.shape)

    def apply(self, *xs: Array) -> Array:
        x = xs[0]
        missing = self.scale.ndim - (x.ndim - 1)
        if missing > 0:
            x = x.reshape(x.shape[0], *(1,) * missing, *x.shape[1:])
        return x * self.scale


@dataclass(frozen=True, eq=False, kw_only=True)
class Add:
    """The sum of its inputs, which broadcast against each other."""

    def output_shape(self, *shapes: Shape) -> Shape:
        return np.broadcast_shapes(*shapes)

    def apply(self, *xs: Array) -> Array:
        rank = max(x.ndim for x in xs)
        aligned = (x.reshape(x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:]) for x in xs)
        return reduce(np.add, aligned)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReduceSum:
    """The sum over some sample axes. A mean is a ReduceSum and a Scale."""

    axes: Shape
    keepdims: bool

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        if self.keepdims:
            return tuple(1 if i in self.axes else n for i, n in enumerate(shape))
        return tuple(n for i, n in enumerate(shape) if i not in self.axes)

    def apply(self, *xs: Array) -> Array:
        x = xs[0]
        axes = tuple(a + 1 for a in self.axes)
        return x.sum(axis=axes, keepdims=self.keepdims, dtype=x.dtype)


LinearOp: TypeAlias = (
    Linear
    | Conv
    | ConvTranspose
    | SumPool
    | Scale
    | Add
    | Concat
    | Pad
    | Slice
    | Take
    | Reshape
    | Transpose
    | Broadcast
    | ReduceSum
)
LINEAR_OPS: tuple[type, ...] = (
    Linear,
    Conv,
    ConvTranspose,
    SumPool,
    Scale,
    Add,
    Concat,
    Pad,
    Slice,
    Take,
    Reshape,
    Transpose,
    Broadcast,
    ReduceSum,
)
ALL_OPS: tuple[type, ...] = (*LINEAR_OPS, MaxPool)
