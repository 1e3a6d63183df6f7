"""Neuron models: parameters and one time step, in place, for a whole population.

A model is a frozen record with ``initial_state`` and ``step`` like ``neuron_if.NeuronParams``; a
new one is a module like these and its name in ``NEURON_MODELS``.
"""

from __future__ import annotations

from typing import TypeAlias

from .neuron_differential import DifferentialParams
from .neuron_if import NeuronParams, State
from .neuron_paced import PacedParams

__all__ = ["NEURON_MODELS", "Neuron", "NeuronParams", "PacedParams", "State"]

Neuron: TypeAlias = NeuronParams | DifferentialParams
NEURON_MODELS: dict[str, type] = {
    "if": NeuronParams,
    "paced": PacedParams,
    "differential": DifferentialParams,
}
