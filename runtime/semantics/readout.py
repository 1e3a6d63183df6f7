"""A readout's answers over a block of time steps, on plain arrays (time, batch, *shape)."""

from __future__ import annotations

import numpy as np

from ..graph import Population, Readout
from ..neurons import State
from ..neurons.paced import weight
from ..ops import Array
from .spiking import gate_bias, run_population


def run_readout(
    node: Readout, x: Array, state: State, t0: int, count: int, begin: int, steps: int
) -> Array:
    """Answers (count, batch, *shape) after steps t0.. in double precision: the running mean of the
    input, or of spikes times threshold. ``begin``: the first step of its window of ``steps``."""
    differential = node.coding == "differential"
    current = x if differential else gate_bias(x, node.bias, t0, count, begin, steps)
    current = np.broadcast_to(current, (count, *current.shape[1:]))
    if node.mode == "count" and node.neuron is not None:
        own = Population(name=node.name, shape=node.shape, neuron=node.neuron)
        current = run_population(own, current, state, t0, count, (begin, begin + steps))
    t = np.maximum(np.arange(t0 - begin, t0 - begin + count, dtype=np.float64), 0) + 1
    t = t.reshape(-1, *(1,) * (current.ndim - 1))
    if differential:  # a spike in step t moves the mean by 1/t
        current = current / t
    elif node.coding == "paced":
        current = current * weight(t - 1, steps)
        t *= (2 * steps + 1 - t) / 2  # the sum of the weights so far
    current = np.array(current, np.float64)
    current[0] += state.get("answer", node.bias if differential else 0)
    sums = np.cumsum(current, axis=0)  # one after the other, whatever the block
    state["answer"] = sums[-1].copy()
    if differential:
        return sums
    unit = 1.0 if node.neuron is None else node.neuron.v_threshold.astype(np.float64)
    return np.asarray(sums / t * unit)
