"""What a report must say about a conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from types import MappingProxyType

from ...display import counted
from ...runtime import graph as snn
from ...runtime.semantics.decision import LEFT_OUT, score_count
from ...spelling import spelled
from ..lowering.coders import Coders
from ..lowering.copies import front, in_a_row
from . import Recipe
from .neurons import is_paced
from .options import Options


def _paced() -> str:
    return (
        "paced neurons: spikes are 0/1, sent evenly over the window and weighted by when they come "
        "(a synaptic current that does not decay, integrated again); deciding needs one factor per "
        "step that all neurons of a layer share, and a count of the spikes sent: programmable "
        "neurons (Loihi 2) or simulation; "
        f"{spelled('pace', False)} gives plain integrate-and-fire behind the lag"
    )


def conversion_notes(lowered: snn.SpikingGraph, recipe: Recipe, options: Options) -> Iterator[str]:
    """What a report must say about this conversion."""
    yield from recipe.notes
    if recipe.window is not None:
        yield (
            f"one answer every {counted(options.steps, 'step')}: every layer reads the "
            "whole of its input's "
            f"window of T={counted(options.steps, 'step')} before its own begins, so an "
            "answer takes "
            f"{counted(options.steps, 'step')} per layer; successive inputs every "
            f"{counted(options.steps, 'step')} need "
            "a second state per neuron while windows overlap"
        )
    if options.lag and not recipe.synchronous:
        lag = options.lag
        yield (
            f"start lag {lag}: every layer integrates {counted(lag, 'step')} before its "
            "first spike and fires "
            f"for T={counted(options.steps, 'step')}; successive inputs every T steps need "
            "a second membrane "
            f"potential per neuron while windows overlap, else T + {lag} steps"
        )
        if is_paced(recipe, options):
            yield _paced()
        elif recipe.name == "binary":
            lacking = (
                ": paced ones have soft reset, no leak or refractory steps, and outputs that are "
                "not counted"
            )
            burst = "plain neurons behind the lag, whose spikes leave in a burst"
            yield burst + (lacking if options.pace else "")
    islands = [node.name for node in snn.islands(lowered)]
    if islands:
        yield f"computed in floating point on running means, not in spikes: {', '.join(islands)}"
        if options.islands == "currents":
            yield (
                "what they compute goes on as currents, which no spike drives: "
                f"{spelled('islands', 'spikes')} puts neurons in front of every product"
            )
    if not lowered.of(snn.Population):
        yield "the network has no ReLU: nothing in it spikes, every value is a current"
    if options.reset == "zero":
        yield "reset to zero loses what exceeds the threshold: rates are lower than the ANN's"


def output_notes(lowered: snn.SpikingGraph) -> Iterator[str]:
    """How to read outputs whose last operation was left out, where it is not the largest that
    wins."""
    for readout in lowered.of(snn.Readout):
        if "Sigmoid" in lowered.meta.get(LEFT_OUT, {}).get(readout.tensor, ()):
            rule = (
                "a logit: class 1 where it is above 0, else class 0"
                if score_count(readout.shape) == 1
                else "logits: each label by itself holds where its logit is above 0"
            )
            yield f"the Sigmoid behind '{readout.name}' is left out, which gives {rule}"


def copy_notes(
    lowered: snn.SpikingGraph, copies: Mapping[str, int], options: Options
) -> Iterator[str]:
    """What a report must say about copies."""
    count = max(copies.values(), default=1)
    first = front(lowered)
    if not first and (options.copies or 1) > 1:
        yield "no copies of neurons: no layer reads the input only, through weights alone"
    if count > 1:
        more = sum((n - 1) * prod(lowered[name].shape) for name, n in copies.items())
        copied = {name for name, n in copies.items() if n > 1}
        why = []
        if copied & first:
            why.append(
                f"{', '.join(sorted(copied & first))}, which read the input only and so decide "
                "how finely the network sees it"
            )
        if copied - first:
            why.append(
                f"the last {counted(len(copied - first), 'layer')} with neurons, since "
                f"{counted(in_a_row(lowered), 'layer')} in a row are no fewer than "
                f"T={counted(options.steps, 'step')}"
            )
        yield (
            f"{counted(count, 'neuron')} for each value of {'; and of '.join(why)}: "
            f"{counted(more, 'neuron')} and their spikes "
            f"on top, counted everywhere ({spelled('copies', 1)} leaves them out)"
        )


def coder_notes(lowered: snn.SpikingGraph, coders: Coders, options: Options) -> Iterator[str]:
    """What a report must say about neurons that the inputs enter by."""
    count = options.enters.neurons
    neurons = sum(count * prod(lowered[name].shape) for name in coders)
    each = f"{counted(count, 'neuron')}" if count > 1 else "a neuron"
    signs = sorted({i for i in coders.values() if list(coders.values()).count(i) > 1})
    twice = f", and as many for the negative values of {', '.join(signs)}" if signs else ""
    yield (
        f"inputs enter as spikes ({spelled('encoding', options.encoding)}): {each} for each value"
        f"{twice}, {neurons:,} in all, which are neurons of the network and counted everywhere; "
        "the value is their constant current, written once per sample, or a host that knows it "
        "sends their spikes; values beyond those of calibration are clipped"
    )


def calibrated_parts(recipe: Recipe) -> str:
    if recipe.model == "differential":  # which begin at no potential
        return "weights, thresholds and biases"
    return "weights, thresholds, initial potentials and biases"


def tuning_notes(
    recipe: Recipe,
    options: Options,
    *,
    samples: int,
    fitting: int | None = None,
    affordable: int | None = None,
    untouched: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[str]:
    """What calibration in the spiking loop did. ``fitting``: how many samples memory left, where it
    took some; ``affordable``: how many the bound on the network's connections left; ``untouched``:
    bytes that fits of layers would have taken that keep their weights."""
    yield (
        f"calibrated in the spiking loop for T={options.steps} on {counted(samples, 'sample')}: "
        f"{calibrated_parts(recipe)}, all constant in time"
    )
    if fitting is not None:
        yield (
            f"memory decided how many samples calibration in the loop saw: {fitting}; a larger "
            f"{spelled('mem_limit')} gives more"
        )
    if affordable is not None:
        yield (
            "the size of the network decided how many samples calibration in the loop saw: "
            f"{affordable}; more take longer than its bound (2^40 connections x samples x steps)"
        )
    if untouched:
        most = max(untouched.values()) / 2**30
        layers = counted(len(untouched), "layer")
        yield (
            f"{layers} too large for a fit of weights (it would take up to {most:.1f} GiB): "
            f"thresholds, potentials and biases alone were calibrated there: {', '.join(untouched)}"
        )
    if options.spike_cost:
        yield (
            f"spikes had a price ({spelled('spike_cost', options.spike_cost)}): thresholds and "
            "biases give up accuracy for fewer of them"
        )
