"""What every operation says about itself, so that nobody else asks which one it is.

``operation`` enters a record into the list of all and refuses one that leaves a fact unsaid. What
is no fact of the operation itself, its form in an ONNX file say, stands in a table of the layer
that knows it (``runtime.table``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import ClassVar, Literal, Self, TypeAlias, TypeVar

import numpy as np

from .arrays import Array, Shape, Shapes, compact_scale, frozen, numbered, only, own

# How outputs read inputs: at most one element of each input ("elements"); all of a window that
# slides over the input, with the same weights everywhere ("windows"; it may be a whole axis); or in
# no form that positions share ("irregular").
Pattern: TypeAlias = Literal["elements", "windows", "irregular"]

# Row (output element), column (input element) and factor of every connection, (entries,) each.
Connections: TypeAlias = tuple[Array, Array, Array]

Scales: TypeAlias = Sequence[Array | None]  # of all inputs, compact; None is one

T = TypeVar("T", bound=type)
OPERATIONS: list[type] = []


def operation(cls: T) -> T:
    """Class decorator: enters an operation into ``OPERATIONS``.

    Raises TypeError where a fact is left unsaid.
    """
    facts = {name for base in cls.__mro__ for name in FACTS.get(base, ())}
    missing = {name for name in facts if not hasattr(cls, name)}
    missing |= getattr(cls, "__abstractmethods__", set())
    if missing:
        raise TypeError(f"operation {cls.__name__} does not say {', '.join(sorted(missing))}")
    OPERATIONS.append(cls)
    return cls


class Operation(ABC):
    """A stateless function of arrays. ``array``: its field that is an array, "" without one."""

    array: ClassVar[str]

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """The sample shape for those of the inputs. Raises GraphError where they do not fit."""

    @abstractmethod
    def apply(self, *xs: Array) -> Array:
        """(batch, *shape) of every input to (batch, *output shape)."""

    @abstractmethod
    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        """The compact scale of the output such that op(x scale) = op(x) out, given that of every
        input (None: one) and the inputs' shapes; None where there is none."""


class LinearOp(Operation):
    """A linear operation without bias.

    pattern: how outputs read inputs, see ``Pattern``.
    moves: it only moves numbers, so spikes stay spikes.
    adds: it is the sum of its inputs.
    """

    pattern: ClassVar[Pattern]
    moves: ClassVar[bool] = False
    adds: ClassVar[bool] = False

    @abstractmethod
    def terms(self, *shapes: Shape) -> int:
        """How many elements of one input an output element adds at most."""

    @abstractmethod
    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        """A^T y, where A x is the part of the output that is due to input ``position``; y has the
        output's sample shape, without batch, and ``shapes`` are those of all inputs."""

    @abstractmethod
    def connections(self, position: int, shapes: Shapes) -> Connections:
        """The nonzero entries of that A, elements numbered in C order; some may be zero."""

    def of_input(self, position: int, shapes: Shapes) -> LinearOp | None:
        """The operation on input ``position`` alone; None where it gives that input itself.
        Operations with several inputs say how. Raises GraphError where one does not."""
        only(shapes)
        return self

    def most_connections(self, *shapes: Shape) -> int:
        """A bound of their number that is known before they are listed."""
        return self.terms(*shapes) * prod(self.output_shape(*shapes))


class ElementOp(LinearOp):
    """Each output is at most one element of each input, times a factor."""

    pattern = "elements"

    @abstractmethod
    def sources(self, position: int, shapes: Shapes) -> Array:
        """(*output shape): the number from 1 of the element of input ``position`` there, 0 none."""

    def terms(self, *shapes: Shape) -> int:
        return 1

    def connections(self, position: int, shapes: Shapes) -> Connections:
        return listed(self.sources(position, shapes).reshape(-1, 1), np.ones(1))


