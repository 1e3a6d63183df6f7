"""Populations in integers: every model's membrane over all steps.

Every number is an integer held in float64, exact below 2^53; the bounds of the chip (membrane
width) are applied after every step and counted. The neuron of a population is

    v <- v - floor(v decay / 4096) + I 2^shift + bias        (clipped to the membrane's width)
    fires where v > threshold (strict chips) or v >= threshold, k times if graded
    v <- v - k threshold   or   v <- v_reset

Paced neurons (``runtime.neurons.paced``) hold their weighted charge in the membrane's width, and
compare products that take some bits more. Those that send one number per window (``windowed``)
hold it too; their threshold falls by the step of their window.

With a reset to zero that is the membrane of Lava's public bit-accurate LIF; the tests pin it to
vectors recorded from Lava.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ....runtime.neurons import (
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WindowedNeuron,
)
from ....runtime.neurons.model import weight
from ....runtime.neurons.paced import progress
from ....runtime.ops import Array
from ....runtime.tables import entry
from .network import IntLayer, IntNetwork


@dataclass
class Tally:
    """Spikes per neuron, and saturations, of all samples so far."""

    spikes: dict[str, Array] = field(default_factory=dict)
    saturations: dict[str, int] = field(default_factory=dict)


def count(tally: Tally, name: str, spikes: Array) -> None:
    events = (spikes != 0).sum(axis=(0, 1)).astype(np.float64)
    tally.spikes[name] = tally.spikes.get(name, np.zeros(events.shape)) + events


def _counted(tally: Tally, name: str, spikes: Array, saturated: int) -> Array:
    tally.saturations[name] = tally.saturations.get(name, 0) + saturated
    count(tally, name, spikes)
    return spikes


def _cut(v: Array, limit: float) -> int:
    """Membranes held within the chip's width, in place; how many were not."""
    over = int((np.abs(v) > limit).sum())
    if over:
        np.clip(v, -limit, limit, out=v)
    return over


def population(
    layer: IntLayer, quantized: IntNetwork, current: Array, fire: tuple[int, int], tally: Tally
) -> Array:
    """Raises GraphError E420 for neurons whose integers are not in ``POPULATIONS``."""
    neuron = layer.neuron
    run_one = entry(POPULATIONS, neuron, "hwtargets.cores.integer.populations.POPULATIONS")
    return run_one(layer, neuron, quantized, current, fire=fire, tally=tally)


def _plain_population(
    layer: IntLayer,
    neuron: NeuronParams,
    quantized: IntNetwork,
    current: Array,
    *,
    fire: tuple[int, int],
    tally: Tally,
) -> Array:
    threshold = layer.threshold
    assert threshold is not None and layer.v_init is not None
    total = max(len(current), fire[1])
    state = {"v": np.zeros(current.shape[1:]) + layer.v_init}
    state["sent"] = np.zeros_like(state["v"])
    state["wait"] = np.zeros_like(state["v"])
    spikes = np.zeros((total, *current.shape[1:]), np.float32)
    saturated = 0
    for t in range(total):
        now = current[t if len(current) > 1 else 0]
        saturated += integrate(layer, neuron, state, now, quantized.state_max)
        if fire[0] <= t < fire[1]:
            spikes[t] = fire_now(layer, neuron, state, threshold, quantized.strict)
    return _counted(tally, layer.name, spikes, saturated)


def _paced_population(
    layer: IntLayer,
    neuron: PacedParams,
    quantized: IntNetwork,
    current: Array,
    *,
    fire: tuple[int, int],
    tally: Tally,
) -> Array:
    threshold, limit = layer.threshold, quantized.state_max
    assert threshold is not None and layer.v_init is not None
    steps, total = fire[1] - fire[0], max(len(current), fire[1])
    charge = np.zeros(current.shape[1:])
    due = charge + threshold - layer.v_init
    spikes = np.zeros((total, *current.shape[1:]), np.float32)
    saturated = 0
    for t in range(fire[1]):
        position = t - fire[0]
        charge += current[t if len(current) > 1 else 0] * weight(position + neuron.lag, steps)
        saturated += _cut(charge, limit)
        if position >= 0:
            passed, arrived = progress(position, neuron.lag, steps)
            left, right = charge * passed, due * arrived
            spikes[t] = left > right if quantized.strict else left >= right
            due += spikes[t] * threshold
    return _counted(tally, layer.name, spikes, saturated)


def _windowed_population(
    layer: IntLayer,
    neuron: WindowedNeuron,
    quantized: IntNetwork,
    current: Array,
    *,
    fire: tuple[int, int],
    tally: Tally,
) -> Array:
    """Each step of the input's window times what it is worth (few-spike neurons shift their sum
    instead, ttfs neurons integrate twice: the same in whole numbers)."""
    threshold, limit = layer.threshold, quantized.state_max
    assert threshold is not None and layer.v_init is not None
    steps, total = fire[1] - fire[0], max(len(current), fire[1])
    charge = np.zeros(current.shape[1:]) + layer.v_init
    spikes = np.zeros((total, *current.shape[1:]), np.float32)
    saturated = 0
    for t in range(fire[1]):
        position = t - fire[0]
        read = position + neuron.lag
        if 0 <= read < min(steps, neuron.lag):
            charge += current[t if len(current) > 1 else 0] * neuron.weight(read, steps)
            saturated += _cut(charge, limit)
        if position >= 0:
            level = threshold * neuron.weight(position, steps)
            fired = charge > level if quantized.strict else charge >= level
            spikes[t] = fired
            neuron.spend(charge, fired, level)
    return _counted(tally, layer.name, spikes, saturated)


POPULATIONS: dict[type[Neuron], Callable[..., Array]] = {
    NeuronParams: _plain_population,
    PacedParams: _paced_population,
    FewSpikeParams: _windowed_population,
    TtfsParams: _windowed_population,
}


def integrate(
    layer: IntLayer, neuron: NeuronParams, state: dict[str, Array], now: Array, limit: float
) -> int:
    v = state["v"]
    active = state["wait"] == 0 if neuron.refractory else None
    if neuron.leak:
        decay = round(neuron.leak * 4096)
        lost = np.sign(v) * np.ceil(np.abs(v) * decay / 4096)
        v -= lost if active is None else lost * active
    v += now if active is None else now * active
    if neuron.refractory:
        np.maximum(state["wait"] - 1, 0, out=state["wait"])
    if layer.v_min is not None:
        np.maximum(v, layer.v_min, out=v)
    saturated = _cut(v, limit)
    state["active"] = np.ones(1) if active is None else active.astype(v.dtype)
    return saturated


def fire_now(
    layer: IntLayer, neuron: NeuronParams, state: dict[str, Array], threshold: Array, strict: bool
) -> Array:
    v = state["v"]
    if neuron.levels == 1 and not neuron.signed:
        k = ((v > threshold) if strict else (v >= threshold)).astype(v.dtype)
    else:
        exceeded = np.ceil(v / threshold) - 1 if strict else np.floor(v / threshold)
        down = np.floor(v / threshold)
        lowest = -np.minimum(state["sent"], neuron.levels) if neuron.signed else 0.0
        k = np.clip(np.where(v > 0, exceeded, down), lowest, neuron.levels)
    k = k * state["active"]
    if neuron.reset == "subtract":
        v -= k * threshold
    else:
        np.copyto(v, layer.v_reset, where=k != 0)
    if neuron.refractory:
        np.copyto(state["wait"], neuron.refractory, where=k != 0)
    state["sent"] += k
    return np.asarray(k)
