"""Energy and latency per inference from published constants, and the comparison with a quantized
ANN of equal precision.

    dynamic = T (synops e_synop + spike-hops e_hop) + (T + lag) neurons e_update
    static = chips P_static latency

lag being the sum of the start lags (``latency``).

Dynamic energy, static energy, and figures that were published for both together are three kinds,
and are kept apart: a chip without a published static power is not a chip that needs none.

Every constant has its source and relative uncertainty; low and high are the sum with all constants
at the ends of their ranges, so a range, not a confidence interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...display import counted
from ...runtime.cost import (
    BYTE_MULTIPLY,
    CACHE_BYTE,
    HOROWITZ,
    WHOLE_ADD,
    layer_costs,
    static_cost,
)
from ...runtime.facts import GraphFacts
from ...runtime.graph import Input
from ...runtime.ops import Array
from ..target import WHOLE, HardwareTarget, Limit
from ..view.network import ChipNetwork
from .bounds import StepBound
from .constants import Span, source_of, spread
from .latency import seconds_of

QUOTED = (
    f"{HOROWITZ}: 32-bit integer add 0.1 pJ, 64-bit read of an 8 kB cache "
    "10 pJ (as quoted in PMC8934428, table 3); 8-bit multiply 0.2 pJ (not looked up)"
)
ADD, MULTIPLY, READ_8_BIT = WHOLE_ADD, BYTE_MULTIPLY, CACHE_BYTE


@dataclass(frozen=True, kw_only=True)
class Joules(Span):
    """An energy per inference, in J.

    Attributes:
        parts: J by term; ``value`` is their sum.
        basis: what was counted or measured, and on what condition, in words.
        verified: whether every constant in it was.
    """

    parts: Mapping[str, float]
    basis: str
    verified: bool


@dataclass(frozen=True, kw_only=True)
class AnnComparison:
    """SNN against an 8-bit ANN with the same weights, both in the technology of ``source``.

    ``snn_joules``, ``ann_joules``: J per inference; ``synops``, ``macs``: per inference;
    ``host_macs``: those of ``macs`` that a host computes for the SNN too, once per inference.
    """

    snn_joules: float
    ann_joules: float
    synops: float
    macs: int
    host_macs: int = 0
    source: str = QUOTED
    uncertainty: str = "a factor of 2: other technology, other memories"

    @property
    def snn_over_ann(self) -> float:
        return self.snn_joules / self.ann_joules if self.macs else float("inf")

    @property
    def verdict(self) -> str:
        ratio = self.snn_over_ann
        return (
            f"The SNN needs {_digits(ratio)} times the energy of the quantized ANN: it loses."
            if ratio > 1
            else f"The SNN needs {_digits(ratio)} of the quantized ANN's energy."
        )

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            **vars(self),
            "snn_over_ann": self.snn_over_ann,
            "break_even_spikes_per_synapse": (ADD + MULTIPLY + READ_8_BIT) / (ADD + READ_8_BIT),
            "verdict": self.verdict,
        }


def _digits(ratio: float) -> str:
    """Two digits, never as a power of ten."""
    return f"{ratio:.2g}" if ratio < 99.5 else f"{float(f'{ratio:.2g}'):,.0f}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Energy:
    """Joules per inference, by kind; None is a kind that nothing was published of.

    Attributes:
        dynamic_j: what events cost on a chip that is on.
        static_j: what chips cost that are on for the latency, whatever they do.
        undivided_j: both in one published figure, which does not tell them apart.
        counts: events per inference, by constant, those without a constant too.
        sources: by part, the constant and where it comes from.
        missing: what was not counted for lack of a constant.
        ann: the comparison with a quantized ANN; None where nothing is known.
    """

    dynamic_j: Joules | None = None
    static_j: Joules | None = None
    undivided_j: Joules | None = None
    counts: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    ann: AnnComparison | None = None

    @property
    def kinds(self) -> Mapping[str, Joules | None]:
        """By name, in the order of columns."""
        return {
            "dynamic_j": self.dynamic_j,
            "static_j": self.static_j,
            "undivided_j": self.undivided_j,
        }

    @property
    def known(self) -> tuple[Joules, ...]:
        return tuple(kind for kind in self.kinds.values() if kind is not None)

    def document(self) -> dict[str, Any]:
        """As JSON has it: ``value``, ``low`` and ``high`` are sums of all that is known, which
        compare between chips of the same kinds only."""
        kinds: dict[str, Any] = {
            name: None if kind is None else kind.value for name, kind in self.kinds.items()
        }
        if not self.known:
            return kinds
        stated = {name: kind for name, kind in self.kinds.items() if kind is not None}
        kinds["ranges"] = {name: [kind.low, kind.high] for name, kind in stated.items()}
        kinds["basis"] = {name: kind.basis for name, kind in stated.items()}
        parts = {name: j for kind in self.known for name, j in kind.parts.items()}
        total = {end: sum(getattr(k, end) for k in self.known) for end in ("value", "low", "high")}
        compared = {} if self.ann is None else {"ann": self.ann.document()}
        return {
            **total, "unit": "J", **kinds, "parts": parts, "counts": self.counts,
            "sources": self.sources, "missing": list(self.missing),
            "verified": all(kind.verified for kind in self.known), **compared,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Per inference step: synaptic operations, neuron updates, spikes; and the ANN's MACs, with
    those among them that the host computes for the chip."""

    synops: float
    neurons: int
    spikes: float
    macs: int
    host_macs: int = 0


