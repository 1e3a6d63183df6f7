"""Neurons that keep their charge: a step in fewer passes than their ``step``, same to the last bit.

They lose nothing but a threshold per spike, of which they send one per step at most. So what they
have sent is the charge that came less their potential, and the potential after a step is one of two
numbers: what it was, or a threshold less.
"""

from __future__ import annotations

import numpy as np

from ...runtime.neurons import Neuron
from ...runtime.ops import Array


def keeps_charge(neuron: Neuron) -> bool:
    """Whether a neuron is of this kind."""
    return neuron.traits <= {"if", "subtract", "v_init", "lag"}


def discharge(v: Array, *, threshold: Array, spare: Array) -> None:
    """Take a threshold off the potentials ``v`` that have reached it, in place; ``spare`` is >= 0
    where they had. All are float32 of one shape, but for ``threshold``, which may broadcast."""
    np.subtract(v, threshold, out=spare)
    bits = v.view(np.uint32)
    # The smaller of the two, as whole numbers: the bits of a negative number are the larger ones.
    np.minimum(bits, spare.view(np.uint32), out=bits)
