"""The charts of a sweep as SVG: the score against T, latency, spikes and energy.

They read without a script; the frame adds tooltips, ``sweep.html.j2`` switches for what is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import escape

from ...evaluation.chips import ChipCurve, said
from ...evaluation.energy.models import with_memory
from ...evaluation.energy.verdict import ratio_at
from ...evaluation.evaluate import Point
from ...evaluation.sweep import Sweep, SweepRun
from .. import spiking
from ..text import COLOURS, band, interval, percent, score, score_name
from . import svg
from .svg import LEFT, RIGHT, WIDTH, Frame

DASHES = ("6 3", "2 3", "8 3 2 3")  # of chips, in their order


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a chart has from left to right, on a logarithmic axis.

    Attributes:
        name, title: of the chart; what stands under the axis.
        of: the value of one answer; None or 0 is not drawn.
        less: less is better, so that a front is marked: answers that none is better than with less.
        whole: ticks are powers of two.
    """

    name: str
    title: str
    of: Callable[[SweepRun, Point], float | None]
    less: bool = True
    whole: bool = False


def ratio_of(run: SweepRun, point: Point) -> float | None:
    """Energy relative to an 8-bit ANN's, by the model with memory."""
    found = run.evaluation.events
    return ratio_at(with_memory(found.bits).prices, found, point)


AXES = (
    Axis(name="time steps", title="time steps T", of=lambda _, p: p.T, less=False, whole=True),
    Axis(
        name="latency",
        title="latency: steps from an input to its answer",
        of=lambda _, p: p.latency,
        whole=True,
    ),
    Axis(
        name="spikes", title="spikes per neuron and answer", of=lambda _, p: p.spikes_per_neuron
    ),
    Axis(
        name="energy",
        title="energy, SNN / 8-bit ANN (model with memory)",
        of=ratio_of,
    ),
)  # fmt: skip


def charts(sweep: Sweep) -> list[tuple[str, str]]:
    """Name and SVG of every chart that has something to show."""
    made = [(axis.name, _chart(sweep, axis)) for axis in AXES]
    return [(name, svg) for name, svg in made if svg]


def _chart(sweep: Sweep, axis: Axis) -> str:
    """ "" where no answer has a value on the axis, or all have one."""
    drawn = [
        [(p, x) for p in run.evaluation.points if (x := axis.of(run, p))] for run in sweep.runs
    ]
    values = [x for points in drawn for _, x in points]
    if not values or max(values) < 1.05 * min(values):
        return ""
    low, tick = _scale(sweep, chips=_has_chips(axis))
    frame = svg.framed(values, low=low, high=1.0)
    across = [1 - i * tick for i in range(round((1 - low) / tick) + 1)]
    parts = [
        svg.opened(f"{score_name(sweep)} against {axis.title}"),
        *svg.rows(frame, [(value, f"{100 * value:.3g} %") for value in across]),
        *svg.columns(frame, axis.title, whole=axis.whole),
    ]
    ann = sweep.runs[0].evaluation.ann_accuracy
    if ann is not None:
        y = frame.y(ann)
        parts.append(
            f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="currentColor" stroke-dasharray="4"/>'
            f'<text x="{LEFT + 4}" y="{y - 4}">ANN '
            f"{percent(ann, 1)}</text>"
        )
    front = _front(sweep.runs, drawn) if axis.less else set()
    for n, (run, points) in enumerate(zip(sweep.runs, drawn, strict=True)):
        parts += _curve(n, run, points, frame=frame, axis=axis, front=front)
    return "".join([*parts, "</svg>"])


def _has_chips(axis: Axis) -> bool:
    """Only the chart against T: T is all that chips' curves have."""
    return axis.whole and not axis.less


def _scale(sweep: Sweep, *, chips: bool) -> tuple[float, float]:
    """The lowest value of the axis, below everything that is drawn, and the distance of its lines:
    a curve between 93 and 99 % must not be a line at the top."""
    values = [score(run, p) for run in sweep.runs for p in run.evaluation.points]
    if chips:
        values += [said(p) for run in sweep.runs for chip in run.chips for p in chip.points]
    bounds = [band(run, p) for run in sweep.runs for p in run.evaluation.points]
    anns = [run.evaluation.ann_accuracy for run in sweep.runs]
    lowest = min([*values, *(b[0] for b in bounds if b), *(a for a in anns if a is not None)])
    for tick in (0.01, 0.02, 0.05, 0.1):
        if 1 - lowest <= 5 * tick:
            return 1 - 5 * tick, tick
    return 0.0, 0.2


def _front(runs: Sequence[SweepRun], drawn: Sequence[Sequence[tuple[Point, float]]]) -> set[int]:
    """The ``id`` of every answer that no answer with as little is better than."""
    all_of = [
        (x, -score(run, p), id(p))
        for run, points in zip(runs, drawn, strict=True)
        for p, x in points
    ]
    found, best = set(), -1.0
    for _, less, which in sorted(all_of):
        if -less > best:
            best = -less
            found.add(which)
    return found


def _curve(
    n: int,
    run: SweepRun,
    points: Sequence[tuple[Point, float]],
    *,
    frame: Frame,
    axis: Axis,
    front: set[int],
) -> list[str]:
    """One curve: its band, its line, and points with tooltips; rings mark the front."""
    colour = COLOURS[n % len(COLOURS)]
    at = [(p, frame.x(x), frame.y(score(run, p))) for p, x in points]
    parts = [f'<g class="run{n}">']
    bounds = [band(run, p) for p, _, _ in at]
    known = [(x, b) for (_, x, _), b in zip(at, bounds, strict=True) if b is not None]
    parts.append(svg.band(frame, known, colour=colour))
    line = " ".join(f"{x},{y}" for _, x, y in at)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for (p, x, y), b in zip(at, bounds, strict=True):
        ring = ' stroke="currentColor" stroke-width="1.5"' if id(p) in front else ""
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="{4 if ring else 3}" fill="{colour}"{ring} tabindex="0" '
            f'role="img"><title>{escape(_tip(run, p, b, axis))}</title></circle>'
        )
    if _has_chips(axis):
        for at_chip, chip in enumerate(run.chips):
            parts += _chip(run, chip, frame, colour=colour, dashes=DASHES[at_chip % len(DASHES)])
    return [*parts, "</g>"]


def _chip(run: SweepRun, chip: ChipCurve, frame: Frame, *, colour: str, dashes: str) -> list[str]:
    """The same in a chip's integers: a dashed line, and open points with tooltips."""
    points = [(p, frame.x(p.T), frame.y(said(p))) for p in chip.points]
    line = " ".join(f"{x},{y}" for _, x, y in points)
    parts = [
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-dasharray="{dashes}"/>'
    ]
    for p, x, y in points:
        tip = f"{run.recipe} on {chip.target} T={p.T}: {percent(said(p))}"
        dot = f'cx="{x}" cy="{y}" r="3" fill="Canvas" stroke="{colour}" tabindex="0" role="img"'
        parts.append(f"<circle {dot}><title>{escape(tip)}</title></circle>")
    return parts


def _tip(run: SweepRun, p: Point, bounds: tuple[float, float] | None, axis: Axis) -> str:
    tip = f"{run.recipe} T={p.T}: {percent(score(run, p))}"
    if bounds is not None:
        tip += f" ({interval(*bounds)})"
    if axis.name == "energy":
        tip += f", energy {ratio_of(run, p):.3g} of an 8-bit ANN's"
    tip += f", latency {p.latency}, {p.spikes_per_neuron:.2f} spikes per neuron"
    return f"{tip}, {spiking.operations(vars(p))}"
