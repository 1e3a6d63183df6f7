"""The network's answers: currents accumulated over a block of steps."""

from __future__ import annotations

import numpy as np

from ...graph import Readout
from ...neurons import State
from ...neurons.model import weight
from ...ops import Array
from ..buffers import zeros
from ..layout import Layout
from ..profile import Clock
from .base import Bias, Window
from .general import GeneralCell


class ReadoutCell:
    """Running mean of the input (or of spikes times threshold) after every step.

    ``answers`` (block, lanes, *shape) hold the block's, valid where the window was open.
    """

    def __init__(
        self, node: Readout, layout: Layout, dtype: np.dtype, chunk: int, clock: Clock
    ) -> None:
        self.node, self.layout, self.clock = node, layout, clock
        self.differential = node.coding == "differential"
        self.paced = node.coding == "paced"
        self.bias = Bias(node.bias, node.shape, layout, dtype, chunk)
        self.sum = zeros(layout.inner(node.shape), np.float64)
        self.neurons: GeneralCell | None = None
        self.unit: Array = np.ones((), np.float64)
        if node.mode == "count" and node.neuron is not None:
            none = Bias(np.zeros((), dtype), node.shape, layout, dtype, chunk)
            self.neurons = GeneralCell(node.neuron, node.shape, none, layout, dtype, None, clock)
            self.unit = node.neuron.v_threshold.astype(np.float64)
        self.buffer = zeros((chunk, *layout.inner(node.shape)), dtype)
        self.parts: list[tuple[int, Array]] = []

    def reset(self) -> None:
        self.sum[...] = 0
        if self.differential:
            mean = self.layout.natural(self.sum[np.newaxis])[0]
            mean += self.node.bias
        if self.neurons is not None:
            self.neurons.reset()

    def states(self) -> State:
        named = {"sum": self.layout.natural(self.sum[np.newaxis])[0]}
        if self.neurons is not None:
            named |= self.neurons.states()
        return named

    def read(self, x: Array, n: int, window: Window, owned: bool) -> None:
        """Accumulate ``n`` steps; with an open window keep the answers for ``take``."""
        if window.at == 0:
            self.parts.clear()
        current = self.bias.add(x, window.arrives and not self.differential, owned)
        if len(current) != n:
            current = np.broadcast_to(current, (n, *current.shape[1:]))
        if self.neurons is not None:
            spikes = self.buffer[:n]
            self.neurons.run([np.array(current)], spikes, window, True)
            current = spikes
        with self.clock.neuron:
            t = np.arange(window.first + 1, window.first + n + 1, dtype=np.float64)
            t = t.reshape(-1, *(1,) * (current.ndim - 1))
            if self.differential:  # a spike in step t moves the mean by 1/t
                sums = np.cumsum(current / t, axis=0, dtype=np.float64)
            elif self.paced:
                weights = weight(t - 1, window.steps)
                sums = np.cumsum(current * weights, axis=0, dtype=np.float64)
                t *= (2 * window.steps + 1 - t) / 2  # the sum of the weights so far
            else:
                sums = np.cumsum(current, axis=0, dtype=np.float64)
            sums += self.sum
            self.sum[...] = sums[-1]
            if not window.fires:
                return
            natural = self.layout.natural(sums)
            if not self.differential:
                natural /= t
            if self.neurons is not None:
                natural *= self.unit
            self.parts.append((window.first, natural))
