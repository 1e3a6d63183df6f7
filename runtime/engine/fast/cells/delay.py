"""A signal some steps later."""

from __future__ import annotations

import numpy as np

from ....neurons import State
from ....ops import Array, Shape
from ...profile import Clock
from ..buffers import zeros
from .base import Window


class DelayCell:
    """A ring of the last ``steps`` values of a signal, in the type it has."""

    def __init__(self, steps: int, shape: Shape, dtype: np.dtype, lanes: int, clock: Clock) -> None:
        self.ring = zeros((steps, lanes, *shape), dtype)
        self.clock, self.at = clock, np.zeros((), np.int64)

    def reset(self) -> None:
        self.ring[...] = 0
        self.at[...] = 0

    def states(self) -> State:
        return {"at": self.at, **{f"held{i}": held for i, held in enumerate(self.ring)}}

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.copies:
            steady = len(xs[0]) != len(out)
            for i in range(len(out)):
                held = self.ring[int(self.at)]
                out[i] = held
                held[...] = xs[0][0 if steady else i]
                self.at[...] = (self.at + 1) % len(self.ring)
            return int(np.count_nonzero(out))
