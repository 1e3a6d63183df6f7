"""Integrate-and-fire: IF, LIF, signed and graded (burst) neurons with one step function.

    v <- (1 - leak) v + I + bias
    k <- clip(floor(v / v_threshold), -m, levels),  m = min(levels, M) if signed else 0
    v <- v - k v_threshold              (reset "subtract")
    v <- v_reset where k != 0           (reset "zero")

with M the sum of all k emitted so far (Wang et al. 2022, signed neuron with memory: a negative
spike only takes back what was sent before). k is an integer number of spikes; what one spike is
worth, v_threshold, is folded into the weights that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...errors import GraphError
from ..ops import Array, Shape, frozen
from .model import Coding, Neuron, State


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronParams(Neuron):
    """Integrate-and-fire neuron; every array broadcasts to the population's shape.

    Attributes:
        v_threshold: firing threshold, in the unit of the membrane potential (that of the ANN's
            activation); > 0.
        v_init: membrane potential before the first step; v_threshold / 2 makes the expected
            rounding error zero (Bu et al. 2022, "Optimized potential initialization").
        reset: "subtract" takes k thresholds off (soft reset), "zero" sets v_reset.
        v_reset: potential after a spike with reset "zero".
        leak: fraction of the potential lost per step, in [0, 1]; 0 is IF, else LIF. With 1 a
            neuron has no memory: it compares its current with the threshold ("stateless").
        refractory: steps after a spike in which the neuron neither integrates nor fires.
        lag: steps of integration before the first spike; the layer's firing window is that much
            later than its input's (see ``schedule``).
        levels: largest number of spikes per step; 1 is binary, more is a graded spike.
        signed: whether negative spikes may take back what was sent.
        v_min: floor of the membrane potential, or None.
    """

    name: ClassVar[str] = "if"
    v_threshold: Array
    v_init: Array
    reset: Literal["subtract", "zero"] = "subtract"
    v_reset: float = 0.0
    leak: float = 0.0
    refractory: int = 0
    lag: int = 0
    levels: int = 1
    signed: bool = False
    v_min: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "v_threshold", frozen(self.v_threshold))
        object.__setattr__(self, "v_init", frozen(self.v_init))
        if not np.all(self.v_threshold > 0):
            raise GraphError("v_threshold must be greater than 0 everywhere")
        if not 0 <= self.leak <= 1:
            raise GraphError(f"leak must be from 0 to 1, got {self.leak}")
        if self.levels < 1 or self.refractory < 0 or self.lag < 0:
            raise GraphError("levels must be at least 1, refractory and lag at least 0")
        if self.reset not in ("subtract", "zero"):
            raise GraphError(f"reset must be 'subtract' or 'zero', got {self.reset!r}")

    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        """Fresh state of a population for ``batch`` samples."""
        v = np.empty((batch, *shape), dtype)
        v[...] = self.v_init
        state = {"v": v}
        if self.levels > 1 or self.signed:
            state["scratch"] = np.zeros((batch, *shape), dtype)
        if self.signed:
            state["sent"] = np.zeros((batch, *shape), dtype)
        if self.refractory:
            state["wait"] = np.zeros((batch, *shape), np.int32)
        return state

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
        v = state["v"]
        if self.refractory:
            active = state["wait"] == 0
            np.subtract(state["wait"], 1, out=state["wait"], where=~active)
            if self.leak:
                np.multiply(v, v.dtype.type(1 - self.leak), out=v, where=active)
            np.add(v, current, out=v, where=active)
        else:
            if self.leak:
                v *= v.dtype.type(1 - self.leak)
            v += current
        if self.v_min is not None:
            np.maximum(v, v.dtype.type(self.v_min), out=v)
        if not may_fire:
            spikes[...] = 0
            return
        threshold = self.v_threshold.astype(v.dtype, copy=False)
        if self.levels == 1 and not self.signed:
            np.greater_equal(v, threshold, out=spikes)
        else:
            np.divide(v, threshold, out=spikes)
            np.floor(spikes, out=spikes)
            lowest: Array | float = 0.0
            if self.signed:
                lowest = np.minimum(state["sent"], self.levels, out=state["scratch"])
                np.negative(lowest, out=lowest)
            np.maximum(spikes, lowest, out=spikes)
            np.minimum(spikes, self.levels, out=spikes)
        if self.refractory:
            np.multiply(spikes, active, out=spikes)
            np.copyto(state["wait"], self.refractory, where=spikes != 0)
        if self.reset == "subtract":
            v -= np.multiply(spikes, threshold, out=state.get("scratch"))
        else:
            np.copyto(v, v.dtype.type(self.v_reset), where=spikes != 0)
        if self.signed:
            state["sent"] += spikes

    @property
    def coding(self) -> Coding:
        return "rate"

    def reach(self, steps: int) -> float:
        return int(self.levels * -(-steps // (1 + self.refractory)))

    def charge(self, steps: int) -> Array:
        if self.leak:  # which forgets it
            return super().charge(steps)
        return np.asarray((self.v_init - self.v_threshold / 2) / steps)

    def _traits(self) -> Iterator[str]:
        yield self.reset
        yield "v_init"
        present = {
            "levels": self.levels > 1,
            "signed": self.signed,
            "lag": self.lag,
            "leak": 0 < self.leak < 1,
            "stateless": self.leak == 1,
            "refractory": self.refractory,
            "floor": self.v_min is not None,
        }
        yield from (name for name, value in present.items() if value)
