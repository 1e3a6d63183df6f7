"""Current-based leaky integrate-and-fire: a synaptic current that leaks before the membrane.

    i <- (1 - synaptic_leak) i + synaptic_leak (I + bias)
    v <- (1 - leak) v + i
    k <- 1 where v >= v_threshold
    v <- v - v_threshold (reset "subtract") or v_reset (reset "zero") where k is 1

The current is that of NIR's CubaLIF in forward Euler's steps dt (Pedersen et al. 2024,
"Neuromorphic intermediate representation"), the membrane after the current, as Norse and snnTorch
step it: synaptic_leak = dt / tau_syn, leak = dt / tau_mem. A constant current arrives as itself in
the end, so weights mean what they mean before neurons without one. Potentials count from where
they rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from ...errors import GraphError
from ..ops import Array, Shape, frozen
from .model import Coding, Neuron, State


@dataclass(frozen=True, eq=False, kw_only=True)
class CubaParams(Neuron):
    """Binary neuron behind a synaptic current of its own; arrays broadcast to the population.

    Attributes:
        v_threshold: firing threshold, in the unit of the membrane potential; > 0.
        v_init: membrane potential before the first step; the current begins at 0.
        reset: "subtract" takes the threshold off, "zero" sets v_reset.
        v_reset: potential after a spike with reset "zero".
        leak: fraction of the potential lost per step, in [0, 1].
        synaptic_leak: fraction of the current lost per step, and of what arrives that joins it, in
            (0, 1]; with 1 this is an integrate-and-fire neuron.
    """

    name: ClassVar[str] = "cuba"
    levels: ClassVar[int] = 1
    lag: ClassVar[int] = 0
    v_threshold: Array
    v_init: Array
    reset: Literal["subtract", "zero"] = "zero"
    v_reset: Array = field(default_factory=lambda: np.zeros((), np.float32))
    leak: float = 0.0
    synaptic_leak: float = 1.0

    def __post_init__(self) -> None:
        for name in ("v_threshold", "v_init", "v_reset"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        if not np.all(self.v_threshold > 0):
            raise GraphError("v_threshold must be greater than 0 everywhere")
        if not 0 <= self.leak <= 1:
            raise GraphError(f"leak must be from 0 to 1, got {self.leak}")
        if not 0 < self.synaptic_leak <= 1:
            raise GraphError(
                f"synaptic_leak must be above 0 and at most 1, got {self.synaptic_leak}"
            )
        if self.reset not in ("subtract", "zero"):
            raise GraphError(f"reset must be 'subtract' or 'zero', got {self.reset!r}")

    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        """Fresh state of a population for ``batch`` samples."""
        v = np.empty((batch, *shape), dtype)
        v[...] = self.v_init
        return {"v": v, "current": np.zeros_like(v), "scratch": np.zeros_like(v)}

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
        v, synaptic, scratch = state["v"], state["current"], state["scratch"]
        synaptic *= v.dtype.type(1 - self.synaptic_leak)
        synaptic += np.multiply(current, v.dtype.type(self.synaptic_leak), out=scratch)
        v *= v.dtype.type(1 - self.leak)
        v += synaptic
        if not may_fire:
            spikes[...] = 0
            return
        threshold = self.v_threshold.astype(v.dtype, copy=False)
        np.greater_equal(v, threshold, out=spikes)
        if self.reset == "subtract":
            v -= np.multiply(spikes, threshold, out=scratch)
        else:
            np.copyto(v, self.v_reset.astype(v.dtype, copy=False), where=spikes != 0)

    @property
    def coding(self) -> Coding:
        return "rate"

    def reach(self, steps: int) -> float:
        return steps

    def _traits(self) -> Iterator[str]:
        yield from (self.reset, "v_init")
        if self.leak:
            yield "leak"
