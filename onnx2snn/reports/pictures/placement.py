"""Picture of a placement: how full the fullest core is of everything that a chip limits."""

from __future__ import annotations

from typing import Any

from ...display import displayed
from ...hwtargets import PlacementReport
from .sweep import figure, literal

FITS, OVER = "#0072b2", "#d55e00"


def resources_figure(report: PlacementReport) -> Any:
    """A bar per resource, in per cent of its limit, those above it in another colour; * marks
    limits without a public source. Raises UsageError (E101) without matplotlib."""
    rows = displayed(report.resources, literal)
    fig = figure(7.0, height=1.4 + 0.32 * len(rows))
    axes = fig.subplots()
    shares = [100 * row.share for row in rows]
    bars = axes.barh(
        range(len(rows)), shares, 0.7, color=[OVER if s > 100 else FITS for s in shares]
    )
    axes.bar_label(bars, [f"{share:.0f} %" for share in shares], padding=3, fontsize=8)
    names = [row.name + ("" if row.verified else " *") for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(100, color="black", linewidth=1, linestyle="--")
    axes.set_xlim(0, max(110.0, 1.1 * max(shares, default=0.0)))
    axes.set_xlabel("use of the limit in the fullest core (%)")
    star = "" if all(row.verified for row in rows) else "; *: limit not verified"
    axes.set_title(f"{literal(report.title)}{star}", fontsize=10)
    return fig
