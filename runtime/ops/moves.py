"""Operations that only move numbers: no arithmetic, so integers stay integers. See ``ops``."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from ...errors import GraphError
from .arrays import Array, Shape, Shapes, compact_scale, frozen, only
from .operation import LinearOp, MovingOp, Scales, operation, whole


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(MovingOp):
    """The inputs one after the other along a sample axis (>= 0)."""

    array = ""

    axis: int

    def output_shape(self, *shapes: Shape) -> Shape:
        total = sum(shape[self.axis] for shape in shapes)
        return (*shapes[0][: self.axis], total, *shapes[0][self.axis + 1 :])

    def apply(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=self.axis + 1)

    def of_input(self, position: int, shapes: Shapes) -> LinearOp | None:
        begins, ends = [0] * len(shapes[0]), [0] * len(shapes[0])
        begins[self.axis] = sum(s[self.axis] for s in shapes[:position])
        ends[self.axis] = sum(s[self.axis] for s in shapes[position + 1 :])
        return Pad(pads=(*begins, *ends))


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(MovingOp):
    """Zeros around the sample. pads: begins of every sample axis, then ends; all >= 0."""

    array = ""

    pads: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        rank = len(shape)
        return tuple(
            n + b + e for n, b, e in zip(shape, self.pads[:rank], self.pads[rank:], strict=True)
        )

    def apply(self, *xs: Array) -> Array:
        rank = len(self.pads) // 2
        widths = [(0, 0), *zip(self.pads[:rank], self.pads[rank:], strict=True)]
        return np.pad(xs[0], widths)

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        rank = len(shapes[0])
        widths = list(zip(self.pads[:rank], self.pads[rank:], strict=True))
        # What is padded is zero, so any scale will do there: repeat the edge.
        (scale,) = whole(scales, shapes)
        return compact_scale(np.pad(scale, widths, mode="edge"))


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(MovingOp):
    """A strided section. starts, stops, steps of every sample axis, as ``range`` takes them;
    a stop of -1 with a negative step means 'to the beginning'."""

    array = ""

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
            for n, index in zip(only(shapes), self._index(), strict=True)
        )

    def apply(self, *xs: Array) -> Array:
        return np.ascontiguousarray(xs[0][(slice(None), *self._index())])


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Take(MovingOp):
    """y = x[..., indices, ...] along one sample axis: Gather, nearest upsampling, shuffles."""

    array = "indices"

    axis: int
    indices: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", frozen(self.indices, np.int64))

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        return (*shape[: self.axis], len(self.indices), *shape[self.axis + 1 :])

    def apply(self, *xs: Array) -> Array:
        return np.take(xs[0], self.indices, axis=self.axis + 1)


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(MovingOp):
    """The same numbers in another sample shape (no -1)."""

    array = ""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        if prod(self.shape) != prod(only(shapes)):
            raise GraphError(f"cannot reshape {shapes[0]} to {self.shape}")
        return self.shape

    def apply(self, *xs: Array) -> Array:
        return xs[0].reshape(xs[0].shape[0], *self.shape)


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(MovingOp):
    """Permutes the sample axes: output axis i is input axis perm[i]."""

    array = ""

    perm: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = only(shapes)
        return tuple(shape[p] for p in self.perm)

    def apply(self, *xs: Array) -> Array:
        return np.ascontiguousarray(xs[0].transpose(0, *(p + 1 for p in self.perm)))


@operation
@dataclass(frozen=True, eq=False, kw_only=True)
class Broadcast(MovingOp):
    """Repeats axes of size one (and adds leading ones) up to a sample shape."""

    array = ""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        return np.broadcast_shapes(only(shapes), self.shape)

    def apply(self, *xs: Array) -> Array:
        x = xs[0]
        x = x.reshape(x.shape[0], *(1,) * (len(self.shape) - x.ndim + 1), *x.shape[1:])
        return np.ascontiguousarray(np.broadcast_to(x, (x.shape[0], *self.shape)))
