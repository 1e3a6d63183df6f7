"""How much a curve depends on the seed: the same conversion and run with several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .evaluate import Evaluation, Point


@dataclass(frozen=True, eq=False, kw_only=True)
class SpreadPoint:
    """After T steps, of what ``judged`` says of each seed: mean, sample standard deviation, the
    lowest and the highest, and all ``values`` in the order of the seeds. Fractions."""

    T: int
    mean: float
    deviation: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Spread:
    """Over the seeds; the points are those of the curve."""

    seeds: tuple[int, ...]
    points: tuple[SpreadPoint, ...]

    def at(self, steps: int) -> SpreadPoint:
        return next(point for point in self.points if steps == point.T)


def judged(evaluation: Evaluation, point: Point) -> float:
    """What a curve shows: accuracy, else agreement, else 1 - error."""
    if point.accuracy is not None:
        return point.accuracy
    return point.agreement if evaluation.classes else max(0.0, 1 - point.error)


def spread(evaluations: Sequence[Evaluation], seeds: Sequence[int]) -> Spread:
    """Of the same curve with each of at least two ``seeds``."""
    points = []
    for each in zip(*(e.points for e in evaluations), strict=True):
        values = [judged(e, point) for e, point in zip(evaluations, each, strict=True)]
        points.append(
            SpreadPoint(
                T=each[0].T,
                mean=float(np.mean(values)),
                deviation=float(np.std(values, ddof=1)),
                low=min(values),
                high=max(values),
                values=tuple(values),
            )
        )
    return Spread(seeds=tuple(seeds), points=tuple(points))
