"""The page that compares two runs: verdicts, differences against T with their intervals, tables."""

from __future__ import annotations

from markupsafe import Markup, escape

from ...display import displayed
from ...experiments.comparison import Comparison, CurvePair, PointPair
from ...experiments.comparison.text import (
    CHANGED,
    SHORT,
    alone,
    bounds,
    change_rows,
    cost,
    how,
    signed,
    steps,
    tables,
    title,
    verdicts,
)
from ..text import COLOURS, percent
from . import Answer, Figure, page, svg

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
LINES = 2  # above zero and below, at most twice as many


def compare_html(found: Comparison, *, command: str = "") -> str:
    """One self-contained page. ``command``: what made it, as it was typed."""
    found = displayed(found)
    return page(
        "compare.html.j2",
        kind="compare",
        title="Two runs compared",
        answer=_answer(found),
        command=command,
        found=found,
        changed=CHANGED,
        changes=change_rows(found.changes),
        alone=alone(found),
        pairs=[
            {
                "title": title(pair),
                "changes": change_rows(pair.changes),
                "chart": Markup(_chart(pair)),  # our numbers, escaped names
                "tables": tables(pair),
                "how": how(pair),
            }
            for pair in found.curves
        ],
    )


def _answer(found: Comparison) -> Answer:
    told = [p.points[-1].judged for p in found.curves]
    known = [judged[1] for judged in told if judged is not None and judged[1].told]
    good = None
    if len(known) == len(told) and known:
        better = {d.difference > 0 for d in known}
        good = better.pop() if len(better) == 1 else None
    figures = _figures(found.curves[0].points[-1]) if len(found.curves) == 1 else ()
    return Answer(said=tuple(verdicts(found)), good=good, figures=figures)


def _figures(last: PointPair) -> tuple[Figure, ...]:
    out = []
    if last.judged is not None:
        name, d = last.judged
        said = f"95 % interval {bounds(d)}; " if bounds(d) else ""
        note = f"{said}A {percent(d.first)}, B {percent(d.second)}"
        out.append(
            Figure(name=f"{name}, B - A, {steps(last)}", value=signed(d.difference), note=note)
        )
    for name, (a, b) in last.costs.items():
        if name in SHORT and a > 0:
            note = f"A {cost(name, a)}, B {cost(name, b)}"
            out.append(Figure(name=f"{SHORT[name]}, B / A", value=f"{b / a:.2f}", note=note))
    return tuple(out)


def _chart(pair: CurvePair) -> str:
    """The difference against T, with its interval; "" where there is one T, or nothing to judge."""
    points = [(p, *p.judged) for p in pair.points if p.judged is not None]
    if len(points) < 2:
        return ""
    ends = [e for _, _, d in points for e in (d.difference, d.low, d.high) if e is not None]
    most = max(max(map(abs, ends)), TICKS[0])
    tick = next((tick for tick in TICKS if most <= 2 * LINES * tick), TICKS[-1])
    count = -int(-most // tick)
    frame = svg.framed([p.T[1] for p in pair.points], low=-count * tick, high=count * tick)
    across = [(i * tick, f"{100 * i * tick:+.3g}" if i else "0") for i in range(-count, count + 1)]
    name, colour = points[-1][1], COLOURS[0]
    parts = [
        svg.opened(f"{name} of B less that of A, in points, against time steps"),
        *svg.rows(frame, across),
        *svg.columns(frame, "time steps T", whole=True),
        f'<path d="M{svg.LEFT} {frame.y(0)}H{svg.WIDTH - svg.RIGHT}" stroke="currentColor"/>',
    ]
    at = [(frame.x(p.T[1]), d) for p, _, d in points]
    known = [(x, (d.low, d.high)) for x, d in at if d.low is not None and d.high is not None]
    parts.append(svg.band(frame, known, colour=colour))
    line = " ".join(f"{x},{frame.y(d.difference)}" for x, d in at)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for (x, d), (p, _, _) in zip(at, points, strict=True):
        tip = f"{steps(p)}: {signed(d.difference)} points of {name}"
        tip += f" ({bounds(d)})" if bounds(d) else ""
        parts.append(
            f'<circle cx="{x}" cy="{frame.y(d.difference)}" r="3" fill="{colour}" tabindex="0" '
            f'role="img"><title>{escape(tip)}</title></circle>'
        )
    return "".join([*parts, "</svg>"])
