"""What a run did, in events that have a price: per sample, counted, not estimated.

synops     one spike over one weight that is not zero: an accumulate, or, where spikes are
           graded, a multiply-accumulate
updates    one neuron in one step in which it integrates or may fire
spikes     sent by neurons
macs       multiply-accumulates on analog values: of the input's layers once, of layers and
           islands that are fed by them in every step
ann_macs   what the ANN multiplies for the same values, in the layers that read them: fewer
           than the connections of a spike where an average pool lies between
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2, prod

import numpy as np

from ...converter.lowering.copies import gathered
from ...runtime.cost import StaticCost, static_cost
from ...runtime.engine import SimulationResult
from ...runtime.facts import GraphFacts
from ...runtime.graph import Node, Population, Rules, Synapse
from ...runtime.neurons import Neuron
from ...runtime.ops import WeightedOp
from ...runtime.semantics.walk import annotate


@dataclass(frozen=True, kw_only=True)
class LayerEvents:
    """Of one layer that sends spikes, for one sample; neurons that share a value are one layer.

    Attributes:
        name: of the population, spiking input or max pool.
        values: activations of the ANN that it stands for.
        neurons: of all that share them; 0 of what passes spikes on.
        spikes, synops, updates: see above.
        ann_macs: of the ANN's layers that read its values, divided between several sources of one
            layer by their sizes.
        graded: its spikes carry numbers to multiply by.
    """

    name: str
    values: int
    neurons: int
    spikes: float
    synops: float
    updates: float
    ann_macs: float
    graded: bool

    @property
    def reads(self) -> float:
        """Of memory, in words: a weight per operation, a potential per update, every spike."""
        return self.synops + self.updates + self.spikes

    @property
    def writes(self) -> float:
        """Of memory, in words: a potential per update, every spike."""
        return self.updates + self.spikes


@dataclass(frozen=True, eq=False, kw_only=True)
class Events:
    """Of one run, for one sample.

    Attributes:
        steps: that a sample ran, on average (an early exit makes them fewer).
        neurons: all of them.
        levels: different positive values that a neuron can send in that many steps, the most of
            any population.
        macs, macs_ann: multiply-accumulates on analog values, and those of the ANN.
        values_ann: activations of the ANN, the input's not counted.
        layers: by name, what each that sends spikes did.
    """

    steps: float
    neurons: int
    levels: int
    macs: float
    macs_ann: int
    values_ann: int
    layers: Mapping[str, LayerEvents]

    @property
    def synops(self) -> float:
        return sum(layer.synops for layer in self.layers.values())

    @property
    def updates(self) -> float:
        return sum(layer.updates for layer in self.layers.values())

    @property
    def spikes(self) -> float:
        return sum(layer.spikes for layer in self.layers.values())

    @property
    def graded(self) -> float:
        """Of the synaptic operations those that multiply."""
        return sum(layer.synops for layer in self.layers.values() if layer.graded)

    @property
    def reads(self) -> float:
        """Of memory, in words: those of the layers, and a weight per multiply-accumulate."""
        return self.macs + sum(layer.reads for layer in self.layers.values())

    @property
    def writes(self) -> float:
        return sum(layer.writes for layer in self.layers.values())

    @property
    def bits(self) -> int:
        """Of activations as precise as these neurons': ceil(log2(levels + 1))."""
        return ceil(log2(self.levels + 1))

    @property
    def spikes_per_neuron(self) -> float:
        return self.spikes / max(self.neurons, 1)

    @property
    def spikes_per_synapse(self) -> float | None:
        """Synaptic operations per multiply-accumulate of the ANN in the layers that spikes drive;
        None without any."""
        macs = sum(layer.ann_macs for layer in self.layers.values())
        return self.synops / macs if macs else None


