"""The JSON documents of the verbs, from the records that their texts are made of.

That of `convert` is in ``conversion``, that of `diagnose` in ``diagnosis``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from ..converter.frontend import CheckReport
from ..converter.recipes import RECIPES
from ..diagnosis.layers import LayerError
from ..diagnosis.measure import Measured
from ..evaluation.chips import ChipCurve
from ..evaluation.energy.events import Events
from ..evaluation.energy.models import with_memory
from ..evaluation.energy.verdict import ratio_at
from ..evaluation.evaluate import Evaluation
from ..evaluation.sweep import Sweep, SweepRun, knee
from ..evaluation.verify import Verification
from ..hwtargets import HardwareTarget, PlacementReport, Screening, to_json
from ..hwtargets.target import Limit
from ..provenance import Provenance
from ..runtime.graph import SpikingGraph
from . import spiking
from .energy import verdicts


def check(report: CheckReport, chips: Mapping[str, Screening]) -> dict[str, Any]:
    """That of `check`: what becomes of the model, and which chips may hold it."""
    return CheckReport.to_dict(report) | {  # a result of check from Python is asked through here
        "targets": {
            name: {
                "may_fit": found.may_fit,
                "kinds_fit": not found.kinds,
                "violations": [asdict(v) for v in found.violations],
                "at_least": {"cores": found.cores, "chips": found.chips, "board": found.board},
                "chips_available": found.available,
                "conditions": list(found.conditions),
                "remedy": found.remedy,
            }
            for name, found in chips.items()
        }
    }


def verification(result: Verification) -> dict[str, Any]:
    """That of `verify`."""
    return {
        "schema": "onnx2snn.verify/1",
        "max_abs_diff": _finite(result.max_abs_diff),
        "relative_diff": _finite(result.relative_diff),
        "undefined": result.undefined,
        "samples": result.samples,
        "dropped": list(result.dropped),
        "approximated": list(result.approximated),
        "layers": [
            {"name": c.name, "tensor": c.tensor, "relative_diff": _finite(c.relative_diff)}
            for c in result.layers
        ],
    }


def _finite(difference: float) -> float | None:
    """None where one side is no number and the other is."""
    return difference if isfinite(difference) else None


def sweep(result: Sweep) -> dict[str, Any]:
    """That of `sweep`."""
    first = result.runs[0].evaluation
    return {
        "schema": "onnx2snn.sweep/1",
        "model": result.model,
        "data": result.data,
        "samples": result.samples,
        **_identity(first),
        "ann": {
            "accuracy": first.ann_accuracy,
            "macs": first.macs_ann,
            "values": None if first.ann_values is None else asdict(first.ann_values),
        },
        "runs": [curve(run) for run in result.runs],
        **({"left_out": list(result.left_out)} if result.left_out else {}),
    }


def curve(run: SweepRun) -> dict[str, Any]:
    """One curve: every point, the knee, and what it costs."""
    e = run.evaluation
    return {
        **made(run.network),
        "recipe": run.recipe,
        "converted": "each T" if run.each else "once",
        "T_total": run.steps,
        "points": points(e),
        "knee": knee(e) if e.spiking.emits else None,
        "outputs": [asdict(output) for output in e.outputs],
        "neurons": e.neurons,
        "macs_once": e.macs_once,
        "macs_per_step": e.macs_per_step,
        "spiking": spiking.document(e.spiking),
        "energy": verdicts.document(e.events),
        "spikes_per_neuron_by_layer": dict(e.spikes_per_neuron),
        "chips": [chip(one) for one in run.chips],
        "layers": None if run.layers is None else layers(run.layers),
        "spread": None if run.spread is None else asdict(run.spread),
        "seconds": e.seconds,
        "notes": list(run.notes),
    }


def _identity(e: Evaluation) -> dict[str, Any]:
    """Which samples and labels, as they are stored; with what they were simulated."""
    return {
        "samples_sha256": e.samples_sha256,
        "labels_sha256": e.labels_sha256,
        "simulation": dict(e.how),
    }


def points(e: Evaluation) -> list[dict[str, Any]]:
    """Every point, with its energy relative to an 8-bit ANN's (model with memory)."""
    prices = with_memory(e.events.bits).prices
    return [asdict(p) | {"energy_to_ann": ratio_at(prices, e.events, p)} for p in e.points]


def chip(found: ChipCurve) -> dict[str, Any]:
    """One chip's curve; what single samples got is kept beside the JSON."""
    values = {name: value for name, value in vars(found).items() if name != "said"}
    return values | {"points": [asdict(point) for point in found.points]}


def layers(found: Measured) -> dict[str, Any]:
    """The layers' errors, after T steps on so many samples."""
    errors = [layer(one) for one in found.layers]
    return {"T": found.steps, "samples": found.samples, "errors": errors}


def layer(found: LayerError) -> dict[str, Any]:
    """One layer's errors: fractions of the rms activation."""
    values = {k: v for k, v in vars(found).items() if k not in ("points", "spread")}
    spread = found.spread or (None, None)
    values |= {"threshold_min": spread[0], "threshold_max": spread[1]}
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in values.items()}


