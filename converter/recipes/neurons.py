"""The neurons that a recipe and its options ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...runtime import graph as snn
from ...runtime.neurons import Neuron, NeuronParams, PacedParams
from ...runtime.ops import Array
from ..lowering.align import aligned
from ..lowering.coders import Coders, coding_neuron, joined
from ..lowering.copies import FEW_LEVELS, deep, front, is_deep, worth_copying
from ..lowering.differential import differential
from ..lowering.lower import UNIT
from ..statistics.measure import LayerStats
from ..statistics.thresholds import thresholds
from . import Recipe, recipe_named
from . import windowed as windows
from .options import Options, can_copy


def thresholds_of(
    stats: Mapping[str, LayerStats],
    copies: Mapping[str, int],
    recipe: Recipe,
    options: Options,
    coders: Coders,
) -> dict[str, Array]:
    """Per population, with as many levels per step as its ``copies`` have together; of ``coders``
    those of one spike per step and copy, whatever the recipe's neurons send."""
    method = options.method
    levels = options.levels or recipe.levels
    if recipe.model == "differential":
        method, levels = ("percentile" if method == "mmse" else method), 1
    steps = options.steps
    if recipe.window is not None:
        steps = windows.number_of_levels(recipe.window, steps)
    out: dict[str, Array] = {}
    for count in {1, *copies.values()}:
        out |= thresholds(
            {name: stat for name, stat in stats.items() if copies.get(name, 1) == count},
            method=method,
            percentile=options.percentile,
            steps=steps,
            levels=levels * count,
            per_channel=options.per_channel,
            paced=is_paced(recipe, options),
        )
    own = levels if recipe.model == "if" else 1
    return out | {name: x * np.float32(own) for name, x in joined(out, coders).items()}


def copies_of(lowered: snn.SpikingGraph, options: Options) -> dict[str, int]:
    """Neurons for each value, of the layers that read the input only and of the last ones of a
    deep network with no more steps than layers in a row."""
    recipe, asked = recipe_named(options.recipe), options.copies
    if not can_copy(options):
        return dict.fromkeys(front(lowered), asked or 1)
    levels = options.steps
    if recipe.window is not None:
        levels = windows.number_of_levels(recipe.window, options.steps)
    few = 2 if levels <= FEW_LEVELS else 1
    first = asked or (few if worth_copying(lowered) else 1)
    out = dict.fromkeys(front(lowered), first)
    count = asked or few
    if recipe.name == "binary" and count > 1 and is_deep(lowered, options.steps):
        copied = [name for name in out if first > 1]
        out |= dict.fromkeys(deep(lowered, count=count, beside=copied), count)
    return out


def neurons_of(
    lowered: snn.SpikingGraph,
    *,
    stats: Mapping[str, LayerStats],
    theta: Mapping[str, Array],
    copies: Mapping[str, int],
    recipe: Recipe,
    options: Options,
    coders: Coders,
) -> tuple[snn.SpikingGraph, dict[str, Neuron]]:
    """The neuron parameters of every population, and the graph as these neurons need it."""
    if recipe.model == "differential":
        return _differential(lowered, stats, theta, options.levels or recipe.levels)
    if recipe.window is not None:
        window = recipe.window
        return windows.windowed(lowered, stats, theta, window, options, copies=copies)
    out: dict[str, Neuron] = {}
    levels = options.levels or recipe.levels
    kind = PacedParams if is_paced(recipe, options) else NeuronParams
    for population in lowered.of(snn.Population):
        threshold, stat = theta[population.name], stats[population.name]
        if population.name in coders:
            rank, count = len(population.shape), copies[population.name]
            out[population.name] = coding_neuron(threshold, stat, rank, count=count)
            continue
        own = levels * copies.get(population.name, 1)
        if population.ceiling is not None:
            # The activation's own bound is then exact: no neuron passes it.
            threshold = np.minimum(threshold, np.float32(population.ceiling / own))
        v_threshold = stat.broadcast(threshold.astype(np.float32), len(population.shape))
        out[population.name] = kind(
            v_threshold=v_threshold,
            v_init=v_threshold * np.float32(options.v_init),
            reset=options.reset,
            leak=options.leak,
            refractory=options.refractory,
            levels=own,
            signed=recipe.signed,
            lag=options.steps if recipe.synchronous else options.lag,
        )
    if not options.lag or recipe.synchronous:
        return lowered, out
    late = aligned(
        lowered.with_nodes(replace(p, neuron=out[p.name]) for p in lowered.of(snn.Population))
    )
    late = late.with_nodes(replace(p, neuron=UNIT) for p in late.of(snn.Population))
    if kind is PacedParams:
        late = late.with_nodes(replace(r, coding="paced") for r in late.of(snn.Readout))
    return late, out


def is_paced(recipe: Recipe, options: Options) -> bool:
    """Whether binary neurons behind a lag send evenly. What they do not have: see the note."""
    asked = options.pace and options.lag > 0 and recipe.name == "binary"
    plain = options.reset == "subtract" and not options.leak and not options.refractory
    return asked and plain and options.readout == "membrane"


def _differential(
    lowered: snn.SpikingGraph,
    stats: Mapping[str, LayerStats],
    theta: Mapping[str, Array],
    powers: int,
) -> tuple[snn.SpikingGraph, dict[str, Neuron]]:
    largest = {
        p.name: stats[p.name].broadcast(theta[p.name].astype(np.float32), len(p.shape))
        for p in lowered.of(snn.Population)
    }
    graph, neurons = differential(lowered, largest, powers)
    return graph, dict(neurons)
