"""Several chips on one HTML page: the table of ``placement.render_comparison`` and its notes."""

from __future__ import annotations

from collections.abc import Sequence

from ...display import displayed
from ...evaluation.energy.events import Events
from ...hwtargets.placement.report import PlacementReport
from ..energy.chips import si
from ..placement import Alike, comparison_columns, comparison_notes, comparison_rows, which_fit
from ..text import percent
from . import Answer, Figure, figures, page

TEXTS = ("target", "fits", "input", "binding limit")  # columns of words


def render_chips(
    reports: Sequence[PlacementReport],
    alike: Alike,
    done: Events | None = None,
    *,
    command: str = "",
) -> str:
    """The page, which links that of each chip, in a folder of its name. ``done``: see
    ``render_comparison``; ``command``: what made it, as it was typed."""
    reports, alike = displayed(reports), displayed(alike)
    return page(
        "chips.html.j2",
        kind="placement",
        title="Placement on several chips",
        answer=_answer(reports, done),
        command=command,
        pages={r.target: f"{r.target}/placement.html" for r in reports},
        columns=comparison_columns(alike),
        texts=TEXTS,
        rows=comparison_rows(reports, alike),
        notes=comparison_notes(reports, alike, done),
    )


def _answer(reports: Sequence[PlacementReport], done: Events | None) -> Answer:
    fitting = [r for r in reports if r.fits]
    found = []
    known = [(r.accuracy["chip"], r) for r in fitting if r.accuracy.get("chip") is not None]
    if known:
        value, best = max(known, key=lambda pair: pair[0])
        a = best.accuracy
        note = f"{best.target}, T={a['T']}"
        note += f"; ANN {percent(a['ann'])}" if a.get("ann") is not None else ""
        found.append(Figure(name="best accuracy on a chip", value=percent(value), note=note))
    timed = [(r.latency.seconds.value, r) for r in fitting if r.latency.seconds is not None]
    if timed:
        value, best = min(timed, key=lambda pair: pair[0])
        found.append(Figure(name="least latency", value=si(value, "s"), note=best.target))
    shown = (*found, *figures.energy(done))
    return Answer(said=(which_fit(reports),), good=bool(fitting), figures=shown)
