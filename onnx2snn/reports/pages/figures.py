"""Figures that several pages begin with."""

from __future__ import annotations

from ...evaluation.energy.events import Events
from ...evaluation.energy.verdict import verdicts
from ...evaluation.evaluate import Evaluation, Point
from ..text import bounds_of, interval, percent
from . import Figure


def energy(done: Events | None) -> tuple[Figure, ...]:
    """Who needs less, under the middle model, and how far the models differ; nothing where there
    is no ANN to compare with."""
    judged = [] if done is None else verdicts(done)
    if not judged:
        return ()
    middle = next(v for v in judged if v.model.name == "memory")
    ratios = [v.ratio for v in judged]
    wins = "the SNN needs less" if middle.ratio < 1 else "the ANN needs less"
    note = f"{wins} (with memory); {min(ratios):.2g} to {max(ratios):.2g} by model"
    return (Figure(name="energy, SNN / ANN", value=f"{middle.ratio:.2f}", note=note),)


def score(evaluation: Evaluation, point: Point) -> Figure:
    """Accuracy, else agreement, else error, with its interval and the ANN's."""
    bounds = interval(*(bounds_of(evaluation, point) or (None, None)))
    note = f"95 % interval {bounds}" if bounds else ""
    if point.accuracy is not None:
        note += f"; ANN {percent(evaluation.ann_accuracy)}"
        return Figure(name=f"accuracy at T={point.T}", value=percent(point.accuracy), note=note)
    if evaluation.classes:
        return Figure(name=f"agreement at T={point.T}", value=percent(point.agreement), note=note)
    note = f"concordance {point.concordance:.4f}"
    return Figure(name=f"error of outputs at T={point.T}", value=percent(point.error), note=note)
