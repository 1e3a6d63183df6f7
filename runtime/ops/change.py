"""Weights that follow from others by a few bits each, so that a file holds both in little more than
the room of one.

    weight = round((first + digit * step * scale) / grid) * grid

operation by operation in single precision: a rule of IEEE 754, so that the numbers are the same on
every machine and in every runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .arrays import Array, Shape, frozen, own, row_blocks

EACH: Mapping[int, int] = {6: 3, 16: 2}  # digits in a byte, by how many a digit can be


def lowest(levels: int) -> int:
    """The first of the whole numbers in a row that a digit can be; the sign is the step's."""
    return 1 - levels // 2


def digit_table(levels: int) -> Array:
    """(codes, digits): those of every byte, the last place first."""
    each = EACH[levels]
    codes = np.arange(levels**each)
    places = [codes // levels**place % levels for place in range(each)]
    return (np.stack(places, axis=1) + lowest(levels)).astype(np.float32)


def packed(digits: Array, levels: int) -> Array:
    """The codes of (rows, count) digits, (rows, bytes)."""
    (rows, count), each = digits.shape, EACH[levels]
    whole = np.zeros((rows, -(-count // each), each), np.uint8)
    whole.reshape(rows, -1)[:, :count] = digits - lowest(levels)
    return own(sum(whole[..., place] * levels**place for place in range(each)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Change:
    """What makes weights of others.

    Attributes:
        codes: the digits of the weights of each output in C order, ``EACH`` to a byte: (outputs,
            bytes), uint8. None: nothing is added, and weights are only rounded.
        levels: how many numbers a digit can be.
        step, scale: broadcast to the weights: of each output, and of each input. None as ``codes``.
        grid: broadcasts to the weights, powers of two; None: nothing is rounded.
    """

    codes: Array | None = None
    levels: int = 6
    step: Array | None = None
    scale: Array | None = None
    grid: Array | None = None

    def __post_init__(self) -> None:
        for name in ("codes", "step", "scale", "grid"):
            value = getattr(self, name)
            if value is not None:
                kind = np.uint8 if name == "codes" else np.float32
                object.__setattr__(self, name, frozen(value, kind))

    def of(self, first: Array) -> Array:
        """The weights, (outputs, ...) as ``first``, in single precision.

        Raises ValueError where the change is none of such weights.
        """
        self._check(first)
        table = digit_table(self.levels)
        out: Array = np.empty(first.shape, np.float32)
        for rows in row_blocks(first):
            block: Array = first[rows]
            if self.codes is not None:
                digits: Array = table[self.codes[rows]].reshape(len(block), -1)
                digits = digits[:, : block[0].size].reshape(block.shape)
                step, scale = (_rows(x, rows, first.shape) for x in (self.step, self.scale))
                block = block + digits * step * scale
            if self.grid is not None:
                grid = _rows(self.grid, rows, first.shape)
                block = np.rint(block / grid) * grid
            out[rows] = block
        return own(out)

    def scaled(self, factor: Array) -> Change:
        """That of weights ``factor`` times as large, which broadcasts to them."""
        scale = None if self.scale is None else self.scale * factor
        return replace(self, scale=scale)

    def _check(self, first: Array) -> None:
        if first.dtype != np.float32 or not first.size or not first.ndim:
            raise ValueError("a change of numbers that are no weights")
        given = [x is not None for x in (self.codes, self.step, self.scale)]
        if any(given) != all(given):
            raise ValueError("a change of weights without its codes, its step or its scale")
        for values in (self.step, self.scale, self.grid):
            if values is not None and not np.isfinite(values).all():
                raise ValueError("a change of weights that is no number")
        if self.grid is not None and not (np.frexp(self.grid)[0] == 0.5).all():
            raise ValueError("a grid of weights that is no power of two")
        if self.levels not in EACH:
            raise ValueError(f"digits of {self.levels} levels")
        if self.codes is not None:
            each = EACH[self.levels]
            shape = (len(first), -(-(first.size // len(first)) // each))
            if self.codes.shape != shape or (self.codes > self.levels**each - 1).any():
                raise ValueError(f"the codes of a change of weights {first.shape} are not theirs")


def _rows(values: Array | None, rows: slice, shape: Shape) -> Array:
    assert values is not None
    return np.broadcast_to(values, shape)[rows]
