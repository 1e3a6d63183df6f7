"""One step of the neuron models, as numba compiles it (the extra ``fast``).

A model's ``step`` is written for whole arrays, so every operation in it passes over the potentials
once; here all of it happens to a neuron while its state is in registers. The numbers are the same,
bit for bit: the same operations in the same order and precision.

A function takes pointers: to the state's arrays and a step's current, (rows, size) each, to
thresholds, one such row, and to what it writes: spikes, and 1 where there are any. It counts
nothing: with a sum across neurons the compiler would handle fewer of them at once.
"""

from __future__ import annotations

import numba
import numpy as np

from ....neurons.differential import FIRING_POINT, MOST_POWERS, TOLERANCE

F32, F64 = numba.float32, numba.float64


def plain(v, current, theta, spikes, steps, shift, sent, lanes, blocks, repeats, size, adds):  # type: ignore[no-untyped-def]
    """Binary ``NeuronParams`` with soft reset, all ``steps`` of a row before the next row, so that
    its potentials stay in the L1 cache.

    Potentials are (lanes, blocks, repeats, size), thresholds (blocks, size). ``shift``, ``sent``:
    from one step's current and spikes to the next's (0 where the current is the same); ``adds``:
    there is a current, else the potentials have it already.
    """
    for lane in range(lanes):
        for block in range(blocks):
            for repeat in range(repeats):
                start = ((lane * blocks + block) * repeats + repeat) * size
                for step in range(steps):
                    source, target = start + step * shift, start + step * sent
                    for column in range(size):
                        i = start + column
                        now = v[i] + current[source + column] if adds else v[i]
                        left = now - theta[block * size + column]
                        flag = left >= 0
                        v[i] = left if flag else now
                        spikes[target + column] = flag


def burst(v, sent, current, theta, spikes, fired, rows, size, most, signed):  # type: ignore[no-untyped-def]
    """``NeuronParams`` with soft reset; ``sent`` is used only where spikes may be negative."""
    for row in range(rows):
        for column in range(size):
            i = row * size + column
            now = v[i] + current[i]
            k = np.floor(now / theta[column])
            k = min(max(k, -min(sent[i], most) if signed else F32(0)), most)
            v[i] = now - k * theta[column]
            if signed:
                sent[i] += k
            spikes[i] = np.int8(k)
            fired[i] = k != 0


def paced(charge, due, current, theta, spikes, fired, rows, size, gain, over, arrived):  # type: ignore[no-untyped-def]
    """``PacedParams``; ``gain``: the weight of this step's current."""
    for row in range(rows):
        for column in range(size):
            i = row * size + column
            now = charge[i] + F64(current[i]) * gain
            flag = now * over >= due[i] * arrived
            charge[i] = now
            due[i] += F64(theta[column]) if flag else 0.0
            spikes[i] = flag
            fired[i] = flag


def differential(v, received, sent, current, unit, spikes, fired, rows, size, t, top, cap, coded):  # type: ignore[no-untyped-def]
    """``DifferentialParams``; ``cap``: the ceiling, infinite where there is none; ``coded``: the
    input is differential too."""
    for row in range(rows):
        for column in range(size):
            i = row * size + column
            x, u, before = current[i], unit[column], sent[i]
            now = v[i] + x + received[i] - before
            received[i] += x / t if coded else F32(0)
            m = now / u
            left = before if m < 0 else cap - before
            height, limit = abs(m), min(top, left * t / u + F32(TOLERANCE))
            k = F32(0)
            for j in range(MOST_POWERS):  # a fixed number, so that the loop is unrolled
                level = F32(1 << j)
                k = level if (height >= F32(FIRING_POINT) * level) & (limit >= level) else k
            k = k if m >= 0 else -k
            emitted = k * u
            v[i] = now - emitted
            sent[i] = before + emitted / t
            spikes[i] = np.int8(k)
            fired[i] = k != 0
