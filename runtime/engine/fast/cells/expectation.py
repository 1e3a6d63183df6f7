"""Max pools and analog islands: expectation compensation."""

from __future__ import annotations

import numpy as np

from ....graph import Analog, MaxPool
from ....neurons import State
from ....ops import Array, Shape
from ....semantics import islands as analog
from ...profile import Clock
from ..buffers import zeros
from ..counting import Counter
from ..products.records import pool_taps
from .base import Bias, Window


class ExpectationCell:
    """Max pooling or an analog island: the output's running sum is t f(running mean of input).

    ``counter`` is there where what it passes on are spikes.
    """

    def __init__(
        self,
        node: MaxPool | Analog,
        shapes: list[Shape],
        *,
        lanes: int,
        dtype: np.dtype,
        chunk: int,
        counter: Counter | None,
        clock: Clock,
    ) -> None:
        self.node, self.counter, self.clock = node, counter, clock
        self.differential = node.coding == "differential"
        self.constants = (node.bias,) if isinstance(node, MaxPool) else node.biases
        biases = (node.bias,) if isinstance(node, MaxPool) else node.biases
        self.biases = [
            Bias(b, s, lanes, dtype, chunk) for b, s in zip(biases, shapes, strict=False)
        ]
        self.sums = [zeros((chunk, lanes, *s), dtype) for s in shapes]
        self.carry = [zeros((lanes, *s), dtype) for s in shapes]
        self.before = zeros((lanes, *node.shape), dtype)
        self.total = zeros((chunk, lanes, *node.shape), dtype)
        self.taps = pool_taps(node.op, shapes[0]) if isinstance(node, MaxPool) else []
        self.fired = zeros((lanes, *node.shape), dtype)

    def reset(self) -> None:
        self.before[...] = 0
        for j, carry in enumerate(self.carry):
            carry[...] = 0
            if self.differential and j < len(self.constants):
                carry += self.constants[j]

    def states(self) -> State:
        named = {f"sum{j}": carry for j, carry in enumerate(self.carry)}
        return named | {"before": self.before}

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        if self.differential:
            return self._run_differential(xs, out, window)
        with self.clock.neuron:
            n = len(out)
            for j, x in enumerate(xs):
                if j < len(self.biases) and self.biases[j].bias is not None:
                    x = self.biases[j].add(x, window.arrives, False)
                self._accumulate(j, x, n=n)
            if not window.fires:
                out[...] = 0
                return 0
            total = self.total[:n]
            self._evaluate(total, window.first)
            np.subtract(total[1:], total[:-1], out=out[1:])
            np.subtract(total[0], self.before, out=out[0])
            self.before[...] = total[-1]
            return self._count(out, window)

    def _run_differential(self, xs: list[Array], out: Array, window: Window) -> int:
        """Running means R in and out: each step emits t times the change of f(R)."""
        with self.clock.neuron:
            for i in range(len(out)):
                t = out.dtype.type(window.first + i + 1)
                for j, x in enumerate(xs):
                    np.divide(x[i if len(x) > 1 else 0], t, out=self.sums[j][0])
                    np.add(self.carry[j], self.sums[j][0], out=self.carry[j])
                    self.sums[j][0] = self.carry[j]
                mean = self.total[:1]
                self._evaluate(mean, 0)
                np.subtract(mean[0], self.before, out=out[i])
                out[i] *= t
                self.before[...] = mean[0]
            return self._count(out, window)

    def _accumulate(self, j: int, x: Array, *, n: int) -> None:
        sums, before = self.sums[j], self.carry[j]
        for i in range(n):
            np.add(before, x[i if len(x) > 1 else 0], out=sums[i])
            before = sums[i]
        self.carry[j][...] = before

    def _evaluate(self, total: Array, first: int) -> None:
        """t f(S / t) for each step; max pooling is homogeneous, t f(S / t) = f(S)."""
        sums = [s[: len(total)] for s in self.sums]
        if isinstance(self.node, MaxPool):
            total[...] = np.finfo(total.dtype).min
            for target, source in self.taps:
                part = total[target]
                np.maximum(part, sums[0][source], out=part)
            return
        for i in range(len(total)):
            t = first + i + 1
            means = [s[i] / t for s in sums]
            total[i] = t * analog.settled(self.node.model, self.node.output, means)

    def _count(self, out: Array, window: Window) -> int:
        if self.counter is None:
            return 1
        events_in_all = 0
        with self.clock.counting:
            for i in range(len(out)):
                events = int(np.count_nonzero(out[i]))
                events_in_all += events
                if events:
                    np.not_equal(out[i], 0, out=self.fired)
                    self.counter.add(window.at + i, self.fired, events)
        return events_in_all
