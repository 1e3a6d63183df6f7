"""What a conversion costs, in words and JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..diagnosis.loss import Loss
from ..display import counted
from ..evaluation.evaluate import Evaluation
from .text import interval, percent


def document(loss: Loss | None) -> dict[str, Any] | None:
    """The entry ``loss`` of a diagnosis's JSON document: fractions."""
    return None if loss is None else {**asdict(loss), "is_nothing": loss.is_nothing}


def lines(loss: Loss, evaluation: Evaluation) -> list[str]:
    """What is lost, how sure that is, and the agreement; and where nothing is, that.

    ``evaluation``: the one that the loss is of.
    """
    last, said = evaluation.points[-1], ""
    count = f"{counted(evaluation.samples, 'sample')}"
    agreement = (
        f"agreement with the ANN {percent(loss.agreement, 1)} (95 % interval "
        f"{interval(loss.agreement_low, loss.agreement_high)})"
    )
    match loss.measure:
        case "accuracy":
            said = (
                f"Accuracy {percent(last.accuracy)}, ANN {percent(evaluation.ann_accuracy)}: "
                f"{_points(loss)}; {agreement}; {count}."
            )
        case "agreement":
            said = f"No labels: {agreement}; {count}."
        case "error":
            said = (
                f"The outputs differ from the ANN's by {percent(loss.lost, 1)} of their norm "
                f"(concordance {last.concordance:.4f}); {count}."
            )
    return [said, "Nothing is lost that these samples show."] if loss.is_nothing else [said]


def _points(loss: Loss) -> str:
    """Points of accuracy lost or gained, and their interval."""
    lost, word = (loss.lost, "lost") if loss.lost >= 0 else (-loss.lost, "gained")
    low, high = (loss.low, loss.high) if loss.lost >= 0 else (_minus(loss.high), _minus(loss.low))
    if low is None or high is None:
        return f"{100 * lost:.2f} points {word}"
    return f"{100 * lost:.2f} points {word} (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
