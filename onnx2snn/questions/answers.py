"""Whether the ANN's answers belong to the labels: W410 to W414.

W410  accuracy at or near chance            W413  labels are numbered in another order
W411  labels start at 1                     W414  a regression worse than saying the mean
W412  the ANN says one class for everything
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..display import counted
from ..runtime.ops import Array, Shape
from ..runtime.semantics.decision import score_count
from ..runtime.semantics.intervals import wilson
from ..runtime.semantics.labels import Reading
from ..runtime.semantics.values import ValueScore
from ..spelling import spelled
from . import Question

NEAR = 0.1  # of the way from chance to always right
SOME = 8  # samples from which no right answer says something
FEW = 20  # samples from which the share of a class says something
PER_CLASS = 4  # samples, for a table of answers against labels to say something


def questions_of_answers(
    known: Reading, shape: Shape, *, said: Array | None, values: ValueScore | None, where: str = ""
) -> Iterator[Question]:
    """Of the ANN's first output, of ``shape`` per sample, and labels that were read as ``known``.

    Parameters:
        said: the class of each sample; values: the score of the values; None where there is none.
    """
    if known.numbers is None:
        return
    if known.classes and said is not None:
        classes = max(score_count(shape) or 0, 2)
        yield from questions_of_classes(
            said,
            labels=known.numbers[: len(said)],
            classes=classes,
            from_one=known.from_one,
            where=where,
        )
    elif values is not None:
        yield from questions_of_values(values, samples=len(known.numbers), where=where)


def questions_of_classes(
    said: Array, *, labels: Array, classes: int, from_one: bool, where: str = ""
) -> Iterator[Question]:
    """Of class numbers that the ANN ``said`` and ``labels``, both (samples,)."""
    count = len(labels)
    if not count:
        return
    right = int((said == labels).sum())
    low, high = wilson(right, count=count)
    below, above = (int((said == labels + by).sum()) for by in (-1, 1))
    if len(np.unique(said)) < 2:  # one answer to everything is no shift of the classes
        below = above = 0
    shifted = labels.min() >= 1 and wilson(below, count=count)[0] > max(high, 0.5)
    if from_one or shifted:
        yield _from_one(labels, classes, below=below, shifted=shifted, where=where)
        return
    if count >= FEW and wilson(above, count=count)[0] > max(high, 0.5):
        yield Question(
            code="W411",
            what=f"{above} of {count} answers of the ANN are the label plus 1 ({right} the label): "
            "the network probably has a class before the first, such as a background",
            remedy="Add 1 to the labels, if so.",
            where=where,
        )
        return
    accuracy = f"the ANN's accuracy is {100 * right / count:.1f} % (95 % interval "
    accuracy += f"{100 * low:.1f}-{100 * high:.1f} %, {counted(count, 'sample')})"
    renamed = _renamed(said, labels=labels, classes=classes)
    if renamed > max(high, 0.5):
        yield Question(
            code="W413",
            what=f"{accuracy}, and {100 * renamed:.0f} % if classes are numbered otherwise: the "
            "labels probably number the classes in another order than the network",
            remedy="Give the class numbers that the network was trained with.",
            where=where,
        )
        return
    yield from _at_chance(
        said, labels=labels, classes=classes, accuracy=accuracy, interval=(low, high), where=where
    )


def _at_chance(
    said: Array,
    *,
    labels: Array,
    classes: int,
    accuracy: str,
    interval: tuple[float, float],
    where: str,
) -> Iterator[Question]:
    count, (low, high) = len(labels), interval
    chance, several = 1 / classes, len(np.unique(labels)) > 1
    most = float(np.bincount(labels).max()) / count
    if several and count >= FEW and (said == said[0]).all():
        yield Question(
            code="W412",
            what=f"the ANN says class {said[0]} for each of {counted(count, 'sample')}: they are "
            "probably not preprocessed as in its training",
            remedy=_check(),
            where=where,
        )
    elif count >= SOME and low <= chance + NEAR * (1 - chance) and high < (1 + chance) / 2:
        near = "at" if low <= chance else "near"
        yield Question(
            code="W410",
            what=f"{accuracy}, {near} chance (one of {classes} classes: {100 * chance:.3g} %)",
            remedy=_check(),
            where=where,
        )
    elif several and count >= FEW and high < most:
        yield Question(
            code="W410",
            what=f"{accuracy}, below that of always saying the most frequent class "
            f"({100 * most:.1f} %)",
            remedy=_check(),
            where=where,
        )


def _check() -> str:
    preprocessing = f"{spelled('scale')}, {spelled('mean')}, {spelled('std')}, {spelled('layout')}"
    return f"Check the labels, {preprocessing} and the order of colours."


def _from_one(labels: Array, classes: int, *, below: int, shifted: bool, where: str) -> Question:
    seen = f"; {below} of {len(labels)} answers of the ANN are the label less 1" if shifted else ""
    return Question(
        code="W411",
        what=f"labels {labels.min()}..{labels.max()} for {classes} classes: they probably start at "
        f"1{seen}",
        remedy=f"Store labels from 0 to {classes - 1} (subtract 1), if so; they are taken as they "
        "are.",
        where=where,
    )


def _renamed(said: Array, *, labels: Array, classes: int) -> float:
    """The accuracy if every answer meant the label that it most often stands for, each label once;
    0 where there are too few samples, or answers, to say."""
    if len(labels) < PER_CLASS * classes or labels.max(initial=0) >= classes:
        return 0.0
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (said, labels), 1)
    best = table.argmax(axis=1)
    used = table.sum(axis=1) > 0
    if used.sum() < 2 or len(set(best[used])) < int(used.sum()):
        return 0.0
    return float(table.max(axis=1).sum()) / len(labels)


def questions_of_values(ann: ValueScore, *, samples: int, where: str = "") -> Iterator[Question]:
    """Of the ANN's score on right values."""
    if samples >= FEW and ann.r2 is not None and ann.r2 <= 0:
        yield Question(
            code="W414",
            what=f"the ANN is worse than always saying the mean of the labels (R2 {ann.r2:.3g})",
            remedy=f"Check the labels and their units, {spelled('scale')}, {spelled('mean')} and "
            f"{spelled('std')}.",
            where=where,
        )
