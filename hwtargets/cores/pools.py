"""Max pooling on chips without a running maximum: a population that fires when any input does.

The exact maximum of running sums (``graph.MaxPool``) needs one counter per input. With the option
``maxpool = "or"`` each window becomes one neuron that resets to zero and fires in every step in
which at least one of its inputs does: the rate is that of the union of the spikes, at least the
maximum and at most the sum. It is approximate; the accuracy on the chip's integers says what it
costs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...runtime import graph as g
from ...runtime import ops
from ...runtime.neurons import NeuronParams


def with_any_spike_pools(graph: g.SpikingGraph) -> g.SpikingGraph:
    """The graph with every max pool of spikes replaced; pools of currents, or with a bias, stay."""
    nodes: list[g.Node] = []
    by_name = graph.by_name()
    for node in graph.nodes:
        source = by_name[node.inputs[0]] if node.inputs else None
        if not isinstance(node, g.MaxPool) or not _replaceable(node, source):
            nodes.append(node)
            continue
        window = ops.SumPool(
            kernel=node.op.kernel,
            strides=node.op.strides,
            dilations=node.op.dilations,
            pads=node.op.pads,
        )
        name = f"{node.name}/window"
        nodes.append(g.Synapse(name=name, inputs=node.inputs, shape=node.shape, op=window))
        fires = NeuronParams(v_threshold=np.array(0.5), v_init=np.zeros(()), reset="zero")
        nodes.append(g.Population(name=node.name, inputs=(name,), shape=node.shape, neuron=fires))
    return replace(graph, nodes=tuple(nodes))


def _replaceable(pool: g.MaxPool, source: g.Node | None) -> bool:
    if not isinstance(source, g.Population) or np.any(pool.bias):
        return False
    return not source.neuron.traits & {"levels", "signed"}
