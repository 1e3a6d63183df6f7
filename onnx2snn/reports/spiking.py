"""What of a network spikes do and what is done on analog values, what a spike carries, how often
and how late answers come: in words, JSON and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..converter.recipes import RECIPES, Recipe, recipe_named
from ..display import counted
from ..evaluation.evaluate import Point
from ..evaluation.spiking import SpikingShare
from ..evaluation.sweep import SweepRun
from ..provenance import Provenance
from ..spelling import spelled
from .figures import count, ratio


def document(share: SpikingShare) -> dict[str, Any]:
    """The entry ``spiking`` of a network's JSON document."""
    return {
        "verdict": share.verdict,
        "share": share.share,
        "layers": {
            "spikes": share.layers_spikes,
            "input": share.layers_input,
            "analog": share.layers_analog,
        },
        "ann_macs": {
            "spikes": share.macs_spikes,
            "input": share.macs_input,
            "analog": share.macs_analog,
        },
        "islands": share.islands,
        "emits": share.emits,
        "uncounted": list(share.uncounted),
    }


HALF = 0.5  # of the work


def headline(share: SpikingShare, steps: int) -> list[str]:
    """What a report of a network that is not spiking, or less than half, begins with, of an answer
    after T = ``steps``; else empty."""
    macs = share.macs_to_ann(steps)
    work = "" if macs is None else f"; at T={steps} {macs:.2f} times the ANN's multiply-accumulates"
    if share.verdict == "no":
        status = f"(exit status 1, or 0 with {spelled('allow_analog')})"
        return [f"NOT A SPIKING NETWORK: {_no(share)}{work} {status}"]
    if share.share < HALF:
        return [f"SPIKING IN PART ONLY: {_partly(share)}{work}"]
    return []


def lines(share: SpikingShare) -> list[str]:
    """What every report of a network says."""
    said = [_layers(share)]
    if share.uncounted:
        names = ", ".join(share.uncounted)
        said.append(f"Not counted, for want of a rule: multiply-accumulates of {names} in islands")
    return said


def _no(share: SpikingShare) -> str:
    if not share.emits:
        return "it has no neurons, so that its answers are the ANN's at any T"
    if not share.layers_spikes:
        return "spikes drive none of its layers"
    return _partly(share)


def _partly(share: SpikingShare) -> str:
    return (
        f"spikes drive {share.layers_spikes} of its {counted(share.layers, 'layer')}, and do "
        f"{_percent(share.share)} of the work behind the input's"
    )


def _layers(share: SpikingShare) -> str:
    parts = [f"{share.layers_spikes} of {share.layers} driven by spikes"]
    if share.layers_input:
        parts.append(f"{share.layers_input} by the input's values (computed once per sample)")
    analog = []
    if share.layers_analog:
        analog.append(f"{share.layers_analog} fed by analog values")
    if share.islands:
        analog.append(f"{share.islands} analog island{'s' * (share.islands > 1)}")
    if analog:
        parts.append(f"{' and '.join(analog)} (computed in every step)")
    text = f"Layers: {', '.join(parts)}"
    if analog and share.verdict == "partly":
        text += f"; spikes do {_percent(share.share)} of the work behind the input's layers"
    return text


HEADER = ("spikes/neuron", "synops/sample", "synops/ANN", "MACs/sample", "MACs/ANN")
KEY = (
    "synops: synaptic operations; MACs: multiply-accumulates on analog values (the input's, once; "
    "what islands and layers fed by them compute, in every step); /ANN: relative to the ANN's "
    "multiply-accumulates"
)


def short(share: SpikingShare, point: Point) -> str:
    """The costs of one answer where there is little room, as on a chart."""
    no = "NOT SPIKING: " if share.verdict == "no" else ""
    synops, macs = ratio(point.synops_to_ann), ratio(point.macs_to_ann)
    return (
        f"{no}{point.spikes_per_neuron:.2f} spikes/neuron, synops {synops}, MACs {macs} x the ANN's"
    )


def operations(figures: Mapping[str, Any]) -> str:
    """Synaptic operations, and what is done on analog values beside them, of the fields of a
    ``Point``."""
    return (
        f"{count(figures['synops_per_sample'])} synaptic operations per sample and "
        f"{count(figures['macs_per_sample'])} multiply-accumulates on analog values "
        f"({ratio(figures['synops_to_ann'])} and {ratio(figures['macs_to_ann'])} times the ANN's)"
    )


def costs(point: Point) -> list[str]:
    """The columns ``HEADER``."""
    return [
        f"{point.spikes_per_neuron:.2f}",
        count(point.synops_per_sample),
        ratio(point.synops_to_ann),
        count(point.macs_per_sample),
        ratio(point.macs_to_ann),
    ]


def figures(point: Point) -> dict[str, Any]:
    """The costs of one answer under the keys of every JSON document."""
    keys = ("macs_per_sample", "synops_to_ann", "macs_to_ann")
    return {key: getattr(point, key) for key in keys}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def recipe_text(name: str) -> str:
    """What the recipe's neurons do and what one spike carries."""
    recipe = recipe_named(name)
    return f"recipe {recipe.name}: {recipe.summary}; {_spikes_text(recipe)}"


def runs_on(made: Provenance, recipe: Recipe) -> tuple[str, ...]:
    """Which chips have a network's neurons: of one that has learned none that is known, whatever
    the rest of it needs."""
    if made.learned:
        return ("no chip known to hold neurons that compete, as the layer that learned has",)
    return recipe.chips


def _spikes_text(recipe: Recipe, chips: Sequence[str] = ()) -> str:
    """What one spike carries, and which ``chips`` can send it [the recipe's]."""
    bits = "1 bit" if recipe.bits == 1 else f"{recipe.bits} bits"
    carries = bits if recipe.bits else "nothing but its address"
    if recipe.window is not None:
        carries += "; when it comes says how much it counts"
    where = ", ".join(chips or recipe.chips) + (" (here: simulation only)" * recipe.simulation_only)
    return f"a spike carries {carries}; for: {where}"


def answers_text(run: SweepRun) -> str:
    """How often answers come and how late, and what spikes carry."""
    last = run.evaluation.points[-1]
    made = Provenance.of(run.network)
    recipe = RECIPES.get(made.recipe or "")
    text = (
        f"at T={last.T} one answer every {counted(last.T, 'step')}, each "
        f"{counted(last.latency, 'step')} after its "
    )
    text += "input began"
    if last.latency > last.T:
        text += " (with a second state per neuron while the windows of two inputs overlap)"
    return text if recipe is None else f"{text}; {_spikes_text(recipe, runs_on(made, recipe))}"
