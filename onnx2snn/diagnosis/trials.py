"""Remedies tried on one layer: its neurons run again with other parameters on the currents that
they get in the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np

from ..converter.lowering.copies import can_be_copied, front
from ..converter.recipes import RECIPES
from ..provenance import Provenance
from ..runtime import graph as snn
from ..runtime.neurons import Neuron, State, counts
from ..runtime.ops import Array
from ..runtime.semantics.spiking import run_population
from ..runtime.semantics.upstream import onsets
from .measure import ann_activation
from .run import SpikingRun, as_population
from .structure import initial_charges, partners

COPIES = 8  # neurons per value at most
COPIED = ("binary", "signed", "few-spike", "ttfs")  # recipes whose neurons can have copies
LEVELS = RECIPES["graded"].levels
FACTORS = (0.25, 0.5, 0.7, 0.85, 1.15, 1.4, 2.0, 3.0, 4.0, 6.0)


Family = Literal["lower", "raise", "max", "lag", "copies", "signed", "graded"]


@dataclass(frozen=True)
class Change:
    """Of a layer's neurons: thresholds ``value`` times as large ("lower", "raise", and "max", to
    the largest activation calibrated on), or ``value`` steps of lag, copies, or levels."""

    family: Family
    value: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Trial:
    """A change tried on one layer: the layer's own error, relative to rms(a), before and after, on
    so many samples. ``family``, ``value``: see ``Change``."""

    family: Family
    value: float
    before: float
    after: float
    samples: int


def try_remedies(
    *,
    lowered: snn.SpikingGraph,
    net: snn.SpikingGraph,
    batches: Iterable[Mapping[str, Array]],
    steps: int,
    name: str,
    reach: float | None = None,
    seed: int = 0,
) -> tuple[Trial, ...]:
    """Run the neurons of layer ``name`` again with other parameters on the same input currents.

    Thresholds change with the weights that read the spikes, so that rates stay in the ANN's unit.
    ``reach``: how many times larger --method max would make them, where that is known.
    Trials are ordered by the error they leave; empty where the layer has no neurons.
    """
    node = net[name]
    population = as_population(node) if isinstance(node, snn.Population | snn.Readout) else None
    if population is None:
        return ()
    ceiling = (0.0, population.ceiling) if isinstance(node, snn.Population) else (-np.inf, np.inf)
    variants: dict[Change | None, Neuron] = {None: population.neuron}
    lags = not net.of(snn.Analog)  # which have no window of their own
    variants |= _variants(population.neuron, steps, _copies(net, name), lags=lags)
    if reach is not None and reach > 1.05:
        variants[Change("max", reach)] = _scaled(population.neuron, reach)
    charge = initial_charges(
        net, lowered=lowered, pairs=partners(net, lowered=lowered), steps=steps
    ).get(name, 0.0)
    squares, active = dict.fromkeys(variants, 0.0), 0.0
    done = 0
    for arrays in batches:
        a = ann_activation(lowered=lowered, net=net, arrays=arrays, name=name)
        trial = _Trials(population, variants, net, steps)
        run = SpikingRun(
            net, arrays, steps, seed=seed, offset=done, extra=trial.extra, observe=trial.observe
        )
        zbar = run.measure().current[name] / steps + charge
        act = np.clip(zbar, *ceiling)
        for change, rate in trial.rates().items():
            squares[change] += float(((rate - act) ** 2).sum())
        active += float((a.astype(np.float64) ** 2).sum())
        done += len(a)
    base = active or 1.0
    before = sqrt(squares[None] / base)
    trials = [
        Trial(
            family=change.family,
            value=change.value,
            before=before,
            after=sqrt(squares[change] / base),
            samples=done,
        )
        for change in variants
        if change is not None
    ]
    return tuple(sorted(trials, key=lambda t: t.after))


def _copies(net: snn.SpikingGraph, name: str) -> int | None:
    """How many neurons per value layer ``name`` should be tried with, None where it cannot."""
    node, made = net[name], Provenance.of(net)
    recipe = made.recipe
    if made.coded or name not in front(net) or not isinstance(node, snn.Population):
        return None
    known = can_be_copied(node.neuron)
    # Of these recipes' neurons one with more levels is so many; so is one of a network that does
    # not say its recipe, for the neurons say it.
    more = 2 * node.neuron.levels
    return more if known and recipe in (*COPIED, None) and more <= COPIES else None


def _variants(
    neuron: Neuron, steps: int, copies: int | None, *, lags: bool
) -> dict[Change | None, Neuron]:
    """The neuron with every change to try. ``copies``: neurons per value that the layer may
    have; ``lags``: whether it may have a start lag."""
    out: dict[Change | None, Neuron] = {}
    for factor in FACTORS:
        out[Change("lower" if factor < 1 else "raise", factor)] = _scaled(neuron, factor)
    if copies is not None:
        out[Change("copies", copies)] = _with_levels(neuron, copies)
    if not neuron.traits & {"if", "paced"}:
        return out  # of a model whose parameters are not known here
    for lag in (1, 2, 4, 8) if lags else ():
        if neuron.lag < lag <= max(1, steps // 2):
            out[Change("lag", lag)] = neuron.having(lag=lag)
    if "paced" in neuron.traits:
        return out  # it is binary: the layers before and behind read spikes by when they come
    if "signed" not in neuron.traits:
        out[Change("signed", neuron.levels)] = neuron.having(signed=True)
    if neuron.levels < LEVELS:
        graded = _with_levels(neuron, LEVELS).having(signed=True)
        out[Change("graded", LEVELS)] = graded
    return out


def _with_levels(neuron: Neuron, levels: int) -> Neuron:
    """A neuron that sends as much per step in more levels."""
    return _scaled(neuron, neuron.levels / levels).having(levels=levels)


def _scaled(neuron: Neuron, factor: float) -> Neuron:
    """Another threshold. What v_init is beyond theta / 2 stays: calibration has made up for that
    charge in the bias."""
    f = np.float32(factor)
    scaled = neuron.having(v_threshold=neuron.v_threshold * f)
    if "v_init" not in neuron.traits:
        return scaled
    return scaled.having(v_init=neuron.v_init + (f - 1) * neuron.v_threshold / 2)


class _Trials:
    """The variants of one population, run beside the network on its input current."""

    def __init__(
        self,
        node: snn.Population,
        variants: Mapping[Change | None, Neuron],
        net: snn.SpikingGraph,
        steps: int,
    ) -> None:
        self.node, self.steps = node, steps
        self.nodes = {k: replace(node, neuron=neuron) for k, neuron in variants.items()}
        self.states: dict[Change | None, State] = {k: {} for k in variants}
        self.spikes: dict[Change | None, Array] = {}
        onset = onsets(net)
        self.begin = onset[node.inputs[0]]
        self.extra = max(n.neuron.lag for n in self.nodes.values())

    def observe(self, node: snn.Population, current: Array, t0: int, count: int) -> None:
        if node.name != self.node.name:
            return
        for change, variant in self.nodes.items():
            first = self.begin + variant.neuron.lag
            fire = (first, first + self.steps)
            sent = run_population(
                variant, current, self.states[change], t0=t0, count=count, fire=fire
            )
            at = np.arange(t0 - first, t0 - first + count)
            each = counts(variant.neuron.coding, at, self.steps)
            total = np.tensordot(each, sent.astype(np.float64), axes=1)
            self.spikes[change] = self.spikes.get(change, 0.0) + total

    def rates(self) -> dict[Change | None, Array]:
        return {
            change: self.nodes[change].neuron.v_threshold.astype(np.float64) * k / self.steps
            for change, k in self.spikes.items()
        }