def events(
    facts: GraphFacts,
    *,
    cost: StaticCost,
    spikes: Mapping[str, float],
    synops: Mapping[str, float],
    macs: float,
    steps: int,
    ran: float,
) -> Events:
    """Of a run for an answer after ``steps``.

    Parameters:
        spikes: per neuron and sample, by population; synops: per sample, by what sends spikes.
        macs: on analog values, per sample.
        ran: steps that a sample ran, on average: fewer than ``steps`` after an early exit.
    """
    fans = {**cost.fan_out, **cost.passed_on}
    neurons = {p.name: p.neuron for p in facts.graph.of(Population)}
    groups, layers = _groups(facts, tuple(fans)), {}
    macs_of = _ann_macs(facts, cost, groups)
    for first, names in groups.items():
        values, sends = prod(fans[first].shape), [name for name in names if name in neurons]
        layers[first] = LayerEvents(
            name=first,
            values=values,
            neurons=values * len(sends),
            spikes=sum(values * spikes[name] for name in sends),
            synops=sum(synops[name] for name in names),
            updates=sum(values * (ran + neurons[name].lag) for name in sends),
            ann_macs=macs_of[first],
            graded=_graded(facts, first),
        )
    return Events(
        steps=ran,
        neurons=sum(cost.neurons.values()),
        levels=max((levels(n, steps) for n in neurons.values()), default=steps),
        macs=macs,
        macs_ann=cost.macs_ann,
        values_ann=sum(layers[name].values for name in layers if name in neurons),
        layers=layers,
    )


def simulated(facts: GraphFacts, result: SimulationResult, steps: int) -> Events:
    """Of a simulation of ``steps`` steps without an early exit."""
    cost, count = static_cost(facts), result.samples
    return events(
        facts,
        cost=cost,
        spikes={
            name: float(result.spikes[name].sum()) / max(n, 1) / count
            for name, n in result.neurons.items()
        },
        synops={
            name: float(result.synops_of[name]) / count for name in (*cost.fan_out, *cost.passed_on)
        },
        macs=result.macs_once + steps * result.macs_per_step,
        steps=steps,
        ran=steps,
    )


def levels(neuron: Neuron, steps: int) -> int:
    """Different positive values that a neuron can send in so many steps: the largest decoded mean
    in units of the smallest difference."""
    most = float(np.max(neuron.reach(steps))) / steps
    return max(1, round(most / neuron.resolution(steps)))


def _groups(facts: GraphFacts, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Per layer its populations: several where neurons share a value (``copies``)."""
    shared: dict[str, tuple[str, ...]] = {}
    for first in gathered(facts.graph)[1]:
        (reader,) = facts.consumers[first]
        shared[first] = reader.inputs
    rest = {name for group in shared.values() for name in group[1:]}
    return {name: shared.get(name, (name,)) for name in names if name not in rest}


def _ann_macs(
    facts: GraphFacts, cost: StaticCost, groups: Mapping[str, tuple[str, ...]]
) -> dict[str, float]:
    """See ``LayerEvents.ann_macs``."""
    first_of = {name: first for first, names in groups.items() for name in names}
    sent = annotate(facts.graph, _Senders(frozenset(first_of)))
    out = dict.fromkeys(groups, 0.0)
    for name, layer in cost.layers.items():
        read = facts.by_name[name].inputs  # two, of a product
        sources = {first_of[source] for node in read for source in sent[node]}
        sizes = {source: prod(facts.by_name[source].shape) for source in sources}
        for source, size in sizes.items():
            out[source] += layer.macs * size / sum(sizes.values())
    return out


class _Senders(Rules[frozenset[str]]):
    """Whose spikes a node passes on, through what has no weights."""

    def __init__(self, senders: frozenset[str]) -> None:
        self.senders = senders

    def input(self, node: Node, xs: Sequence[frozenset[str]]) -> frozenset[str]:
        if node.name in self.senders:
            return frozenset({node.name})
        return frozenset[str]().union(*xs)

    population = max_pool = delay = input

    def synapse(self, node: Synapse, xs: Sequence[frozenset[str]]) -> frozenset[str]:
        return frozenset() if isinstance(node.op, WeightedOp) else self.input(node, xs)

    def analog(self, node: Node, xs: Sequence[frozenset[str]]) -> frozenset[str]:
        return frozenset()

    readout = analog


def _graded(facts: GraphFacts, name: str) -> bool:
    """Whether what a node sends is graded: its own neurons', or those of what it passes on."""
    node = facts.by_name[name]
    if isinstance(node, Population):
        return node.neuron.graded
    return any(_graded(facts, before) for before in node.inputs)
