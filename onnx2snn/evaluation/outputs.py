"""How near each output of a network is to the ANN's: error, and agreement.

For class scores agreement is the share of samples with the same winner. For anything else it is
Lin's concordance correlation (Lin 1989) of all its values x with the ANN's y,

    2 cov(x, y) / (var x + var y + (mean x - mean y)^2),

which is 1 only where x = y, and 0 where they have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..runtime.ops import Array, Shape
from ..runtime.semantics.decision import decisions, score_count

COLUMNS = 8  # count, sum x, sum y, sum x^2, sum y^2, sum x y, squared error, samples that agree


@dataclass(frozen=True, eq=False, kw_only=True)
class OutputScore:
    """One output after the last step. ``error``: norm of the difference to the ANN's, relative to
    its norm; ``agreement``: None where it is no class scores; ``concordance``: of its values."""

    name: str
    shape: tuple[int, ...]
    error: float
    agreement: float | None
    concordance: float


def sums(got: Array, *, wanted: Array, logit: bool = False) -> Array:
    """(T, COLUMNS) of readouts (T, samples, *shape) and the ANN's output (samples, *shape);
    ``logit``: a single number says one of two classes."""
    steps = len(got)
    y = wanted.astype(np.float64).ravel()
    out = np.empty((steps, COLUMNS))
    out[:, 0], out[:, 2], out[:, 4] = y.size, y.sum(), y @ y
    shape = wanted.shape[1:]
    agree = np.zeros((steps, 1))
    if is_classifier(shape, logit=logit):
        agree = decisions(got, shape) == decisions(wanted, shape)
    out[:, 7] = agree.reshape(steps, -1).sum(axis=1)
    for t, readout in enumerate(got):
        x = readout.astype(np.float64).ravel()
        out[t, 1], out[t, 3], out[t, 5] = x.sum(), x @ x, x @ y
        out[t, 6] = ((x - y) ** 2).sum()
    return out


def is_classifier(shape: Shape, *, logit: bool = False) -> bool:
    """Whether an output of this shape per sample is one score per class, or (``logit``) one number
    that is the logit of two."""
    count = score_count(shape)
    return count is not None and (count > 1 or logit)


def concordance(totals: Array) -> Array:
    """Lin's concordance after every step, from added ``sums``."""
    n = np.maximum(totals[:, 0], 1)
    mean_x, mean_y = totals[:, 1] / n, totals[:, 2] / n
    var_x, var_y = totals[:, 3] / n - mean_x**2, totals[:, 4] / n - mean_y**2
    covariance = totals[:, 5] / n - mean_x * mean_y
    spread = var_x + var_y + (mean_x - mean_y) ** 2
    equal = spread <= 1e-12 * (totals[:, 4] / n + 1e-30)
    return np.where(equal, 1.0, 2 * covariance / np.where(equal, 1.0, spread))


def scores(
    totals: Mapping[str, Array],
    shapes: Mapping[str, Shape],
    samples: int,
    logits: frozenset[str] = frozenset(),
) -> tuple[OutputScore, ...]:
    """Every output after the last step; ``logits``: see ``is_classifier``."""
    out = []
    for name, shape in shapes.items():
        last = totals[name][-1:]
        classes = is_classifier(shape, logit=name in logits)
        out.append(
            OutputScore(
                name=name,
                shape=shape,
                error=float(np.sqrt(last[0, 6] / max(last[0, 4], 1e-30))),
                agreement=float(last[0, 7]) / max(samples, 1) if classes else None,
                concordance=float(concordance(last)[0]),
            )
        )
    return tuple(out)
