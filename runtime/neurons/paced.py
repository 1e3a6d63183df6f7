"""Paced neurons: behind a start lag, spikes that are even in time, read by when they come.

A neuron that has integrated ``lag`` steps before its first spike knows about what its rate will be.
Plain neurons then send what they hold in a burst; the time course of their spikes depends on their
rate, and a reader that sums excitation and inhibition decides on wrong sums on the way. A paced
neuron sends by step t of its window (of T steps) what its estimate of the rate allows by then:

    A <- A + (T + 1 - k) I                              k: the step of the input's window, from 1
    u  = A 2 t / (m (2 T + 1 - m)) + v_init - M v_threshold,            m = min(T, t + lag)
    a spike where u >= v_threshold

with M the spikes sent so far. Both factors belong together:

* An even train at rate r has sent floor(r t + 1/2) spikes by step t, and these times tell more
  about r than their number does. Weighted by T + 1 - k the spikes sum to the mean over t of the
  count so far, as after a first-order sigma-delta modulator with a filter of second order (Candy
  and Temes 1992). A neuron on a chip integrates twice: a synaptic current that does not decay,
  added to the potential.
* m (2 T + 1 - m) / 2 is the sum of the weights that have arrived, so that A over it estimates the
  mean current from the first step on; at the end it is the weighted mean itself, and u holds T
  times that, as the potential of a plain neuron does.

A network's readouts weigh what reaches them in the same way, and all inputs of a node must begin
together (``graph.Delay``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import GraphError
from ..ops import Array, Shape
from .integrate_and_fire import NeuronParams
from .model import Coding, State, weight


@dataclass(frozen=True, eq=False, kw_only=True)
class PacedParams(NeuronParams):
    """Binary neuron with soft reset and a start lag; fields as those of ``NeuronParams``."""

    name: ClassVar[str] = "paced"

    def __post_init__(self) -> None:
        super().__post_init__()
        plain = self.levels == 1 and not self.signed and self.reset == "subtract"
        if not plain or self.leak or self.refractory or self.v_min is not None:
            raise GraphError(
                "a paced neuron has binary spikes, soft reset, no leak, refractory steps or floor"
            )

    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        """Fresh state, in double precision: the weighted charge received, which is never reset and
        so outgrows the bits in which currents are exact; and what T times the estimated mean must
        reach for the next spike, (M + 1) v_threshold - v_init."""
        charge = np.zeros((batch, *shape), np.float64)
        due = charge + (self.v_threshold.astype(np.float64) - self.v_init)
        scratch = {"left": charge.copy(), "right": charge.copy()}
        return {"charge": charge, "due": due, **scratch, "fired": np.zeros(charge.shape, np.bool_)}

    def step(
        self,
        state: State,
        current: Array,
        spikes: Array,
        *,
        may_fire: bool = True,
        position: int = 0,
        steps: int = 1,
    ) -> None:
        """One time step in place; see ``Neuron.step``."""
        charge, due, left, right = (state[k] for k in ("charge", "due", "left", "right"))
        np.copyto(left, current)  # operations on mixed types are several times slower
        left *= weight(position + self.lag, steps)
        charge += left
        if not may_fire:
            spikes[...] = 0
            return
        # Both sides times the sum of the weights, so that nothing is rounded.
        over, arrived = progress(position, self.lag, steps)
        np.multiply(charge, over, out=left)
        np.multiply(due, arrived, out=right)
        np.greater_equal(left, right, out=state["fired"])
        np.copyto(spikes, state["fired"])
        np.copyto(left, spikes)
        left *= self.v_threshold.astype(np.float64)
        due += left

    def potential(self, state: State) -> Array:
        return state["charge"]

    @property
    def coding(self) -> Coding:
        return "paced"

    def charge(self, steps: int) -> Array:
        """The initial potential moves the count of every step, not only the last one's."""
        return np.asarray((self.v_init - self.v_threshold / 2) / ((steps + 1) / 2))


def progress(position: int, lag: int, steps: int) -> tuple[int, int]:
    """2 t and m (2 T + 1 - m) in step ``position`` (from 0) of the firing window."""
    t = min(position + 1, steps)
    m = min(steps, t + lag)
    return 2 * t, m * (2 * steps + 1 - m)
