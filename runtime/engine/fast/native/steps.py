"""Steps of neuron models other than plain ones, by ``step_kernels`` (the extra ``fast``).

``STEPS`` is optional for a model: one that is not in it runs by its own ``step``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from ....neurons import Neuron, NeuronParams, PacedParams
from ....neurons.differential import DifferentialParams
from ....neurons.model import weight
from ....neurons.paced import progress
from ....ops import Array

# (address of a step's current, address of its spikes, position in the firing window, its length)
Step: TypeAlias = Callable[[int, int, int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Memory:
    """Where a step's arrays are: ``place`` of the state's by name, ``state`` these arrays, ``unit``
    of the thresholds and ``flags``, of ``shape``."""

    place: Mapping[str, int]
    state: Mapping[str, Array]
    unit: int
    flags: int
    shape: tuple[int, ...]


def compiled_step(
    kernels: SimpleNamespace, neuron: Neuron, state: Mapping[str, Array], theta: Array, fired: Array
) -> Step:
    """One step in which neurons may fire, as ``neuron.step`` takes it.

    ``state`` and ``fired`` are (rows, size), ``theta`` (size,); their memory must stay as it is.
    Spikes are written as int8. Only for neurons that ``has_compiled_step``.
    """
    memory = Memory(
        place={name: array.ctypes.data for name, array in state.items()},
        state=state,
        unit=theta.ctypes.data,
        flags=fired.ctypes.data,
        shape=fired.shape,
    )
    return STEPS[type(neuron)](kernels, neuron, memory)


def has_compiled_step(neuron: Neuron) -> bool:
    """Whether ``step_kernels`` has this model with these options."""
    return type(neuron) in STEPS and neuron.traits <= COMPILED and neuron.levels <= MOST


def _differential(kernels: SimpleNamespace, neuron: DifferentialParams, m: Memory) -> Step:
    held = (m.place["v"], m.place["received"], m.place["sent"])
    levels, coded, count = neuron.levels, neuron.source == "differential", m.state["t"]
    ceiling = np.float32(np.inf if neuron.ceiling is None else neuron.ceiling)

    def step(current: int, spikes: int, position: int, steps: int) -> None:
        count[...] += 1
        when = (np.float32(count), levels, ceiling, coded)
        kernels.differential(*held, current, m.unit, spikes, m.flags, *m.shape, *when)

    return step


def _paced(kernels: SimpleNamespace, neuron: PacedParams, m: Memory) -> Step:
    charge, due, lag = m.place["charge"], m.place["due"], neuron.lag

    def step(current: int, spikes: int, position: int, steps: int) -> None:
        over, arrived = progress(position, lag, steps)
        factors = (weight(position + lag, steps), over, arrived)
        kernels.paced(charge, due, current, m.unit, spikes, m.flags, *m.shape, *factors)

    return step


def _burst(kernels: SimpleNamespace, neuron: NeuronParams, m: Memory) -> Step:
    v, signed, levels = m.place["v"], neuron.signed, neuron.levels
    sent = m.place["sent"] if signed else 0

    def step(current: int, spikes: int, position: int, steps: int) -> None:
        kernels.burst(v, sent, current, m.unit, spikes, m.flags, *m.shape, levels, signed)

    return step


# Of a model's kernel, of neurons that have no other traits than these and no larger spikes.
STEPS: dict[type[Neuron], Callable[[SimpleNamespace, Any, Memory], Step]] = {
    NeuronParams: _burst,
    PacedParams: _paced,
    DifferentialParams: _differential,
}
COMPILED = frozenset(
    (
        *("if", "paced", "differential", "subtract", "levels", "signed", "lag", "ceiling"),
        *("v_init", "bias"),
    )
)
MOST = int(np.iinfo(np.int8).max)
