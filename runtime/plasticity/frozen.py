"""The layer with learning switched off: what a file holds and every engine runs.

Weights and thresholds are rounded to a grid on which all sums of a sample's steps are exact in
single precision, so that engines and ONNX Runtime send the same spikes (where neurons do not leak).
"""

from __future__ import annotations

from math import ceil, log2

import numpy as np

from ..neurons import WinnerTakeAllParams
from ..ops import Array
from .rule import LayerState, Rule

MANTISSA = 24  # bits of a float32


def frozen_layer(
    rule: Rule, state: LayerState, *, steps: int, largest: int
) -> tuple[Array, WinnerTakeAllParams]:
    """Weights (neurons, inputs), float32, and neurons; exact for ``steps`` steps of spikes of at
    most ``largest``."""
    weight = rule.effective(state.weight)
    most = steps * largest * float(np.abs(weight).sum(axis=0).max()) + float(state.threshold.max())
    grid = 2.0 ** (ceil(log2(most)) - MANTISSA + 1)
    threshold = np.maximum(np.rint(state.threshold / grid), 1) * grid
    rounded = (np.rint(weight / grid) * grid).T
    return (
        np.ascontiguousarray(rounded, np.float32),
        rule.neuron(threshold.astype(np.float32)),
    )


def responses(spikes: Array, *, weight: Array, neuron: WinnerTakeAllParams) -> Array:
    """Spikes of each neuron over a whole sample, (samples, neurons), of ``spikes`` (samples, steps,
    inputs)."""
    samples, steps, _ = spikes.shape
    state = neuron.initial_state(samples, (len(weight),), np.dtype(np.float32))
    now = np.zeros((samples, len(weight)), np.float32)
    counts = np.zeros((samples, len(weight)), np.int64)
    for t in range(steps):
        neuron.step(state, spikes[:, t].astype(np.float32) @ weight.T, now)
        counts += now.astype(np.int64)
    return counts
