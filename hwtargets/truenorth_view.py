"""What a group of neurons reads, as measured on calibration samples: the data that coding fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runtime.ops import Array
from .truenorth_lower import Unit
from .truenorth_run import Spikes
from .truenorth_units import Group

ROWS = 6000  # (sample, position) pairs that a fit looks at


class View:
    """What a group's neurons read, as measured: (sample, position) rows of field rates."""

    def __init__(self, unit: Unit, group: Group, spikes: Spikes) -> None:
        samples = len(unit.target)
        rng = np.random.default_rng(0)
        positions = group.fields.shape[0]
        keep = rng.permutation(positions)[: max(ROWS // samples, 16)]
        self.x = spikes.rates(group.fields[keep]).reshape(-1, group.fields.shape[1])
        outs = group.outputs[keep]
        self.y = (unit.target[:, outs] - unit.bias[outs]).reshape(-1, outs.shape[1])
        for lines, scale in group.wires:
            self.y = self.y - spikes.rates(lines[keep]).reshape(self.y.shape) * scale
        mean = self.x.mean(axis=0)
        centred = self.x - mean
        self.moments = centred.T @ centred / len(self.x) + 0.05 * np.outer(mean, mean)

    def refit(self, levels: Array, delta: Array) -> tuple[Array, Array]:
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
