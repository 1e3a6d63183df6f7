"""What a node with state does to a block of steps, with all buffers prepared.

Each cell has ``reset`` (a new tile), ``run`` (some steps) and ``states`` (its state arrays as
(lanes, ...) views, to move samples between tiles).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ....neurons import State
from ....ops import Array, Shape
from ..buffers import long_row, zeros


@dataclass
class Window:
    """The steps a cell is asked for, all on the same side of every window border.

    Attributes:
        arrives: whether inputs and biases arrive (the input's window).
        fires: whether the cell may emit (its own window).
        first: position of the first step in the cell's own window, from 0.
        at: position of the first step in the block.
        steps: length of the windows.
    """

    arrives: bool
    fires: bool
    first: int
    at: int
    steps: int


class Cell(Protocol):
    """A node with state."""

    def reset(self) -> None: ...

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        """Steps in place: ``xs`` are (steps or 1, lanes, *shape), ``out`` (steps, lanes, *shape).
        ``owned``: xs may be overwritten. Returns how many events there were (0: silent)."""
        ...

    def states(self) -> State: ...


class Bias:
    """Adds a bias current while the window is open, into the input itself or into a buffer."""

    def __init__(self, bias: Array, shape: Shape, lanes: int, dtype: np.dtype, chunk: int) -> None:
        self.bias: Array | None = None
        if np.any(bias):
            self.bias = long_row(bias, shape, lanes, dtype)
        self.buffer: Array | None = None
        self.shape, self.dtype = (chunk, lanes, *shape), dtype

    def add(self, x: Array, arrives: bool, owned: bool) -> Array:
        """``x`` plus the bias; a float array that the caller may overwrite."""
        out = x
        if not owned:
            if self.buffer is None:
                self.buffer = zeros(self.shape, self.dtype)
            out = self.buffer[: len(x)]
            if x.dtype != out.dtype:  # ufuncs on mixed types are several times slower
                np.copyto(out, x)
                x = out
        if self.bias is not None and arrives:
            rows = (-1, self.bias.size)
            np.add(x.reshape(rows), self.bias, out=out.reshape(rows))
        elif x is not out:
            np.copyto(out, x)
        return out
