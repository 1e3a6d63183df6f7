"""What the placement report takes from a mapped TrueNorth network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...display import counted
from ...runtime.ops import Array
from ..energy import Activity, Energy, activity, energy_of
from ..energy.constants import Span
from ..energy.latency import Latency, latency_of
from ..mapping import Cores, Request, Traffic
from ..target import HardwareTarget
from ..view.network import ChipNetwork
from .compile import TrueNorthNetwork
from .run import NetworkRun


def cores_of(net: TrueNorthNetwork) -> Cores:
    routed = net.routed
    layers = tuple(dict.fromkeys(unit.layer for unit in routed.units))
    index = {name: i for i, name in enumerate(layers)}
    of_unit = np.array([index[unit.layer] for unit in routed.units])
    unit = np.r_[np.array([c.unit for c in routed.cores], np.int64), routed.relay_of]
    count = routed.core_count
    neurons = np.bincount(np.r_[routed.neurons[:, 0], routed.relays[:, 0]], minlength=count)
    axons = np.zeros(count)
    axons[: len(routed.cores)] = [len(core.keys) for core in routed.cores]
    nodes = np.unique(routed.relays[:, :2], axis=0)
    axons += np.bincount(nodes[:, 0], minlength=count)
    return Cores(
        layer=of_unit[unit],
        layers=layers,
        neurons=neurons,
        used={"axons": axons, "neurons": neurons.astype(np.float64)},
    )


def traffic_of(net: TrueNorthNetwork, rates: Array, measured: bool) -> Traffic:
    """Every neuron has one target, so its spikes are counted once; input pins come from outside."""
    rows = np.concatenate([net.routed.neurons[:, [0, 1, 2]], net.routed.relays[:, [0, 2, 3]]])
    rows = rows[rows[:, 2] >= 0]
    count = net.routed.core_count
    key, of = np.unique(rows[:, 0] * count + rows[:, 2], return_inverse=True)
    weight = np.bincount(of.reshape(-1), weights=rates[rows[:, 1]], minlength=len(key))
    return Traffic(source=key // count, destination=key % count, weight=weight, measured=measured)


def core_of(net: TrueNorthNetwork, network: ChipNetwork, layer: str) -> Array:
    """Core of each neuron of a layer, (neurons, copies)."""
    size = network[layer].neurons
    unit = [u for u in net.routed.units if u.layer == layer and u.role != "partial"][-1]
    core = np.full(unit.size, -1)
    local = net.routed.neurons[:, 1] - unit.first
    mine = (local >= 0) & (local < unit.size)
    core[local[mine]] = net.routed.neurons[mine, 0]
    return core.reshape(-1, size).T


def schedule_of(net: TrueNorthNetwork) -> list[dict[str, Any]]:
    """When each unit's step 0 is, and what it takes."""
    routed = net.routed
    own = np.bincount([c.unit for c in routed.cores], minlength=len(routed.units))
    splitters = np.bincount(routed.relay_of, minlength=len(routed.units))
    return [
        {
            "unit": unit.name,
            "layer": unit.layer,
            "role": unit.role,
            "neurons": unit.size,
            "tick": int(routed.start[i]),
            "cores": int(own[i]),
            "splitter_cores": int(splitters[i]),
        }
        for i, unit in enumerate(routed.units)
    ]


