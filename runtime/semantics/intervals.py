"""Confidence intervals of a proportion, and of the difference of two on the same samples."""

from __future__ import annotations

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
    """How much the second of two proportions on the same samples is below the first, and its 95 %
    interval (Agresti and Min, Statistics in Medicine 24, 2005: half a sample added to each of the
    four outcomes), in points. The one interval of paired differences: `run`, `auto` and `compare`
    must not judge the same answers differently.

    Parameters:
        lost, won: samples that are successes in the first, or in the second, alone.

    Raises ValueError where ``count`` is not positive, or too small for them.
    """
    if count < 1 or min(lost, won) < 0 or lost + won > count:
        raise ValueError(f"{lost} and {won} of {count}")
    total, b, c = count + 2, lost + 0.5, won + 0.5
    centre = (b - c) / total
    half = Z95 * sqrt(b + c - (b - c) ** 2 / total) / total
    return 100 * (lost - won) / count, 100 * (centre - half), 100 * (centre + half)


Share = tuple[float, float, float]  # a proportion, and the bounds of its interval


def unpaired_score(one: Share, other: Share) -> tuple[float, float, float]:
    """The difference of two proportions on different samples and its 95 % interval, as fractions:
    Newcombe's hybrid of their own Wilson intervals (1998, Statistics in Medicine 17: 873-890,
    method 10)."""
    (p, p_low, p_high), (q, q_low, q_high) = one, other
    below, above = hypot(q - q_low, p_high - p), hypot(q_high - q, p - p_low)
    return q - p, q - p - below, q - p + above
