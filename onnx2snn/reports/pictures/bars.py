"""Pictures of results without a chart of their own: a bar per row, or a line over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .sweep import figure, literal, short

MOST = 40  # bars; of more rows the largest
BLUE, RED = "#0072b2", "#d55e00"


def bars_figure(
    names: Sequence[str],
    *,
    values: Sequence[float],
    label: str,
    title: str,
    limit: float | None = None,
) -> Any:
    """A horizontal bar per name, the first at the top; ``limit``: a line, beyond which bars have
    another colour, on an axis of powers of ten. Raises UsageError (E101) without matplotlib."""
    kept = sorted(sorted(range(len(names)), key=lambda i: -values[i])[:MOST])
    fig = figure(7.0, height=1.4 + 0.28 * max(len(kept), 1))
    axes = fig.subplots()
    over = [limit is not None and values[i] > limit for i in kept]
    axes.barh(
        range(len(kept)), [values[i] for i in kept], 0.7, color=[RED if o else BLUE for o in over]
    )
    axes.set_yticks(range(len(kept)), [literal(short(names[i])) for i in kept], fontsize=8)
    axes.set_ylim(len(kept) - 0.4, -0.6)
    if limit is not None:
        axes.axvline(limit, color="black", linewidth=1, linestyle="--")
        axes.set_xscale("log")
    axes.set_xlabel(label)
    more = f" (the largest {MOST} of {len(names)})" if len(names) > MOST else ""
    axes.set_title(f"{literal(title)}{more}", fontsize=9)
    return fig


def epochs_figure(series: Mapping[str, Sequence[float]], *, best: int, title: str) -> Any:
    """A line per name over epochs, the first is before training; ``best``: the epoch that was
    taken. Raises UsageError (E101) without matplotlib."""
    fig = figure()
    axes = fig.subplots()
    for name, values in series.items():
        axes.plot(range(len(values)), values, label=name)
    axes.axvline(best, color="black", linewidth=1, linestyle="--", label="taken")
    axes.set_xlabel("epoch")
    axes.set_title(literal(title), fontsize=9)
    axes.legend(fontsize=8)
    return fig
