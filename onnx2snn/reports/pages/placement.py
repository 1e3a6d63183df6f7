"""The placement report as one self-contained HTML page: tables, floor plans, traffic heat map.

Everything is inline (SVG, CSS); no script and no network are needed. Tooltips are SVG titles.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from ...display import counted, displayed
from ...evaluation.energy.events import Events
from ...hwtargets.placement.report import PlacementReport
from ..energy import chips as energy
from ..energy import verdicts, work
from ..energy.chips import si
from ..placement import accuracy_text, analog_text, share_text, tried
from . import Answer, Figure, figures, page
from .floor import CELL, board_drawing, hues


def render_html(report: PlacementReport, done: Events | None = None, *, command: str = "") -> str:
    """The page. ``done``: what the network did on the samples, for the verdict against its ANN;
    ``command``: what made it, as it was typed."""
    report = displayed(report)
    plan = report.plan
    return page(
        "placement.html.j2",
        kind="placement",
        title=f"Placement on {report.title}",
        answer=_answer(report, done),
        command=command,
        filters={
            "number": _number,
            "percent": _percent,
            "share": partial(share_text, digits=1),
            "points": _points,
            "si": _si,
        },
        r=report,
        energies=energy.rows(report.energy),
        said=energy.SAID,
        verdict=[] if done is None else verdicts.lines(done),
        entering=energy.INPUTS[report.input_mode],
        latency=energy.latency(report.latency),
        step=work.step(report),
        terms=[] if report.latency.bound is None else work.terms(report.latency.bound),
        busiest=list(work.lines(report)),
        otherwise=list(work.otherwise(report)),
        values=accuracy_text(report),
        analog=analog_text(report),
        tried=tried(report),
        board=None if plan is None else board_drawing(plan),
        legend=[] if plan is None else list(zip(plan.layers, hues(plan.layers), strict=True)),
        cell=CELL,
    )


def _answer(r: PlacementReport, done: Events | None) -> Answer:
    """Whether it fits and what binds; accuracy on the chip, energy, latency, and who needs less."""
    if not r.fits:
        first = r.violations[0] if r.violations else None
        count = counted(len(r.violations), "violation")
        said = [f"Does not fit: {count}."]
        if first is not None:
            said.append(f"{first.node}: {first.rule}. {first.remedy}")
        return Answer(said=tuple(said), good=False, figures=figures.energy(done))
    board = (r.facts.get("boards") or {}).get("smallest_that_holds_it")
    cores = counted(r.cores, "core")
    on = f"{cores} on {counted(r.chips, 'chip')}"
    b = r.binding
    mark = "" if b["verified"] else " (limit not verified)"
    said = [
        f"Fits: {on}{f' ({board})' if board else ''}.",
        f"Binding limit: {b['name']}, {_number(b['used'])} of {_number(b['limit'])}, margin "
        f"{_percent(b['margin'])}{mark}.",
    ]
    return Answer(said=tuple(said), good=True, figures=tuple(_figures(r, done)))


def _figures(r: PlacementReport, done: Events | None) -> Iterator[Figure]:
    a = r.accuracy
    if a.get("chip") is not None:
        known = [
            f"{label} {_percent(a[key])}"
            for key, label in (("ann", "ANN"), ("float_snn", "float SNN"))
            if a.get(key) is not None
        ]
        note = ", ".join([*known, f"T={a['T']}, {counted(a['samples'], 'sample')}"])
        yield Figure(name="accuracy on the chip", value=_percent(a["chip"]), note=note)
    elif a.get("agreement") is not None:
        note = f"T={a['T']}, {counted(a['samples'], 'sample')}, no labels"
        yield Figure(name="chip agrees with float SNN", value=_percent(a["agreement"]), note=note)
    for name, found in r.energy.kinds.items():
        if found is not None:
            note = f"{energy.si(found.low, 'J')} to {energy.si(found.high, 'J')}"
            note += "" if found.verified else "; not verified"
            value = energy.si(found.value, "J")
            yield Figure(name=f"{energy.KINDS[name]} energy per inference", value=value, note=note)
    if t := r.latency.seconds:
        note = f"{counted(r.latency.steps + r.latency.lag_steps, 'step')}"
        yield Figure(name="latency", value=energy.si(t.value, "s"), note=note)
    else:
        steps = r.latency.steps + r.latency.lag_steps
        yield Figure(
            name="latency", value=f"{counted(steps, 'step')}", note="no time per step is published"
        )
    yield from figures.energy(done)


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value != int(value) and abs(value) < 1000:
        return f"{value:.4g}"
    return f"{int(value):,}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _si(value: float) -> str:
    return si(value, "")
