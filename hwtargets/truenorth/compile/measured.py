"""What a group of neurons reads, as measured on calibration samples: the data that coding fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....runtime.ops import Array
from ..run import Spikes
from .lower import Unit
from .units import Group

ROWS = 6000  # (sample, position) pairs that a fit looks at
RIDGE = 1.0  # of the inputs' mean variance: how much data it takes to change a weight


@dataclass(frozen=True, eq=False)
class View:
    """What a group's neurons read, as measured: (sample, position) rows of field rates ``x``, and
    of the sums ``y`` that they should get from these fields."""

    x: Array
    y: Array

    @classmethod
    def measured(cls, unit: Unit, group: Group, spikes: Spikes) -> View:
        """Of the trains so far; ``y``: what analog mode has, less what bare wires bring."""
        samples = len(unit.target)
        rng = np.random.default_rng(0)
        positions = group.fields.shape[0]
        keep = rng.permutation(positions)[: max(ROWS // samples, 16)]
        x = spikes.rates(group.fields[keep]).reshape(-1, group.fields.shape[1])
        outs = group.outputs[keep]
        y = (unit.target[:, outs] - unit.bias[outs]).reshape(-1, outs.shape[1])
        for lines, scale in group.wires:
            y = y - spikes.rates(lines[keep]).reshape(y.shape) * scale
        return cls(x, y)

    @cached_property
    def covariance(self) -> Array:
        centred = self.x - self.x.mean(axis=0)
        return np.asarray(centred.T @ centred / len(self.x))

    @cached_property
    def moments(self) -> Array:
        """Second moments with less weight on the means, which the bias takes care of."""
        mean = self.x.mean(axis=0)
        return self.covariance + 0.05 * np.outer(mean, mean)

    def corrected(self, weights: Array) -> Array:
        """Weights that make up for what the layers before, coded already, do to the inputs: ridge
        regression of what is missing from the targets on the rates that really come."""
        missing = self.y - self.x @ weights.T
        match = (missing - missing.mean(axis=0)).T @ self.x / len(self.x)
        ridge = max(RIDGE * np.diag(self.covariance).mean(), 1e-12)
        ridged = self.covariance + ridge * np.eye(len(self.covariance))
        return np.asarray(weights + np.linalg.solve(ridged, match.T).T)

    def refit(self, levels: Array, *, delta: Array) -> tuple[Array, Array]:
        """delta and bias shift (O,) that bring the coded sums closest to the targets."""
        sums = self.x @ (levels * delta[:, None]).T
        centred = sums - sums.mean(axis=0)
        power = (centred**2).sum(axis=0)
        match = (centred * (self.y - self.y.mean(axis=0))).sum(axis=0)
        ratio = match / np.where(power > 0, power, 1.0)
        ratio = np.where((power > 0) & (ratio > 0.5) & (ratio < 2.0), ratio, 1.0)
        return delta * ratio, (self.y - sums * ratio).mean(axis=0)

    def ranges(self, weights: Array, parts: Sequence[Array]) -> tuple[Array, Array]:
        """Lowest and highest mean partial sums, (parts, O) each, with outliers cut."""
        sums = [self.x[:, p] @ weights[:, p].T for p in parts]
        low = np.stack([np.quantile(s, 0.001, axis=0) for s in sums])
        high = np.stack([np.quantile(s, 0.999, axis=0) for s in sums])
        return np.minimum(low, 0.0), np.maximum(high, 0.0)
