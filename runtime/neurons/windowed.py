"""Codes of one whole number per window: few-spike and time to first spike.

A neuron reads the window of T steps of its input, decides how many of its levels that was, and
sends this number n in the T steps of its own window, which begins ``lag`` >= T steps later. A
reader weighs the step t (from 1) of a window by w(t) and sums up: what one level is worth is folded
into its weights as ever, so that with b the bias and theta the threshold

    A = sum_t w(t) (I(t) + b),          v = A + v_init,          n = clip(floor(v / theta), 0, N)

and v_init = theta / 2 rounds to the nearest level. The two codes:

* ``FewSpikeParams`` (Stoeckl and Maass 2021; the binary digits of Kim et al. 2018's phases):
  w(t) = 2^(T-t), N = 2^T - 1. In its step t a neuron spikes where v >= theta 2^(T-t), and then
  v -= that: the binary digits of n, the largest first. Reading is a shift and an addition per step,
  A <- 2 A + I.
* ``TtfsParams`` (one spike at a time that says it: Rueckauer and Liu 2018; Stanojevic et al. 2023):
  w(t) = T + 1 - t, N = T. At most one spike per neuron and window, in the first step with
  v >= theta (T + 1 - t); 0 sends none. Reading is two integrations, S <- S + I, A <- A + S, those
  of paced neurons (``paced``), and the steps of its spikes count as theirs do.

A constant current, which comes in every step, is so worth W = sum_t w(t) times itself, and n levels
are decoded as theta n / W. Nothing outside the two windows reaches a neuron or leaves it, so layers
may be computed one after the other, and on the numbers n instead of spikes
(``runtime.engine.fast.windows``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import GraphError
from ..ops import Array, Shape, frozen
from .model import Coding, Neuron, State, weight

MOST_DIGITS = 16  # steps of a few-spike window: potentials stay exact, and numbers small


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowedNeuron(Neuron):
    """What both codes are; arrays broadcast to the population's shape.

    Attributes:
        v_threshold: theta; a spike in every step would be worth theta on average over the window.
        v_init: what is added to the charge before the number is decided, theta / 2 rounds.
        lag: from the beginning of the input's window to that of its own: its length, or more.
        levels: above 1 it stands for so many neurons with one input, the threshold levels * theta
            and potentials theta apart (``converter.lowering.copies``), and sends what they send
            together: n goes up to levels * N, and neuron i of them sends floor((n + i) / levels).
    """

    name: ClassVar[str] = "windowed"
    v_threshold: Array
    v_init: Array
    lag: int
    levels: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "v_threshold", frozen(self.v_threshold))
        object.__setattr__(self, "v_init", frozen(self.v_init))
        if not np.all(self.v_threshold > 0):
            raise GraphError("v_threshold must be greater than 0 everywhere")
        if self.lag < 1:
            raise GraphError(
                f"a {self.name} neuron sends after its input's window: lag is at least 1"
            )
        if self.levels < 1:
            raise GraphError(f"levels is at least 1, got {self.levels}")

    @classmethod
    def most_steps(cls, wanted: int) -> int:
        """The most steps that a window can have, up to ``wanted``."""
        return wanted

    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        """Fresh state, in double precision: the weighted charge outgrows the bits in which the
        currents of one step are exact."""
        charge = np.zeros((batch, *shape), np.float64)
        return {
            "charge": charge,
            "scratch": charge.copy(),
            "fired": np.zeros(charge.shape, np.bool_),
        }

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
        """One time step in place; see ``Neuron.step``. Outside the window of its input nothing
        reaches the neuron."""
        charge, read = state["charge"], position + self.lag
        if 0 <= read < min(steps, self.lag):
            self._integrate(state, current, self.weight(read, steps))
        if not may_fire or not 0 <= position < steps:
            spikes[...] = 0
            return
        if self.levels > 1:
            self._send(state, spikes, position=position, steps=steps)
            return
        if position == 0:
            charge += self.v_init
        level = self.v_threshold * np.float64(self.weight(position, steps))
        np.greater_equal(charge, level, out=state["fired"])
        np.copyto(spikes, state["fired"])
        self.spend(charge, state["fired"], level)

    def _send(self, state: State, spikes: Array, *, position: int, steps: int) -> None:
        """A step of its own window of several neurons in one: the number is decided in the first,
        and what it leaves stays in the charge."""
        charge = state["charge"]
        if position == 0:
            state["number"] = self.numbers(charge.copy(), steps)
            charge += self.v_init - state["number"] * self.v_threshold
        np.copyto(spikes, self._together(state["number"], position, steps))

    def _together(self, numbers: Array, position: Any, steps: int) -> Array:
        """How many of the neurons that it stands for send in step(s) ``position``."""
        parts = (
            self.sends((numbers + i) // self.levels, position, steps) for i in range(self.levels)
        )
        return np.asarray(sum(part.astype(np.uint8) for part in parts))

    def _integrate(self, state: State, current: Array, weight: Any) -> None:
        np.copyto(state["scratch"], current)  # operations on mixed types are several times slower
        state["scratch"] *= weight
        state["charge"] += state["scratch"]

    @abstractmethod
    def weight(self, position: Any, steps: int) -> Any:
        """w of the step(s) ``position`` (from 0) of a window of ``steps``."""

    @abstractmethod
    def largest(self, steps: int) -> int:
        """N, the largest number of one neuron."""

    def most(self, steps: int) -> int:
        """The largest number, of all the neurons that it stands for together."""
        return self.levels * self.largest(steps)

    @abstractmethod
    def spend(self, charge: Array, fired: Array, level: Array) -> None:
        """Take from the ``charge`` of those that ``fired`` at ``level``, in place."""

    @abstractmethod
    def sends(self, numbers: Array, position: Any, steps: int) -> Array:
        """Whether one neuron has a spike in the step(s) ``position`` for each of ``numbers``, which
        are whole; of bool."""

    def code(self, steps: int) -> Array:
        """(most + 1, steps): the spikes of each number in each step; of bool where it stands for
        itself only."""
        numbers = np.arange(self.most(steps) + 1)[:, np.newaxis]
        if self.levels == 1:
            return self.sends(numbers, np.arange(steps), steps)
        return self._together(numbers, np.arange(steps), steps)

    def total(self, steps: int) -> int:
        """W, what a constant current's steps count together."""
        return int(self.weight(np.arange(steps), steps).sum())

    def numbers(self, charge: Array, steps: int) -> Array:
        """n of a whole window's weighted charge, in ``charge``'s memory, in double precision."""
        charge += self.v_init
        charge /= self.v_threshold.astype(np.float64)
        np.floor(charge, out=charge)
        return np.clip(charge, 0, self.most(steps), out=charge)

    def potential(self, state: State) -> Array:
        return state["charge"]

    def charge(self, steps: int) -> Array:
        return np.asarray((self.v_init - self.v_threshold / 2) / self.total(steps))

    def reach(self, steps: int) -> float:
        return steps * self.most(steps) / self.total(steps)

    def resolution(self, steps: int) -> float:
        return 1 / self.total(steps)

    def _traits(self) -> Iterator[str]:
        yield from ("v_init", "lag")
        if self.levels > 1:
            yield "levels"


