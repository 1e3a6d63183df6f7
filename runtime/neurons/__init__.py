"""Neuron models: parameters and one time step, in place, for a whole population.

A model is a frozen record with ``initial_state`` and ``step`` like ``neuron_if.NeuronParams``; a
new one is a module like these and its name in ``NEURON_MODELS``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from ..ops import Array
from .differential import DifferentialParams
from .integrate_and_fire import NeuronParams, State
from .paced import PacedParams

__all__ = ["NEURON_MODELS", "Neuron", "NeuronParams", "PacedParams", "State"]

Neuron: TypeAlias = NeuronParams | DifferentialParams
NEURON_MODELS: dict[str, type] = {
    "if": NeuronParams,
    "paced": PacedParams,
    "differential": DifferentialParams,
}


def most_spikes(neuron: Neuron, steps: int) -> float | Array:
    """The largest number of spikes a neuron can send in ``steps`` steps, counted as in ``Sums``; of
    neurons with a ceiling an array that broadcasts to the population."""
    if isinstance(neuron, DifferentialParams):
        most = float(neuron.levels * (steps / np.arange(1, steps + 1)).sum())
        if neuron.ceiling is None:
            return most
        return np.minimum(most, steps * neuron.ceiling / neuron.v_threshold.astype(np.float64))
    rest = neuron.refractory if isinstance(neuron, NeuronParams) else 0
    return int(neuron.levels * -(-steps // (1 + rest)))