def measured_energy(
    network: ChipNetwork,
    target: HardwareTarget,
    request: Request[Any],
    net: TrueNorthNetwork,
    measured: NetworkRun,
    *,
    rates: str,
) -> Energy:
    """Of the synaptic events that really happen, those of copies and splitters included.
    ``rates``: what they were counted from, in words."""
    copies = np.bincount(net.routed.neurons[:, 1], minlength=len(measured.rates))
    events = 0.0
    for unit in net.routed.units:
        for conn in unit.conns:
            read = np.where(conn.fields >= 0, measured.rates[conn.fields], 0.0)
            arriving = read @ conn.planes.sum(axis=0).T  # (P, O), in each copy of the neuron
            events += float((arriving * copies[unit.first + conn.outputs]).sum())
    relays = net.routed.relays
    events += float(measured.rates[relays[:, 2]].sum())
    macs = activity(network, None, rate=request.rate).macs
    neurons = len(net.routed.neurons) + len(relays)
    found = Activity(synops=events, neurons=neurons, spikes=0.0, macs=macs)
    chips = -(-net.routed.core_count // int(target.limit("cores_per_chip")))
    lag = int(net.routed.start.max())
    return energy_of(
        target, found, spike_hops=0.0, steps=request.steps, lag=lag, chips=chips, rates=rates
    )


def latency_in_ticks(target: HardwareTarget, *, steps: int, lag: int) -> Latency:
    """``energy.latency_of`` at the nominal tick; the chip may run faster, never slower."""
    found = replace(latency_of(target, steps=steps, lag=lag), ticks=steps + lag)
    if found.seconds is None:
        return found
    most = found.seconds.value
    source = target.energy["step"].source
    return replace(
        found,
        seconds=Span(value=most, low=most / 10, high=most),
        source=f"{source}; low: ten times faster, an assumption [not verified]",
    )


def _input_note(net: TrueNorthNetwork) -> str:
    driven = f"on {counted(len(net.routed.pins), 'axon')} driven by the host."
    coders = [source for source in net.lowered.sources if source.coder is not None]
    if coders:
        return (
            f"The input enters as the spikes of {sum(s.size for s in coders):,} neurons that code "
            f"it ({', '.join(s.name for s in coders)}), which depend on its values alone and take "
            f"no cores, {driven}"
        )
    return (
        "The input is rate-coded: value x is (x - low) / (high - low) spikes per step, spread "
        f"evenly, {driven}"
    )


def notes_of(net: TrueNorthNetwork, origin: str, facts: dict[str, Any]) -> tuple[str, ...]:
    """Sentences for the report; ``facts`` as in ``compile.route.summary``, and ``codings``."""
    notes = [
        f"Codes, scales and biases were fitted on {origin}."
        if facts["tuned"]
        else f"Weights were rounded to codes; only ranges were measured, on {origin}.",
        _input_note(net),
        f"{facts['chip_neurons']:,} chip neurons for {facts['neurons']:,} of the network: "
        f"replication factor {facts['replication_factor']:.2f} ({facts['copies']:,} copies, "
        f"{facts['relays']:,} relays on {facts['splitter_cores']:,} splitter cores, "
        f"{facts['partial_sum_neurons']:,} partial sums, {_others(facts):,} more of outputs and "
        "maxima).",
        f"Step t of the answer is at tick {facts['ticks_before_answer'] - 1} + t: "
        f"{counted(facts['added_ticks'], 'tick')} more than one per layer. Every axon has one "
        "driver: spikes cannot merge.",
        *net.lowered.notes,
    ]
    notes += [_coding_note(c) for c in facts["codings"]]
    if net.fitted.split:
        listed = ", ".join(f"'{k}' in {int(v['parts'])}" for k, v in net.fitted.split.items())
        notes.append(
            "Fan-in above one core is split into partial sums, forwarded as spike counts rounded "
            f"to whole spikes: {listed} parts."
        )
    notes.append(f"Neurons per partial sum (option copies): {net.copies.number}; {net.copies.why}.")
    if net.crossbars is None:
        notes.append(
            f"{counted(net.routed.core_count, 'core')}: the crossbars were counted and "
            "executed, not written "
            "(option emit raises the limit)."
        )
    clipped = [f"'{u.name}' ({u.note})" for u in net.routed.units if u.note]
    if clipped:
        notes.append(f"Beyond the chip's range, and clipped to it: {', '.join(clipped)}.")
    return tuple(notes)


def _others(facts: dict[str, Any]) -> int:
    """Chip neurons that are neither the network's nor copies, relays or partial sums: an output has
    several (option output_copies), a maximum those that compare."""
    told = ("neurons", "copies", "relays", "partial_sum_neurons")
    return int(facts["chip_neurons"] - sum(facts[name] for name in told))


def _coding_note(c: dict[str, Any]) -> str:
    takes = f"Coding '{c['coding']}' ({counted(c['axons_per_input'], 'axon')} per input)"
    if c["cores"] is None:
        return f"{takes} has no form on these cores."
    per_sum = f"with {counted(c['copies'], 'neuron')} per partial sum"
    return (
        f"{takes} takes {counted(c['cores'], 'core')} on {counted(c['chips'], 'chip')} {per_sum}."
    )
