"""Recipes whose neurons send one number per window (``runtime.neurons.windowed``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...errors import UsageError
from ...runtime import graph as snn
from ...runtime.neurons import Neuron, WindowedNeuron
from ...runtime.neurons.windowed import MOST_DIGITS
from ...runtime.ops import Array
from ..lowering.align import aligned
from ..lowering.lower import UNIT
from ..statistics.measure import LayerStats
from . import Recipe
from .options import Options


def check(recipe: Recipe, options: Options) -> None:
    """Raise UsageError for options that these neurons do not have (E114), or for a window that is
    too long (E110)."""
    given = {
        "a start lag (theirs is T)": options.lag,
        "a leak": options.leak,
        "reset to zero": options.reset != "subtract",
        "refractory steps": options.refractory,
        "output spike counts": options.readout != "membrane",
        f"inputs as '{options.encoding}' spikes": options.enters.drawn != "constant",
    }
    wrong = [what for what, asked in given.items() if asked]
    if wrong:
        raise UsageError(
            f"recipe '{recipe.name}' does not go with {', '.join(wrong)}",
            remedy="Leave the options out, or choose another recipe.",
            code="E114",
        )
    if recipe.window is not None and recipe.window.most_steps(options.steps) < options.steps:
        raise UsageError(
            f"recipe '{recipe.name}' has windows of at most {MOST_DIGITS} steps, which say "
            f"{2**MOST_DIGITS - 1:,} levels; got T={options.steps}",
            remedy="Choose a smaller T, such as 8 (docs/methods.md has what T = 3 to 8 lost).",
            code="E110",
        )


def number_of_levels(window: type[WindowedNeuron], steps: int) -> int:
    """N, the largest number that a window of ``steps`` steps says."""
    return _unit(window, steps).most(steps)


def windowed(
    lowered: snn.SpikingGraph,
    stats: Mapping[str, LayerStats],
    theta: Mapping[str, Array],
    window: type[WindowedNeuron],
    options: Options,
    *,
    copies: Mapping[str, int],
) -> tuple[snn.SpikingGraph, dict[str, Neuron]]:
    """The neurons, and ``lowered`` with signals that wait for each other and the codings that its
    other nodes read. ``theta``: by population and channel, what the largest number of one of its
    ``copies`` is worth in their mean."""
    if not lowered.of(snn.Population):  # nothing spikes: currents are the same in every step
        return lowered, {}
    steps, out = options.steps, dict[str, Neuron]()
    share = _unit(window, steps).reach(steps) / steps
    for population in lowered.of(snn.Population):
        largest, stat = theta[population.name], stats[population.name]
        count = copies.get(population.name, 1)
        if population.ceiling is not None:
            largest = np.minimum(largest, np.float32(population.ceiling / count))
        v_threshold = stat.broadcast((largest / share).astype(np.float32), len(population.shape))
        out[population.name] = window(
            v_threshold=v_threshold,
            v_init=v_threshold * np.float32(options.v_init),
            lag=steps,
            levels=count,
        )
    coding = _unit(window, steps).coding
    late = lowered.with_nodes(
        [
            *(replace(p, neuron=out[p.name]) for p in lowered.of(snn.Population)),
            *(replace(n, coding=coding) for n in lowered.of(snn.MaxPool)),
            *(replace(n, coding=coding) for n in lowered.of(snn.Readout)),
            *(replace(n, coding=coding, lag=steps) for n in lowered.of(snn.Analog)),
        ]
    )
    late = aligned(late)
    return late.with_nodes(replace(p, neuron=UNIT) for p in late.of(snn.Population)), out


def _unit(window: type[WindowedNeuron], steps: int) -> WindowedNeuron:
    return window(v_threshold=np.ones((), "f4"), v_init=np.zeros((), "f4"), lag=steps)
