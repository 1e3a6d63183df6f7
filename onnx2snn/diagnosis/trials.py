"""Remedies tried on one layer: its neurons run again with other parameters on the currents that
they get in the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from ..converter.lowering.copies import can_be_copied, front
from ..runtime import graph as snn
from ..runtime.neurons import Neuron, NeuronParams, PacedParams, State
from ..runtime.neurons.differential import DifferentialParams
from ..runtime.ops import Array
from ..runtime.semantics.spiking import run_population
from .measure import ann_activation
from .run import SpikingRun, as_population, sends_differences, worth
from .structure import initial_charges, partners

COPIES = 8  # neurons per value at most
FACTORS = (0.25, 0.5, 0.7, 0.85, 1.15, 1.4, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Trial:
    """One remedy on one layer: the layer's own error, relative to rms(a), before and after, on
    so many samples."""

    remedy: str
    family: str
    before: float
    after: float
    samples: int = 0


def try_remedies(
    lowered: snn.SpikingGraph,
    net: snn.SpikingGraph,
    batches: Iterable[Mapping[str, Array]],
    steps: int,
    name: str,
    *,
    reach: float | None = None,
    seed: int = 0,
) -> tuple[Trial, ...]:
    """Run the neurons of layer ``name`` again with other parameters on the same input currents.

    Thresholds change with the weights that read the spikes, so that rates stay in the ANN's unit.
    ``reach``: how many times larger --method max would make them, where that is known.
    Trials are ordered by the error they leave; empty where the neuron model has no such remedies.
    """
    node = net[name]
    population = as_population(node) if isinstance(node, snn.Population | snn.Readout) else None
    known = NeuronParams | DifferentialParams
    if population is None or not isinstance(population.neuron, known):
        return ()
    ceiling = (0.0, population.ceiling) if isinstance(node, snn.Population) else (-np.inf, np.inf)
    variants = {
        "": ("", population.neuron),
        **_variants(population.neuron, steps, _copies(net, name)),
    }
    if reach is not None and reach > 1.05:
        largest = f"--method max (thresholds times {reach:.2g})"
        variants[largest] = ("max", _scaled(population.neuron, reach))
    charge = initial_charges(net, lowered, partners(net, lowered), steps).get(name, 0.0)
    squares, active = dict.fromkeys(variants, 0.0), 0.0
    done = 0
    for arrays in batches:
        a = ann_activation(lowered, net, arrays, name)
        trial = _Trials(population, variants, net, steps)
        run = SpikingRun(
            net, arrays, steps, seed=seed, offset=done, extra=trial.extra, observe=trial.observe
        )
        zbar = run.measure().current[name] / steps + charge
        act = np.clip(zbar, *ceiling)
        for label, rate in trial.rates().items():
            squares[label] += float(((rate - act) ** 2).sum())
        active += float((a.astype(np.float64) ** 2).sum())
        done += len(a)
    base = active or 1.0
    before = sqrt(squares[""] / base)
    trials = [
        Trial(remedy=k, family=v[0], before=before, after=sqrt(squares[k] / base), samples=done)
        for k, v in variants.items()
        if k
    ]
    return tuple(sorted(trials, key=lambda t: t.after))


def _copies(net: snn.SpikingGraph, name: str) -> int | None:
    """How many neurons per value layer ``name`` should be tried with, None where it cannot."""
    node, recipe = net[name], net.meta.get("recipe", "binary")
    if name not in front(net) or not isinstance(node, snn.Population):
        return None
    known = isinstance(node.neuron, NeuronParams) and can_be_copied(node.neuron)
    # Of these recipes' neurons one with more levels is so many.
    more = 2 * node.neuron.levels
    return more if known and recipe in ("binary", "signed") and more <= COPIES else None


def _variants(neuron: Neuron, steps: int, copies: int | None) -> dict[str, tuple[str, Neuron]]:
    """Remedies by what they are called: (family, the neuron with it). ``copies``: neurons per value
    that the layer may have."""
    out: dict[str, tuple[str, Neuron]] = {}
    for factor in FACTORS:
        family = "lower" if factor < 1 else "raise"
        out[f"thresholds times {factor:g}"] = (family, _scaled(neuron, factor))
    if not isinstance(neuron, NeuronParams):
        return out
    for lag in (1, 2, 4, 8):
        if neuron.lag < lag <= max(1, steps // 2):
            out[f"--lag {lag}"] = ("lag", replace(neuron, lag=lag))
    if isinstance(neuron, PacedParams):
        return out  # it is binary: the layers before and behind read spikes by when they come
    if copies is not None:
        out[f"--copies {copies}"] = ("copies", _with_levels(neuron, copies))
    if not neuron.signed:
        out["negative spikes"] = ("signed", replace(neuron, signed=True))
    if neuron.levels < 15:
        graded = replace(_with_levels(neuron, 15), signed=True)
        out["up to 15 signed levels per spike"] = ("graded", graded)
    return out


def _with_levels(neuron: NeuronParams, levels: int) -> NeuronParams:
    """A neuron that sends as much per step in more levels."""
    finer = _scaled(neuron, neuron.levels / levels)
    assert isinstance(finer, NeuronParams)
    return replace(finer, levels=levels)


def _scaled(neuron: Neuron, factor: float) -> Neuron:
    """Another threshold. What v_init is beyond theta / 2 stays: calibration has made up for that
    charge in the bias."""
    f = np.float32(factor)
    if not isinstance(neuron, NeuronParams):
        return replace(neuron, v_threshold=neuron.v_threshold * f)
    moved = neuron.v_init + (f - 1) * neuron.v_threshold / 2
    return replace(neuron, v_threshold=neuron.v_threshold * f, v_init=moved)


class _Trials:
    """The variants of one population, run beside the network on its input current."""

    def __init__(
        self,
        node: snn.Population,
        variants: Mapping[str, tuple[str, Neuron]],
        net: snn.SpikingGraph,
        steps: int,
    ) -> None:
        self.node, self.steps = node, steps
        self.nodes = {k: replace(node, neuron=v[1]) for k, v in variants.items()}
        self.states: dict[str, State] = {k: {} for k in variants}
        self.spikes: dict[str, Array] = {}
        onset = snn.onsets(net)
        self.begin = onset[node.inputs[0]]
        self.extra = max(n.neuron.lag for n in self.nodes.values())

    def observe(self, node: snn.Population, current: Array, t0: int, count: int) -> None:
        if node.name != self.node.name:
            return
        for label, variant in self.nodes.items():
            first = self.begin + variant.neuron.lag
            fire = (first, first + self.steps)
            sent = run_population(variant, current, self.states[label], t0, count, fire)
            counts = worth(
                t0 - first,
                count,
                self.steps,
                differences=sends_differences(variant),
                paced=isinstance(variant.neuron, PacedParams),
            )
            total = np.tensordot(counts, sent.astype(np.float64), axes=1)
            self.spikes[label] = self.spikes.get(label, 0.0) + total

    def rates(self) -> dict[str, Array]:
        return {
            label: self.nodes[label].neuron.v_threshold.astype(np.float64) * k / self.steps
            for label, k in self.spikes.items()
        }