def activity(
    network: ChipNetwork,
    rates: Mapping[str, Array] | None,
    *,
    rate: float,
    sent: float | Array = 0.0,
    encoders: int = 0,
    on_host: bool = False,
) -> Activity:
    """Counted from firing rates: measured (spikes per neuron and step), or assumed.

    ``sent``: share of the input's values, or of each of them, that reach the first layer as spikes
    in every step; ``encoders``: neurons on the chip that send them. ``on_host``: what reads the
    input is computed by the host.
    """
    layers = layer_costs(network.facts).values()
    measured, spikes = rates or {}, 0.0
    for layer in network.layers:
        if network.readers(layer.name):
            mean = measured.get(layer.name, rate)
            spikes += layer.neurons * float(np.mean(mean))
    neurons = sum(layer.neurons for layer in network.layers) + encoders
    host = sum(layer.macs for layer in layers if layer.drive == "input") if on_host else 0
    synops = operations(network, measured, rate=rate, sent=sent)
    return Activity(
        synops=sum(synops.values()),
        neurons=neurons,
        spikes=spikes,
        macs=sum(layer.macs for layer in layers),
        host_macs=host,
    )


def operations(
    network: ChipNetwork, rates: Mapping[str, Array], *, rate: float, sent: float | Array = 0.0
) -> dict[str, float]:
    """Synaptic operations per step, by what sends spikes: of every neuron its rate times the
    weights that it reaches and that are not zero, as an engine counts them (``runtime.cost``).
    Those that fire more may reach more. Parameters as those of ``activity``."""
    inputs = {node.name for node in network.inputs}
    fans = _fans(network)
    out: dict[str, float] = {}
    for p in network.projections:
        found = rates.get(p.source, sent if p.source in inputs else rate)
        if p.source not in fans:  # of a node whose output is no spikes
            out[p.source] = out.get(p.source, 0.0) + p.synapses * float(np.mean(found))
        elif p.source not in out:
            fan = fans[p.source]
            each = found if np.shape(found) == fan.shape else np.mean(found)
            out[p.source] = float((each * fan).sum())
    return out


def _fans(network: ChipNetwork) -> dict[str, Array]:
    """Weights that a spike of each neuron or value of the input reaches, by node."""
    graph = network.graph
    spiking = graph.with_nodes(replace(node, encoding="rate") for node in graph.of(Input))
    cost = static_cost(GraphFacts(spiking))
    return {**cost.fan_out, **cost.passed_on}


