"""Weights that follow from others by a few bits each, so that a file holds both in little more than
the room of one.

    weight = round((first + digit * step * scale) / grid) * grid

operation by operation in single precision: a rule of IEEE 754, so that the numbers are the same on
every machine and in every runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arrays import Array, Shape, frozen, own, row_blocks

DIGITS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # whose sign is the step's
EACH = 3  # digits in a byte
CODES = len(DIGITS) ** EACH


def digit_table() -> Array:
    """(CODES, EACH): the digits of every byte, the last first."""
    codes = np.arange(CODES)
    places = [codes // len(DIGITS) ** place % len(DIGITS) for place in range(EACH)]
    return np.asarray(DIGITS, np.float32)[np.stack(places, axis=1)]


def packed(numbers: Array) -> Array:
    """(rows, count) of whole numbers from 0, of digits, as the ``codes`` of a ``Change``."""
    rows, count = numbers.shape
    whole = np.zeros((rows, -(-count // EACH), EACH), np.uint8)
    whole.reshape(rows, -1)[:, :count] = numbers
    return own(sum(whole[..., place] * len(DIGITS) ** place for place in range(EACH)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Change:
    """What makes weights of others.

    Attributes:
        codes: the digits of the weights of each output in C order, ``EACH`` to a byte: (outputs,
            bytes), uint8. None: nothing is added, and weights are only rounded.
        step, scale: broadcast to the weights: of each output, and of each input. None as ``codes``.
        grid: broadcasts to the weights, powers of two; None: nothing is rounded.
    """

    codes: Array | None = None
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
        table = digit_table()
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
        if self.codes is not None:
            shape = (len(first), -(-(first.size // len(first)) // EACH))
            if self.codes.shape != shape or (self.codes >= CODES).any():
                raise ValueError(f"the codes of a change of weights {first.shape} are not theirs")


def _rows(values: Array | None, rows: slice, shape: Shape) -> Array:
    assert values is not None
    return np.broadcast_to(values, shape)[rows]
