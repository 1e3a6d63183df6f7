"""Any neuron model, one step at a time, of a tile."""

from __future__ import annotations

import numpy as np

from ....neurons import Neuron, State
from ....ops import Array, Shape
from ...profile import Clock
from ..buffers import copied, zeros
from ..counting import Counter
from .base import Bias, Window


class GeneralCell:
    """Any neuron model, through its own ``initial_state`` and ``step``.

    Each step is the definition's; what the cell adds is that nothing is allocated for it.
    """

    def __init__(
        self,
        neuron: Neuron,
        shape: Shape,
        bias: Bias,
        *,
        lanes: int,
        dtype: np.dtype,
        counter: Counter | None,
        clock: Clock,
    ) -> None:
        self.neuron, self.bias, self.counter = neuron, bias, counter
        self.initial = neuron.initial_state(lanes, shape, dtype)
        self.state: State = {}
        self.spikes = zeros((lanes, *shape), dtype)
        self.fired = zeros((lanes, *shape), dtype)
        self.clock = clock

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
                self.state[name] = copied(array, array.dtype)

    def states(self) -> State:
        return self.state

    def run(self, xs: list[Array], out: Array, window: Window, owned: bool) -> int:
        with self.clock.neuron:
            steady = len(xs[0]) != len(out)
            current = self.bias.add(xs[0], window.arrives, owned)
            spikes, total = self.spikes, 0
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
                np.copyto(out[i], spikes, casting="unsafe")
                events = int(np.count_nonzero(out[i])) if window.fires else 0
                total += events
                if events and self.counter is not None:
                    with self.clock.counting:
                        np.not_equal(spikes, 0, out=self.fired)
                        self.counter.add(window.at + i, self.fired, events)
            return total
