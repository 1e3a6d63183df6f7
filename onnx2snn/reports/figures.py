"""Numbers as words and cells."""

from __future__ import annotations


def count(value: float) -> str:
    """1234567 -> 1.23M"""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def counted_short(number: int, noun: str) -> str:
    """``1 neuron``, ``1.23M neurons``."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def ratio(value: float | None) -> str:
    """A cost relative to the ANN's; None where the ANN has none."""
    return "n/a" if value is None else f"{value:.2f}"
