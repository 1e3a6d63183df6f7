"""Two runs beside each other: what changed, and what it did to accuracy and cost.

Where both answered the same samples, differences are paired: a sample that both have right, or
both wrong, says nothing of which is better, so that the interval of the difference is narrower than
from the two accuracies alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...evaluation.answers import Answers
from ...runtime.ops import Array
from ...runtime.semantics.intervals import Share, paired_points, unpaired_score
from .finished import Curve, Finished, of_values

Pair = tuple[Any, Any]
COSTS = ("latency", "spikes_per_neuron", "synops_per_sample", "energy_to_ann", "error")
SHARES = ("accuracy", "agreement")
EARLY = ", early"  # in the name of a curve, beside that of a conversion for every T


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is another thing in the two; None: the one does not say, or has it not."""

    what: str
    first: Any
    second: Any


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of a share (a fraction): ``difference`` is the second's less the first's; ``low`` and
    ``high``: its 95 % interval, None where nothing tells; ``only_first`` and ``only_second``: how
    many samples the one has right and the other has not, None where samples are not paired."""

    first: float
    second: float
    difference: float
    low: float | None = None
    high: float | None = None
    only_first: int | None = None
    only_second: int | None = None

    @property
    def told(self) -> bool:
        """Whether the samples tell which is better."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class PointPair:
    """Two answers: after how many steps each; shares by name, those of ``SHARES`` that both have;
    ``same``: share of samples with the same class, None where they are not paired; costs by name,
    those of ``COSTS`` that both have."""

    T: tuple[int, int]
    shares: Mapping[str, Difference]
    same: float | None
    costs: Mapping[str, tuple[float, float]]

    @property
    def judged(self) -> tuple[str, Difference] | None:
        """What the two are judged by: accuracy, else agreement, else nothing with an interval."""
        return next(((name, self.shares[name]) for name in SHARES if name in self.shares), None)


@dataclass(frozen=True, kw_only=True)
class CurvePair:
    """A curve of each; ``unpaired``: why single samples are not compared, "" where they are."""

    first: str
    second: str
    changes: tuple[Change, ...]
    points: tuple[PointPair, ...]
    unpaired: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``changes``: of the whole; ``only_first``, ``only_second``: curves without a counterpart."""

    first: str
    second: str
    changes: tuple[Change, ...]
    curves: tuple[CurvePair, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def compare(a: Finished, b: Finished) -> Comparison:
    """Curves of the same name, and of the rest the only ones of each, beside each other."""
    mine, others = _by_name(a), _by_name(b)
    pairs = [(mine[name], others[name]) for name in mine if name in others]
    rest = [
        [c for name, c in own.items() if name not in other]
        for own, other in ((mine, others), (others, mine))
    ]
    if len(rest[0]) == len(rest[1]) == 1:
        pairs.append((rest[0].pop(), rest[1].pop()))
    return Comparison(
        first=str(a.path),
        second=str(b.path),
        changes=_changes(a.about, b.about),
        curves=tuple(_curve_pair(*pair) for pair in pairs),
        only_first=tuple(curve.name for curve in rest[0]),
        only_second=tuple(curve.name for curve in rest[1]),
    )


def _by_name(found: Finished) -> dict[str, Curve]:
    """One network's answers on the way are one curve, whether or not another stands beside it."""
    return {curve.name.replace(EARLY, ""): curve for curve in found.curves}


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Of what both say anything about: an older version's JSON says less."""
    both = {_head(name) for name in a} & {_head(name) for name in b}
    return tuple(
        Change(what=name, first=a.get(name), second=b.get(name))
        for name in dict.fromkeys([*a, *b])
        if _head(name) in both and a.get(name) != b.get(name)
    )


def _head(name: str) -> str:
    return name.partition(".")[0]


def _facts(curve: Curve) -> dict[str, Any]:
    which = {
        "samples": curve.samples,
        "samples_sha256": curve.samples_sha256,
        "labels_sha256": curve.labels_sha256,
    }
    return {**curve.made, **{name: value for name, value in which.items() if value is not None}}