def energy_of(
    target: HardwareTarget,
    found: Activity,
    *,
    spike_hops: float,
    steps: int,
    lag: int,
    chips: int,
    rates: str,
    bound: StepBound | None = None,
) -> Energy:
    """From counted events and the target's constants, as far as it states them.

    Spikes flow in ``steps`` steps; neurons are updated, and chips are on, ``lag`` steps longer.
    ``rates``: what the activity was counted from, in words; ``bound``: what steps take at the
    least.
    """
    counts = {
        "synop": found.synops * steps,
        "neuron_update": float(found.neurons * (steps + lag)),
        "hop": spike_hops * steps,
    }
    stated = {name: target.energy[name] for name in counts if name in target.energy}
    if not stated:
        return Energy()
    whole = [limit for limit in stated.values() if limit.covers == WHOLE]
    apart = [limit for limit in stated.values() if limit.covers != WHOLE]
    static = _static(target, chips=chips, steps=steps + lag, bound=bound)
    used = [*stated.values()] + ([target.energy["static_per_chip"]] if static else [])
    names = {"static_per_chip": "static"}  # what the JSON report calls the part
    return Energy(
        dynamic_j=_events(apart, counts, f"counted from {rates}"),
        static_j=static,
        undivided_j=_events(
            whole, counts, f"counted from {rates}; the constant is the power of the whole chip "
            "per event, static power at the load of that measurement included",
        ),
        counts=counts,
        sources={names.get(limit.name, limit.name): source_of(limit) for limit in used},
        missing=tuple(sorted(set(counts) - set(stated))),
        ann=ann_comparison(found, steps=steps, lag=lag),
    )  # fmt: skip


def _events(constants: Iterable[Limit], counts: Mapping[str, float], basis: str) -> Joules | None:
    """Events times constants (pJ); None where there are no constants."""
    limits = list(constants)
    if not limits:
        return None
    parts = {limit.name: counts[limit.name] * limit.value * 1e-12 for limit in limits}
    return Joules(
        value=sum(parts.values()),
        low=sum(parts[limit.name] * (1 - spread(limit)) for limit in limits),
        high=sum(parts[limit.name] * (1 + spread(limit)) for limit in limits),
        parts=parts,
        basis=f"{' + '.join(parts)}, {basis}",
        verified=all(limit.verified for limit in limits),
    )


def _static(
    target: HardwareTarget, *, chips: int, steps: int, bound: StepBound | None
) -> Joules | None:
    """Chips that are on for so many steps; None where power or time was not published."""
    taken = seconds_of(target, steps=steps, bound=bound)
    if "static_per_chip" not in target.energy or taken is None:
        return None
    power, step = target.energy["static_per_chip"], target.energy["step"]
    value = power.value * chips * taken.value
    board = "the whole chip" if chips == 1 else f"each of {chips:,} whole chips"
    return Joules(
        value=value,
        low=power.value * chips * taken.low * (1 - spread(power)),
        high=power.value * chips * taken.high * (1 + spread(power)),
        parts={"static": value},
        basis=f"{power.value:g} W for {board}, used or not, for {counted(steps, 'step')} of "
        f"{float(f'{taken.value / steps:.3g}') if steps else 0:g} s",
        verified=power.verified and step.verified,
    )


def ann_comparison(found: Activity, *, steps: int, lag: int) -> AnnComparison:
    """SNN against an 8-bit ANN in the same technology, with the same weights, both counted as
    arithmetic plus one weight read per operation; the SNN's neuron updates cost one add each, and
    what a host computes for it costs what it costs the ANN."""
    synops, mac = found.synops * steps, ADD + MULTIPLY + READ_8_BIT
    snn = synops * (ADD + READ_8_BIT) + found.neurons * (steps + lag) * ADD + found.host_macs * mac
    return AnnComparison(
        snn_joules=snn * 1e-12,
        ann_joules=found.macs * mac * 1e-12,
        synops=synops,
        macs=found.macs,
        host_macs=found.host_macs,
    )