class MovingOp(ElementOp):
    """Only moves numbers: where each goes is found by moving element numbers."""

    moves = True

    def sources(self, position: int, shapes: Shapes) -> Array:
        numbers = [np.zeros((1, *shape), np.int64) for shape in shapes]
        numbers[position] = numbered(shapes[position])
        return np.asarray(self.apply(*numbers))[0]

    def adjoint(self, y: Array, position: int, shapes: Shapes) -> Array:
        moved, shape = self.sources(position, shapes), shapes[position]
        total = np.bincount(moved.ravel(), weights=y.ravel(), minlength=prod(shape) + 1)
        return total[1:].reshape(shape)

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        return compact_scale(self.apply(*(a[np.newaxis] for a in whole(scales, shapes)))[0])


class MultiplyingOp(LinearOp):
    """Multiplies with the numbers in its field ``array``, which is not ""."""

    @property
    def factors(self) -> Array:
        found: Array = getattr(self, self.array)
        return found

    def with_factors(self, factors: Array) -> Self:
        """The same operation with other numbers."""
        return replace(self, **{self.array: factors})  # type: ignore[type-var]

    @abstractmethod
    def per_output(self, values: Array) -> Array:
        """``values`` that broadcast to the output's shape and vary along its channels only, in a
        form that broadcasts to the factors."""

    @abstractmethod
    def absolute_sums(self, shape: Shape, axis: int) -> Array:
        """(channels,): the largest sum of absolute factors that one output of each channel adds;
        the output has ``shape``, its channels lie along ``axis`` (without axes: one channel)."""


class WeightedOp(MultiplyingOp):
    """Has trained weights: each connection of one that is not zero is a synaptic operation.

    ``channel_axis``: of the sample shapes of input and output.
    """

    array = "weight"
    channel_axis: ClassVar[int]
    weight: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen(self.weight))

    @abstractmethod
    def fan_out(self, shape: Shape) -> Array:
        """(*shape): of every input element, how many connections have a weight that is not zero."""

    @abstractmethod
    def per_input(self, channels: Array) -> Array:
        """(input channels,) in a form that broadcasts to the weights."""

    def uses(self, shape: Shape) -> int:
        """Uses of weights that are not zero, for one input of ``shape``."""
        return int(self.fan_out(shape).sum())

    def input_factor(self, scale: Array, shape: Shape) -> Array | None:
        """A compact ``scale`` of the input, of ``shape``, in a form that broadcasts to the weights;
        None where it varies along more than the channels."""
        if scale.ndim == 0:
            return scale
        rest = scale.shape[:-1] if self.channel_axis else scale.shape[1:]
        if prod(rest) != 1:
            return None
        return self.per_input(np.broadcast_to(scale.ravel(), (shape[self.channel_axis],)))

    def with_input_scale(self, scale: Array | None, shape: Shape) -> Self | None:
        """The operation with a compact ``scale`` of its input, of ``shape``, multiplied into the
        weights; None where ``input_factor`` is."""
        if scale is None:
            return self
        factor = self.input_factor(scale, shape)
        return None if factor is None else self.with_factors(own(self.weight * factor))

    def carry_scale(self, scales: Scales, shapes: Shapes) -> Array | None:
        scale = scales[0]
        return scale if scale is not None and scale.ndim == 0 else None


def whole(scales: Scales, shapes: Shapes) -> list[Array]:
    """Scales of signals as arrays of the signals' shapes."""
    one = np.ones((), np.float32)
    return [
        np.broadcast_to(one if scale is None else scale, shape)
        for scale, shape in zip(scales, shapes, strict=True)
    ]


def listed(index: Array, factors: Array) -> Connections:
    """Connections from element numbers ``index`` (outputs, taps), 0 for none; factors broadcast."""
    rows = np.repeat(np.arange(index.shape[0]), index.shape[1])
    cols, values = index.reshape(-1) - 1, np.broadcast_to(factors, index.shape).reshape(-1)
    real = cols >= 0
    return rows[real], cols[real], values[real].astype(np.float64)


# Facts that are class attributes; the others are abstract methods.
FACTS: dict[type, tuple[str, ...]] = {
    Operation: ("array",),
    LinearOp: ("pattern",),
    WeightedOp: ("channel_axis",),
}