@dataclass(frozen=True, eq=False, kw_only=True)
class FewSpikeParams(WindowedNeuron):
    """Binary digits, the largest first; see the module."""

    name: ClassVar[str] = "few-spike"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lag > MOST_DIGITS:
            raise GraphError(f"a few-spike window has at most {MOST_DIGITS} steps, got {self.lag}")

    @classmethod
    def most_steps(cls, wanted: int) -> int:
        return min(wanted, MOST_DIGITS)

    @property
    def coding(self) -> Coding:
        return "few-spike"

    def weight(self, position: Any, steps: int) -> Any:
        return 2 ** (steps - 1 - position)

    def largest(self, steps: int) -> int:
        return int(2**steps - 1)

    def spend(self, charge: Array, fired: Array, level: Array) -> None:
        np.subtract(charge, level, out=charge, where=fired)

    def sends(self, numbers: Array, position: Any, steps: int) -> Array:
        whole = np.asarray(numbers).astype(np.int64)
        return np.asarray(whole >> (steps - 1 - position) & 1, np.bool_)


@dataclass(frozen=True, eq=False, kw_only=True)
class TtfsParams(WindowedNeuron):
    """Time to first spike: early is large; see the module."""

    name: ClassVar[str] = "ttfs"

    @property
    def coding(self) -> Coding:
        return "paced"

    def weight(self, position: Any, steps: int) -> Any:
        return weight(position, steps)

    def largest(self, steps: int) -> int:
        return steps

    def spend(self, charge: Array, fired: Array, level: Array) -> None:
        # Below every later threshold: one spike per window.
        np.copyto(charge, 0.0, where=fired)

    def sends(self, numbers: Array, position: Any, steps: int) -> Array:
        return np.asarray(numbers == steps - position)


def windowed(neuron: Neuron | None) -> bool:
    """Whether a neuron sends one whole number per window."""
    return isinstance(neuron, WindowedNeuron)
