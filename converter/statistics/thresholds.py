"""Thresholds from activation statistics: maximum, percentile, or least squares for T steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

import numpy as np

from ...errors import UsageError
from ...runtime.ops import Array
from .measure import BINS, LayerStats, overflow

Method = Literal["mmse", "max", "percentile"]


SMALLEST = np.finfo(np.float32).tiny  # below it, activations are nothing to float32
AT_ONCE = 512  # channels in one matrix product
MOST_AT_ONCE = 4096  # of one layer: its histograms are looked at in double precision
SAME = 4  # activations that make it no accident that a channel has one value
RATIOS = np.concatenate([2 - 0.02 * np.arange(50), 1 - 0.01 * np.arange(96)])  # of the maximum


def thresholds(
    stats: Mapping[str, LayerStats],
    *,
    method: Method = "mmse",
    percentile: float = 99.9,
    steps: int = 32,
    levels: int = 1,
    per_channel: bool = True,
    paced: bool = False,
) -> dict[str, Array]:
    """Threshold per channel, (C,), of every population.

    "max" is the largest activation; "percentile" that of the positive activations; "mmse"
    minimizes the error of quantizing to ``steps * levels`` levels (Li et al. 2021), with the
    rounding that v0 = theta/2 gives. With ``levels`` > 1 one step carries up to levels * theta,
    so theta is that much smaller. Channels that are never active get the layer's largest value.
    ``paced``: the neurons are paced; with "mmse" a channel with one activation besides 0 gets that
    one (``_single``).

    Raises UsageError for an unknown method or a percentile outside (0, 100], ModelError (E313)
    where activations are no finite numbers.
    """
    if not 0 < percentile <= 100:
        raise UsageError(f"percentile must be in (0, 100], got {percentile}")
    out: dict[str, Array] = {}
    seen = {name: layer if per_channel else pooled(layer) for name, layer in stats.items()}
    best = _mmse(seen, steps * levels) if method == "mmse" else {}
    for name, stat in seen.items():
        layer = stats[name]
        if method == "max":
            top = stat.maximum
        elif method == "percentile":
            top = _percentile(stat, percentile)
        elif method == "mmse":
            top = np.where(_single(stat), stat.maximum, best[name]) if paced else best[name]
        else:
            raise UsageError(f"unknown normalization method '{method}'")
        if not np.isfinite(top).all():
            raise overflow(name)
        fallback = top.max(initial=0) or 1.0
        top = np.where(top > 0, top, fallback).astype(np.float32) / levels
        top = np.maximum(top, SMALLEST)
        out[name] = np.broadcast_to(top, layer.maximum.shape)
    return out


def pooled(stat: LayerStats) -> LayerStats:
    """The statistics of all channels together, as one channel."""
    top = stat.maximum.max(initial=0)
    histogram = np.zeros(BINS)
    for row, peak in zip(stat.histogram, stat.maximum, strict=True):
        if peak > 0:
            # Bin b of a channel lies at b * peak / top of the layer's bins.
            index = ((np.arange(BINS) + 0.5) * (peak / top)).astype(np.int64)
            histogram += np.bincount(index, weights=row, minlength=BINS)
    return LayerStats(
        axis=stat.axis,
        maximum=np.array([top], np.float32),
        mean=stat.mean.mean(keepdims=True),
        histogram=histogram[np.newaxis],
        count=stat.count * len(stat.maximum),
    )


def _percentile(stat: LayerStats, percentile: float) -> Array:
    cumulated = np.cumsum(stat.histogram, axis=1)
    wanted = cumulated[:, -1:] * (percentile / 100)
    bins = (cumulated < wanted).sum(axis=1) + 1
    return np.minimum(bins / BINS, 1.0) * stat.maximum


def _mmse(stats: Mapping[str, LayerStats], count: int) -> dict[str, Array]:
    """argmin over theta of sum (a - theta/n clip(floor(a n / theta + 1/2), 0, n))^2, n = count.

    Bins are relative to each channel's maximum, so the error of a relative threshold r is the
    same function of the bin for all channels: one matrix product does all of them, and those of
    narrow layers together, as there may be thousands of such layers. To the sum comes
    one activation that was not seen (``_unseen``): where levels are many and samples few, nothing
    else would keep the threshold from the largest activation that the samples happen to hold.
    """
    errors = _rounding(count)
    out: dict[str, Array] = {}
    for names in _together(stats):
        rows = [stats[name].histogram for name in names]
        if len(rows) == 1:
            parts = [rows[0][at : at + MOST_AT_ONCE] for at in range(0, len(rows[0]), MOST_AT_ONCE)]
            found = [np.concatenate([_chosen(part @ errors, rows=part) for part in parts])]
        else:
            ends = np.cumsum([len(r) for r in rows])[:-1]
            sums = np.vsplit(np.concatenate(rows) @ errors, ends)
            found = [_chosen(one, rows=part) for one, part in zip(sums, rows, strict=True)]
        for name, ratios in zip(names, found, strict=True):
            out[name] = ratios * stats[name].maximum
    return out


def _chosen(sums: Array, *, rows: Array) -> Array:
    """The best ratio of every channel, (C,), from the errors of what was seen (C, ratios)."""
    return np.asarray(RATIOS[(sums + _unseen(rows)).argmin(axis=1)])


def _together(stats: Mapping[str, LayerStats]) -> Iterator[list[str]]:
    """Names of layers that have ``AT_ONCE`` channels or fewer, or of one that has more."""
    names: list[str] = []
    count = 0
    for name, stat in stats.items():
        if names and count + len(stat.histogram) > AT_ONCE:
            yield names
            names, count = [], 0
        names.append(name)
        count += len(stat.histogram)
    if names:
        yield names


@lru_cache(maxsize=2)
def _rounding(count: int) -> Array:
    """Squared error of quantizing a bin's activation to ``count`` levels, (bins, ratios): the same
    for all populations, of which there may be thousands."""
    a = (np.arange(BINS) + 0.5) / BINS
    rounded = np.clip(np.floor(a[:, np.newaxis] * count / RATIOS + 0.5), 0, count)
    return np.asarray((a[:, np.newaxis] - rounded * RATIOS / count) ** 2)


def _single(stat: LayerStats) -> Array:
    """Whether a channel's positive activations are all the same, (C,): a constant, or a mask.

    Paced neurons hit the rates 0 and 1 exactly. An even train at any rate p/q with q even, half a
    threshold ahead, is read 1 / (q (T + 1)) too high, and as much too low where rounding makes it
    a little late: activations that vary average that out, a constant does not. Quantization to T
    levels, which ``_mmse`` minimizes, knows nothing of it and takes q = 2.
    """
    others = stat.histogram[:, :-1].sum(axis=1)
    return np.asarray((others == 0) & (stat.histogram[:, -1] >= SAME))


def _unseen(rows: Array) -> Array:
    """Expected squared clipping error of one activation beyond the channel's maximum, relative to
    it, (C, ratios): the excess X is exponential (as tails mostly are: Pickands 1975) with the mean
    excess s over the ninth decile. E[(g + X)^2] = g^2 + 2 g s + 2 s^2 for a threshold g below the
    maximum, 2 s^2 exp(-d / s) for one d above it."""
    total = rows.sum(axis=1)
    upper = rows * (np.cumsum(rows, axis=1) > 0.9 * total[:, np.newaxis])
    a = (np.arange(BINS) + 0.5) / BINS
    number = np.maximum(upper.sum(axis=1), 1)
    first = np.argmax(upper > 0, axis=1) / BINS
    s = np.maximum(upper @ a / number - first, 1 / BINS)[:, np.newaxis]
    gap, above = np.maximum(1 - RATIOS, 0), np.maximum(RATIOS - 1, 0)
    below = gap**2 + 2 * gap * s + 2 * s**2
    return np.where(RATIOS < 1, below, 2 * s**2 * np.exp(-above / s))
