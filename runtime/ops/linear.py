"""Operations that add and weigh numbers. See ``ops``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ...errors import GraphError
from .arrays import Array, Shape, frozen, only


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
