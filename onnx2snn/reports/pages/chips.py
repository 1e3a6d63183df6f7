"""Several chips on one HTML page: the table of ``placement.render_comparison`` and its notes."""

from __future__ import annotations

from collections.abc import Sequence

from ...display import displayed
from ...evaluation.energy.events import Events
from ...hwtargets.placement.report import PlacementReport
from ..placement import Alike, comparison_columns, comparison_notes, comparison_rows
from . import page

TEXTS = ("target", "fits", "input", "binding limit")  # columns of words


def render_chips(
    reports: Sequence[PlacementReport], alike: Alike, done: Events | None = None
) -> str:
    """The page. ``done``: see ``render_comparison``."""
    reports, alike = displayed(reports), displayed(alike)
    return page(
        "chips.html.j2",
        title="Placement on several chips",
        columns=comparison_columns(alike),
        texts=TEXTS,
        rows=comparison_rows(reports, alike),
        notes=comparison_notes(reports, alike, done),
    )
