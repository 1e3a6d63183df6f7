"""Rounding with error feedback: weights to whole numbers, by what they do to the sums of inputs.

With second moments H of the inputs, what rounding w to q delta does to a sum has the mean square
(w - q delta)' H (w - q delta). The error made on one input is passed on to the inputs not yet
rounded, so that it cancels in the sum (optimal brain quantization: Frantar et al. 2022, "GPTQ");
then input by input again, the level that suits all others best, as long as levels change: the first
inputs were rounded without knowing what became of the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...runtime.ops import Array

DAMPING = 0.01  # of the mean second moment, added to the diagonal of H
SWEEPS = 8  # over all inputs, at most, in which levels are changed one at a time


@dataclass(frozen=True, eq=False, kw_only=True)
class Levels:
    """The whole numbers that weights can be: ``lowest`` to ``highest``."""

    lowest: int
    highest: int

    def nearest(self, x: Array) -> Array:
        """int64, of the shape of x."""
        return np.clip(np.rint(x), self.lowest, self.highest).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Feedback:
    """``moments``: second moments (F, F) of the inputs."""

    moments: Array

    @cached_property
    def damped(self) -> Array:
        least = max(DAMPING * float(np.diag(self.moments).mean()), 1e-12)
        return np.asarray(self.moments + np.eye(len(self.moments)) * least)

    @cached_property
    def _factor(self) -> Array:
        """Upper Cholesky factor of the inverse of the damped second moments."""
        inverse = np.linalg.inv(self.damped)
        return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T)

    def fed_back(self, weights: Array, levels: Levels, *, delta: Array) -> Array:
        """Weights (O, F) rounded input by input to multiples of delta (O,), each error spread over
        the inputs still to come."""
        left = weights.copy()
        found = np.zeros(weights.shape, np.int64)
        factor = self._factor
        for i in range(weights.shape[1]):
            found[:, i] = levels.nearest(left[:, i] / delta)
            error = (left[:, i] - found[:, i] * delta) / factor[i, i]
            left[:, i + 1 :] -= error[:, None] * factor[i, i + 1 :]
        return found

    def settled(self, weights: Array, levels: Levels, *, delta: Array, first: Array) -> Array:
        """``first`` after changing it one input at a time, each time to the level of least
        error."""
        damped, found = self.damped, first.copy()
        pull = (weights - found * delta[:, None]) @ damped  # down the slope of the error
        for _ in range(SWEEPS):
            changed = False
            for i in range(found.shape[1]):
                better = levels.nearest(found[:, i] + pull[:, i] / (damped[i, i] * delta))
                step = better - found[:, i]
                if step.any():
                    changed, found[:, i] = True, better
                    pull -= (step * delta)[:, None] * damped[i]
            if not changed:
                break
        return found
