"""Coders: neurons between an input and the network, which then reads spikes only.

A value x enters the network as the spikes of neurons that are charged with x (their own, one
synapse each), and is read as theta times what they send; negative values, where there are some, by
a second population that is charged with -x and read with a minus. What the neurons are is the
encoding's: N plain ones whose thresholds are staggered ("population"), which is what ``copies`` do
one layer later and is made by it; or one that sends one number per window.

Of N plain neurons with initial potentials theta / N apart neuron i fires in step 1 where
x >= (i - 1/2) theta / N, i = 1..N, in some order: a thermometer. What a thermometer rounds away the
neurons keep (soft reset), so that the N sends of T steps say N T levels, not N.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from ...runtime import graph as snn
from ...runtime import ops
from ...runtime.facts import GraphFacts
from ...runtime.neurons import NeuronParams
from ...runtime.ops import Array
from ...runtime.semantics.samples import as_inputs
from ..statistics.measure import LayerStats
from .lower import UNIT

# By name of a coding population the input that it codes; none where inputs are currents.
Coders = Mapping[str, str]
NONE: Coders = MappingProxyType({})


def ever_negative(
    lowered: snn.SpikingGraph, calibration: Array | Mapping[str, Array] | None
) -> set[str]:
    """The inputs with negative values; without samples all may have some."""
    inputs = [node.name for node in lowered.of(snn.Input)]
    if calibration is None:
        return set(inputs)
    arrays = as_inputs(lowered, calibration, np.float32)
    return {name for name in inputs if np.any(arrays[name] < 0)}


def signed_in(net: snn.SpikingGraph) -> set[str]:
    """The inputs that have coders of both signs in ``net``, a network with coders."""
    facts = GraphFacts(net)
    found: Counter[str] = Counter()
    for population in net.of(snn.Population):
        name = population.inputs[0]
        if name in facts.constant:
            while facts.by_name[name].inputs:
                name = facts.by_name[name].inputs[0]
            found[name] += 1
    return {name for name, count in found.items() if count > 1}


def with_coders(
    lowered: snn.SpikingGraph, signed: Collection[str]
) -> tuple[snn.SpikingGraph, Coders]:
    """``lowered`` with a population behind every input, or one for each sign of those that are
    ``signed``."""
    names = snn.Names(node.name for node in lowered.nodes)
    nodes: list[snn.Node] = []
    coders: dict[str, str] = {}
    read: dict[str, str] = {}  # what is read instead of an input
    for node in lowered.nodes:
        nodes.append(replace(node, inputs=tuple(read.get(i, i) for i in node.inputs)))
        if not isinstance(node, snn.Input):
            continue
        made = _coded(node, names, signed=node.name in signed)
        coders |= {p.name: node.name for p in made if isinstance(p, snn.Population)}
        read[node.name] = made[-1].name
        nodes += made
    return replace(lowered, nodes=tuple(nodes)), coders


def _coded(node: snn.Input, names: snn.Names, *, signed: bool) -> list[snn.Node]:
    """The nodes behind an input, the last of which stands for its value."""
    shape = node.shape

    def synapse(part: str, op: ops.LinearOp, *inputs: str) -> snn.Synapse:
        return snn.Synapse(name=names.new(f"{node.name}/{part}"), inputs=inputs, shape=shape, op=op)

    def population(part: str, source: snn.Node) -> snn.Population:
        name = names.new(f"{node.name}/{part}")
        return snn.Population(name=name, inputs=(source.name,), shape=shape, neuron=UNIT)

    # A synapse, so that the runtime rounds the current to the neurons' grid.
    current = synapse("current", ops.Reshape(shape=shape), node.name)
    positive = population("positive", current)
    if not signed:
        return [current, positive]
    minus = ops.Scale(scale=np.full((), -1, np.float32))
    reverse = synapse("reverse", minus, node.name)
    negative = population("negative", reverse)
    back = synapse("minus", minus, negative.name)
    value = synapse("value", ops.Add(), positive.name, back.name)
    return [current, positive, reverse, negative, back, value]


def joined(theta: Mapping[str, Array], coders: Coders) -> dict[str, Array]:
    """Thresholds of coders, (channels,) each: of the two signs of an input the smaller are made
    larger, till the others are 2^n times as large: what is weighed together then is a whole number
    of spikes."""
    largest: dict[str, Array] = {}
    for name, source in coders.items():
        largest[source] = np.maximum(theta[name], largest.get(source, theta[name]))
    out = {}
    for name, source in coders.items():
        halvings = np.floor(np.log2(largest[source] / theta[name])).min()
        out[name] = largest[source] / np.float32(2.0**halvings)
    return out


def coding_neuron(theta: Array, stat: LayerStats, rank: int, *, count: int) -> NeuronParams:
    """One neuron that does what ``count`` do together (``copies``); ``theta``: of one of its
    levels, (channels,)."""
    v_threshold = stat.broadcast(theta.astype(np.float32), rank)
    return NeuronParams(v_threshold=v_threshold, v_init=v_threshold * np.float32(0.5), levels=count)
