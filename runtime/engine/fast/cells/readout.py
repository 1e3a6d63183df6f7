"""The network's answers: currents accumulated over a block of steps."""

from __future__ import annotations

import numpy as np

from ....graph import Readout
from ....neurons import State
from ....neurons.model import weight
from ....ops import Array
from ...profile import Clock
from ..buffers import zeros
from .base import Bias, Window
from .general import GeneralCell


class ReadoutCell:
    """Running mean of the input (or of spikes times threshold) after every step.

    ``answers`` (block, lanes, *shape) hold the block's, valid where the window was open.
    """

    def __init__(
        self, node: Readout, lanes: int, dtype: np.dtype, chunk: int, clock: Clock
    ) -> None:
        self.node, self.clock = node, clock
        self.differential = node.coding == "differential"
        self.paced = node.coding == "paced"
        self.bias = Bias(node.bias, node.shape, lanes, dtype, chunk)
        self.sum = zeros((lanes, *node.shape), np.float64)
        self.neurons: GeneralCell | None = None
        self.unit: Array = np.ones((), np.float64)
        if node.mode == "count" and node.neuron is not None:
            none = Bias(np.zeros((), dtype), node.shape, lanes, dtype, chunk)
            self.neurons = GeneralCell(
                node.neuron, node.shape, none, lanes=lanes, dtype=dtype, counter=None, clock=clock
            )
            self.unit = node.neuron.v_threshold.astype(np.float64)
        self.buffer = zeros((chunk, lanes, *node.shape), dtype)
        self.parts: list[tuple[int, Array]] = []

    def reset(self) -> None:
        self.sum[...] = 0
        if self.differential:
            self.sum += self.node.bias
        if self.neurons is not None:
            self.neurons.reset()

    def states(self) -> State:
        named = {"sum": self.sum}
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
                summands = current / t
            elif self.paced:
                weights = weight(t - 1, window.steps)
                summands = current * weights
                t *= (2 * window.steps + 1 - t) / 2  # the sum of the weights so far
            else:
                summands = current.astype(np.float64)
            summands[0] += self.sum
            sums = np.cumsum(summands, axis=0)  # one after the other, whatever the block
            self.sum[...] = sums[-1]
            if not window.fires:
                return
            if not self.differential:
                sums /= t
            if self.neurons is not None:
                sums *= self.unit
            self.parts.append((window.first, sums))
