"""How much a candidate of ``--recipe auto`` loses against the ANN on held-back samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...runtime.ops import Array
from ...runtime.semantics.decision import decisions, score_count
from ...runtime.semantics.intervals import paired_points, wilson

DOUBT = 10  # disagreements, see ``shrunk``

Measure = Literal["accuracy", "agreement", "error"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Of ``count`` held-back samples: ``apart``, those on which SNN and ANN disagree; among these
    ``lost``, which the ANN alone has right, and ``won``, which the SNN alone has. Without labels
    all that are apart count as lost."""

    lost: int
    won: int
    apart: int
    count: int


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


def seen_of(
    *, wanted: Mapping[str, Array], got: Mapping[str, Array], labels: Array | None
) -> Seen | None:
    """What the held-back samples show; of the worst output where there are no labels; None where
    ``measured_by`` says error."""
    names, measure = list(wanted), measured_by(wanted, labels)
    if measure == "error":
        return None
    pairs = [(got[n], wanted[n], wanted[n].shape[1:]) for n in names]
    apart = [int((decisions(a, s) != decisions(b, s)).sum()) for a, b, s in pairs]
    count = len(wanted[names[0]])
    if labels is None:
        return Seen(lost=max(apart), won=0, apart=max(apart), count=count)
    ours, anns = (decisions(out, pairs[0][2]) == labels for out in pairs[0][:2])
    lost, won = int((anns & ~ours).sum()), int((ours & ~anns).sum())
    return Seen(lost=lost, won=won, apart=apart[0], count=count)


def drop_of(
    *, wanted: Mapping[str, Array], got: Mapping[str, Array], labels: Array | None
) -> tuple[float, float | None, float | None]:
    """(drop, low, high) in points; that of the worst output where there are no labels."""
    seen = seen_of(wanted=wanted, got=got, labels=labels)
    if seen is None:
        return max(_relative_error(got[n], wanted=wanted[n]) for n in wanted), None, None
    if labels is not None:
        return paired_points(lost=seen.lost, won=seen.won, count=seen.count)
    low, high = wilson(seen.apart, count=seen.count)
    return 100 * seen.apart / seen.count, 100 * low, 100 * high


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
