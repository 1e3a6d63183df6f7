"""Stateless operations on arrays: what a synapse does to spikes or currents.

Every record works per sample: shapes carry no batch axis, ``apply`` takes and returns arrays with
one leading axis that may hold a batch, or time and batch together. All records but ``MaxPool`` are
linear and have no bias: a bias is a current into a neuron, so it belongs to the node with state
(see ``graph``). The records are shared by the ANN graph and the spiking graph.

Adding an operation: one record here with ``output_shape`` and ``apply``, one emitter in
``converter.onnxfile``, one handler in ``converter.frontend``; the tests parametrized over
``ALL_OPS`` then ask for an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import GraphError

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
COLUMN_ELEMENTS = 300_000


def frozen(array: Any, dtype: Any = None) -> Array:
    """A read-only array: a copy only where needed, so that records can be shared safely."""
    out = np.asarray(array, dtype=dtype)
    if out.flags.writeable:
        out = out.copy() if out.base is not None or out is array else out
        out.flags.writeable = False
    return out


def _only(shapes: Sequence[Shape]) -> Shape:
    if len(shapes) != 1:
        raise GraphError(f"an operation with one input was given {len(shapes)}")
    return shapes[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear:
    """y[..., o] = sum_i weight[o, i] x[..., i], on the last axis. weight: (out, in)."""

    weight: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen(self.weight))

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = _only(shapes)
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
        shape = _only(shapes)
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
        shape = _only(shapes)
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
class SumPool:
    """Sum over windows of each channel. An average pool is a SumPool and a Scale."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = _only(shapes)
        return (
            shape[0],
            *window_count(shape[1:], self.kernel, self.strides, self.dilations, self.pads),
        )

    def apply(self, *xs: Array) -> Array:
        windows = windows_of(xs[0], self.kernel, self.strides, self.dilations, self.pads)
        return windows.sum(axis=tuple(range(-len(self.kernel), 0)), dtype=xs[0].dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool:
    """Maximum over windows of each channel; padding never wins. Not linear, but homogeneous:
    max(c x) = c max(x) for c >= 0, so it is exact on cumulated spikes (see ``graph.MaxPool``)."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = _only(shapes)
        return (
            shape[0],
            *window_count(shape[1:], self.kernel, self.strides, self.dilations, self.pads),
        )

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
        return np.broadcast_shapes(_only(shapes), self.scale.shape)

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
class Concat:
    """The inputs one after the other along a sample axis (>= 0)."""

    axis: int

    def output_shape(self, *shapes: Shape) -> Shape:
        total = sum(shape[self.axis] for shape in shapes)
        return (*shapes[0][: self.axis], total, *shapes[0][self.axis + 1 :])

    def apply(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=self.axis + 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad:
    """Zeros around the sample. pads: begins of every sample axis, then ends; all >= 0."""

    pads: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = _only(shapes)
        rank = len(shape)
        return tuple(
            n + b + e for n, b, e in zip(shape, self.pads[:rank], self.pads[rank:], strict=True)
        )

    def apply(self, *xs: Array) -> Array:
        rank = len(self.pads) // 2
        widths = [(0, 0), *zip(self.pads[:rank], self.pads[rank:], strict=True)]
        return np.pad(xs[0], widths)


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice:
    """A strided section. starts, stops, steps of every sample axis, as ``range`` takes them;
    a stop of -1 with a negative step means 'to the beginning'."""

    starts: Shape
    stops: Shape
    steps: Shape

    def _index(self) -> tuple[slice, ...]:
        return tuple(
            slice(a, None if step < 0 and b < 0 else b, step)
            for a, b, step in zip(self.starts, self.stops, self.steps, strict=True)
        )

    def output_shape(self, *shapes: Shape) -> Shape:
        return tuple(
            len(range(*index.indices(n)))
            for n, index in zip(_only(shapes), self._index(), strict=True)
        )

    def apply(self, *xs: Array) -> Array:
        return np.ascontiguousarray(xs[0][(slice(None), *self._index())])


@dataclass(frozen=True, eq=False, kw_only=True)
class Take:
    """y = x[..., indices, ...] along one sample axis: Gather, nearest upsampling, shuffles."""

    axis: int
    indices: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", frozen(self.indices, np.int64))

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = _only(shapes)
        return (*shape[: self.axis], len(self.indices), *shape[self.axis + 1 :])

    def apply(self, *xs: Array) -> Array:
        return np.take(xs[0], self.indices, axis=self.axis + 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape:
    """The same numbers in another sample shape (no -1)."""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        if prod(self.shape) != prod(_only(shapes)):
            raise GraphError(f"cannot reshape {shapes[0]} to {self.shape}")
        return self.shape

    def apply(self, *xs: Array) -> Array:
        return xs[0].reshape(xs[0].shape[0], *self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose:
    """Permutes the sample axes: output axis i is input axis perm[i]."""

    perm: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = _only(shapes)
        return tuple(shape[p] for p in self.perm)

    def apply(self, *xs: Array) -> Array:
        return np.ascontiguousarray(xs[0].transpose(0, *(p + 1 for p in self.perm)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Broadcast:
    """Repeats axes of size one (and adds leading ones) up to a sample shape."""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        return np.broadcast_shapes(_only(shapes), self.shape)

    def apply(self, *xs: Array) -> Array:
        x = xs[0]
        x = x.reshape(x.shape[0], *(1,) * (len(self.shape) - x.ndim + 1), *x.shape[1:])
        return np.ascontiguousarray(np.broadcast_to(x, (x.shape[0], *self.shape)))


@dataclass(frozen=True, eq=False, kw_only=True)
class ReduceSum:
    """The sum over some sample axes. A mean is a ReduceSum and a Scale."""

    axes: Shape
    keepdims: bool

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = _only(shapes)
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


def window_count(
    spatial: Shape, kernel: Shape, strides: Shape, dilations: Shape, pads: Shape
) -> Shape:
    """How many windows fit along each spatial axis (floor rule).

    Raises GraphError where a window is larger than the padded input.
    """
    rank = len(kernel)
    counts = tuple(
        (n + b + e - (d * (k - 1) + 1)) // s + 1
        for n, k, s, d, b, e in zip(
            spatial, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True
        )
    )
    if any(c < 1 for c in counts):
        raise GraphError(f"a window of {kernel} does not fit into {spatial} padded by {pads}")
    return counts


def windows_of(
    x: Array, kernel: Shape, strides: Shape, dilations: Shape, pads: Shape, fill: float = 0
) -> Array:
    """A view (batch, channel, *positions, *kernel) of x (batch, channel, *spatial), padded."""
    rank = len(kernel)
    if any(pads):
        widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
        x = np.pad(x, widths, constant_values=fill)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    view = sliding_window_view(x, reach, axis=tuple(range(2, 2 + rank)))
    steps = tuple(slice(None, None, s) for s in strides)
    inner = tuple(slice(None, None, d) for d in dilations)
    return view[(slice(None), slice(None), *steps, *inner)]
