"""Confidence intervals of a proportion, and of the difference of two on the same samples."""

from __future__ import annotations

from collections.abc import Callable
from math import hypot, sqrt

Z95 = 1.959963984540054


def wilson(successes: int, *, count: int, z: float = Z95) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson 1927); good also near 0 and 1.

    Raises ValueError where ``count`` is not positive or ``successes`` not within it.
    """
    if count < 1 or not 0 <= successes <= count:
        raise ValueError(f"{successes} successes of {count}")
    p = successes / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # Rounding must not put the proportion itself outside.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def paired_points(*, lost: int, won: int, count: int) -> tuple[float, float, float]:
    """The difference of two paired proportions and its 95 % interval (Agresti and Min 2005: half
    a sample added to each of the four outcomes), in points."""
    total, b, c = count + 2, lost + 0.5, won + 0.5
    centre = (b - c) / total
    half = Z95 * sqrt(b + c - (b - c) ** 2 / total) / total
    return 100 * (lost - won) / count, 100 * (centre - half), 100 * (centre + half)


def paired_score(*, lost: int, won: int, count: int) -> tuple[float, float, float]:
    """The difference of two proportions on the same samples and its 95 % score interval (Tango
    1998, Statistics in Medicine 17: 891-908), as fractions: all differences that the score test for
    paired samples does not reject. Good for few samples, and where nothing differs.

    Parameters:
        lost, won: samples that are successes in the first, or in the second, alone.

    Raises ValueError where ``count`` is not positive, or too small for them.
    """
    if count < 1 or min(lost, won) < 0 or lost + won > count:
        raise ValueError(f"{lost} and {won} of {count}")
    found = (won - lost) / count
    low = _crossing((-1.0, found), lambda d: _tango(d, lost=lost, won=won, count=count) < Z95)
    high = _crossing((1.0, found), lambda d: _tango(d, lost=lost, won=won, count=count) > -Z95)
    return found, low, high


def _tango(difference: float, *, lost: int, won: int, count: int) -> float:
    """The score statistic of a true ``difference``: the smaller it is, the more it is above 0. The
    probability of ``lost`` is the likeliest one that goes with it."""
    half = (2 * count + lost - won) * difference - won - lost
    product = -lost * difference * (1 - difference)
    root = sqrt(max(half * half - 8 * count * product, 0.0))
    likely = (root - half) / (4 * count)
    variance = count * (2 * likely + difference * (1 - difference))
    apart = won - lost - count * difference
    return apart / sqrt(variance) if variance > 0 else 0.0 if apart == 0 else apart * float("inf")


def _crossing(between: tuple[float, float], accepted: Callable[[float], bool]) -> float:
    """Where ``accepted`` begins on the way to the second end, where it holds."""
    outside, inside = between
    if accepted(outside):
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        if accepted(middle):
            inside = middle
        else:
            outside = middle
    return inside


Share = tuple[float, float, float]  # a proportion, and the bounds of its interval


def unpaired_score(one: Share, other: Share) -> tuple[float, float, float]:
    """The difference of two proportions on different samples and its 95 % interval, as fractions:
    Newcombe's hybrid of their own Wilson intervals (1998, Statistics in Medicine 17: 873-890,
    method 10)."""
    (p, p_low, p_high), (q, q_low, q_high) = one, other
    below, above = hypot(q - q_low, p_high - p), hypot(q_high - q, p - p_low)
    return q - p, q - p - below, q - p + above
