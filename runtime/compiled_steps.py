"""One step of the neuron models other than plain ones, compiled by numba (the extra ``fast``).

A model's ``step`` is written for whole arrays, so every operation in it passes over the potentials
once; here all of it happens to a neuron while its state is in registers. The numbers are the same,
bit for bit: the same operations in the same order and precision.

A function takes the state's arrays and a step's current as (rows, neurons of a row) and thresholds
as one such row, and writes spikes, and 1 where there are any. It counts nothing: with a sum across
neurons the compiler would handle fewer of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numba
import numpy as np

from .event_kernels import compiled
from .neuron import Neuron, PacedParams
from .neuron_differential import FIRING_POINT, TOLERANCE, DifferentialParams
from .neuron_paced import progress, weight
from .ops import Array

F32, F64 = numba.float32, numba.float64
MOST_POWERS = 7  # of a differential neuron's levels; a fixed number, so that the loop is unrolled


@compiled
def _burst(v, sent, current, theta, spikes, fired, levels):  # type: ignore[no-untyped-def]
    """``NeuronParams`` with soft reset; ``sent`` has no neurons where spikes are never negative."""
    most, signed = F32(levels), sent.size > 0
    for r in range(v.shape[0]):
        for i in range(v.shape[1]):
            now = v[r, i] + current[r, i]
            k = np.floor(now / theta[i])
            k = min(max(k, -min(sent[r, i], most) if signed else F32(0)), most)
            v[r, i] = now - k * theta[i]
            if signed:
                sent[r, i] += k
            spikes[r, i] = np.int8(k)
            fired[r, i] = k != 0


@compiled
def _paced(charge, due, current, theta, spikes, fired, gain, over, arrived):  # type: ignore[no-untyped-def]
    """``PacedParams``; ``gain``: the weight of this step's current."""
    for r in range(charge.shape[0]):
        for i in range(charge.shape[1]):
            now = charge[r, i] + F64(current[r, i]) * gain
            flag = now * over >= due[r, i] * arrived
            charge[r, i] = now
            due[r, i] += F64(theta[i]) if flag else 0.0
            spikes[r, i] = flag
            fired[r, i] = flag


@compiled
def _differential(v, received, sent, current, unit, spikes, fired, t, top, coded):  # type: ignore[no-untyped-def]
    """``DifferentialParams``; ``coded``: the input is differential too."""
    for r in range(v.shape[0]):
        for i in range(v.shape[1]):
            x, u, before = current[r, i], unit[i], sent[r, i]
            now = v[r, i] + x + received[r, i] - before
            received[r, i] += x / t if coded else F32(0)
            m = now / u
            size, limit = abs(m), top
            if m < 0:
                limit = min(top, before * t / u + F32(TOLERANCE))
            k = F32(0)
            for j in range(MOST_POWERS):
                level = F32(1 << j)
                k = level if (size >= F32(FIRING_POINT) * level) & (limit >= level) else k
            k = k if m >= 0 else -k
            emitted = k * u
            v[r, i] = now - emitted
            sent[r, i] = before + emitted / t
            spikes[r, i] = np.int8(k)
            fired[r, i] = k != 0


def advance(
    neuron: Neuron,
    state: Mapping[str, Array],
    current: Array,
    theta: Array,
    spikes: Array,
    fired: Array,
    position: int,
    steps: int,
) -> None:
    """One step in which neurons may fire, as ``neuron.step`` takes it; see the module."""
    if isinstance(neuron, DifferentialParams):
        state["t"][...] += 1
        held = (state["v"], state["received"], state["sent"])
        when = (np.float32(state["t"]), np.float32(neuron.levels), neuron.source == "differential")
        _differential(*held, current, theta, spikes, fired, *when)
    elif isinstance(neuron, PacedParams):
        over, arrived = progress(position, neuron.lag, steps)
        gain = float(weight(position + neuron.lag, steps))
        factors = (gain, float(over), float(arrived))
        _paced(state["charge"], state["due"], current, theta, spikes, fired, *factors)
    else:
        sent = state["sent"] if neuron.signed else _NONE
        _burst(state["v"], sent, current, theta, spikes, fired, neuron.levels)


_NONE = np.zeros((0, 0), np.float32)
