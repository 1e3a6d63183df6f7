"""The page of a sweep or of several runs: chart with tooltips, tables, notes, in one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

from markupsafe import Markup, escape

from ...display import displayed
from ...evaluation.chips import ChipCurve, said
from ...evaluation.sweep import Sweep, SweepRun
from .. import spiking
from ..comparison import (
    SPREAD_HEADER,
    chips_notes,
    chips_rows,
    spread_line,
    spread_rows,
)
from ..figures import count
from ..spiking import answers_text
from ..text import (
    COLOURS,
    band,
    curve_rows,
    interval,
    knee_text,
    output_rows,
    percent,
    score,
    score_name,
    several_outputs,
)
from . import page

DASHES = ("6 3", "2 3", "8 3 2 3")  # of chips, in their order


def sweep_html(sweep: Sweep) -> str:
    """One self-contained page: chart with tooltips, tables, notes."""
    sweep = displayed(sweep)
    return page(
        "sweep.html.j2",
        title=f"{sweep.model}: accuracy against time steps",
        sweep=sweep,
        ann=sweep.runs[0].evaluation.ann_accuracy,
        shown=score_name(sweep),
        chart=Markup(curve_svg(sweep)),  # our own numbers and escaped names only
        runs=[_section(run, COLOURS[n % len(COLOURS)]) for n, run in enumerate(sweep.runs)],
    )


def _section(run: SweepRun, colour: str) -> dict[str, Any]:
    """What the page says of one run: what the text report says."""
    header, rows = curve_rows(run.evaluation)
    share = run.evaluation.spiking
    return {
        "recipe": run.recipe,
        "colour": colour,
        "knee": knee_text(run.evaluation),
        "no": " ".join(spiking.headline(share, run.steps)),
        "size": f"{count(run.evaluation.neurons)} neurons; ANN: "
        f"{count(run.evaluation.macs_ann)} multiply-accumulates. {'. '.join(spiking.lines(share))}."
        f" Sums over the T steps of one answer; {spiking.KEY}; {answers_text(run)}.",
        "notes": run.notes,
        "chips_header": chips_rows(run)[0],
        "chips_rows": chips_rows(run)[1],
        "chips_notes": chips_notes(run),
        "spread": "" if run.spread is None else spread_line(run.spread),
        "spread_header": SPREAD_HEADER,
        "spread_rows": spread_rows(run),
        "header": header,
        "rows": rows,
        "outputs": output_rows(run.evaluation) if several_outputs(run.evaluation) else [],
    }


def curve_svg(sweep: Sweep) -> str:
    """The curves as SVG, T on a logarithmic axis, a tooltip on every point."""
    width, height, left, bottom = 760, 360, 60, 40
    top_t = max(run.steps for run in sweep.runs)
    span = log2(top_t) or 1.0
    low, tick = _scale(sweep)

    def at(t: int, value: float) -> tuple[float, float]:
        x = left + (width - left - 20) * log2(t) / span
        share = (1 - value) / (1 - low)
        return round(x, 1), round(20 + (height - 20 - bottom) * share, 1)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" font-size="12">']
    for i in range(round((1 - low) / tick) + 1):
        value = 1 - i * tick
        _, y = at(1, value)
        parts.append(f'<path d="M{left} {y}H{width - 20}" stroke="#ddd"/>')
        label = f"{100 * value:.3g} %"
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{label}</text>')
    t = 1
    while t <= top_t:
        parts.append(f'<text x="{at(t, 0)[0]}" y="{height - 18}" text-anchor="middle">{t}</text>')
        t *= 2
    ann = sweep.runs[0].evaluation.ann_accuracy
    if ann is not None:
        y = at(1, ann)[1]
        parts.append(f'<path d="M{left} {y}H{width - 20}" stroke="#333" stroke-dasharray="4"/>')
        parts.append(f'<text x="{width - 20}" y="{y - 5}" text-anchor="end">ANN</text>')
    for n, run in enumerate(sweep.runs):
        colour = COLOURS[n % len(COLOURS)]
        parts += _svg_run(run, colour, at)
    parts.append(f'<text x="{width / 2}" y="{height - 2}" text-anchor="middle">time steps T</text>')
    return "".join([*parts, "</svg>"])


def _scale(sweep: Sweep) -> tuple[float, float]:
    """The lowest value of the axis, below everything that is drawn, and the distance of its lines:
    a curve between 93 and 99 % must not be a line at the top."""
    values = [score(run, p) for run in sweep.runs for p in run.evaluation.points]
    values += [said(p) for run in sweep.runs for chip in run.chips for p in chip.points]
    bounds = [band(run, p) for run in sweep.runs for p in run.evaluation.points]
    anns = [run.evaluation.ann_accuracy for run in sweep.runs]
    lowest = min([*values, *(b[0] for b in bounds if b), *(a for a in anns if a is not None)])
    for tick in (0.01, 0.02, 0.05, 0.1):
        if 1 - lowest <= 5 * tick:
            return 1 - 5 * tick, tick
    return 0.0, 0.2


def _svg_run(
    run: SweepRun, colour: str, at: Callable[[int, float], tuple[float, float]]
) -> list[str]:
    """One curve: its interval as a bar at every point, the line, and points with tooltips."""
    points = [(p, *at(p.T, score(run, p))) for p in run.evaluation.points]
    line = " ".join(f"{x},{y}" for _, x, y in points)
    parts = []
    for p, x, y in points:
        bounds, tip = (
            band(run, p),
            f"{run.recipe} T={p.T}: {percent(score(run, p))}",
        )
        if bounds is not None:
            top, bottom = at(p.T, bounds[1])[1], at(p.T, bounds[0])[1]
            bar = f'd="M{x} {top}V{bottom}" stroke="{colour}" stroke-opacity=".35"'
            parts.append(f"<path {bar}/>")
            tip += f" ({interval(*bounds)})"
        tip += f", {spiking.operations(vars(p))}"
        dot = f'cx="{x}" cy="{y}" r="3" fill="{colour}"'
        parts.append(f"<circle {dot}><title>{escape(tip)}</title></circle>")
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for n, chip in enumerate(run.chips):
        parts += _svg_chip(run, chip, colour, f'stroke-dasharray="{DASHES[n % len(DASHES)]}"', at)
    return parts


def _svg_chip(
    run: SweepRun,
    chip: ChipCurve,
    colour: str,
    dashes: str,
    at: Callable[[int, float], tuple[float, float]],
) -> list[str]:
    """The same in a chip's integers: a dashed line, and open points with tooltips."""
    points = [(p, *at(p.T, said(p))) for p in chip.points]
    line = " ".join(f"{x},{y}" for _, x, y in points)
    parts = [f'<polyline points="{line}" fill="none" stroke="{colour}" {dashes}/>']
    for p, x, y in points:
        tip = f"{run.recipe} on {chip.target} T={p.T}: {percent(said(p))}"
        dot = f'cx="{x}" cy="{y}" r="3" fill="#fff" stroke="{colour}"'
        parts.append(f"<circle {dot}><title>{escape(tip)}</title></circle>")
    return parts
