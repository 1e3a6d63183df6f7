"""Thresholds that differ within a layer, on chips that store one, several, or one per neuron.

A channel's weights, bias and potentials can be scaled with its threshold: it spikes as before.
Where a chip has one threshold for a layer, all are made equal so; where it has one per neuron, each
channel is scaled until its weights use all their bits; where it has a few per core, channels whose
thresholds would then be within a factor go together, if one threshold left most of them few levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from ....runtime.ops import Array, Shape, WeightedOp
from .chains import Chain, largest_by_channel, only_axis, scale_outputs
from .exponents import own_lists

SPREAD = 16.0  # of thresholds of one layer, where their width is limited
STARVED = 1 / 16  # of the weights' levels: less is left to most channels
NARROW = 1.4  # of the thresholds of channels that go together: the half bit that costs is theirs


@dataclass(frozen=True, eq=False, kw_only=True)
class Scaled:
    """``theta``: one, or one per channel; ``by``: what each channel was scaled by; ``shared``:
    whether neurons share what the chip has of thresholds."""

    chains: list[Chain]
    theta: Array
    by: Array
    shared: bool = True


def scaled(
    chains: list[Chain], theta: Array, shape: Shape, *, units: Sequence[float], most: float,
    bounded: bool,
) -> Scaled:  # fmt: skip
    """``units``: of each chain's source; ``most``: different thresholds that the layer's chip
    holds; ``bounded``: their width is limited."""
    one = np.ones(())
    if most == inf:
        return _own(chains, theta, shape, units=units, bounded=bounded)
    if theta.size == 1 or np.ptp(theta) == 0:
        return Scaled(chains=chains, theta=theta.reshape(-1)[:1].reshape(()), by=one)
    full = np.broadcast_to(theta, shape)
    axis = only_axis(full)
    if axis is not None:
        each = full.max(axis=_others(full, axis), keepdims=True)
        by = theta.min() / each
        equal = _by(chains, by, axis)
        if equal is not None and most > 1 and _starved(equal, axis, units=units):
            own = _own(chains, theta, shape, units=units, bounded=bounded)
            if own.by.size == by.size:
                few = grouped(each * own.by, int(most))
                by = few / each
                return Scaled(chains=_by(chains, by, axis) or equal, theta=few, by=by)
        if equal is not None:
            return Scaled(chains=equal, theta=np.asarray(theta.min()), by=by)
    return Scaled(chains=chains, theta=full, by=one, shared=False)


def grouped(values: Array, most: int) -> Array:
    """Each value or a lower one, of at most so many different ones: those within a factor, at
    least ``NARROW``, share the lowest."""
    ordered, factor = np.unique(values), NARROW
    while len(lowest := _lowest(ordered, factor)) > most:
        factor *= 1.05
    return np.asarray(lowest[np.searchsorted(lowest, values, side="right") - 1])


def _lowest(ordered: Array, factor: float) -> Array:
    found = [ordered[0]]
    for value in ordered[1:]:
        if value > found[-1] * factor:
            found.append(value)
    return np.array(found)


def _others(full: Array, axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(full.ndim) if a != axis)


def _by(chains: list[Chain], by: Array, axis: int) -> list[Chain] | None:
    found = [scale_outputs(c, by, axis) for c in chains]
    kept = [c for c in found if c is not None]
    return kept if len(kept) == len(chains) else None


def _starved(chains: list[Chain], axis: int, *, units: Sequence[float]) -> bool:
    """Whether one exponent leaves most channels of a connection less than ``STARVED``."""
    tops = [
        unit * top
        for c, unit in zip(chains, units, strict=True)
        if isinstance(c.carrier, WeightedOp) and own_lists(c) == 1
        if (top := largest_by_channel(c, axis)) is not None
    ]
    return any(float(np.median(top)) < STARVED * float(top.max()) for top in tops)


def _own(
    chains: list[Chain], theta: Array, shape: Shape, *, units: Sequence[float], bounded: bool
) -> Scaled:
    """Every channel scaled until its weights use all their bits, as far as its threshold has
    room."""
    full, one = np.broadcast_to(theta, shape), np.ones(())
    carriers = [c.carrier for c in chains if isinstance(c.carrier, WeightedOp)]
    if not carriers:
        return Scaled(chains=chains, theta=full, by=one)
    axis = carriers[0].channel_axis % len(shape)
    tops = [largest_by_channel(c, axis) for c in chains]
    found = [t * unit for t, unit in zip(tops, units, strict=True) if t is not None]
    if len(found) < len(chains):
        return Scaled(chains=chains, theta=full, by=one)
    top = np.maximum(np.maximum.reduce(found), 1e-30)
    each = full.max(axis=_others(full, axis), keepdims=True)
    by = top.max() / top
    if bounded:
        by = np.minimum(by, np.maximum(SPREAD * (each * by).min() / each, 1.0))
    return Scaled(chains=_by(chains, by, axis) or chains, theta=full * by, by=by)
