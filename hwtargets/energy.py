"""Energy and latency per inference from published constants, and the comparison with a quantized
ANN of equal precision.

    E = T (synops e_synop + spike-hops e_hop) + (T + lag) neurons e_update
        + chips P_static latency
    latency = (T + lag) t_step,   lag the sum of the start lags

Every constant has its source and relative uncertainty; low and high are the sum with all constants
at the ends of their ranges, so a range, not a confidence interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runtime.ops import Array
from .target import HardwareTarget, Known, Limit
from .view.network import ChipNetwork

HOROWITZ = (
    "Horowitz, ISSCC 2014, 45 nm, 0.9 V: 32-bit integer add 0.1 pJ, 64-bit read of an 8 kB cache "
    "10 pJ (as quoted in PMC8934428, table 3); 8-bit multiply 0.2 pJ (not looked up)"
)
ADD, MULTIPLY, READ_8_BIT = 0.1, 0.2, 10 / 8  # pJ
# What ``energy_of`` and ``latency_of`` read; where no uncertainty is stated, half of it.
ENERGY: Mapping[str, Known] = {
    "synop": Known(help="one spike over one synapse", unit="pJ", uncertainty=0.5),
    "neuron_update": Known(help="one neuron in one step", unit="pJ", uncertainty=0.5),
    "hop": Known(help="one spike from router to router", unit="pJ", uncertainty=0.5),
    "step": Known(help="one time step", unit="s", uncertainty=0.5),
    "static_per_chip": Known(help="a chip that is on", unit="W", uncertainty=0.5),
}


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Per inference step: synaptic operations, neuron updates, spikes; and the ANN's MACs."""

    synops: float
    neurons: int
    spikes: float
    macs: int


def activity(
    network: ChipNetwork, rates: Mapping[str, Array] | None, *, rate: float, sent: float = 0.0
) -> Activity:
    """Counted from firing rates: measured (spikes per neuron and step), or assumed.

    Rates are taken with each layer's mean fan-out. ``sent``: share of the input's values that
    reach the first layer as spikes in every step.
    """
    synops = spikes = 0.0
    macs = 0
    sizes = {layer.name: layer.neurons for layer in network.layers}
    mean = {
        name: float(np.mean(rates[name])) if rates and name in rates else rate for name in sizes
    }
    for node in network.inputs:
        mean[node.name] = float(np.mean(rates[node.name])) if rates and node.name in rates else sent
    for p in network.projections:
        macs += p.synapses
        synops += p.synapses * mean[p.source]
    for layer in network.layers:
        if network.readers(layer.name):
            spikes += layer.neurons * mean[layer.name]
    return Activity(synops=synops, neurons=sum(sizes.values()), spikes=spikes, macs=macs)


def energy_of(
    target: HardwareTarget,
    found: Activity,
    *,
    spike_hops: float,
    steps: int,
    lag: int,
    chips: int,
) -> dict[str, Any]:
    """Joules per inference: value, low, high, parts, sources, and whether all constants in it were
    verified; {} if the target has no constants.

    Spikes flow in ``steps`` steps; neurons are updated, and chips are on, ``lag`` steps longer.
    """
    terms = {
        "synop": found.synops * steps,
        "neuron_update": float(found.neurons * (steps + lag)),
        "hop": spike_hops * steps,
    }
    known = {k: v for k, v in terms.items() if k in target.energy}
    if not known:
        return {}
    parts = {k: v * target.energy[k].value * 1e-12 for k, v in known.items()}
    sources = {k: _source(target.energy[k]) for k in known}
    used = {*known}
    low = sum(v * (1 - spread(target.energy[k])) for k, v in parts.items())
    high = sum(v * (1 + spread(target.energy[k])) for k, v in parts.items())
    if "static_per_chip" in target.energy and "step" in target.energy:
        static, step = target.energy["static_per_chip"], target.energy["step"]
        parts["static"] = static.value * chips * (steps + lag) * step.value
        sources["static"] = _source(static)
        used |= {"static_per_chip", "step"}
        low += parts["static"] * (1 - spread(static)) * (1 - spread(step))
        high += parts["static"] * (1 + spread(static)) * (1 + spread(step))
    return {
        "value": sum(parts.values()), "low": low, "high": high, "unit": "J", "parts": parts,
        "counts": terms, "sources": sources, "missing": sorted(set(terms) - set(known)),
        "verified": all(target.energy[name].verified for name in used),
        "ann": ann_comparison(found, steps=steps, lag=lag),
    }  # fmt: skip


def ann_comparison(found: Activity, *, steps: int, lag: int) -> dict[str, Any]:
    """SNN against an 8-bit ANN in the same technology, with the same weights, both counted as
    arithmetic plus one weight read per operation; the SNN's neuron updates cost one add each."""
    synops = found.synops * steps
    snn = synops * (ADD + READ_8_BIT) + found.neurons * (steps + lag) * ADD
    ann = found.macs * (ADD + MULTIPLY + READ_8_BIT)
    ratio = snn / ann if ann else float("inf")
    verdict = (
        f"The SNN needs {ratio:.2g} times the energy of the quantized ANN: it loses."
        if ratio > 1
        else f"The SNN needs {ratio:.2g} of the quantized ANN's energy."
    )
    return {
        "snn_joules": snn * 1e-12, "ann_joules": ann * 1e-12, "snn_over_ann": ratio,
        "synops": synops, "macs": found.macs, "break_even_spikes_per_synapse":
        (ADD + MULTIPLY + READ_8_BIT) / (ADD + READ_8_BIT), "verdict": verdict,
        "source": HOROWITZ, "uncertainty": "a factor of 2: other technology, other memories",
    }  # fmt: skip


def latency_of(target: HardwareTarget, *, steps: int, lag: int) -> dict[str, Any]:
    """Seconds per inference; only the steps where the target has no time per step."""
    out: dict[str, Any] = {"steps": steps, "lag_steps": lag}
    if "step" in target.energy:
        step = target.energy["step"]
        value = (steps + lag) * step.value
        half = spread(step)
        out |= {
            "value": value, "low": value * (1 - half), "high": value * (1 + half),
            "unit": "s", "source": _source(step),
        }  # fmt: skip
    return out


def spread(limit: Limit, known: Mapping[str, Known] = ENERGY) -> float:
    """The relative uncertainty of a constant, where its file states none that of the table."""
    stated = known[limit.name].uncertainty if limit.uncertainty is None else limit.uncertainty
    if stated is None:
        raise KeyError(f"the table of '{limit.name}' has no uncertainty for where none is stated")
    return stated


def _source(limit: Limit) -> str:
    mark = "" if limit.verified else " [not verified]"
    return f"{limit.value:g} {limit.unit}: {limit.source}{mark}"
