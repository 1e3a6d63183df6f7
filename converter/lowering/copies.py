"""Copies: several neurons for each value of the layers that read the network's input only, and of
the last layers of a network with more layers in a row than steps.

What a first layer gets is exact and the same in every step, so that all of its error is
quantization, theta / T per level, and the clipping that a small theta is paid for with; every layer
behind it inherits that. C neurons with one threshold
and input, whose initial potentials lie theta / C apart, send together

    sum_i floor((x t + v0 + i theta / C) / theta) = floor((x t + v0) / (theta / C))    (Hermite)

spikes by step t: as many levels as one neuron has in C T steps, from binary spikes and at no
latency. The cost, C - 1 neurons more per value and their spikes, is in every count of a report, as
they are populations of their own, averaged by a synapse. One neuron with the threshold theta / C
that may spike C times in a step does the same: the set of potentials {U + i theta / C} stays one of
this form, for any input. That is how calibration and diagnosis see them.

The same holds for any other layer, which also sends more evenly then: its first spikes come sooner,
and each is worth less. In a deep network with few steps errors of all layers add up, and the last
layers are the cheapest to make finer, as maps get smaller with depth (``deep``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ...runtime import graph as snn
from ...runtime import ops
from ...runtime.facts import GraphFacts
from ...runtime.neurons import Neuron
from ...runtime.ops import Array
from ...runtime.semantics.walk import annotate

FEW_LEVELS = 32  # with more, a second neuron per value costs more than it is worth
SMALL_SHARE = 0.25  # of all neurons: deep networks; others inherit little and would pay much
DEEP = 8  # layers in a row: what fewer inherit is little
# Of all values, how many neurons more where the last layers have copies too: twice the steps, which
# would do as much, cost more of everything else (docs/methods.md).
DEEP_SHARE = 0.5
# Traits of neurons whose copies do what one of them with more levels does.
COPIED = (
    frozenset(("if", "subtract", "levels", "signed", "v_init")),
    frozenset(("few-spike", "lag", "levels", "v_init")),
    frozenset(("ttfs", "lag", "levels", "v_init")),
)
SPACING = 0.02  # of theta / C: how far grids may move the initial potentials of copies


def front(graph: snn.SpikingGraph) -> set[str]:
    """The populations whose input is the same current in every step."""
    return _front(GraphFacts(graph))


def _front(facts: GraphFacts) -> set[str]:
    populations = facts.graph.of(snn.Population)
    return {p.name for p in populations if p.inputs[0] in facts.constant}


def deep(graph: snn.SpikingGraph, *, count: int, beside: Collection[str]) -> set[str]:
    """The last populations, as many as half as many neurons again allow (``DEEP_SHARE``) where each
    value of them and of those ``beside`` has ``count``. None that a max pool reads
    (``worth_copying``)."""
    consumers = graph.consumers()
    sizes = {p.name: (count - 1) * prod(p.shape) for p in graph.of(snn.Population)}
    left = DEEP_SHARE * sum(prod(p.shape) for p in graph.of(snn.Population))
    left -= sum(sizes[name] for name in beside)
    out: set[str] = set()
    for name in reversed([name for name in sizes if name not in beside]):
        left -= sizes[name]
        if left < 0:
            break
        if not any(isinstance(reader, snn.MaxPool) for reader in consumers[name]):
            out.add(name)
    return out


def is_deep(graph: snn.SpikingGraph, steps: int) -> bool:
    """Whether errors of many layers add up, in no more steps than there are layers in a row."""
    return in_a_row(graph) >= max(DEEP, steps)


def in_a_row(graph: snn.SpikingGraph) -> int:
    """Populations on the longest path."""
    return max(annotate(graph, _Row()).values(), default=0)


class _Row(snn.Rules[int]):
    """Populations on the longest path to a node, this included."""

    def input(self, node: snn.Node, xs: Sequence[int]) -> int:
        return max(xs, default=0)

    synapse = max_pool = analog = delay = readout = input

    def population(self, node: snn.Population, xs: Sequence[int]) -> int:
        return max(xs, default=0) + 1


def worth_copying(graph: snn.SpikingGraph) -> bool:
    """Whether copies cost little: they are a small share of the neurons, and no max pool reads
    them, which chips can only take over spikes, not over sums of them."""
    facts = GraphFacts(graph)
    first, consumers = _front(facts), facts.consumers
    sizes = {p.name: prod(p.shape) for p in graph.of(snn.Population)}
    share = sum(sizes[name] for name in first) / max(sum(sizes.values()), 1)
    pooled = any(isinstance(reader, snn.MaxPool) for name in first for reader in consumers[name])
    return share <= SMALL_SHARE and not pooled


def can_be_copied(neuron: Neuron) -> bool:
    """Whether copies do what one neuron with more levels does: it only adds and subtracts."""
    return any(neuron.traits <= traits for traits in COPIED)


def spread(
    graph: snn.SpikingGraph, neurons: Mapping[str, Neuron], copies: Mapping[str, int]
) -> tuple[snn.SpikingGraph, dict[str, Neuron]]:
    """``graph`` (lowered, unit thresholds) and its neurons with the populations in ``copies``, one
    neuron of C levels per value, as C populations of binary neurons and their mean."""
    nodes: list[snn.Node] = []
    out, means = dict(neurons), dict[str, str]()
    names = snn.Names(node.name for node in graph.nodes)
    for node in graph.nodes:
        node = replace(node, inputs=tuple(means.get(name, name) for name in node.inputs))
        nodes.append(node)
        count = copies.get(node.name, 1)
        if isinstance(node, snn.Population) and count > 1:
            made, shared = _copies(node, neurons[node.name], count, names)
            out |= shared
            means[node.name] = made[-1].name
            nodes += made
    return replace(graph, nodes=tuple(nodes)), out


def _copies(
    node: snn.Population, neuron: Neuron, count: int, free: snn.Names
) -> tuple[list[snn.Node], dict[str, Neuron]]:
    """The further populations, their sum and their mean; and the neurons of all."""
    names = [node.name, *(free.new(f"{node.name}/copy{i}") for i in range(2, count + 1))]
    fine = neuron.v_threshold
    neurons: dict[str, Neuron] = {
        name: neuron.having(
            levels=1,
            v_threshold=fine * np.float32(count),
            v_init=neuron.v_init + fine * np.float32(i),
        )
        for i, name in enumerate(names)
    }
    total, mean = free.new(f"{node.name}/copies"), free.new(f"{node.name}/mean")
    part = ops.Scale(scale=np.asarray(1 / count, np.float32))
    made: list[snn.Node] = [replace(node, name=name, tensor="") for name in names[1:]]
    made.append(snn.Synapse(name=total, inputs=tuple(names), shape=node.shape, op=ops.Add()))
    made.append(snn.Synapse(name=mean, inputs=(total,), shape=node.shape, op=part))
    return made, neurons


def gathered(graph: snn.SpikingGraph) -> tuple[snn.SpikingGraph, dict[str, int]]:
    """``graph`` (thresholds folded) with copies as one population of neurons with C levels, and C
    for each such population. Nothing else changes: spikes are the sums of the copies' spikes."""
    nodes, consumers = graph.by_name(), graph.consumers()
    counts: dict[str, int] = {}
    gone: dict[str, str] = {}
    changed: dict[str, snn.Node] = {}
    for node in graph.of(snn.Synapse):
        group = [nodes[name] for name in node.inputs]
        if not node.op.adds or len(group) < 2:
            continue
        populations = [p for p in group if isinstance(p, snn.Population)]
        alone = all(consumers[p.name] == (node,) for p in populations)
        if len(populations) < len(group) or not alone or not _are_copies(populations):
            continue
        first, count = populations[0], len(populations)
        neuron = first.neuron
        fine = neuron.v_threshold / np.float32(count)
        changed[first.name] = replace(first, neuron=neuron.having(levels=count, v_threshold=fine))
        counts[first.name] = count
        gone |= dict.fromkeys((node.name, *(p.name for p in populations[1:])), first.name)
    kept = [changed.get(node.name, node) for node in graph.nodes if node.name not in gone]
    whole = [replace(n, inputs=tuple(gone.get(i, i) for i in n.inputs)) for n in kept]
    return replace(graph, nodes=tuple(whole)), counts


def _are_copies(populations: list[snn.Population]) -> bool:
    """Whether these differ in their initial potentials only, which are theta / C apart."""
    first = populations[0]
    neuron, count = first.neuron, len({p.name for p in populations})
    if not can_be_copied(neuron) or neuron.levels > 1 or count < len(populations):
        return False
    for i, other in enumerate(populations):
        own = other.neuron
        if own.traits != neuron.traits or other.inputs != first.inputs:
            return False
        if not _equal(own.v_threshold, neuron.v_threshold) or not _equal(other.bias, first.bias):
            return False
        step = neuron.v_threshold / np.float32(count)
        if np.any(np.abs(own.v_init - neuron.v_init - i * step) > SPACING * step):
            return False
    return True


def _equal(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.all(a == b))
