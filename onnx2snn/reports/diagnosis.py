"""A diagnosis as text and JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..diagnosis import TOO_HIGH, Diagnosis
from ..diagnosis.advice import Advice, cause_of, fault_at, heaviest, stands_out
from ..diagnosis.layers import PARTS
from ..diagnosis.loss import Loss
from ..diagnosis.measure import RULE, Measured
from ..display import counted
from ..evaluation.evaluate import Evaluation
from . import comparison, documents, spiking
from . import text as render
from .energy import verdicts
from .remedies import advice_text, trial_text
from .text import interval, percent

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
    advice, first = diagnosis.advice[0] if diagnosis.advice else None, diagnosis.first
    named: dict[str, Any] = {"first_layer": None, "node": None, "cause": None}
    if advice is not None:
        named = {"first_layer": advice.layer, "node": advice.node, "cause": advice.cause}
    elif first is not None:
        cause, _ = cause_of(first, measured)
        named = {"first_layer": first.name, "node": first.name, "cause": cause}
    return {
        "schema": SCHEMA,
        "model": diagnosis.model,
        "network": diagnosis.network,
        "converted_from_another_file": diagnosis.foreign or None,
        "data": diagnosis.data,
        "T": measured.steps,
        "latency": measured.latency,
        "samples": measured.samples,
        "loss": _lost(diagnosis.loss),
        **_cost(diagnosis),
        "layers": [documents.layer(layer) for layer in measured.layers],
        "rule": RULE,
        "first_layer": named["first_layer"],
        "stands_out": diagnosis.first is not None and stands_out(diagnosis.first, measured),
        "node": named["node"],
        "cause": named["cause"],
        "try": None if advice is None else advice_text(advice),
        "advice": [_advice_json(a) for a in diagnosis.advice],
        "shares": parts_total(measured),
        "structure": [asdict(f) for f in measured.findings],
        "ann_accuracy": diagnosis.curves[0].evaluation.ann_accuracy if diagnosis.curves else None,
        "curves": [documents.curve(run) for run in diagnosis.curves],
        "notes": list(diagnosis.notes),
    }


def _cost(diagnosis: Diagnosis) -> dict[str, Any]:
    """What this network says and sends after its T steps."""
    keys = [
        *("accuracy", "agreement", "error", "spikes_per_neuron", "synops_per_sample"),
        *("macs_per_sample", "synops_to_ann", "macs_to_ann"),
    ]
    if not diagnosis.curves:
        return dict.fromkeys((*keys, "spiking", "energy"))
    found = diagnosis.curves[0].evaluation
    values = {key: getattr(found.points[-1], key) for key in keys}
    return {
        **values,
        "spiking": spiking.document(found.spiking),
        "energy": verdicts.document(found.events),
    }


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
    if not diagnosis.advice:
        lines.append(_no_advice(diagnosis))
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


def _no_advice(diagnosis: Diagnosis) -> str:
    """Where nothing is lost, the layer that adds most is named, and nothing to be done about it."""
    most = heaviest(diagnosis.measured)
    if most is None:
        return "No layer adds an error of its own."
    return f"Most error is added at '{most.name}' ({100 * most.adds:.1f} % of rms(a))."


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
    head = [
        *layer_lines(diagnosis),
        f"{diagnosis.network or 'network'} against {diagnosis.model}: T={measured.steps}, latency "
        f"{measured.latency}, {counted(measured.samples, 'sample')}",
        "Errors are rms over neurons and samples, relative to the rms of the ANN's activation.",
    ]
    table = render.table(HEADER, rows(measured))
    answer = "\n".join([*beginning(diagnosis), *summary(diagnosis)])
    parts = [answer, "\n".join(head), table]
    parts += (
        [networks_text(diagnosis), "\n".join(energy_lines(diagnosis))] if diagnosis.curves else []
    )
    parts.append(f"Rule for the jump: {RULE}.")
    return "\n\n".join(parts) + render.notes_text(diagnosis.notes)


def networks_text(diagnosis: Diagnosis) -> str:
    """The networks beside each other; of this one ``beginning`` says whether it is spiking."""
    if not diagnosis.curves:
        return ""
    return comparison.runs_text(diagnosis.curves, said=[diagnosis.curves[0].recipe])


def energy_lines(diagnosis: Diagnosis) -> list[str]:
    """Whether the network needs less energy than its ANN; empty where nothing was run."""
    return verdicts.lines(diagnosis.curves[0].evaluation.events) if diagnosis.curves else []


def beginning(diagnosis: Diagnosis) -> list[str]:
    """What a diagnosis begins with: whether the network is this model's and spiking at all, and
    what is lost."""
    lines = []
    if diagnosis.foreign:
        lines.append(
            f"The network was converted from another file ({diagnosis.foreign}), not from "
            f"{diagnosis.model}: what follows compares two networks."
        )
    if not diagnosis.curves or diagnosis.loss is None:
        return lines
    found = diagnosis.curves[0].evaluation
    return [
        *lines,
        *spiking.headline(found.spiking, diagnosis.measured.steps),
        *loss_lines(diagnosis.loss, found),
    ]


def layer_lines(diagnosis: Diagnosis) -> list[str]:
    """How many layers spikes drive; empty where nothing was run."""
    return spiking.lines(diagnosis.curves[0].evaluation.spiking) if diagnosis.curves else []


def marked(diagnosis: Diagnosis) -> list[bool]:
    """Which layer the error jumps at."""
    first = None if diagnosis.first is None else diagnosis.first.name
    return [layer.name == first for layer in diagnosis.measured.layers]


def _lost(loss: Loss | None) -> dict[str, Any] | None:
    """The entry ``loss`` of a diagnosis's JSON document: fractions."""
    return None if loss is None else {**asdict(loss), "is_nothing": loss.is_nothing}


def loss_lines(loss: Loss, evaluation: Evaluation) -> list[str]:
    """What is lost, how sure that is, and the agreement; and where nothing is, that.

    ``evaluation``: the one that the loss is of.
    """
    last, said = evaluation.points[-1], ""
    count = f"{counted(evaluation.samples, 'sample')}"
    agreement = (
        f"agreement with the ANN {percent(loss.agreement, 1)} (95 % interval "
        f"{interval(loss.agreement_low, loss.agreement_high)})"
    )
    match loss.measure:
        case "accuracy":
            said = (
                f"Accuracy {percent(last.accuracy)}, ANN {percent(evaluation.ann_accuracy)}: "
                f"{_points(loss)}; {agreement}; {count}."
            )
        case "agreement":
            said = f"No labels: {agreement}; {count}."
        case "error":
            said = (
                f"The outputs differ from the ANN's by {percent(loss.lost, 1)} of their norm "
                f"(concordance {last.concordance:.4f}); {count}."
            )
    return [said, "Nothing is lost that these samples show."] if loss.is_nothing else [said]


def _points(loss: Loss) -> str:
    """Points of accuracy lost or gained, and their interval."""
    lost, word = (loss.lost, "lost") if loss.lost >= 0 else (-loss.lost, "gained")
    low, high = (loss.low, loss.high) if loss.lost >= 0 else (_minus(loss.high), _minus(loss.low))
    if low is None or high is None:
        return f"{100 * lost:.2f} points {word}"
    return f"{100 * lost:.2f} points {word} (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
