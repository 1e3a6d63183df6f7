"""How samples enter the network: what an ``Input`` node emits in each step.

"constant" injects the sample itself in every step (an analog current). "poisson" emits a spike
with probability |x|, sign kept: unbiased for |x| <= 1, variance x(1-x)/T. "rate" emits spikes as
evenly as possible: the running sum is round(t |x|), so any T is within half a spike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...errors import DataError
from ...spelling import spelled
from ..graph import Input
from ..ops import Array
from ..tables import entry_named


def encode(
    node: Input, x: Array, *, first_step: int, steps: int, seed: int, offset: int | Array
) -> Array:
    """What ``node`` emits in steps ``first_step`` .. ``first_step + steps - 1`` (0-based).

    Parameters:
        x: (batch, *shape), the samples.
        offset: index of the first sample in the whole run, or of each, so that a sample's spikes
            depend on the seed, its index and the step alone, not on how the run is tiled.

    Returns: (steps, batch, *shape), or (1, batch, *shape) where every step is the same.
    Raises DataError where values are outside [-1, 1] for a spiking encoding.
    """
    check_range(node, x)
    if node.encoding == "constant":
        return x[np.newaxis]
    indices = np.arange(offset, offset + len(x)) if isinstance(offset, int) else offset
    send = entry_named(SPIKES, node.encoding, name="runtime.semantics.encoding.SPIKES")
    fired = send(np.abs(x), np.arange(first_step, first_step + steps), seed=seed, indices=indices)
    return (fired * np.sign(x)).astype(x.dtype)


def check_range(node: Input, x: Array) -> None:
    """Raise DataError E210 for values outside [-1, 1] where ``node`` spikes."""
    if node.encoding != "constant" and np.abs(x).max(initial=0) > 1 + 1e-6:
        raise DataError(
            f"input '{node.name}' has values outside [-1, 1]",
            remedy=f"Scale the data ({spelled('scale')}) or use the constant encoding; "
            f"'{node.encoding}' spikes at most once per step.",
            code="E210",
        )


def _even(size: Array, t: Array, *, seed: int, indices: Array) -> Array:
    ends = np.append(t, t[-1] + 1).astype(np.float64).reshape(-1, *(1,) * size.ndim)
    return np.diff(np.floor(ends * size.astype(np.float64) + 0.5), axis=0)


def _poisson(size: Array, t: Array, *, seed: int, indices: Array) -> Array:
    out = np.empty((len(t), *size.shape), size.dtype)
    for i, index in enumerate(indices):
        for at, step in enumerate(t):
            rng = np.random.default_rng((seed, int(index), int(step)))
            out[at, i] = rng.random(size.shape[1:]) < size[i]
    return out


# Encoding -> spikes in steps t for values of ``size`` up to 1: (steps, batch, *shape), 0 or 1.
SPIKES: Mapping[str, Callable[..., Array]] = {"rate": _even, "poisson": _poisson}
