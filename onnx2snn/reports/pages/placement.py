"""The placement report as one self-contained HTML page: tables, floor plans, traffic heat map.

Everything is inline (SVG, CSS); no script and no network are needed. Tooltips are SVG titles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...display import displayed
from ...evaluation.energy.events import Events
from ...hwtargets.placement.report import FloorPlan, PlacementReport
from ...runtime.ops import Array
from ..energy import chips as energy
from ..energy import verdicts
from ..energy.chips import si
from ..placement import accuracy_text, analog_text
from . import page

CELL = 30  # drawing units per core
MAX_CORES = 6000  # above, one cell per chip is drawn instead of one per core


def render_html(report: PlacementReport, done: Events | None = None) -> str:
    """The page. ``done``: what the network did on the samples, for the verdict against its ANN."""
    report = displayed(report)
    plan = report.plan
    return page(
        "placement.html.j2",
        title=f"Placement on {report.title}",
        filters={"number": _number, "percent": _percent, "si": _si},
        r=report,
        energies=energy.rows(report.energy),
        said=energy.SAID,
        verdict=[] if done is None else verdicts.lines(done),
        entering=energy.INPUTS[report.input_mode],
        latency=energy.latency(report.latency),
        values=accuracy_text(report),
        analog=analog_text(report),
        board=None if plan is None else board_drawing(plan),
        legend=[] if plan is None else list(zip(plan.layers, _hues(plan.layers), strict=True)),
        cell=CELL,
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


def board_drawing(plan: FloorPlan) -> dict[str, Any]:
    """All chips side by side as they are joined, in drawing units: cells, links, outlines."""
    across, down = plan.links.shape[0] // plan.width, plan.links.shape[1] // plan.height
    row, column = plan.chip // across, plan.chip % across
    column = np.where(row % 2 == 1, across - 1 - column, column)
    by_chip = len(plan.chip) > MAX_CORES
    if by_chip:
        cells, width, height, links = _chip_cells(plan, row, column=column), across, down, []
    else:
        x, y = column * plan.width + plan.x, row * plan.height + plan.y
        cells, (width, height) = _core_cells(plan, x, y=y), plan.links.shape[:2]
        links = _links(plan.links)
    outlines = [
        {
            "x": c * plan.width * CELL,
            "y": r * plan.height * CELL,
            "width": plan.width * CELL,
            "height": plan.height * CELL,
        }
        for c in range(across)
        for r in range(down)
        if across * down > 1 and not by_chip
    ]
    return {
        "cells": cells,
        "links": links,
        "outlines": outlines,
        "by_chip": by_chip,
        "width": width * CELL,
        "height": height * CELL,
        "shown": 350 if width <= 16 else 1100,
    }


def _core_cells(plan: FloorPlan, x: Array, *, y: Array) -> list[dict[str, Any]]:
    hues, traffic = _hues(plan.layers), plan.sent + plan.received
    busiest = float(traffic.max(initial=0)) or 1.0
    return [
        {
            "x": int(x[i]) * CELL,
            "y": int(y[i]) * CELL,
            "layer": hues[int(plan.layer[i])],
            "load": heat(float(plan.load[i])),
            "traffic": _blue(float(traffic[i]) / busiest),
            "title": f"core {i} on chip {plan.chip[i]} at ({plan.x[i]}, {plan.y[i]}): "
            f"{plan.layers[int(plan.layer[i])]}, {plan.neurons[i]:,} neurons, load "
            f"{100 * plan.load[i]:.0f} %, sends {plan.sent[i]:.4g}, receives "
            f"{plan.received[i]:.4g} spikes per step",
        }
        for i in range(len(plan.chip))
    ]


def _chip_cells(plan: FloorPlan, row: Array, *, column: Array) -> list[dict[str, Any]]:
    """One cell per chip: its most frequent layer, mean load, total traffic."""
    hues, traffic = _hues(plan.layers), plan.sent + plan.received
    chips = int(plan.chip.max()) + 1
    total = np.bincount(plan.chip, weights=traffic, minlength=chips)
    cores = np.bincount(plan.chip, minlength=chips)
    load = np.bincount(plan.chip, weights=plan.load, minlength=chips) / np.maximum(cores, 1)
    layers = np.zeros((chips, len(plan.layers)))
    np.add.at(layers, (plan.chip, plan.layer), 1)
    first = np.unique(plan.chip, return_index=True)
    return [
        {
            "x": int(column[i]) * CELL,
            "y": int(row[i]) * CELL,
            "layer": hues[int(layers[chip].argmax())],
            "load": heat(float(load[chip])),
            "traffic": _blue(float(total[chip]) / (float(total.max()) or 1.0)),
            "title": f"chip {chip}: {cores[chip]:,} cores, mostly "
            f"{plan.layers[int(layers[chip].argmax())]}, mean load {100 * load[chip]:.0f} %, "
            f"{total[chip]:.4g} spikes per step sent and received",
        }
        for chip, i in zip(*first, strict=True)
    ]


def _links(links: Array) -> list[dict[str, Any]]:
    """Lines between routers, both directions added."""
    top = float(links.max(initial=0)) or 1.0
    drawn = []
    for dx, dy, there, back in ((1, 0, 0, 1), (0, 1, 2, 3)):
        both = links[: links.shape[0] - dx, : links.shape[1] - dy, there].copy()
        both += links[dx:, dy:, back]
        for x, y in np.argwhere(both > 0):
            drawn.append(_line(x=int(x), y=int(y), dx=dx, dy=dy, load=float(both[x, y]), top=top))
    return drawn


def _line(*, x: int, y: int, dx: int, dy: int, load: float, top: float) -> dict[str, Any]:
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
    return si(value, "")
