"""Weights as sums of axon types: every neuron has one signed weight per type, synapses are binary.

An input that enters a core on several axons of different types reaches a neuron through any subset
of them, so with type weights delta * (1, 2, .., -2^(k-1)) its weight is any two's complement
integer of k bits times the neuron's own delta ("axons2" .. "axons4"); with delta * (1, -1) and at
most one of the two it is ternary. What that loses is fitted away, neuron by neuron, on the second
moments H of the inputs that were measured:

* delta by search for the smallest error in the mean square, weights w against q delta:
  (w - q delta)' H (w - q delta);
* rounding with error feedback, and then input by input again (``fitting.feedback``);
* delta again by least squares, and a correction of the bias (see ``fit``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....errors import UsageError
from ....runtime.ops import Array
from ...fitting.feedback import Feedback, Levels

DELTAS = 8  # scales that rounding with error feedback is tried with


@dataclass(frozen=True, kw_only=True)
class Coding:
    """multipliers: what each axon of an input adds, in units of delta; axon i has type i.
    lowest, highest: the integers that sums of them reach without a gap."""

    name: str
    multipliers: tuple[int, ...]
    lowest: int
    highest: int

    @property
    def levels(self) -> Levels:
        return Levels(lowest=self.lowest, highest=self.highest)

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
        even = Feedback(np.eye(weights.shape[1]))
        levels, delta = _fed_back(weights, coding, even, deltas=3)
    else:
        feedback = Feedback(moments)
        levels, delta = _fed_back(weights, coding, feedback, deltas=DELTAS)
        for _ in range(2):
            levels = feedback.settled(weights, coding.levels, delta=delta, first=levels)
            delta = _refit(weights, levels=levels, delta=delta, moments=moments)
    fine = delta < least
    delta = np.maximum(delta, least)
    return np.where(fine[:, None], coding.levels.nearest(weights / delta[:, None]), levels), delta


def _fed_back(
    weights: Array, coding: Coding, feedback: Feedback, *, deltas: int
) -> tuple[Array, Array]:
    """Levels and scale by error feedback, the best of so many scales per neuron."""
    moments = feedback.moments
    delta = _search(weights, coding, diagonal=np.diag(feedback.damped))
    best_levels = coding.levels.nearest(weights / delta[:, None])
    best_error = _error(weights, levels=best_levels, delta=delta, moments=moments)
    best_delta = delta
    first, last = (1.0, 0.7) if coding.axons > 2 else (1.3, 0.8)
    for shrink in np.linspace(first, last, deltas):
        levels = feedback.fed_back(weights, coding.levels, delta=delta * shrink)
        fitted = _refit(weights, levels=levels, delta=delta * shrink, moments=moments)
        error = _error(weights, levels=levels, delta=fitted, moments=moments)
        better = error < best_error
        best_levels = np.where(better[:, None], levels, best_levels)
        best_delta = np.where(better, fitted, best_delta)
        best_error = np.where(better, error, best_error)
    return best_levels, best_delta


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
            (weights - coding.levels.nearest(weights / delta[:, None]) * delta[:, None]) ** 2
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
