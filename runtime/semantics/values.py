"""How near values come to the right ones: root mean square and mean absolute error, and R2.

    R2 = 1 - sum (x - y)^2 / sum (y - mean y)^2

x the network's values, y the right ones, the mean that of each value over the samples: 1 is right,
0 as good as always saying the mean, below 0 worse than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ops import Array


@dataclass(frozen=True, kw_only=True)
class ValueScore:
    """In the units of the labels; ``r2`` None where they do not vary."""

    rmse: float
    mae: float
    r2: float | None


def misses(got: Array, *, targets: Array) -> Array:
    """Sums of squared and of absolute differences of ``got`` (..., samples, *shape) to ``targets``
    (samples, *shape), as (..., 2). They can be added over samples."""
    lead = got.shape[: got.ndim - targets.ndim]
    apart = (got.astype(np.float64) - targets).reshape(*lead, targets.size)
    return np.stack([(apart**2).sum(axis=-1), np.abs(apart).sum(axis=-1)], axis=-1)


def moments(targets: Array) -> Array:
    """Count, sum and sum of squares of each value over the samples, (3, values); they add up."""
    rows = targets.reshape(len(targets), -1)
    return np.stack([np.full(rows.shape[1], len(rows), float), rows.sum(0), (rows**2).sum(0)])


def score(missed: Array, known: Array) -> ValueScore:
    """From added ``misses`` (2,) and ``moments`` (3, values)."""
    count, total, squares = known
    around = squares - total**2 / np.maximum(count, 1)
    spread = float(np.maximum(around, 0).sum())
    number = max(float(count.sum()), 1.0)
    varies = spread > 1e-12 * float(squares.sum())
    return ValueScore(
        rmse=float(np.sqrt(missed[0] / number)),
        mae=float(missed[1]) / number,
        r2=1 - float(missed[0]) / spread if varies else None,
    )


def value_score(got: Array, *, targets: Array) -> ValueScore:
    """That of ``got`` for all of ``targets`` (samples, *shape) at once."""
    return score(misses(got, targets=targets), moments(targets))
