"""Any neuron model, one step at a time, in the plan's layout."""

from __future__ import annotations

import numpy as np

from ...neurons import Neuron, State
from ...ops import Array, Shape
from ..buffers import zeros
from ..counting import Counter
from ..layout import Layout
from ..profile import Clock
from .base import Bias, Window


class GeneralCell:
    """Any neuron model, through its own ``initial_state`` and ``step``.

    State arrays are kept in the engine's memory order and handed over as (batch, *shape) views, so
    elementwise models run over contiguous memory whatever they compute.
    """

    def __init__(
        self,
        neuron: Neuron,
        shape: Shape,
        bias: Bias,
        layout: Layout,
        dtype: np.dtype,
        counter: Counter | None,
        clock: Clock,
    ) -> None:
        self.neuron, self.bias, self.layout, self.counter = neuron, bias, layout, counter
        self.initial = {
            name: self._relayout(array, shape)
            for name, array in neuron.initial_state(layout.lanes, shape, dtype).items()
        }
        self.state: State = {}
        self.spikes = zeros((1, *layout.inner(shape)), dtype)
        self.fired = zeros(layout.inner(shape), dtype)
        self.clock = clock

    def _relayout(self, array: Array, shape: Shape) -> Array:
        if array.shape != (self.layout.lanes, *shape):
            return array
        inner = zeros((1, *self.layout.inner(shape)), array.dtype)
        natural = self.layout.natural(inner)[0]
        natural[...] = array
        return natural

    def reset(self) -> None:
        for name, array in self.initial.items():
            held = self.state.get(name)
            if (
                isinstance(held, np.ndarray)
                and held.shape == array.shape
                and held.dtype == array.dtype
            ):
                held[...] = array
            else:  # the first tile, or the model put another array in its place
                self.state[name] = array.copy(order="K")

    def states(self) -> State:
        return self.state

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.neuron:
            steady = len(xs[0]) != len(out)
            current = self.layout.natural(self.bias.add(xs[0], window.arrives, owned))
            spikes, total = self.layout.natural(self.spikes)[0], 0
            for i in range(len(out)):
                now = current[0 if steady else i]
                when = window.first + i
                self.neuron.step(
                    self.state,
                    now,
                    spikes,
                    may_fire=window.fires,
                    position=when,
                    steps=window.steps,
                )
                np.copyto(out[i], self.spikes[0], casting="unsafe")
                events = int(np.count_nonzero(out[i])) if window.fires else 0
                total += events
                if events and self.counter is not None:
                    with self.clock.counting:
                        np.not_equal(self.spikes[0], 0, out=self.fired)
                        self.counter.add(window.at + i, self.fired, events)
            return total
