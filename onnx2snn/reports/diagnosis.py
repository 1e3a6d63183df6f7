"""A diagnosis as text, JSON and a page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from ..diagnosis import TOO_HIGH, Diagnosis
from ..diagnosis.advice import Advice, fault_at, stands_out
from ..diagnosis.layers import PARTS, LayerError
from ..diagnosis.measure import RULE, Measured
from ..display import displayed
from . import comparison, documents
from . import text as render
from .pages import page
from .remedies import advice_text, trial_text

SCHEMA = "onnx2snn.diagnose/1"


MOST = "Most is added at"


def parts_total(measured: Measured) -> dict[str, float]:
    """Each part of the layers' own error, as a share of their sum of squares over all layers."""
    squares = {
        part: sum((getattr(layer, part) or 0.0) ** 2 for layer in measured.layers)
        for part in PARTS[1:]
    }
    whole = sum(squares.values()) or 1.0
    return {part: value / whole for part, value in squares.items()}


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The JSON twin. Numbers are fractions; a value that does not apply is null."""
    measured = diagnosis.measured
    first = diagnosis.advice[0] if diagnosis.advice else None
    return {
        "schema": SCHEMA,
        "model": diagnosis.model,
        "network": diagnosis.network,
        "converted_from_another_file": diagnosis.foreign or None,
        "data": diagnosis.data,
        "T": measured.steps,
        "latency": measured.latency,
        "samples": measured.samples,
        **_cost(diagnosis),
        "layers": [_layer_json(layer) for layer in measured.layers],
        "rule": RULE,
        "first_layer": None if first is None else first.layer,
        "stands_out": diagnosis.first is not None and stands_out(diagnosis.first, measured),
        "node": None if first is None else first.node,
        "cause": None if first is None else first.cause,
        "try": None if first is None else advice_text(first),
        "advice": [_advice_json(a) for a in diagnosis.advice],
        "shares": parts_total(measured),
        "structure": [asdict(f) for f in measured.findings],
        "ann_accuracy": diagnosis.curves[0].evaluation.ann_accuracy if diagnosis.curves else None,
        "curves": [documents.curve(run) for run in diagnosis.curves],
        "notes": list(diagnosis.notes),
    }


def _cost(diagnosis: Diagnosis) -> dict[str, Any]:
    """What this network says and sends after its T steps."""
    keys = ("accuracy", "agreement", "error", "spikes_per_neuron", "synops_per_sample")
    if not diagnosis.curves:
        return dict.fromkeys(keys)
    last = diagnosis.curves[0].evaluation.points[-1]
    return {key: getattr(last, key) for key in keys}


def _advice_json(advice: Advice) -> dict[str, Any]:
    return {
        "layer": advice.layer,
        "node": advice.node,
        "cause": advice.cause,
        "adds": advice.adds,
        "text": advice_text(advice),
        "trials": [
            {
                "remedy": trial_text(t),
                "family": t.family,
                "before": t.before,
                "after": t.after,
                "samples": t.samples,
            }
            for t in advice.trials
        ],
    }


def _layer_json(layer: LayerError) -> dict[str, Any]:
    values = {k: v for k, v in vars(layer).items() if k not in ("points", "spread")}
    spread = layer.spread or (None, None)
    values |= {"threshold_min": spread[0], "threshold_max": spread[1]}
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in values.items()}


HEADER = (
    "layer",
    "error",
    "inherited",
    "clipping",
    "quantization",
    "unevenness",
    "structure",
    "adds",
    "saturated",
    "silent",
    "spikes/neuron",
)


def rows(measured: Measured) -> list[list[str]]:
    """The table: errors in per cent of rms(a)."""

    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    out = []
    for layer in measured.layers:
        title = layer.name if layer.kind == "population" else f"{layer.name} ({layer.kind})"
        spikes = layer.spikes_per_neuron
        out.append(
            [
                title,
                share(layer.error),
                *(share(getattr(layer, part)) for part in PARTS),
                share(layer.structure),
                share(layer.adds),
                share(layer.saturated),
                share(layer.silent),
                "-" if spikes is None else f"{spikes:.2f}",
            ]
        )
    return out


def summary(diagnosis: Diagnosis) -> list[str]:
    """Where the error jumps and why, every place that is not the ANN, and what loses most."""
    measured, lines = diagnosis.measured, []
    if diagnosis.foreign:
        lines.append(
            f"The network was converted from another file ({diagnosis.foreign}), not from "
            f"{diagnosis.model}: what follows compares two networks."
        )
    if not diagnosis.advice:
        lines.append("No layer adds an error of its own.")
    for n, advice in enumerate(diagnosis.advice):
        lines.append(
            f"{_first(diagnosis) if n == 0 else MOST} '{advice.layer}' (adds "
            f"{100 * advice.adds:.1f} % of rms(a)); cause: {advice.cause or 'none found'}."
        )
        lines.append(f"Try: {advice_text(advice)}.")
    shares = {k: v for k, v in parts_total(measured).items() if v > 0}
    if shares:
        part = max(shares, key=lambda k: shares[k])
        listed = ", ".join(f"{k} {100 * v:.0f} %" for k, v in shares.items())
        lines.append(
            f"Over all layers {part} costs most (shares of the squared own errors: {listed})."
        )
    told = {(advice.node, advice.cause) for advice in diagnosis.advice}
    faults = [
        f for f in measured.findings if f.kind != "calibrated" and (f.node, f.kind) not in told
    ]
    lines += [f"Not the ANN either: {f.text}." for f in faults]
    lines += [
        f"The threshold of '{layer.name}' is high: its neurons could send {layer.headroom:.1f} "
        "times its largest activation here."
        for layer in measured.layers
        if layer.headroom is not None and layer.headroom > TOO_HIGH
    ]
    moved = [f for f in measured.findings if f.kind == "calibrated"]
    if moved:
        most = max(moved, key=lambda f: f.relative)
        lines.append(
            f"Calibrated in the loop, no fault (layers: {len(moved)}); the largest change: "
            f"{most.text}."
        )
    return lines


def _first(diagnosis: Diagnosis) -> str:
    """How the first layer is introduced: a fault need not cost most."""
    measured, layer = diagnosis.measured, diagnosis.first
    if layer is None or not stands_out(layer, measured):
        return "No layer stands out; the first to add much is"
    most = max(other.adds for other in measured.layers)
    if fault_at(layer, measured) is not None and layer.adds < most / 2:
        return "The network is not the ANN at"
    return "The error jumps at"


def text(diagnosis: Diagnosis) -> str:
    """The report for a terminal."""
    measured = diagnosis.measured
    head = (
        f"{diagnosis.network or 'network'} against {diagnosis.model}: T={measured.steps}, latency "
        f"{measured.latency}, {measured.samples} samples\n"
        "Errors are rms over neurons and samples, relative to the rms of the ANN's activation."
    )
    parts = [head, render.table(HEADER, rows(measured)), "\n".join(summary(diagnosis))]
    if diagnosis.curves:
        parts.append(comparison.runs_text(diagnosis.curves))
    parts.append(f"Rule for the jump: {RULE}.")
    return "\n\n".join(parts) + render.notes_text(diagnosis.notes)


def html(diagnosis: Diagnosis, pictures: Mapping[str, bytes]) -> str:
    """One self-contained page; ``pictures``: PNG files by name."""
    diagnosis = displayed(diagnosis)
    first = diagnosis.first.name if diagnosis.first else None
    names = [layer.name for layer in diagnosis.measured.layers]
    return page(
        "diagnosis.html.j2",
        title=f"{diagnosis.network or diagnosis.model}: where the error comes from",
        d=diagnosis,
        summary=summary(diagnosis),
        rule=RULE,
        header=HEADER,
        curves=comparison.runs_text(diagnosis.curves) if diagnosis.curves else "",
        rows=[
            {"cells": row, "first": name == first}
            for name, row in zip(names, rows(diagnosis.measured), strict=True)
        ],
        pictures=[
            {"name": name, "data": b64encode(data).decode()} for name, data in pictures.items()
        ],
    )
