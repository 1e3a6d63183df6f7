"""How much a candidate of ``--recipe auto`` loses against the ANN on held-back samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ...runtime.ops import Array
from ...runtime.semantics.decision import class_numbers, decisions, score_count

DOUBT = 10  # disagreements, see ``shrunk``
Z95 = 1.96

Measure = Literal["accuracy", "agreement", "error"]


def measured_by(answers: Mapping[str, Array], labels: Array | None) -> Measure:
    """What ``drop`` means for outputs (samples, *shape): their error as soon as one of them does
    not classify, or the labels are no class numbers."""
    shapes = [out.shape[1:] for out in answers.values()]
    counts = [score_count(shape) for shape in shapes]
    if labels is None:
        return "error" if any(count in (None, 1) for count in counts) else "agreement"
    if None in counts or class_numbers(labels, shapes[0]) is None:
        return "error"
    whole = labels.dtype.kind in "iub"  # of one number, 0.0 and 1.0 may be values
    return "accuracy" if whole and 1 not in counts[1:] else "error"


def drop_of(
    *, wanted: Mapping[str, Array], got: Mapping[str, Array], labels: Array | None
) -> tuple[float, float | None, float | None]:
    """(drop, low, high) in points; that of the worst output where there are no labels."""
    names = list(wanted)
    measure = measured_by(wanted, labels)
    if measure == "error":
        return max(_relative_error(got[n], wanted=wanted[n]) for n in names), None, None
    if labels is not None:
        shape = wanted[names[0]].shape[1:]
        classes = class_numbers(labels, shape)
        ours, anns = (decisions(out[names[0]], shape) == classes for out in (got, wanted))
        return paired_points(
            lost=int((anns & ~ours).sum()), won=int((ours & ~anns).sum()), count=len(labels)
        )
    pairs = [(got[n], wanted[n], wanted[n].shape[1:]) for n in names]
    lost = [int((decisions(a, s) != decisions(b, s)).sum()) for a, b, s in pairs]
    drop, low, high = paired_points(lost=max(lost), won=0, count=len(wanted[names[0]]))
    return drop, max(low, 0.0), high


def shrunk(drop: float, *, disagreement: float, count: int) -> float:
    """The accuracy lost, in points, where few samples say it: of ``DOUBT`` more samples that the
    two networks disagree on, the ANN would be right in half and the SNN in none.

    On few samples lost and won ones can cancel by chance, and a search takes such chances.
    """
    apart = disagreement * count / 100
    lost = drop * count / 100
    return 100 * apart / count * (lost + DOUBT / 2) / (apart + DOUBT)


def _relative_error(got: Array, *, wanted: Array) -> float:
    power = float((wanted.astype(np.float64) ** 2).mean()) or 1.0
    return 100 * float(np.sqrt(((got.reshape(wanted.shape) - wanted) ** 2).mean() / power))


def paired_points(*, lost: int, won: int, count: int) -> tuple[float, float, float]:
    """The difference of two paired proportions and its 95 % interval (Agresti and Min 2005: half
    a sample added to each of the four outcomes), in points."""
    total, b, c = count + 2, lost + 0.5, won + 0.5
    centre = (b - c) / total
    half = Z95 * np.sqrt(b + c - (b - c) ** 2 / total) / total
    return 100 * (lost - won) / count, 100 * float(centre - half), 100 * float(centre + half)
