"""What the charts of pages are drawn with: a frame with a logarithmic axis from left to right.

Text and lines take the page's colour, so that they follow its dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log2, log10

from markupsafe import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 300, 46, 14, 14, 40
CHARACTER = 8.0  # of a text, at most


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where values lie: x from ``first`` to ``last`` by its logarithm, y from ``low`` to ``high``.
    See ``framed``."""

    first: float
    last: float
    low: float
    high: float

    def x(self, value: float) -> float:
        share = (log2(value) - log2(self.first)) / (log2(self.last) - log2(self.first))
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)

    def y(self, value: float) -> float:
        share = (self.high - value) / (self.high - self.low)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * share, 1)


def framed(values: Iterable[float], *, low: float, high: float) -> Frame:
    """That in which all ``values`` > 0 lie, with room where they are one."""
    known = list(values)
    first, last = min(known), max(known)
    if last < 1.05 * first:
        first, last = first / 1.5, last * 1.5
    return Frame(first=first, last=last, low=low, high=high)


def opened(label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}" '
        'font-size="12" fill="currentColor">'
    )


def rows(frame: Frame, ticks: Iterable[tuple[float, str]]) -> list[str]:
    """A line across for each value, with its text."""
    parts = []
    for value, text in ticks:
        y = frame.y(value)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#8885"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end">{escape(text)}</text>')
    return parts


def columns(frame: Frame, title: str, *, whole: bool) -> list[str]:
    """Lines down at round values, with what stands under the axis."""
    parts = [
        f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(title)}</text>"
    ]
    free = 0.0  # to the right of the last text
    for value in round_values(frame.first, last=frame.last, whole=whole):
        x, text = frame.x(value), f"{value:,.10g}"
        parts.append(f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}" stroke="#8883"/>')
        half = CHARACTER * len(text) / 2
        if x - half >= free:
            parts.append(f'<text x="{x}" y="{HEIGHT - 24}" text-anchor="middle">{text}</text>')
            free = x + half + CHARACTER
    return parts


def round_values(first: float, *, last: float, whole: bool) -> list[float]:
    """Powers of two, or 1, 2 and 5 times powers of ten, and what lies between where these are too
    few; every second one where there are many. All of them inside."""
    if whole:
        found = [2.0**k for k in range(floor(log2(first)), ceil(log2(last)) + 1) if k >= 0]
    else:
        tens = range(floor(log10(first)), ceil(log10(last)) + 1)
        finer = ([m / per for m in range(per, 10 * per)] for per in (1, 10, 100))
        ways = ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), *finer)
        several = ([m * 10.0**k for k in tens for m in way] for way in ways)
        found = next((f for f in several if len(_inside(f, first, last=last)) > 1), [])
    inside = _inside(found, first, last=last)
    return inside[:: ceil(len(inside) / 8)] if inside else [first]


def _inside(values: Iterable[float], first: float, *, last: float) -> list[float]:
    return [value for value in values if first <= value * 1.0001 and value <= last * 1.0001]


def band(frame: Frame, known: list[tuple[float, tuple[float, float]]], *, colour: str) -> str:
    """An interval at each x (in the drawing's units); of a single one a line; "" of none."""
    if len(known) == 1:
        x, (least, most) = known[0]
        return f'<path d="M{x} {frame.y(most)}V{frame.y(least)}" stroke="{colour}"/>'
    upper = [f"{x},{frame.y(b[1])}" for x, b in known]
    lower = [f"{x},{frame.y(b[0])}" for x, b in reversed(known)]
    points = " ".join(upper + lower)
    return f'<polygon points="{points}" fill="{colour}" fill-opacity=".14"/>' if known else ""
