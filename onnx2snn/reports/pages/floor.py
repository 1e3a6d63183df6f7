"""Floor plans as drawings: cores as they lie on their chips, and the links between them.

Only the part that is used is drawn, and where that is little, where in the whole it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...hwtargets.placement.report import FloorPlan
from ...runtime.ops import Array

CELL = 30  # drawing units per core
MAX_CORES = 6000  # above, one cell per chip is drawn instead of one per core
INSET = 0.6  # of the cells, below which the part that is used is shown in the whole
MARGIN = 1  # cells around what is used
PALE = 0.15  # opacity of what has no load
FAINT = 1e-3  # of the busiest link's load: links below are not drawn
# Cells across up to which three plans stand beside each other, or two.
THREE, TWO = 18, 64


def hues(layers: Sequence[str]) -> list[str]:
    """One colour per layer: evenly spaced hues in execution order, lightness alternating."""
    n = max(len(layers), 1)
    return [f"hsl({300 * i / n:.0f} 60% {58 if i % 2 else 46}%)" for i in range(len(layers))]


def heat(share: float) -> str:
    """A pale yellow to red, over whatever colour the page has."""
    share = min(max(share, 0.0), 1.0)
    return f"hsl({50 - 50 * share:.0f} 80% 48% / {PALE + (1 - PALE) * share:.2f})"


def _blue(share: float) -> str:
    """Pale to blue, the same."""
    return f"hsl(210 60% 50% / {PALE + (1 - PALE) * share:.2f})"


def board_drawing(plan: FloorPlan) -> dict[str, Any]:
    """All chips side by side as they are joined, in drawing units: cells, links, outlines; ``view``
    is the part that is used, ``cropped`` whether that is so little that it is shown where it lies,
    ``part`` of the ``whole``, in cells."""
    columns, rows = plan.router
    width, height = plan.links.shape[0] * columns, plan.links.shape[1] * rows
    across, down = width // plan.width, height // plan.height
    row, column = plan.chip // across, plan.chip % across
    column = np.where(row % 2 == 1, across - 1 - column, column)
    by_chip = len(plan.chip) > MAX_CORES
    if by_chip:
        x, y = column, row
        cells, links = _chip_cells(plan, row, column=column), []
        width, height = across, down
    else:
        x, y = column * plan.width + plan.x, row * plan.height + plan.y
        cells, links = _core_cells(plan, x, y=y), _links(plan.links, plan.router)
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
    view = _used(x, size=width), _used(y, size=height)
    (left, right), (top, bottom) = view
    wide, high = right - left, bottom - top
    return {
        "cells": cells,
        "links": links,
        "outlines": outlines,
        "by_chip": by_chip,
        "view": " ".join(str(n * CELL) for n in (left, top, wide, high)),
        "cropped": wide * high < INSET * width * height,
        "whole": (width, height),
        "part": (left, top, wide, high),
        "shown": _shown(wide),
    }


def _shown(cells: int) -> int:
    """Pixels across, at most."""
    return min(350, max(cells, 7) * 34) if cells <= THREE else 560 if cells <= TWO else 1150


def _used(at: Array, *, size: int) -> tuple[int, int]:
    """From where to where there are cores, with a margin."""
    first, last = int(at.min(initial=size)), int(at.max(initial=0))
    return (max(first - MARGIN, 0), min(last + 1 + MARGIN, size)) if len(at) else (0, size)


def _core_cells(plan: FloorPlan, x: Array, *, y: Array) -> list[dict[str, Any]]:
    colours, traffic = hues(plan.layers), plan.sent + plan.received
    busiest = float(traffic.max(initial=0)) or 1.0
    return [
        {
            "x": int(x[i]) * CELL,
            "y": int(y[i]) * CELL,
            "layer": colours[int(plan.layer[i])],
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
    colours, traffic = hues(plan.layers), plan.sent + plan.received
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
            "layer": colours[int(layers[chip].argmax())],
            "load": heat(float(load[chip])),
            "traffic": _blue(float(total[chip]) / (float(total.max()) or 1.0)),
            "title": f"chip {chip}: {cores[chip]:,} cores, mostly "
            f"{plan.layers[int(layers[chip].argmax())]}, mean load {100 * load[chip]:.0f} %, "
            f"{total[chip]:.4g} spikes per step sent and received",
        }
        for chip, i in zip(*first, strict=True)
    ]


def _links(links: Array, router: tuple[int, int]) -> list[dict[str, Any]]:
    """Lines between routers, both directions added; those that carry next to nothing are left
    out."""
    top = float(links.max(initial=0)) or 1.0
    drawn = []
    for dx, dy, there, back in ((1, 0, 0, 1), (0, 1, 2, 3)):
        both = links[: links.shape[0] - dx, : links.shape[1] - dy, there].copy()
        both += links[dx:, dy:, back]
        for x, y in np.argwhere(both > FAINT * top):
            load = float(both[x, y])
            drawn.append(_line(x=int(x), y=int(y), dx=dx, dy=dy, load=load, top=top, size=router))
    return drawn


def _line(
    *, x: int, y: int, dx: int, dy: int, load: float, top: float, size: tuple[int, int]
) -> dict[str, Any]:
    """From the middle of one router's cores to that of the next."""
    wide, high = size[0] * CELL, size[1] * CELL
    return {
        "x1": x * wide + wide // 2,
        "y1": y * high + high // 2,
        "x2": (x + dx) * wide + wide // 2,
        "y2": (y + dy) * high + high // 2,
        "color": heat(0.15 + 0.85 * load / (2 * top)),
        "width": round(2 + 10 * load / (2 * top), 1),
        "title": f"({x}, {y}) to ({x + dx}, {y + dy}): {load:.4g} spikes per step, both directions",
    }
