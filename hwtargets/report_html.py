"""The placement report as one self-contained HTML page: tables, floor plans, traffic heat map.

Everything is inline (SVG, CSS); no script and no network are needed. Tooltips are SVG titles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader

from ..runtime.ops import Array
from .report import FloorPlan, PlacementReport

CELL = 30  # pixels per core
MAX_CHIPS = 24  # floor plans drawn; the rest is said in a sentence


def render_html(report: PlacementReport) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader(__package__ or "onnx2snn.hwtargets", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, percent=_percent, si=_si)
    plan = report.plan
    return environment.get_template("placement.html.j2").render(
        r=report,
        chips=chip_drawings(plan) if plan else [],
        more_chips=max(0, report.chips - MAX_CHIPS),
        legend=[] if plan is None else list(zip(plan.layers, _hues(plan.layers), strict=True)),
        cell=CELL,
        max_link=0 if plan is None else float(plan.links.max(initial=0)),
    )


def _hues(layers: Sequence[str]) -> list[str]:
    """One colour per layer: evenly spaced hues in execution order, lightness alternating."""
    n = max(len(layers), 1)
    return [f"hsl({300 * i / n:.0f} 60% {58 if i % 2 else 46}%)" for i in range(len(layers))]


def heat(share: float) -> str:
    """White to dark red."""
    share = min(max(share, 0.0), 1.0)
    return f"hsl({50 - 50 * share:.0f} 85% {95 - 55 * share:.0f}%)"


def _blue(share: float) -> str:
    """Near white to blue."""
    return f"hsl(210 {40 * share:.0f}% {95 - 35 * share:.0f}%)"


def chip_drawings(plan: FloorPlan) -> list[dict[str, Any]]:
    """Cells and links of each chip, in pixels."""
    hues = _hues(plan.layers)
    across = plan.links.shape[0] // plan.width
    top_link, drawings = float(plan.links.max(initial=0)) or 1.0, []
    traffic = plan.sent + plan.received
    busiest = float(traffic.max(initial=0)) or 1.0
    for chip in range(min(int(plan.chip.max(initial=-1)) + 1, MAX_CHIPS)):
        own = np.flatnonzero(plan.chip == chip)
        cells = [
            {
                "x": int(plan.x[i]) * CELL,
                "y": int(plan.y[i]) * CELL,
                "layer": hues[int(plan.layer[i])],
                "load": heat(float(plan.load[i])),
                "traffic": _blue(float(traffic[i]) / busiest),
                "title": f"core {i} at ({plan.x[i]}, {plan.y[i]}): "
                f"{plan.layers[int(plan.layer[i])]}, {plan.neurons[i]:,} neurons, load "
                f"{100 * plan.load[i]:.0f} %, sends {plan.sent[i]:.4g}, receives "
                f"{plan.received[i]:.4g} spikes per step",
            }
            for i in own
        ]
        row, column = chip // across, chip % across
        column = across - 1 - column if row % 2 else column
        corner = (column * plan.width, row * plan.height)
        links = _links(plan.links, corner, plan.width, plan.height, top_link)
        drawings.append({"number": chip, "cells": cells, "links": links, "cores": len(own),
                         "width": plan.width * CELL, "height": plan.height * CELL})  # fmt: skip
    return drawings


def _links(
    links: Array, corner: tuple[int, int], width: int, height: int, top: float
) -> list[dict[str, Any]]:
    """Lines between routers, both directions added."""
    drawn = []
    for x in range(width):
        for y in range(height):
            gx, gy = corner[0] + x, corner[1] + y
            for dx, dy, there, back in ((1, 0, 0, 1), (0, 1, 2, 3)):
                if gx + dx >= links.shape[0] or gy + dy >= links.shape[1]:
                    continue
                load = float(links[gx, gy, there] + links[gx + dx, gy + dy, back])
                if load > 0:
                    drawn.append(_line(x, y, dx, dy, load, top))
    return drawn


def _line(x: int, y: int, dx: int, dy: int, load: float, top: float) -> dict[str, Any]:
    return {
        "x1": x * CELL + CELL // 2,
        "y1": y * CELL + CELL // 2,
        "x2": (x + dx) * CELL + CELL // 2,
        "y2": (y + dy) * CELL + CELL // 2,
        "color": heat(0.15 + 0.85 * load / (2 * top)),
        "width": round(2 + 10 * load / (2 * top), 1),
        "title": f"({x}, {y}) to ({x + dx}, {y + dy}): {load:.4g} spikes per step, both directions",
    }


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


def _si(value: float) -> str:
    for factor, prefix in ((1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}"
    return "0 "