def _curve_pair(a: Curve, b: Curve) -> CurvePair:
    unpaired = why_unpaired(a, b)
    both = [t for t in a.points if t in b.points]
    steps = [(t, t) for t in both] or [(max(a.points), max(b.points))]
    answers = None if unpaired else (a.answers, b.answers)
    return CurvePair(
        first=a.name,
        second=b.name,
        changes=_changes(_facts(a), _facts(b)),
        points=tuple(_point_pair(a, b, at, answers=answers) for at in steps),
        unpaired=unpaired,
    )


def why_unpaired(a: Curve, b: Curve) -> str:
    """Why the samples of the two cannot be compared one by one; "" where they can."""
    if a.answers is None or b.answers is None:
        return f"A: {a.why}" if a.answers is None else f"B: {b.why}"
    mine, others = a.answers.samples, b.answers.samples
    if not np.array_equal(mine, others):
        if len(mine) == len(others) and np.array_equal(np.sort(mine), np.sort(others)):
            return "the same samples in another order"
        lengths = f"{len(mine):,} and {len(others):,} samples"
        shared = len(np.intersect1d(mine, others))
        return f"{lengths if len(mine) != len(others) else 'other samples'}, {shared:,} in both"
    return _other_labels(a.answers.labels, b.answers.labels)


def _other_labels(a: Array | None, b: Array | None) -> str:
    if a is None and b is None:
        return ""
    if a is None or b is None:
        return f"{'A' if a is None else 'B'} has no labels"
    differ = int((a != b).sum())
    return f"other labels: {differ:,} of {len(a):,} differ" if differ else ""


def _point_pair(
    a: Curve,
    b: Curve,
    steps: tuple[int, int],
    *,
    answers: Sequence[Answers | None] | None,
) -> PointPair:
    points = (a.points[steps[0]], b.points[steps[1]])
    said = None
    if answers is not None:
        said = [one.said[t] for one, t in zip(answers, steps, strict=True) if one is not None]
    shares = {}
    for name in SHARES:
        if all(_has(point, name) for point in points):
            right = None
            if answers is not None and said is not None:
                right = [_right(one, s, name) for one, s in zip(answers, said, strict=True)]
            shares[name] = _difference(points, name, right)
    costs = {
        name: (points[0][name], points[1][name])
        for name in COSTS
        if all(point.get(name) is not None for point in points)
    }
    same = None if said is None else float(np.mean(said[0] == said[1]))
    return PointPair(T=steps, shares=shares, same=same, costs=costs)


def _has(point: Mapping[str, Any], name: str) -> bool:
    """Whether a point has a share; of networks of values "agreement" is their concordance."""
    return point.get(name) is not None and not (name == "agreement" and of_values(point))


def _right(answers: Answers | None, said: Array, name: str) -> Array:
    """Which samples count for accuracy, or for agreement."""
    assert answers is not None
    wanted = answers.labels if name == "accuracy" else answers.ann
    assert wanted is not None
    return said == wanted


def _difference(
    points: Sequence[Mapping[str, Any]], name: str, right: Sequence[Array] | None
) -> Difference:
    first, second = (float(point[name]) for point in points)
    if right is not None:
        lost, won = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
        drop, least, most = paired_points(lost=lost, won=won, count=len(right[0]))
        return Difference(
            first=first,
            second=second,
            difference=-drop / 100,
            low=-most / 100,
            high=-least / 100,
            only_first=lost,
            only_second=won,
        )
    shares = [_bounded(point, name) for point in points]
    if shares[0] is None or shares[1] is None:
        return Difference(first=first, second=second, difference=second - first)
    apart, low, high = unpaired_score(shares[0], shares[1])
    return Difference(first=first, second=second, difference=apart, low=low, high=high)


def _bounded(point: Mapping[str, Any], name: str) -> Share | None:
    """A share with the bounds of its own interval; None where the JSON has none."""
    ends = ("low", "high") if name == "accuracy" else ("agreement_low", "agreement_high")
    low, high = (point.get(end) for end in ends)
    return None if low is None or high is None else (float(point[name]), float(low), float(high))
