"""What the conversion costs on some samples: the question that a diagnosis answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..evaluation.evaluate import Evaluation
from ..evaluation.sweep import ERROR, POINT

Measure: TypeAlias = Literal["accuracy", "agreement", "error"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Loss:
    """As fractions, after the last step.

    Attributes:
        measure: accuracy lost against the ANN; without labels, agreement with it; where the outputs
            are no classes, their error.
        lost: less accuracy than the ANN's, disagreement, or relative error.
        low, high: its 95 % interval; None for an error.
        agreement: share of samples with the ANN's class, and its 95 % interval; None for values.
    """

    measure: Measure
    lost: float
    low: float | None
    high: float | None
    agreement: float | None
    agreement_low: float | None
    agreement_high: float | None

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is lost that these samples could show: no more than the knee of an
        accuracy curve allows, and an interval that holds 0."""
        if self.measure == "error":
            return self.lost <= ERROR
        if self.measure == "agreement":
            return self.lost <= POINT
        return self.lost <= POINT and (self.low is None or self.low <= 0)


def loss_of(evaluation: Evaluation) -> Loss:
    """That of a network after its last step."""
    last, ann = evaluation.points[-1], evaluation.ann_accuracy
    if not evaluation.classes:
        return Loss(
            measure="error",
            lost=last.error,
            low=None,
            high=None,
            agreement=None,
            agreement_low=None,
            agreement_high=None,
        )
    low, high = last.agreement_low, last.agreement_high
    lost, bounds = 1 - last.agreement, (_less(1, high), _less(1, low))
    if ann is not None and last.accuracy is not None:
        lost = ann - last.accuracy
        bounds = (_less(0, last.difference_high), _less(0, last.difference_low))
    return Loss(
        measure="agreement" if ann is None else "accuracy",
        lost=lost,
        low=bounds[0],
        high=bounds[1],
        agreement=last.agreement,
        agreement_low=low,
        agreement_high=high,
    )


def _less(whole: float, part: float | None) -> float | None:
    return None if part is None else whole - part
