"""A conversion, and what a network learned after it or was fine-tuned to, as JSON and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from typing import Any

from ..display import counted
from ..evaluation.evaluate import Evaluation, Point
from ..evaluation.spiking import SpikingShare
from ..provenance import Provenance
from ..provenance.finetuned import FineTuning
from ..provenance.learned import Learning
from ..runtime.graph import Population, Readout, SpikingGraph
from ..runtime.semantics.upstream import onsets
from . import comparison
from . import spiking as words
from .figures import count, ratio
from .spiking import recipe_text
from .text import duration, interval, notes_text, percent, table


def document(
    network: SpikingGraph,
    *,
    output: str,
    checked: Evaluation | None,
    totals: Mapping[str, Mapping[str, int]] | None,
    spiking: SpikingShare,
    unseen: bool = False,
) -> dict[str, Any]:
    """The JSON document of `convert`.

    Parameters:
        output: the file it was written to.
        checked: the network on calibration samples, after its last step alone; None without data.
        totals: nodes of the model by verdict; None where it has no islands.
        spiking: how much of its work spikes do.
        unseen: nothing was fitted to these samples.
    """
    made = Provenance.of(network)
    assert made.steps is not None  # it was converted
    onset = onsets(network)
    on_calibration = None if checked is None else {**_checked(checked), "held_back": unseen}
    return {
        "schema": "onnx2snn.convert/1",
        "output": output,
        "meta": dict(network.meta),
        "T": made.steps,
        "latency": made.steps + max(onset[r.name] for r in network.of(Readout)),
        "layers": _layers(network),
        "calibration_agreement": None if on_calibration is None else on_calibration["agreement"],
        "on_calibration": on_calibration,
        "auto": made.auto,
        "analog": None if totals is None else _analog_share(totals, spiking),
        "spiking": words.document(spiking),
        "macs_to_ann": spiking.macs_to_ann(made.steps),
    }


def _checked(found: Evaluation) -> dict[str, Any]:
    outputs = [asdict(output) for output in found.outputs]
    point = asdict(found.points[-1])
    return {**point, "samples": found.samples, "classes": found.classes, "outputs": outputs}


def _analog_share(totals: Mapping[str, Mapping[str, int]], spiking: SpikingShare) -> dict[str, Any]:
    """The operations that are islands, and the MACs in them and in what they feed."""
    nodes = sum(t["nodes"] for t in totals.values())
    whole = spiking.macs_spikes + spiking.macs_input + spiking.macs_analog
    return {
        "nodes": totals["analog"]["nodes"],
        "nodes_share": totals["analog"]["nodes"] / max(nodes, 1),
        "macs": spiking.macs_analog,
        "macs_share": spiking.macs_analog / max(whole, 1),
    }


def _layers(network: SpikingGraph) -> list[dict[str, Any]]:
    rows = []
    for p in network.of(Population):
        theta = p.neuron.v_threshold
        rows.append(
            {
                "name": p.name,
                "neurons": prod(p.shape),
                "threshold_min": float(theta.min()),
                "threshold_max": float(theta.max()),
            }
        )
    return rows


def text(document: dict[str, Any], share: SpikingShare) -> str:
    """The report of `convert`, the answer first; ``share``: how much of its work spikes do."""
    rows = [
        [r["name"], r["neurons"], f"{r['threshold_min']:.4g}", f"{r['threshold_max']:.4g}"]
        for r in document["layers"]
    ]
    out = "".join(f"{line}\n\n" for line in words.headline(share, document["T"]))
    out += _answer(document) + "\n\n"
    if document["auto"] is not None:
        out += comparison.auto_text(document["auto"]) + "\n\n"
    out += recipe_text(document["meta"]["recipe"]) + "\n\n"
    out += table(["population", "neurons", "smallest threshold", "largest"], rows)
    out += notes_text(document["meta"]["notes"])
    analog = document["analog"]
    if analog is not None:
        out += (
            f"\nNot spiking: {analog['nodes']} operations ({100 * analog['nodes_share']:.1f} %), "
            "which cannot be placed on a chip. They and what they feed take "
            f"{100 * analog['macs_share']:.1f} % of the ANN's multiply-accumulates."
        )
    out += "".join(f"\n{line}." for line in words.lines(share))
    return f"{out}\nwrote {document['output']}"


def _answer(document: Mapping[str, Any]) -> str:
    """What the network does: measured where there are samples."""
    if document["on_calibration"] is not None:
        return _checked_text(document["on_calibration"])
    latency = counted(document["latency"], "step")
    return (
        f"T={document['meta']['T']}, latency {latency}; without data, spikes per neuron and "
        "agreement with the ANN were not measured. Multiply-accumulates on analog values: "
        f"{ratio(document['macs_to_ann'])} times the ANN's."
    )


def _checked_text(checked: dict[str, Any]) -> str:
    """The three numbers of every report, and how near the outputs are."""
    near = f"Outputs differ from the ANN's by {100 * checked['error']:.1f} %"
    if checked["classes"]:
        bounds = interval(checked["agreement_low"], checked["agreement_high"])
        near = (
            f"Agreement of SNN and ANN {percent(checked['agreement'], 1)} (95 % interval {bounds})"
        )
    if len(checked["outputs"]) > 1:
        each = (f"{o['name']} {100 * o['error']:.1f} %" for o in checked["outputs"])
        near += f"; error of each output: {', '.join(each)};"
    return (
        f"T={checked['T']}, latency {counted(checked['latency'], 'step')}, "
        f"{checked['spikes_per_neuron']:.2f} spikes per neuron, "
        f"{words.operations(checked)}. "
        f"{near} on {checked['samples']} calibration samples {_fitted(checked)}"
    )


def _fitted(checked: Mapping[str, Any]) -> str:
    """What the figure is of, and what it is not: conversion sees no other samples, but the ANN may
    have been trained on these, and is surer of its answers there than on unseen ones."""
    test = "`onnx2snn run` on test data tells"
    if checked["held_back"]:
        return (
            "held back, to which nothing was fitted here. Samples that the ANN was not trained on "
            f"may agree less, also than the interval says, if it was trained on these: {test}."
        )
    return f"that the network was fitted to: unseen ones agree less, how often {test}."


def learned(done: Learning, *, output: str) -> dict[str, Any]:
    """The JSON document of `learn`."""
    return {
        "schema": "onnx2snn.learn/1",
        "output": output,
        "rule": done.head.rule.name,
        "settings": asdict(done.head.rule),
        "at": done.at,
        "T": done.head.steps,
        "inputs": done.head.state.inputs,
        "neurons": done.neurons,
        "neurons_named": done.named,
        "classes": done.classes,
        "new_classes": list(done.new_classes),
        "lost_classes": list(done.lost_classes),
        "samples": done.samples,
        "passes": done.passes,
        "events": asdict(done.events),
        "accuracy_on_learned": done.accuracy,
        "seconds": done.seconds,
        "learned": [
            {key: value for key, value in lesson.items() if key != "digests"}
            for lesson in done.network.meta["learned"]
        ],
    }


def learned_text(document: Mapping[str, Any]) -> str:
    """What was learned, what it took, and what the network says of the samples now."""
    shown = document["samples"] * document["passes"]
    events = document["events"]
    rows = [
        ["spikes in", events["spikes_in"]],
        ["spikes of the layer", events["spikes_out"]],
        ["synaptic events", events["synaptic_events"]],
        ["weights written", events["updates"]],
    ]
    cells = [[name, f"{n:,}", count(n / max(shown, 1))] for name, n in rows]
    new = ", ".join(map(str, document["new_classes"]))
    lines = []
    if document["accuracy_on_learned"] is not None:
        lines.append(
            f"{percent(document['accuracy_on_learned'], 1)} of these samples are named right now. "
            "It learned from them: `onnx2snn run` on others tells."
        )
    lines += [
        f"Rule {document['rule']}: {document['neurons']} neurons on the {document['inputs']} "
        f"values of '{document['at']}', T={document['T']}, {document['samples']} samples shown "
        f"{counted(document['passes'], 'time')}, {document['seconds']:.1f} s.",
        table(["while learning", "in all", "per sample"], cells),
        f"{document['neurons_named']} of {document['neurons']} neurons stand for one of "
        f"{document['classes']} classes" + (f"; new: {new}." if new else "."),
    ]
    if document["lost_classes"]:
        lost = ", ".join(map(str, document["lost_classes"]))
        lines.append(
            f"No neuron stands for {lost}, which the network named before: the layer knows what it "
            "was shown. Show these too."
        )
    return "\n".join([*lines, f"wrote {document['output']}"])


def finetuned(done: FineTuning, *, output: str) -> dict[str, Any]:
    """The JSON document of `finetune`."""
    return {
        "schema": "onnx2snn.finetune/1",
        "output": output,
        "kept": done.kept,
        "T": done.steps,
        "latency": done.after.latency,
        "samples": done.samples,
        "held_out": done.held_back,
        "held_out_seen_by_calibration": done.seen,
        "labels": done.labels,
        "classes": done.classes,
        "before": _judged(done.before),
        "after": _judged(done.after),
        "settings": asdict(done.settings),
        "epochs": [asdict(one) | {"loss": _number(one.loss)} for one in done.history],
        "best_epoch": done.best,
        "samples_at_once": done.at_once[0],
        "steps_at_once": done.at_once[1],
        "seconds": done.seconds,
        "processor_seconds": done.processor_seconds,
    }


def _judged(point: Point) -> dict[str, Any]:
    names = ("accuracy", "low", "high", "agreement", "agreement_low", "agreement_high", "error")
    costs = ("spikes_per_neuron", "synops_per_sample")
    return {name: getattr(point, name) for name in (*names, *costs)}


def _number(x: float) -> float | None:
    return x if x == x else None  # before training there is none


def finetuned_text(document: Mapping[str, Any]) -> str:
    """What it took, and what the files before and after say of the samples that were held out."""
    before, after = document["before"], document["after"]
    teacher = "their labels" if document["labels"] else "what the ANN inside the file answers"
    last = len(document["epochs"]) - 1
    rows = [
        ["before", *_judged_cells(before, document=document)],
        ["fine-tuned", *_judged_cells(after, document=document)],
    ]
    named = "right" if document["labels"] else "as the ANN"
    if not document["classes"]:
        named = "error"
    was, now = (_judged_cells(one, document=document)[0] for one in (before, after))
    answer = f"Held out samples: {named} {was} before, {now} after."
    if document["kept"]:
        answer = f"No better on held out samples, {named} {was}: the network was saved as it was."
    lines = [
        f"{answer}\n"
        f"Fine-tuned for T={document['T']} on {counted(document['samples'], 'sample')} and "
        f"{teacher}: {counted(last, 'epoch')}, "
        f"{_best(document['best_epoch'])}, {duration(document['seconds'])} "
        f"({duration(document['processor_seconds'])} of processor time).",
        table([f"{document['held_out']} held out", named, "spikes per neuron"], rows),
        "The files were judged, after rounding, on samples that nothing was learned from; they "
        "chose the epoch, so others tell better: `onnx2snn run` on test data.",
    ]
    if seen := document["held_out_seen_by_calibration"]:
        lines.append(
            f"The conversion was calibrated on {seen} of them: on these the network before looks "
            "better than it is."
        )
    if document["kept"]:
        lines.append("More samples or epochs, or another rate, may help.")
    return "\n\n".join([*lines[:2], "\n".join([*lines[2:], f"wrote {document['output']}"])])


def _judged_cells(point: Mapping[str, Any], *, document: Mapping[str, Any]) -> list[str]:
    spikes = f"{point['spikes_per_neuron']:.2f}"
    if not document["classes"]:
        return [percent(point["error"], 2), spikes]
    kind = "accuracy" if document["labels"] else "agreement"
    low, high = ("low", "high") if document["labels"] else ("agreement_low", "agreement_high")
    share = percent(point[kind], 1)
    if point[low] is not None:
        share += f" ({interval(point[low], point[high])})"
    return [share, spikes]


def _best(number: int) -> str:
    if number == 0:
        return "none of them better by the loss"
    teens = number % 100 in (11, 12, 13)
    ending = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"the best one was the {number}{ending}"