def made(network: SpikingGraph) -> dict[str, Any]:
    """How a network was made and what its spikes are, as its file says."""
    record = Provenance.of(network)
    recipe = RECIPES.get(record.recipe or "")
    return {
        "recipe": record.recipe,
        "lag": record.lag,
        "levels": record.levels,
        "bits_per_spike": record.bits_per_spike,
        "simulation_only": record.simulation_only,
        "runs_on": None if recipe is None else list(spiking.runs_on(record, recipe)),
        "options": record.options,
        "calibration": None if record.calibration is None else asdict(record.calibration),
        "source": None if record.source is None else asdict(record.source),
        "preprocessing": None if record.preprocessing is None else record.preprocessing.to_json(),
        "versions": None if record.versions is None else dict(record.versions),
    }


def run(one: SweepRun, *, seconds: float) -> dict[str, Any]:
    """One network's of `run`: the last step's score, and how the network was made."""
    evaluation = one.evaluation
    last = evaluation.points[-1]
    return {
        "schema": "onnx2snn.run/1",
        "accuracy": last.accuracy,
        "low": last.low,
        "high": last.high,
        "ann_accuracy": evaluation.ann_accuracy,
        "ann_values": None if evaluation.ann_values is None else asdict(evaluation.ann_values),
        "rmse": last.rmse,
        "mae": last.mae,
        "r2": last.r2,
        "difference_low": last.difference_low,
        "difference_high": last.difference_high,
        "agreement": last.agreement,
        "classes": evaluation.classes,
        "logit": evaluation.logit,
        "error": last.error,
        "concordance": last.concordance,
        "outputs": [asdict(output) for output in evaluation.outputs],
        "T": last.T,
        "latency": last.latency,
        "steps_between_answers": last.T,
        "samples": evaluation.samples,
        **_identity(evaluation),
        "points": points(evaluation),
        "neurons": evaluation.neurons,
        "spikes_per_neuron": last.spikes_per_neuron,
        "spikes_per_neuron_by_layer": dict(evaluation.spikes_per_neuron),
        "synops_per_sample": last.synops_per_sample,
        **spiking.figures(last),
        "ann_macs": evaluation.macs_ann,
        "energy": verdicts.document(evaluation.events),
        "spiking": spiking.document(evaluation.spiking),
        "steps_used": {str(t): n for t, n in enumerate(evaluation.stopped) if n} or None,
        "seconds": seconds,
        "network": one.recipe,
        "notes": list(one.notes),
        **made(one.network),
    }


def runs(documents: list[dict[str, Any]], data: str) -> dict[str, Any]:
    """One network's JSON document as it is, several in one."""
    if len(documents) == 1:
        return documents[0]
    return {"schema": "onnx2snn.runs/1", "data": data, "runs": documents}


def target(chip: HardwareTarget) -> dict[str, Any]:
    """A chip's numbers and their sources."""

    def number(n: Limit) -> dict[str, Any]:
        stated: dict[str, Any] = {"basis": n.basis} if n.basis else {}
        if n.others:
            stated["others"] = [{"by": other.by, **number(other)} for other in n.others]
        kept = {"value": n.value, "unit": n.unit, "source": n.source, "verified": n.verified}
        return kept | stated

    def numbers(table: Mapping[str, Limit]) -> dict[str, Any]:
        return {key: number(n) for key, n in table.items()}

    return {
        "name": chip.name,
        "title": chip.title,
        "mapping": chip.mapping,
        "limits": numbers(chip.limits),
        "energy": {
            key: entry | ({"covers": known} if (known := chip.energy[key].covers) else {})
            for key, entry in numbers(chip.energy).items()
        },
        "time": {
            key: {k: v for k, v in vars(t).items() if k != "name"} for key, t in chip.times.items()
        },
        "capabilities": dict(chip.capabilities),
        "boards": dict(chip.boards),
        "notes": list(chip.notes),
    }


def targets(chips: Iterable[HardwareTarget]) -> dict[str, Any]:
    """That of `targets`, of several chips."""
    return {"schema": "onnx2snn.targets/1", "targets": {chip.name: target(chip) for chip in chips}}


def placement(report: PlacementReport, done: Events | None) -> dict[str, Any]:
    """One chip's; ``done``: what the network did on the samples, whose verdict against the ANN
    joins the chip's energies."""
    document: dict[str, Any] = json.loads(to_json(report))
    if done is not None:
        document["energy"] |= verdicts.document(done)
    return document


def placements(
    reports: Sequence[PlacementReport],
    alike: Mapping[str, PlacementReport],
    done: Events | None = None,
) -> dict[str, Any]:
    """That of `place`: one chip's report, several in one. ``alike``: by target, what compares
    between chips, with the input entering all of them the same way; ``done``: see ``placement``."""
    parts = {report.target: placement(report, done) for report in reports}
    if len(parts) == 1:
        (part,) = parts.values()
        return dict(part)
    same = {r.target: json.loads(to_json(alike.get(r.target, r))) for r in reports}
    keys = ("fits", "input_mode", "accuracy", "energy", "latency")
    return {
        "schema": "onnx2snn.placements/1",
        "targets": parts,
        "input_alike": {name: {key: part[key] for key in keys} for name, part in same.items()},
    }
