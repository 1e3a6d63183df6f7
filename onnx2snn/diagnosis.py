"""`diagnose`: the measurement put together, and its text, JSON and HTML."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment

from . import comparison, render
from .converter.copies import gathered
from .converter.diagnose import RULE, Measured, batch_size, measure
from .converter.diagnose_advice import (
    Advice,
    Made,
    advise,
    cause_of,
    fault_at,
    heaviest,
    jump,
    stands_out,
)
from .converter.diagnose_layers import PARTS, LayerError
from .converter.diagnose_trials import Trial, try_remedies
from .converter.frontend import LoadedModel, import_onnx
from .converter.lower import lower
from .converter.passes import default_passes, run_passes
from .data import Samples
from .runtime.graph import SpikingGraph
from .runtime.threads import one_blas_thread
from .sweep import Sweep, SweepRun, run_json

SCHEMA = "onnx2snn.diagnose/1"
MOST = "Most is added at"
TOO_HIGH = 2.5  # times the largest activation
TRIED = 64  # samples on which remedies are tried


@dataclass(frozen=True, eq=False, kw_only=True)
class Diagnosis:
    """What costs accuracy in one converted network on some samples.

    ``first`` is the layer where the error jumps (``RULE``); ``advice`` has its sentence first,
    then that of the layer that adds most where it is another with another cause. ``curves``: the
    accuracy of this network after every step, and of the model under other recipes. ``foreign``:
    the file that the network was converted from, where that was another model.
    """

    model: str
    network: str
    data: str
    measured: Measured
    first: LayerError | None
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    curves: tuple[SweepRun, ...] = ()
    foreign: str = ""

    def sweep(self) -> Sweep:
        """The accuracy curves as one chart's data."""
        return Sweep(
            model=self.model, data=self.data, samples=self.measured.samples, runs=self.curves
        )


def diagnose(
    model: LoadedModel,
    network: SpikingGraph,
    samples: Samples,
    steps: int,
    *,
    name: str = "",
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Diagnosis:
    """Compare ``network`` with the model it was converted from, layer by layer, over ``steps``.

    Raises UsageError for T < 1, DataError where samples or model do not belong to the network.
    """
    lowered = lower(run_passes(import_onnx(model), default_passes()))
    size = batch_size(network)
    with one_blas_thread():
        measured = measure(
            lowered,
            network,
            (batch for _, batch in samples.batches(size)),
            steps,
            total=len(samples),
            seed=seed,
            progress=progress,
        )
        advice = _advice(lowered, gathered(network)[0], samples, measured, seed)
    return Diagnosis(
        model=Path(model.path).name,
        network=name,
        data=samples.source,
        measured=measured,
        first=jump(measured),
        advice=advice,
        notes=_notes(network, measured),
        foreign=_foreign(model, network),
    )


def _advice(
    lowered: SpikingGraph, network: SpikingGraph, samples: Samples, measured: Measured, seed: int
) -> tuple[Advice, ...]:
    size, few = batch_size(network), samples.section(0, TRIED)
    made, out = Made.of(network.meta), list[Advice]()
    for layer in (jump(measured), heaviest(measured)):
        if layer is None:
            continue
        cause, fault = cause_of(layer, measured)
        if out and (fault is not None or cause == out[0].cause):
            continue
        trials: tuple[Trial, ...] = ()
        if fault is None and layer.unevenness is not None:
            batches = (batch for _, batch in few.batches(size))
            reach = made.reach(layer.name)
            trials = try_remedies(
                lowered, network, batches, measured.steps, layer.name, reach=reach, seed=seed
            )
        out.append(advise(layer, cause, fault, trials, measured, made))
    return tuple(out)


def _foreign(model: LoadedModel, network: SpikingGraph) -> str:
    source = network.meta.get("source")
    if isinstance(source, dict) and source.get("sha256") not in (None, model.sha256):
        return str(source.get("path"))
    return ""


def _notes(network: SpikingGraph, measured: Measured) -> tuple[str, ...]:
    notes = [str(note) for note in network.meta.get("notes", ())]
    if measured.unmatched:
        notes.append(f"not in the model, so not compared: {', '.join(measured.unmatched)}")
    unsplit = [layer for layer in measured.layers if layer.reason]
    if unsplit:
        notes.append(f"the error of {len(unsplit)} layers is not split: {unsplit[0].reason}")
    return tuple(notes)


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
        "try": None if first is None else first.text,
        "advice": [asdict(a) for a in diagnosis.advice],
        "shares": parts_total(measured),
        "structure": [asdict(f) for f in measured.findings],
        "ann_accuracy": diagnosis.curves[0].evaluation.ann_accuracy if diagnosis.curves else None,
        "curves": [run_json(run) for run in diagnosis.curves],
        "notes": list(diagnosis.notes),
    }


def _cost(diagnosis: Diagnosis) -> dict[str, Any]:
    """What this network says and sends after its T steps."""
    keys = ("accuracy", "agreement", "error", "spikes_per_neuron", "synops_per_sample")
    if not diagnosis.curves:
        return dict.fromkeys(keys)
    last = diagnosis.curves[0].evaluation.points[-1]
    return {key: getattr(last, key) for key in keys}


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
        lines.append(f"Try: {advice.text}.")
    shares = {k: v for k, v in parts_total(measured).items() if v > 0}
    if shares:
        part = max(shares, key=lambda k: shares[k])
        listed = ", ".join(f"{k} {100 * v:.0f} %" for k, v in shares.items())
        lines.append(
            f"Over all layers {part} costs most (shares of the squared own errors: {listed})."
        )
    told = {advice.text for advice in diagnosis.advice}
    faults = [f for f in measured.findings if f.kind != "calibrated" and f.text not in told]
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


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="generator" content="onnx2snn"><title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; }
tr.first td { background: #fdebd8; }
img { max-width: 100%; height: auto; } .note { color: #555; }
</style></head><body>
<h1>{{ title }}</h1>
<p>{{ d.data }}, {{ d.measured.samples }} samples; T={{ d.measured.steps }}, latency
{{ d.measured.latency }} steps.</p>
{% for line in summary %}<p>{{ line }}</p>{% endfor %}
<p class="note">Rule for the jump: {{ rule }}.</p>
{% for picture in pictures %}<p><img alt="{{ picture.name }}"
src="data:image/png;base64,{{ picture.data }}"></p>{% endfor %}
{% if curves %}<h2>The whole network</h2><pre class="wide">{{ curves }}</pre>{% endif %}
<h2>Errors by layer</h2>
<p>Root mean square over neurons and samples, relative to that of the ANN's activation.</p>
<div class="wide"><table><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr{% if row.first %} class="first"{% endif %}>{% for cell in row.cells %}
<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% for note in d.notes %}<p class="note">note: {{ note }}</p>{% endfor %}
</body></html>
"""


def html(diagnosis: Diagnosis, pictures: Mapping[str, bytes]) -> str:
    """One self-contained page; ``pictures``: PNG files by name."""
    first = diagnosis.first.name if diagnosis.first else None
    names = [layer.name for layer in diagnosis.measured.layers]
    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
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
    )
