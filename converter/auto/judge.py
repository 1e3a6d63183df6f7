"""How much a candidate of ``--recipe auto`` loses against the ANN on held-back samples."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb, erf, sqrt
from typing import Literal

import numpy as np

from ...runtime.ops import Array
from ...runtime.semantics.decision import decisions, score_count
from ...runtime.semantics.intervals import Z95, paired_points, wilson

DOUBT = 10  # disagreements, see ``shrunk``

Measure = Literal["accuracy", "agreement", "error"]


def measured_by(answers: Mapping[str, Array], labels: Array | None) -> Measure:
    """What ``drop`` means for outputs (samples, *shape): their error as soon as one of them does
    not classify, or ``labels`` are no class numbers (samples,) (``runtime.semantics.labels``)."""
    shapes = [out.shape[1:] for out in answers.values()]
    counts = [score_count(shape) for shape in shapes]
    if labels is None:
        return "error" if any(count in (None, 1) for count in counts) else "agreement"
    if None in counts or 1 in counts[1:] or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return "error"
    return "error" if counts[0] == 1 and not np.isin(labels, (0, 1)).all() else "accuracy"


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
        ours, anns = (decisions(out[names[0]], shape) == labels for out in (got, wanted))
        return paired_points(
            lost=int((anns & ~ours).sum()), won=int((ours & ~anns).sum()), count=len(labels)
        )
    pairs = [(got[n], wanted[n], wanted[n].shape[1:]) for n in names]
    lost = [int((decisions(a, s) != decisions(b, s)).sum()) for a, b, s in pairs]
    count = len(wanted[names[0]])
    low, high = wilson(max(lost), count=count)
    return 100 * max(lost) / count, 100 * low, 100 * high


def shrunk(drop: float, *, disagreement: float, count: int) -> float:
    """The accuracy lost, in points, where few samples say it: of ``DOUBT`` more samples that the
    two networks disagree on, the ANN would be right in half and the SNN in none.

    On few samples lost and won ones can cancel by chance, and a search takes such chances.
    """
    apart = disagreement * count / 100
    lost = drop * count / 100
    return 100 * apart / count * (lost + DOUBT / 2) / (apart + DOUBT)


def confidence(expected: float, *, interval: tuple[float, float], limit: float) -> float:
    """The probability that unseen data lose at most ``limit`` points, where ``expected`` is what
    they are expected to lose and ``interval`` the 95 % one of what was seen (normal)."""
    deviation = (interval[1] - interval[0]) / (2 * Z95)
    if deviation <= 0:
        return float(expected <= limit)
    return 0.5 * (1 + erf((limit - expected) / deviation / sqrt(2)))


def confidence_of_share(drop: float, *, count: int, limit: float) -> float:
    """The probability that at most ``limit`` points of unseen data disagree, where ``drop`` points
    of ``count`` did: that of the share's posterior with an even prior (Bayes, Laplace). It allows
    for one disagreement more than was seen, and so for what was tried until it was seen."""
    share, seen = min(max(limit / 100, 0.0), 1.0), round(drop * count / 100)
    few = (comb(count + 1, n) * share**n * (1 - share) ** (count + 1 - n) for n in range(seen + 1))
    return max(0.0, 1 - sum(few))


def _relative_error(got: Array, *, wanted: Array) -> float:
    power = float((wanted.astype(np.float64) ** 2).mean()) or 1.0
    return 100 * float(np.sqrt(((got.reshape(wanted.shape) - wanted) ** 2).mean() / power))
