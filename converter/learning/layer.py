"""A converted network with a plastic layer instead of all that was behind the cut.

    population ──▶ PlasticSynapse ──▶ Population (winner takes all) ──▶ Synapse ──▶ Readout

The last synapse adds up the spikes of the neurons that stand for one class; its weights are their
labels. It is a network as any other: it is saved, runs in stock ONNX Runtime, and can be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ...runtime import ops
from ...runtime.graph import (
    Names,
    Node,
    PlasticSynapse,
    Population,
    Readout,
    SpikingGraph,
    Synapse,
)
from ...runtime.neurons import WinnerTakeAllParams
from ...runtime.ops import Array
from ...runtime.plasticity import LayerState, Rule, frozen_layer
from .cut import before, plastic_synapse


@dataclass(frozen=True, eq=False, kw_only=True)
class Head:
    """What is put behind a cut: ``rule`` and ``state`` of the plastic layer, how many ``classes``
    the network names, and the ``steps`` and ``largest`` spike for which sums are exact."""

    rule: Rule
    state: LayerState
    classes: int
    steps: int
    largest: int

    def weights(self) -> tuple[Array, WinnerTakeAllParams]:
        """The frozen layer: weights (neurons, inputs), and its neurons."""
        return frozen_layer(self.rule, self.state, steps=self.steps, largest=self.largest)

    def votes(self) -> Array:
        """(classes, neurons): 1 where a neuron stands for a class."""
        return np.asarray(self.state.labels == np.arange(self.classes)[:, np.newaxis], np.float32)


def source_of(network: SpikingGraph, cut: str) -> str:
    """The node that a plastic layer at ``cut`` reads: its values in a row."""
    found = plastic_synapse(network)
    return cut if found is None else found.inputs[0]


def with_head(network: SpikingGraph, cut: str, head: Head) -> SpikingGraph:
    """``network`` up to ``cut``, and ``head`` on it; a plastic layer that is there is replaced."""
    nodes: list[Node] = list(before(network, source_of(network, cut)))
    names = Names(node.name for node in nodes)
    output = names.new(network.of(Readout)[0].name)
    source = nodes[-1]
    if len(source.shape) != 1:
        flat = (prod(source.shape),)
        row = Synapse(
            name=names.new("learned/features"),
            inputs=(source.name,),
            shape=flat,
            op=ops.Reshape(shape=flat),
        )
        nodes.append(row)
        source = row
    weight, neuron = head.weights()
    neurons, votes = head.state.neurons, head.votes()
    synapse = PlasticSynapse(
        name=names.new("learned/weights"),
        inputs=(source.name,),
        shape=(neurons,),
        op=ops.Linear(weight=weight),
        rule=head.rule,
        state=head.state.kept(),
    )
    layer = Population(
        name=names.new("learned"), inputs=(synapse.name,), shape=(neurons,), neuron=neuron
    )
    named = Synapse(
        name=names.new("learned/classes"),
        inputs=(layer.name,),
        shape=(head.classes,),
        op=ops.Linear(weight=votes),
    )
    readout = Readout(name=output, inputs=(named.name,), shape=(head.classes,))
    return replace(network, nodes=(*nodes, synapse, layer, named, readout))
