"""Steps of neuron models other than plain ones, by ``step_kernels`` (the extra ``fast``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np

from ...neurons import Neuron, PacedParams
from ...neurons.differential import DifferentialParams
from ...neurons.paced import progress, weight
from ...ops import Array

# (address of a step's current, address of its spikes, position in the firing window, its length)
Step: TypeAlias = Callable[[int, int, int, int], None]


def compiled_step(
    kernels: SimpleNamespace, neuron: Neuron, state: Mapping[str, Array], theta: Array, fired: Array
) -> Step:
    """One step in which neurons may fire, as ``neuron.step`` takes it.

    ``state`` and ``fired`` are (rows, size), ``theta`` (size,); their memory must stay as it is.
    Spikes are written as int8.
    """
    place = {name: array.ctypes.data for name, array in state.items()}
    unit, flags, shape = theta.ctypes.data, fired.ctypes.data, fired.shape
    if isinstance(neuron, DifferentialParams):
        held = (place["v"], place["received"], place["sent"])
        levels, coded, count = neuron.levels, neuron.source == "differential", state["t"]
        ceiling = np.float32(np.inf if neuron.ceiling is None else neuron.ceiling)

        def differential(current: int, spikes: int, position: int, steps: int) -> None:
            count[...] += 1
            when = (np.float32(count), levels, ceiling, coded)
            kernels.differential(*held, current, unit, spikes, flags, *shape, *when)

        return differential
    if isinstance(neuron, PacedParams):
        charge, due, lag = place["charge"], place["due"], neuron.lag

        def paced(current: int, spikes: int, position: int, steps: int) -> None:
            over, arrived = progress(position, lag, steps)
            factors = (weight(position + lag, steps), over, arrived)
            kernels.paced(charge, due, current, unit, spikes, flags, *shape, *factors)

        return paced
    v, signed, levels = place["v"], neuron.signed, neuron.levels
    sent = place["sent"] if signed else 0

    def burst(current: int, spikes: int, position: int, steps: int) -> None:
        kernels.burst(v, sent, current, unit, spikes, flags, *shape, levels, signed)

    return burst
