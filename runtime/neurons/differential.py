"""Differential coding: spikes that correct the running mean of what was sent before.

A spike of size s in step t moves the decoded value, a running mean A, by s / t (Huang et al. 2025,
"Differential coding for training-free ANN-to-SNN conversion"). With x(t) the weighted spikes of
step t and R the running mean of the input (which starts at the bias, injected once):

    m <- v + x(t) + R - A
    R <- R + x(t) / t
    k <- the largest power of two 2^j, j < powers, with m >= 3/4 u 2^j, u = v_threshold, and
         t (c - A) >= u 2^j (the decoded value stays at most at the ceiling c, where there is one);
         -2^j where m <= -3/4 u 2^j and t A >= u 2^j (it stays at least 0)
    v <- m - k u
    A <- A + k u / t

R + x(t) is what rate coding would have delivered in this step and A what is sent without a spike,
so v is the membrane potential of a signed neuron; once A is right the neuron is silent. At a
bound v goes on integrating, as that of a rate-coded neuron that fires in every step or in none. A
source in rate coding (the constant input current) enters as m <- v + x(t) + bias - A, without R.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from ...errors import GraphError
from ..ops import Array, Shape, frozen
from .model import Coding, Neuron, State

FIRING_POINT = (
    0.75  # of a level: nearer to it than to the next smaller one (``_levels`` is for 3/4)
)
TOLERANCE = 1e-3  # of a unit: what rounding may have taken from what was sent
MOST_POWERS = 7  # spikes are kept as int8


@dataclass(frozen=True, eq=False, kw_only=True)
class DifferentialParams(Neuron):
    """Multi-threshold neuron with differential coding; arrays broadcast to the population.

    Attributes:
        v_threshold: u, what the smallest spike (1) is worth in step 1; > 0.
        powers: number of levels: spikes are +-1, +-2, ... +-2^(powers - 1).
        bias: R before the first step (or added in every step, see ``source``). The population's
            own bias must be zero.
        source: how the input is coded.
        ceiling: c, the largest value the neuron can send: the upper bound of the activation it
            stands for; None is no bound.
        lag: always 0: the 1/t weights of a layer and its reader must agree in t.
    """

    name: ClassVar[str] = "differential"
    v_threshold: Array
    powers: int = 4
    bias: Array = field(default_factory=lambda: np.zeros((), np.float32))
    source: Literal["rate", "differential"] = "differential"
    lag: int = 0
    ceiling: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "v_threshold", frozen(self.v_threshold))
        object.__setattr__(self, "bias", frozen(self.bias))
        if not np.all(self.v_threshold > 0):
            raise GraphError("v_threshold must be greater than 0 everywhere")
        if not 1 <= self.powers <= MOST_POWERS:
            raise GraphError(f"powers must be 1 to {MOST_POWERS}, got {self.powers}")
        if self.lag:
            raise GraphError("differential coding has no start lag")
        if self.ceiling is not None and not self.ceiling > 0:
            raise GraphError(f"the ceiling must be greater than 0, got {self.ceiling}")
        if self.source not in ("rate", "differential"):
            raise GraphError(f"source must be 'rate' or 'differential', got {self.source!r}")

    @property
    def levels(self) -> int:
        """The largest spike."""
        return 1 << (self.powers - 1)

    @property
    def graded(self) -> bool:
        """Its levels are powers of two."""
        return False

    @property
    def v_init(self) -> Array:
        """It begins at zero."""
        return np.zeros((), np.float32)

    @property
    def coding(self) -> Coding:
        return "differential"

    @property
    def reads(self) -> Coding:
        return self.source

    @property
    def kept_bias(self) -> Array:
        return self.bias

    def reach(self, steps: int) -> float | Array:
        most = float(self.levels * (steps / np.arange(1, steps + 1)).sum())
        if self.ceiling is None:
            return most
        return np.minimum(most, steps * self.ceiling / self.v_threshold.astype(np.float64))

    def _traits(self) -> Iterator[str]:
        yield from ("signed", "bias")
        if self.levels > 1:
            yield "levels"
        if self.ceiling is not None:
            yield "ceiling"

    def initial_state(self, batch: int, shape: Shape, dtype: np.dtype) -> State:
        """Fresh state of a population for ``batch`` samples."""
        zero = np.zeros((batch, *shape), dtype)
        received = zero.copy()
        received[...] = self.bias
        state = {"v": zero, "received": received, "sent": zero.copy(), "t": np.zeros((), dtype)}
        return state | {"scratch": zero.copy(), "limit": zero.copy()}

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
        v, received, sent, scratch = (state[k] for k in ("v", "received", "sent", "scratch"))
        state["t"] += 1
        t = state["t"]
        v += current
        v += received
        v -= sent
        if self.source == "differential":
            received += np.divide(current, t, out=scratch)
        if not may_fire:
            spikes[...] = 0
            return
        unit = self.v_threshold.astype(v.dtype, copy=False)
        total = state["limit"]
        np.copyto(total, sent)
        if self.ceiling is not None:  # what may still be sent, where it is not to be taken back
            np.subtract(v.dtype.type(self.ceiling), sent, out=total, where=v >= 0)
        total *= t
        total /= unit
        self._levels(np.divide(v, unit, out=scratch), total=total, spikes=spikes)
        emitted = np.multiply(spikes, unit, out=scratch)
        v -= emitted
        emitted /= t
        sent += emitted

    def _levels(self, m: Array, *, total: Array, spikes: Array) -> None:
        """The level each neuron fires, given its potential ``m`` and in ``total`` t A, or t (c - A)
        where ``m`` is positive and there is a ceiling c, both in units of u; these two are
        overwritten.

        On the bits of floats: a number without its mantissa is the largest power of two up to it,
        and half a mantissa added first carries from 3/4 of the next power of two on.
        """
        whole = np.dtype(f"u{m.dtype.itemsize}")
        fraction = np.finfo(m.dtype).nmant
        sign = whole.type(1) << whole.type(8 * whole.itemsize - 1)
        half = whole.type(1) << whole.type(fraction - 1)
        exponent = ~sign & ~((whole.type(1) << whole.type(fraction)) - whole.type(1))
        bits = m.view(whole)
        size, most = spikes.view(whole), total.view(whole)
        np.add(bits, half, out=size)
        np.bitwise_and(size, exponent, out=size)
        bits &= sign
        # What was sent can be taken back, and not more; to a positive spike that is no limit, but
        # what is left up to the ceiling is.
        total += m.dtype.type(TOLERANCE)
        np.maximum(total, 0, out=total)
        most &= exponent
        if self.ceiling is None:
            bits |= np.asarray(self.levels, m.dtype).view(whole)
            np.maximum(total, m, out=total)
        np.minimum(total, self.levels, out=total)
        np.minimum(spikes, total, out=spikes)
        np.floor(spikes, out=spikes)
        bits &= sign
        size |= bits
