"""Operations that add and weigh numbers. See ``ops``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from math import prod

import numpy as np

from ...errors import GraphError
from .arrays import (
    Array,
    Shape,
    Shapes,
    compact_scale,
    frozen,
    numbered,
    only,
    row_blocks,
    sum_to,
)
from .moves import Broadcast
from .operation import (
    Connections,
    ElementOp,
    LinearOp,
    MultiplyingOp,
    Scales,
    WeightedOp,
    listed,
    operation,
    whole,
)


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(WeightedOp):
    """y[..., o] = sum_i weight[o, i] x[..., i], on the last axis. weight: (out, in)."""

    pattern = "windows"
    channel_axis = -1

    weight: Array

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        if not shape or shape[-1] != self.weight.shape[1]:
            raise GraphError(f"Linear takes {self.weight.shape[1]} features, got shape {shape}")
        return (*shape[:-1], self.weight.shape[0])

    def apply(self, *xs: Array) -> Array:
        return xs[0] @ self.weight.T

    def terms(self, *shapes: Shape) -> int:
        return self.weight.shape[1]

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        return y @ self.weight

    def connections(self, position: int, shapes: Shapes) -> Connections:
        lead, (outs, ins) = prod(shapes[0][:-1]), self.weight.shape
        index = np.repeat(numbered((lead, ins))[0], outs, axis=0)
        return listed(index, np.tile(self.weight, (lead, 1)))

    def fan_out(self, shape: Shape) -> Array:
        return np.broadcast_to((self.weight != 0).sum(axis=0), shape).astype(np.float64)

    def per_output(self, values: Array) -> Array:
        return values.reshape(-1, 1)

    def per_input(self, channels: Array) -> Array:
        return channels

    def absolute_sums(self, shape: Shape, axis: int) -> Array:
        sums = np.empty(len(self.weight))
        for rows in row_blocks(self.weight):  # in double precision it would be a second, larger one
            np.abs(self.weight[rows].astype(np.float64)).sum(axis=1, out=sums[rows])
        return sums


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Scale(ElementOp, MultiplyingOp):
    """y = scale * x. scale broadcasts to the sample's shape (a channel scale is (C, 1, 1))."""

    array = "scale"

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

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        return sum_to(y * self.scale, shapes[0])

    def sources(self, position: int, shapes: Shapes) -> Array:
        return np.broadcast_to(numbered(shapes[0])[0], self.output_shape(*shapes))

    def connections(self, position: int, shapes: Shapes) -> Connections:
        index = self.sources(position, shapes)
        factors = np.broadcast_to(self.scale, index.shape)
        return listed(index.reshape(-1, 1), factors.reshape(-1, 1))

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        (scale,) = whole(scales, shapes)
        return compact_scale(np.broadcast_to(scale, self.output_shape(*shapes)))

    def per_output(self, values: Array) -> Array:
        return values

    def absolute_sums(self, shape: Shape, axis: int) -> Array:
        full = np.broadcast_to(np.abs(self.scale), shape)
        full = full.reshape(shape or (1,))  # a number per sample is one channel
        return np.moveaxis(full, axis, 0).reshape(full.shape[axis], -1).max(axis=1)


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Add(ElementOp):
    """The sum of its inputs, which broadcast against each other."""

    array = ""
    adds = True

    def output_shape(self, *shapes: Shape) -> Shape:
        return np.broadcast_shapes(*shapes)

    def apply(self, *xs: Array) -> Array:
        rank = max(x.ndim for x in xs)
        aligned = (x.reshape(x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:]) for x in xs)
        return reduce(np.add, aligned)

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        return sum_to(y, shapes[position])

    def of_input(self, position: int, shapes: Shapes) -> LinearOp | None:
        out = self.output_shape(*shapes)
        return None if shapes[position] == out else Broadcast(shape=out)

    def sources(self, position: int, shapes: Shapes) -> Array:
        return np.broadcast_to(numbered(shapes[position])[0], self.output_shape(*shapes))

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        out = self.output_shape(*shapes)
        first, *others = (np.broadcast_to(scale, out) for scale in whole(scales, shapes))
        same = all(np.array_equal(first, other) for other in others)
        return compact_scale(first) if same else None


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class ReduceSum(LinearOp):
    """The sum over some sample axes. A mean is a ReduceSum and a Scale."""

    array = ""
    pattern = "windows"

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

    def terms(self, *shapes: Shape) -> int:
        return prod(only(shapes)[axis] for axis in self.axes)

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        if not self.keepdims:
            y = np.expand_dims(y, tuple(self.axes))
        return np.broadcast_to(y, shapes[0])

    def connections(self, position: int, shapes: Shapes) -> Connections:
        kept = [i for i in range(len(shapes[0])) if i not in self.axes]
        moved = numbered(shapes[0])[0].transpose(*kept, *self.axes)
        return listed(moved.reshape(prod(shapes[0][i] for i in kept), -1), np.ones(1))

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        (scale,) = whole(scales, shapes)
        kept = compact_scale(scale)
        if kept.ndim and any(kept.shape[axis] != 1 for axis in self.axes):
            return None
        index = tuple(slice(0, 1) if i in self.axes else slice(None) for i in range(scale.ndim))
        reduced = scale[index]
        return compact_scale(reduced if self.keepdims else reduced.squeeze(tuple(self.axes)))


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class CumSum(LinearOp):
    """Running sums along a sample axis (>= 0): y[o] = sum of x[i] for i <= o.

    ``exclusive``: i < o; ``reverse``: from the end, i >= o (with both i > o).
    """

    array = ""
    pattern = "irregular"

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        if self.axis >= len(shape):
            raise GraphError(f"CumSum along axis {self.axis} got shape {shape}")
        return shape

    def apply(self, *xs: Array) -> Array:
        axis = self.axis + 1
        x = np.flip(xs[0], axis) if self.reverse else xs[0]
        if self.exclusive:
            before = np.zeros_like(x.take([0], axis))
            x = np.concatenate([before, x.take(range(x.shape[axis] - 1), axis)], axis)
        y = np.cumsum(x, axis, dtype=x.dtype)
        return np.ascontiguousarray(np.flip(y, axis) if self.reverse else y)

    def terms(self, *shapes: Shape) -> int:
        return max(1, only(shapes)[self.axis] - self.exclusive)

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        return replace(self, reverse=not self.reverse).apply(y[np.newaxis])[0]

    def connections(self, position: int, shapes: Shapes) -> Connections:
        along = np.tril(np.ones((shapes[0][self.axis],) * 2), -int(self.exclusive))
        outs, ins = np.nonzero(along.T if self.reverse else along)
        elements = np.moveaxis(numbered(shapes[0])[0] - 1, self.axis, -1)
        rows, cols = (elements[..., at].reshape(-1) for at in (outs, ins))
        return rows, cols, np.ones(len(rows))

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        (scale,) = whole(scales, shapes)
        kept = compact_scale(scale)
        return kept if not kept.ndim or kept.shape[self.axis] == 1 else None
