"""Neurons that compete: at most one of a population fires in a step, and inhibits the others.

    v <- (1 - leak) v + I + bias
    j <- argmax(v - v_threshold), the first of equals; it fires where v_j >= v_threshold_j, and then
    v_j <- v_j - v_threshold_j (reset "subtract") or 0 (reset "zero")
    v_k <- min(v_k, max(v_k - inhibition, 0))   for all k other than j

Lateral inhibition without its delay: the neuron that is farthest above its threshold fires first,
and what it sends to all others keeps them below theirs (Diehl and Cook 2015, "Unsupervised learning
of digit recognition using spike-timing-dependent plasticity"). It is the layer of ``plasticity``
while it learns, and afterwards.
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
class WinnerTakeAllParams(Neuron):
    """Binary neurons of which at most one per sample fires in a step; arrays broadcast.

    Attributes:
        v_threshold: firing threshold, in the unit of the membrane potential; > 0.
        reset: "subtract" takes the winner's threshold off, "zero" all of its potential.
        leak: fraction of the potential lost per step, in [0, 1).
        inhibition: what the winner takes from every other potential above 0, down to 0 at most;
            None: all of it.
    """

    name: ClassVar[str] = "winner-take-all"
    levels: ClassVar[int] = 1
    lag: ClassVar[int] = 0
    v_threshold: Array
    reset: Literal["subtract", "zero"] = "zero"
    leak: float = 0.0
    inhibition: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "v_threshold", frozen(self.v_threshold))
        if not np.all(self.v_threshold > 0):
            raise GraphError("v_threshold must be greater than 0 everywhere")
        if not 0 <= self.leak < 1:
            raise GraphError(f"leak must be in [0, 1), got {self.leak}")
        if self.inhibition is not None and self.inhibition < 0:
            raise GraphError(f"inhibition must be at least 0, got {self.inhibition}")
        if self.reset not in ("subtract", "zero"):
            raise GraphError(f"reset must be 'subtract' or 'zero', got {self.reset!r}")

    @property
    def v_init(self) -> Array:
        """It begins at rest."""
        return np.zeros((), np.float32)

    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        return {"v": np.zeros((batch, *shape), dtype)}

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
        if self.leak:
            v *= v.dtype.type(1 - self.leak)
        v += current
        spikes[...] = 0
        if not may_fire:
            return
        fired = spikes.reshape(len(v), -1)
        threshold = np.broadcast_to(self.v_threshold, v.shape[1:]).reshape(-1).astype(v.dtype)
        for i, potentials in enumerate(v.reshape(len(v), -1)):
            winner = compete(
                potentials,
                threshold=threshold,
                subtract=self.reset == "subtract",
                inhibition=self.inhibition,
            )
            if winner is not None:
                fired[i, winner] = 1
        if not np.shares_memory(fired, spikes):
            spikes[...] = fired.reshape(spikes.shape)

    @property
    def coding(self) -> Coding:
        return "rate"

    def activation(self, pre: Array, ceiling: float | None) -> Array:
        """Only the neuron that reaches its threshold first fires, as often as its input says."""
        plain = super().activation(pre, ceiling)
        flat = plain.reshape(len(plain), -1)
        out = np.zeros_like(flat)
        rows, winner = np.arange(len(flat)), flat.argmax(axis=1)
        out[rows, winner] = flat[rows, winner]
        return out.reshape(plain.shape)

    def reach(self, steps: int) -> float:
        return steps

    def _traits(self) -> Iterator[str]:
        yield self.reset
        if self.leak:
            yield "leak"


def compete(v: Array, *, threshold: Array, subtract: bool, inhibition: float | None) -> int | None:
    """The number of the neuron that fires, or None, of charged potentials ``v`` (neurons,), which
    are reset in place; see the module."""
    above = v - threshold
    winner = int(above.argmax())
    left = above[winner]
    if left < 0:
        return None
    if inhibition is None:
        np.minimum(v, 0, out=v)
    elif inhibition:
        np.minimum(v, np.maximum(v - v.dtype.type(inhibition), 0), out=v)
    v[winner] = left if subtract else 0
    return winner
