"""What is claimed of unseen data: the probability that a candidate stays within the limit there.

The candidate that a search takes is the first that was seen within the limit, and of few samples
chance lets one pass too early. How the others of its kind disagreed with the ANN at other T tells
more: the share of samples on which SNN and ANN disagree falls about as c T^-b. Posterior of both
(b on a grid, log-uniform; c by Jeffreys' prior of a rate): the candidate's own disagreements count
in full, those of others by ``OTHERS``, for all were seen on the same samples. Where right answers
are known, what is lost by a disagreement has a Dirichlet posterior of its own, from the same counts
and from two more disagreements, one of them lost and none won.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ...runtime.ops import Array
from .judge import Seen

Key: TypeAlias = tuple[str, int, int]  # recipe, T, lag
OTHERS = 0.25
FALLS = np.geomspace(0.3, 8.0, 24)  # b: spikes counted fall by 1 to 2, windows of T bits faster
DRAWS = 1 << 14


def confidence(
    own: tuple[int, Seen],
    others: tuple[tuple[int, Seen], ...] = (),
    *,
    limit: float,
    agreement: bool,
) -> float:
    """The probability that unseen data like the held-back samples lose at most ``limit`` points,
    to half a per cent.

    Parameters:
        own: the candidate's T and what was seen of it; others: of the same kind at other T, on the
            same samples.
        agreement: no right answers are known: every disagreement counts.
    """
    rng = np.random.default_rng(0)
    both = (own, *others)
    weight = np.array([1.0] + [OTHERS] * len(others))
    apart = weight * [seen.apart for _, seen in both]
    steps = np.array([steps for steps, _ in both], np.float64) / own[0]
    falls, shape, scale = _posterior(apart, count=weight * own[1].count, steps=steps)
    at = rng.choice(len(FALLS), DRAWS, p=falls)
    share = np.minimum(rng.gamma(shape, size=DRAWS) / scale[at], 1.0)  # at the candidate's own T
    if agreement:
        return float((100 * share <= limit).mean())
    kinds = np.array([(s.lost, s.won, s.apart - s.lost - s.won) for _, s in both])
    parts = rng.dirichlet(np.maximum(weight @ kinds + (1, 0, 1), 1e-9), DRAWS)
    return float((100 * share * (parts[:, 0] - parts[:, 1]) <= limit).mean())


def _posterior(apart: Array, *, count: Array, steps: Array) -> tuple[Array, float, Array]:
    """Of each b in ``FALLS`` its probability, and the gamma distribution of c (shape; scales):
    ``apart`` of ``count`` samples (both weighed) disagree at ``steps``."""
    expected = count * steps ** -FALLS[:, np.newaxis]  # of c = 1
    shape, scale = float(apart.sum()) + 0.5, expected.sum(axis=1)
    logs = (apart * np.log(expected)).sum(axis=1) - shape * np.log(scale)
    found = np.exp(logs - logs.max())
    return found / found.sum(), shape, scale


def claims(weighed: Mapping[Key, Seen], *, limit: float, agreement: bool) -> dict[Key, float]:
    """``confidence`` of every candidate. Of one kind are those of one recipe whose lag is the same
    part of T."""
    kinds: dict[tuple[str, int], list[Key]] = {}
    for recipe, steps, lag in weighed:
        kinds.setdefault((recipe, _part(steps, lag=lag)), []).append((recipe, steps, lag))
    out = {}
    for keys in kinds.values():
        for key in keys:
            others = tuple((other[1], weighed[other]) for other in keys if other != key)
            own = (key[1], weighed[key])
            out[key] = confidence(own, others, limit=limit, agreement=agreement)
    return out


def _part(steps: int, *, lag: int) -> int:
    """Into how many lags T divides, 0 without one."""
    return round(steps / lag) if lag else 0
