"""Neurons with a compiled step (the extra ``fast``), in one pass."""

from __future__ import annotations

import numpy as np

from ....graph import Population
from ....ops import Array
from ...profile import Clock
from ..buffers import copied, long_row, zeros
from ..counting import Counter
from ..native import loaded
from ..native.steps import Step, compiled_step
from .base import Bias, Window
from .general import GeneralCell
from .plain import PlainCell

KIND = np.dtype(np.float32)


class CompiledPlainCell(PlainCell):
    """As ``PlainCell``, with one pass over potentials, current and spikes per step."""

    def __init__(
        self, node: Population, lanes: int, chunk: int, counter: Counter, clock: Clock
    ) -> None:
        bias = Bias(node.bias, node.shape, lanes, KIND, chunk)
        super().__init__(
            node.neuron, node.shape, bias, lanes=lanes, dtype=KIND, counter=counter, clock=clock
        )
        self.plain = loaded().plain
        self.row = _repeating(self.theta, self.v.size // lanes)
        self.places = self.flat.ctypes.data, self.row.ctypes.data
        self.sizes = (1, 1, self.flat.size // self.row.size, self.row.size)

    def _steps(self, fired: Array, *, current: Array, window: Window) -> int:
        (v, theta), size = self.places, self.flat.size
        steady = len(current) != len(fired)
        runs = (len(fired), 0 if steady else size, size)
        self.plain(v, current.ctypes.data, theta, fired.ctypes.data, *runs, *self.sizes, True)
        total = 0
        with self.clock.counting:
            for i, step in enumerate(fired):
                events = int(np.count_nonzero(step))
                if events:
                    spare = self._spare() if steady else current[i]
                    self.counter.add_spikes(window.at + i, step, events=events, spare=spare)
                    total += events
        return total


def _repeating(theta: Array, length: int) -> Array:
    """Thresholds as a row: a single value written out to ``length``."""
    row = theta.reshape(-1)
    return copied(np.broadcast_to(row, length) if row.size == 1 else row, np.float32)


class CompiledCell(GeneralCell):
    """As ``GeneralCell``, with one pass over state, current and spikes per step."""

    def __init__(
        self, node: Population, lanes: int, chunk: int, counter: Counter, clock: Clock
    ) -> None:
        bias = Bias(node.bias, node.shape, lanes, KIND, chunk)
        super().__init__(
            node.neuron, node.shape, bias, lanes=lanes, dtype=KIND, counter=counter, clock=clock
        )
        self.kernels = loaded()
        self.advance: Step | None = None
        theta = long_row(node.neuron.v_threshold, node.shape, lanes, KIND)
        size = self.fired.size
        self.theta = _repeating(theta, size // lanes)
        self.rows = (size // self.theta.size, self.theta.size)
        self.flags = zeros(self.rows, np.uint8)
        self.spare = self.fired.reshape(self.rows)
        self.flat: dict[str, Array] = {}

    def reset(self) -> None:
        super().reset()
        if not self.flat:  # the state's memory stays as it is from now on
            for name, array in self.state.items():
                assert isinstance(array, np.ndarray)
                self.flat[name] = array.reshape(self.rows) if array.ndim else array
            self.advance = compiled_step(
                self.kernels, self.neuron, self.flat, self.theta, self.flags
            )

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.neuron:
            steady = len(xs[0]) != len(out)
            current = self.bias.add(xs[0], window.arrives, owned).reshape(-1, *self.rows)
            assert self.advance is not None and current.flags.c_contiguous
            assert out.dtype == np.int8 and out.flags.c_contiguous
            charge, spikes, total = current.ctypes.data, out.ctypes.data, 0
            fired, size = self.flags.view(np.bool_), self.flags.size
            for i in range(len(out)):
                now, when = 0 if steady else i, window.first + i
                if not window.fires:
                    self._integrate(current[now], when, steps=window.steps)
                    out[i] = 0
                    continue
                self.advance(charge + 4 * now * size, spikes + i * size, when, window.steps)
                events = int(np.count_nonzero(fired))
                total += events
                if events and self.counter is not None:
                    with self.clock.counting:
                        self.counter.add_spikes(
                            window.at + i, fired, events=events, spare=self.spare
                        )
            return total

    def _integrate(self, current: Array, when: int, *, steps: int) -> None:
        """A step without spikes."""
        now = current.reshape(self.spikes.shape)
        self.neuron.step(self.state, now, self.spikes, may_fire=False, position=when, steps=steps)
