"""Plain integrate-and-fire neurons."""

from __future__ import annotations

import numpy as np

from ....neurons import Neuron, State
from ....ops import Array, Shape
from ...profile import Clock
from ..buffers import long_row, zeros
from ..counting import Counter
from .base import Bias, Window


class PlainCell:
    """Integrate-and-fire with soft reset and binary spikes: four passes over the potentials.

    The same numbers as from ``NeuronParams.step``. With w = v - threshold a neuron fires where
    w >= 0, and has w left there and v elsewhere. As the bits of a float are ordered, taken as an
    unsigned integer (first the positive numbers, by magnitude, then the negative ones, by
    magnitude), that is the smaller of w and v: with a positive threshold w < 0 comes after v,
    whatever v's sign. The current's own buffer, dead after the addition, holds w.
    """

    def __init__(
        self,
        neuron: Neuron,
        shape: Shape,
        bias: Bias,
        *,
        lanes: int,
        dtype: np.dtype,
        counter: Counter,
        clock: Clock,
    ) -> None:
        self.theta = long_row(neuron.v_threshold, shape, lanes, dtype)
        self.v_init = neuron.v_init.astype(dtype)
        self.v = zeros((lanes, *shape), dtype)
        length = self.v.size if self.theta.size == 1 else self.theta.size
        self.rows = (self.v.size // length, length)
        self.flat = self.v.reshape(self.rows)
        self.bits = np.dtype(f"u{dtype.itemsize}")
        self.spare: Array | None = None
        self.bias, self.counter, self.clock = bias, counter, clock

    def reset(self) -> None:
        self.v[...] = self.v_init

    def states(self) -> State:
        return {"v": self.v}

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.neuron:
            current = self.bias.add(xs[0], window.arrives, owned).reshape(-1, *self.rows)
            if window.fires:
                return self._steps(
                    out.view(np.bool_).reshape(-1, *self.rows), current=current, window=window
                )
            steady = len(current) != len(out)
            for i in range(len(out)):
                np.add(self.flat, current[0 if steady else i], out=self.flat)
            out[...] = 0
            return 0

    def _steps(self, fired: Array, *, current: Array, window: Window) -> int:
        """Steps with spikes, (steps, *rows), counted; ``current`` (steps or 1, *rows) may be
        overwritten where every step has its own."""
        steady, total = len(current) != len(fired), 0
        for i, flag in enumerate(fired):
            now = current[0 if steady else i]
            np.add(self.flat, now, out=self.flat)
            total += self._fire(flag, spare=self._spare() if steady else now, step=window.at + i)
        return total

    def _spare(self) -> Array:
        if self.spare is None:
            self.spare = zeros(self.rows, self.flat.dtype)
        return self.spare

    def _fire(self, fired: Array, *, spare: Array, step: int) -> int:
        np.subtract(self.flat, self.theta, out=spare)
        np.greater_equal(spare, 0, out=fired)
        events = int(np.count_nonzero(fired))
        if events == 0:
            return 0
        bits = self.flat.view(self.bits)
        np.minimum(bits, spare.view(self.bits), out=bits)
        with self.clock.counting:
            self.counter.add_spikes(step, fired, events=events, spare=spare)
        return events
