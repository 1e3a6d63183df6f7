"""Weights as sums of axon types: every neuron has one signed weight per type, synapses are binary.

An input that enters a core on several axons of different types reaches a neuron through any subset
of them, so with type weights delta * (1, 2, .., -2^(k-1)) its weight is any two's complement
integer of k bits times the neuron's own delta ("axons2" .. "axons4"); with delta * (1, -1) and at
most one of the two it is ternary. What that loses is fitted away, neuron by neuron, on the second
moments H of the inputs that were measured:

* delta by search for the smallest error in the mean square, weights w against q delta:
  (w - q delta)' H (w - q delta);
* rounding with error feedback: the error made on one input is passed on to the inputs not yet
  rounded, so that it cancels in the sum (optimal brain quantization: Frantar et al. 2022, "GPTQ");
* then input by input again, the level that suits all others best, as long as levels change: the
  first inputs were rounded without knowing what became of the last;
* delta again by least squares, and a correction of the bias (see ``fit``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....errors import UsageError
from ....runtime.ops import Array

DAMPING = 0.01  # of the mean second moment, added to the diagonal of H
DELTAS = 8  # scales that rounding with error feedback is tried with
SWEEPS = 8  # over all inputs, at most, in which levels are changed one at a time


@dataclass(frozen=True, kw_only=True)
class Coding:
    """multipliers: what each axon of an input adds, in units of delta; axon i has type i.
    lowest, highest: the integers that sums of them reach without a gap."""

    name: str
    multipliers: tuple[int, ...]
    lowest: int
    highest: int

    @property
    def axons(self) -> int:
        """Axons per input."""
        return len(self.multipliers)

    def planes(self, levels: Array) -> Array:
        """Which axons connect: bool (axons, *levels.shape), sum multipliers * planes = levels."""
        if self.name == "ternary":
            return np.stack([levels == 1, levels == -1])
        unsigned = np.where(levels < 0, levels + (1 << self.axons), levels)
        return np.stack([(unsigned >> i) & 1 == 1 for i in range(self.axons)])


def _binary(axons: int) -> Coding:
    high = 1 << (axons - 1)
    return Coding(
        name=f"axons{axons}",
        multipliers=(*(1 << i for i in range(axons - 1)), -high),
        lowest=-high,
        highest=high - 1,
    )


CODINGS: Mapping[str, Coding] = {
    "ternary": Coding(name="ternary", multipliers=(1, -1), lowest=-1, highest=1),
    **{f"axons{k}": _binary(k) for k in (2, 3, 4)},
}


def coding_of(name: str) -> Coding:
    """A coding by name; UsageError E123 if there is none."""
    if name not in CODINGS:
        raise UsageError(
            f"unknown weight coding '{name}'",
            remedy=f"Choose one of {', '.join(CODINGS)}.",
            code="E123",
        )
    return CODINGS[name]


def encode(
    weights: Array, coding: Coding, moments: Array | None, least: Array | float = 0.0
) -> tuple[Array, Array]:
    """Levels and scale of weights (O, F) with second moments (F, F) of their inputs.

    ``moments`` None: every input counts the same, and nothing is fed back. ``least``: the smallest
    scale that can be had, (O,) or one for all.
    Returns: levels int64 (O, F), delta float64 (O,) > 0; weights ~ levels * delta.
    """
    weights = np.asarray(weights, np.float64)
    if moments is None:
        levels, delta = _fed_back(weights, coding, moments=np.eye(weights.shape[1]), deltas=3)
    else:
        levels, delta = _fed_back(weights, coding, moments=moments, deltas=DELTAS)
        for _ in range(2):
            levels = _settled(weights, coding, levels=levels, delta=delta, moments=moments)
            delta = _refit(weights, levels=levels, delta=delta, moments=moments)
    fine = delta < least
    delta = np.maximum(delta, least)
    return np.where(fine[:, None], _round(weights / delta[:, None], coding), levels), delta


def _fed_back(
    weights: Array, coding: Coding, *, moments: Array, deltas: int
) -> tuple[Array, Array]:
    """Levels and scale by error feedback, the best of so many scales per neuron."""
    damped = _damped(moments)
    delta = _search(weights, coding, diagonal=np.diag(damped))
    best_levels = _round(weights / delta[:, None], coding)
    best_error = _error(weights, levels=best_levels, delta=delta, moments=moments)
    factor = _feedback_factor(damped)
    best_delta = delta
    first, last = (1.0, 0.7) if coding.axons > 2 else (1.3, 0.8)
    for shrink in np.linspace(first, last, deltas):
        levels = _feed_back(weights, coding, delta=delta * shrink, factor=factor)
        fitted = _refit(weights, levels=levels, delta=delta * shrink, moments=moments)
        error = _error(weights, levels=levels, delta=fitted, moments=moments)
        better = error < best_error
        best_levels = np.where(better[:, None], levels, best_levels)
        best_delta = np.where(better, fitted, best_delta)
        best_error = np.where(better, error, best_error)
    return best_levels, best_delta


def _damped(moments: Array) -> Array:
    return moments + np.eye(len(moments)) * max(DAMPING * np.diag(moments).mean(), 1e-12)


def _round(x: Array, coding: Coding) -> Array:
    return np.clip(np.rint(x), coding.lowest, coding.highest).astype(np.int64)


def _search(weights: Array, coding: Coding, *, diagonal: Array) -> Array:
    """delta (O,) of least diagonal error, on a grid of fractions of the largest weight."""
    reach = (abs(coding.lowest) + coding.highest) / 2
    largest = np.abs(weights).max(axis=1)
    largest = np.where(largest > 0, largest, 1.0)
    best = largest / reach
    lowest = np.full(len(weights), np.inf)
    for fraction in np.linspace(0.15, 1.0, 35):
        delta = largest * fraction / reach
        error = (
            (weights - _round(weights / delta[:, None], coding) * delta[:, None]) ** 2
        ) @ diagonal
        best = np.where(error < lowest, delta, best)
        lowest = np.minimum(error, lowest)
    return best


def _error(weights: Array, *, levels: Array, delta: Array, moments: Array) -> Array:
    off = weights - levels * delta[:, None]
    return np.einsum("of,fg,og->o", off, moments, off, optimize=True)


def _refit(weights: Array, *, levels: Array, delta: Array, moments: Array) -> Array:
    """The delta of least error for given levels; the old one where they are all zero."""
    projected = levels @ moments
    power = np.einsum("of,of->o", projected, levels)
    match = np.einsum("of,of->o", projected, weights)
    good = (power > 0) & (match > 0)
    return np.where(good, match / np.where(good, power, 1.0), delta)


def _feedback_factor(moments: Array) -> Array:
    """Upper Cholesky factor of the inverse of the second moments."""
    inverse = np.linalg.inv(moments)
    return np.linalg.cholesky((inverse + inverse.T) / 2).T


def _feed_back(weights: Array, coding: Coding, *, delta: Array, factor: Array) -> Array:
    """Round input by input, each error spread over those still to come."""
    left = weights.copy()
    levels = np.zeros(weights.shape, np.int64)
    for i in range(weights.shape[1]):
        levels[:, i] = _round(left[:, i] / delta, coding)
        error = (left[:, i] - levels[:, i] * delta) / factor[i, i]
        left[:, i + 1 :] -= error[:, None] * factor[i, i + 1 :]
    return levels


def _settled(
    weights: Array, coding: Coding, *, levels: Array, delta: Array, moments: Array
) -> Array:
    """Levels after changing them one input at a time, each time to the one of least error."""
    damped, levels = _damped(moments), levels.copy()
    pull = (weights - levels * delta[:, None]) @ damped  # down the slope of the error
    for _ in range(SWEEPS):
        changed = False
        for i in range(levels.shape[1]):
            better = _round(levels[:, i] + pull[:, i] / (damped[i, i] * delta), coding)
            step = better - levels[:, i]
            if step.any():
                changed, levels[:, i] = True, better
                pull -= (step * delta)[:, None] * damped[i]
        if not changed:
            break
    return levels
