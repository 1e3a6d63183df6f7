"""Whether the spiking network needs less energy than its ANN, in words and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evaluation.energy.events import Events, LayerEvents
from ...evaluation.energy.verdict import BREAK_EVEN, DAMPFHOFFER, Verdict, verdicts
from ..figures import count
from .chips import si


def document(found: Events) -> dict[str, Any]:
    """The entry ``energy`` of a run's JSON document."""
    return {
        "events": {
            "steps": found.steps,
            "synops": found.synops,
            "updates": found.updates,
            "spikes": found.spikes,
            "macs": found.macs,
            "ann_macs": found.macs_ann,
            "reads": found.reads,
            "writes": found.writes,
            "layers": {name: _events(layer) for name, layer in found.layers.items()},
        },
        "spikes_per_synapse": found.spikes_per_synapse,
        "bits": found.bits,
        "models": {v.model.name: _model(v) for v in verdicts(found)},
    }


def _events(layer: LayerEvents) -> dict[str, Any]:
    names = ("neurons", "spikes", "synops", "updates", "reads", "writes", "ann_macs", "graded")
    return {name: getattr(layer, name) for name in names}


def _model(verdict: Verdict) -> dict[str, Any]:
    model = verdict.model
    return {
        "against": model.against,
        "snn_joules": verdict.snn_joules,
        "ann_joules": verdict.ann_joules,
        "ratio": verdict.ratio,
        "low": verdict.low,
        "high": verdict.high,
        "wins": verdict.ratio < 1,
        "turns_at_spikes_per_neuron": verdict.turns_at,
        "ratio_by_layer": dict(verdict.layers),
        "counts": model.counts,
        "leaves_out": model.leaves_out,
        "source": model.source,
    }


def lines(found: Events) -> list[str]:
    """A sentence, one line per model, and where spikes cost more than they save; empty without an
    ANN to compare with."""
    judged = verdicts(found)
    if not judged:
        return []
    said = [headline(judged), *(f"  {v.model.title}: {figures(v, found)}" for v in judged)]
    worse = _layers(judged[-1])
    said += [f"  {worse}"] if worse else []
    if found.spikes_per_synapse is not None:
        low, high = BREAK_EVEN
        said.append(
            f"  {found.spikes_per_synapse:.2f} spikes per synapse; published break-even {low} to "
            f"{high}, by how good the ANN's hardware is ({DAMPFHOFFER})"
        )
    return [*said, f"  {counts(found)}"]


def counts(found: Events) -> str:
    """The events of one sample, as NeuroBench calls them."""
    return (
        f"counted per sample: {count(found.synops - found.graded)} accumulates, "
        f"{count(found.macs + found.graded)} multiply-accumulates, {count(found.updates)} membrane "
        f"updates, {count(found.spikes)} spikes; {count(found.reads)} reads and "
        f"{count(found.writes)} writes of memory"
    )


def headline(judged: Sequence[Verdict]) -> str:
    """Under which models the SNN needs less energy, in one sentence."""
    less = [v.model.title for v in judged if v.ratio < 1]
    more = [v.model.title for v in judged if v.ratio >= 1]
    sides = [f"less {_listed(less)}"] if less else []
    sides += [f"more {_listed(more)}"] if more else []
    return (
        f"Energy, by counted events and published prices (nothing is measured): the SNN needs "
        f"{', '.join(sides)}"
    )


def _listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def figures(verdict: Verdict, found: Events) -> str:
    """By how much, how far that depends on what is assumed, and where it turns."""
    snn, ann = si(verdict.snn_joules, "J"), si(verdict.ann_joules, "J")
    text = f"{verdict.ratio:.2f} times {verdict.model.against} ({snn} to {ann})"
    if verdict.high - verdict.low > 0.005 * verdict.ratio:
        text += f", {verdict.low:.2f} to {verdict.high:.2f} by what is assumed"
    return text + _turn(verdict, found)


def _turn(verdict: Verdict, found: Events) -> str:
    if verdict.turns_at is None:
        return "; there are no spikes"
    now = f"now {found.spikes_per_neuron:.2f}"
    if not verdict.turns_at:
        return f"; more without any spike too, for the potentials alone ({now} per neuron)"
    return f"; equal at {verdict.turns_at:.2f} spikes per neuron ({now})"


def _layers(verdict: Verdict) -> str:
    """In which layers spikes cost more than the ANN's values, under one model."""
    worse = verdict.loses
    if not worse:
        return ""
    most = float(f"{verdict.layers[worse[0]]:.2g}")  # 160, not 1.6e+02
    return (
        f"{verdict.model.title}, by layer: spikes cost more than the ANN's values in {len(worse)} "
        f"of {len(verdict.layers)}, most in '{worse[0]}' ({most:,g} times)"
    )
