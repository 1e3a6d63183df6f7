"""Pictures of a diagnosis: errors by layer, and rates against activations."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from ...diagnosis import Diagnosis
from ...diagnosis.advice import stands_out
from ...diagnosis.layers import PARTS, LayerError
from ...display import displayed
from .sweep import figure, literal, png, short

UNSPLIT = "its own (not split)"
COLOURS = {
    "inherited": "#bbbbbb",
    "clipping": "#d55e00",
    "quantization": "#0072b2",
    "unevenness": "#e69f00",
    "structure": "#cc79a7",
    "calibrated": "#666666",
    UNSPLIT: "#56b4e9",
}
MOST = 24  # layers in the picture of rates


def errors_png(diagnosis: Diagnosis) -> bytes:
    """A bar per layer, as long as its error: divided as the squares of its parts are to each other,
    which partly cancel, so that their rms values add up to more."""
    diagnosis = displayed(diagnosis, literal)
    layers = diagnosis.measured.layers
    fig = figure(8.5, height=1.6 + 0.32 * len(layers))
    axes = fig.subplots()
    y = np.arange(len(layers))
    left = np.zeros(len(layers))
    bars = [parts_of(layer) for layer in layers]
    for part in (*PARTS, UNSPLIT):
        width = np.array([bar.get(part, 0.0) for bar in bars])
        if part in PARTS or width.any():
            axes.barh(y, width, 0.7, left=left, color=COLOURS[part], label=part)
            left += width
    findings = diagnosis.measured.findings
    on_purpose = {f.seen_at for f in findings if f.kind == "calibrated"}
    for told, colour, moved in (
        ("not the ANN's weights or bias", COLOURS["structure"], False),
        ("moved by calibration, on purpose", COLOURS["calibrated"], True),
    ):
        chosen = [(layer.name in on_purpose) == moved for layer in layers]
        differs = 100 * np.array([layer.structure or 0.0 for layer in layers]) * chosen
        if (seen := differs > 0.1).any():
            axes.plot(differs[seen], y[seen], "D", color=colour, mec="white", ms=6, label=told)
    axes.set_yticks(y, [short(layer.name) for layer in layers], fontsize=9)
    if diagnosis.first is not None:
        at = [layer.name for layer in layers].index(diagnosis.first.name)
        axes.get_yticklabels()[at].set_fontweight("bold")
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("rms error (% of the rms activation)")
    jump = ""
    lost = diagnosis.loss is None or not diagnosis.loss.is_nothing
    if lost and diagnosis.first is not None and stands_out(diagnosis.first, diagnosis.measured):
        jump = f"; it jumps at {short(diagnosis.first.name)}"
    axes.set_title(f"Error by layer, T={diagnosis.measured.steps}{jump}", fontsize=11)
    axes.grid(True, axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, ncols=3, loc="upper center", bbox_to_anchor=(0.5, _below(len(layers))))
    return png(fig)


def _below(layers: int) -> float:
    """Where the legend goes, under the axis label, in units of the axes' height."""
    return -0.55 / (0.32 * layers + 0.3)


def parts_of(layer: LayerError) -> dict[str, float]:
    """What a layer's error is divided into, in per cent of rms(a). Rows without neurons only pass
    on what they inherit, but for what they add themselves."""
    squares = {part: (getattr(layer, part) or 0.0) ** 2 for part in PARTS}
    if layer.inherited is None:
        squares["inherited"] = max(layer.error**2 - layer.own**2, 0.0)
    if layer.unevenness is None:
        squares[UNSPLIT] = layer.own**2
    whole = sum(squares.values())
    return {part: 100 * layer.error * s / whole for part, s in squares.items()} if whole else {}


def rates_png(diagnosis: Diagnosis) -> bytes:
    """Small multiples: how often each pair of ANN activation and decoded rate occurs."""
    diagnosis = displayed(diagnosis, literal)
    layers = [layer for layer in diagnosis.measured.layers if len(layer.points)]
    hidden = len(layers) - MOST
    layers = _shown(layers, diagnosis.first)
    columns = min(4, len(layers))
    lines = ceil(len(layers) / columns)
    fig = figure(2.9 * columns + 0.4, height=2.75 * lines + 0.5)
    grid = np.atleast_1d(fig.subplots(lines, columns)).ravel()
    for axes, layer in zip(grid, layers, strict=False):
        _panel(axes, layer, diagnosis.first is not None and layer.name == diagnosis.first.name)
    for axes in grid[len(layers) :]:
        axes.set_axis_off()
    more = f" ({MOST} of {hidden + MOST} layers)" if hidden > 0 else ""
    title = f"ANN activation against decoded rate, T={diagnosis.measured.steps}{more}"
    fig.suptitle(f"{title}; darker: more pairs", fontsize=11)
    fig.supxlabel("ANN activation a", fontsize=10)
    fig.supylabel("decoded rate r", fontsize=10)
    return png(fig)


def _shown(layers: list[LayerError], first: LayerError | None) -> list[LayerError]:
    """At most ``MOST`` layers, spread over the network, the one of the jump among them."""
    if len(layers) <= MOST:
        return layers
    at = set(np.linspace(0, len(layers) - 1, MOST).astype(int).tolist())
    jump = next((i for i, layer in enumerate(layers) if first and layer.name == first.name), None)
    if jump is not None and jump not in at:
        at.remove(min(at, key=lambda i: abs(i - jump)))
        at.add(jump)
    return [layers[i] for i in sorted(at)]


def _panel(axes: Any, layer: LayerError, first: bool) -> None:
    a, r = layer.points[:, 0], layer.points[:, 1]
    low, high = float(min(a.min(), r.min(), 0)), float(max(a.max(), r.max(), 1e-6))
    margin = 0.04 * (high - low)
    span = (low - margin, high + margin)
    axes.hexbin(
        a,
        r,
        gridsize=28,
        bins="log",
        mincnt=1,
        cmap="viridis_r",
        extent=(*span, *span),
        linewidths=0.1,
    )
    axes.plot(span, span, color="0.35", linewidth=0.8)
    spread = layer.spread
    if spread is not None and spread[0] == spread[1] and spread[0] < high:
        axes.axhline(spread[0], color="#d55e00", linewidth=0.8, linestyle=":")
    axes.set_xlim(span)
    axes.set_ylim(span)
    axes.set_aspect("equal")
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize=8)
    title = f"{short(layer.name, 24)}: {100 * layer.error:.1f} %"
    axes.set_title(title, fontsize=9, fontweight="bold" if first else "normal")
