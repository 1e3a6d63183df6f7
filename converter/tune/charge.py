"""Neurons that keep their charge: a step in fewer passes than their ``step``, same to the last bit.

They lose nothing but a threshold per spike, of which they send one per step at most. So what they
have sent is the charge that came less their potential, and the potential after a step is one of two
numbers: what it was, or a threshold less. With the extra ``fast`` a step is one compiled pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ...runtime.engine import kernels
from ...runtime.neurons import Neuron
from ...runtime.ops import Array


def keeps_charge(neuron: Neuron) -> bool:
    """Whether a neuron is of this kind."""
    return neuron.traits <= {"if", "subtract", "v_init", "lag"}


def charging(v: Array, *, current: Array, threshold: Array, spikes: Array) -> Callable[[], None]:
    """A step of the potentials ``v``, in place: ``current`` arrives, and a threshold is taken off
    where it is reached, which ``spikes`` tells (bool). ``current`` may be overwritten.

    All are contiguous float32 of one shape, but for ``threshold``, which may be without the first
    axis. They stay where they are for as long as the step is used.
    """
    compiled = kernels()
    if compiled is None:
        return partial(_step, v, current, threshold, spikes)
    arrays, size = (v, current, threshold, spikes), threshold.size
    places = (x.ctypes.data for x in arrays)
    step = partial(compiled.plain, *places, 1, 0, 0, v.size // max(size, 1), 1, 1, size, True)
    return partial(_call, step, arrays)


def _call(step: Callable[[], None], arrays: tuple[Array, ...]) -> None:
    """``step``, whose ``arrays`` live for as long."""
    step()


def _step(v: Array, current: Array, threshold: Array, spikes: Array) -> None:
    v += current
    np.subtract(v, threshold, out=current)
    np.greater_equal(current, 0, out=spikes)
    bits = v.view(np.uint32)
    # The smaller of the two, as whole numbers: the bits of a negative number are the larger ones.
    np.minimum(bits, current.view(np.uint32), out=bits)
