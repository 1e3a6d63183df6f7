"""The answers of a network in a chip's integers: accuracy after every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ..hwtargets import ChipRun
from ..runtime.ops import Array, Shape
from ..runtime.semantics.decision import decisions
from ..runtime.semantics.intervals import wilson
from .answers import narrow


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipPoint:
    """After T steps: accuracy with its 95 % Wilson interval, None without labels; agreement with
    the ANN. Fractions; ``latency`` as of ``Point``."""

    T: int
    latency: int
    accuracy: float | None
    low: float | None
    high: float | None
    agreement: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipCurve:
    """One chip's curve. ``refused``: why it has no points, a sentence for each limit (``place``
    says more); ``cores``: that the network for the last T takes; ``chips``: that these fill, where
    the largest known board has ``available``; ``said``: by T of the points, the class that every
    sample got, (samples,)."""

    target: str
    points: tuple[ChipPoint, ...]
    refused: tuple[str, ...]
    cores: int
    chips: int
    available: int
    said: Mapping[int, Array] = field(default_factory=dict)


def said(point: ChipPoint) -> float:
    """What a chart shows: accuracy, else agreement."""
    return point.agreement if point.accuracy is None else point.accuracy


def chip_counts(run: ChipRun, ann: Array, labels: Array | None, shape: Shape) -> dict[str, Array]:
    """Over some samples, after every step: how many answers are right, and are the ANN's; and what
    the chip said.

    Parameters:
        ann: the ANN's outputs (samples, *shape); labels: class numbers (samples,), or None.
    """
    said = decisions(run.readout.reshape(*run.readout.shape[:2], *shape), shape)
    agree = (said == decisions(ann, shape)).sum(axis=1)
    right = np.zeros_like(agree) if labels is None else (said == labels).sum(axis=1)
    return {
        "agree": agree,
        "right": right,
        "samples": np.array(said.shape[1]),
        "said": narrow(said, prod(shape)),
    }


def merged(one: Mapping[str, Array], later: Mapping[str, Array]) -> dict[str, Array]:
    """The counts of some samples and of those that follow."""
    return {
        name: np.concatenate([one[name], value], axis=-1) if name == "said" else one[name] + value
        for name, value in later.items()
    }


def chip_point(counts: Mapping[str, Array], steps: int, *, latency: int, labels: bool) -> ChipPoint:
    """The point after ``steps`` of summed counts; ``latency``: the start lags."""
    count = int(counts["samples"])
    right = int(counts["right"][steps - 1])
    low, high = wilson(right, count=count) if labels else (None, None)
    return ChipPoint(
        T=steps,
        latency=steps + latency,
        accuracy=right / count if labels else None,
        low=low,
        high=high,
        agreement=int(counts["agree"][steps - 1]) / count,
    )
