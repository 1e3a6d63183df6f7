"""A conversion as JSON and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from typing import Any

from ..evaluation.evaluate import Evaluation
from ..provenance import Provenance
from ..runtime.graph import Population, Readout, SpikingGraph, onsets
from . import comparison
from .spikes import recipe_text
from .text import count, interval, notes_text, percent, table


def document(
    network: SpikingGraph,
    *,
    output: str,
    checked: Evaluation | None,
    totals: Mapping[str, Mapping[str, int]] | None,
) -> dict[str, Any]:
    """The JSON document of `convert`.

    Parameters:
        output: the file it was written to.
        checked: the network on calibration samples, after its last step alone; None without data.
        totals: nodes and MACs of the model by verdict; None where all of it is spiking.
    """
    made = Provenance.of(network)
    assert made.steps is not None  # it was converted
    onset = onsets(network)
    on_calibration = None if checked is None else _checked(checked)
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
        "analog": None if totals is None else _analog_share(totals),
    }


def _checked(found: Evaluation) -> dict[str, Any]:
    outputs = [asdict(output) for output in found.outputs]
    point = asdict(found.points[-1])
    return {**point, "samples": found.samples, "classes": found.classes, "outputs": outputs}


def _analog_share(totals: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """How much of the network is not spiking."""
    nodes, macs = (sum(t[key] for t in totals.values()) for key in ("nodes", "macs"))
    analog = totals["analog"]
    return {
        "nodes": analog["nodes"],
        "nodes_share": analog["nodes"] / max(nodes, 1),
        "macs": analog["macs"],
        "macs_share": analog["macs"] / max(macs, 1),
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


def text(document: dict[str, Any]) -> str:
    """The report of `convert`."""
    rows = [
        [r["name"], r["neurons"], f"{r['threshold_min']:.4g}", f"{r['threshold_max']:.4g}"]
        for r in document["layers"]
    ]
    out = "" if document["auto"] is None else comparison.auto_text(document["auto"]) + "\n\n"
    out += recipe_text(document["meta"]["recipe"]) + "\n\n"
    out += table(["population", "neurons", "smallest threshold", "largest"], rows)
    out += notes_text(document["meta"]["notes"])
    analog = document["analog"]
    if analog is not None:
        out += (
            f"\nNot spiking: {analog['nodes']} operations ({100 * analog['nodes_share']:.1f} %), "
            f"{100 * analog['macs_share']:.1f} % of the MACs; they cannot be placed on a chip."
        )
    checked, meta = document["on_calibration"], document["meta"]
    if checked is not None:
        out += "\n" + _checked_text(checked)
    else:
        out += (
            f"\nT={meta['T']}, latency {document['latency']} steps; without data, spikes per "
            "neuron and agreement with the ANN were not measured."
        )
    return f"{out}\nwrote {document['output']}"


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
        f"T={checked['T']}, latency {checked['latency']} steps, "
        f"{checked['spikes_per_neuron']:.2f} spikes per neuron, "
        f"{count(checked['synops_per_sample'])} synaptic operations per sample. "
        f"{near} on {checked['samples']} calibration samples."
    )
