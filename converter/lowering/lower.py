"""Lowering: AnnGraph -> SpikingGraph with unit thresholds.

Linear layers become synapses, Relus become populations, outputs become readouts. Biases are pushed
forward to the next node with state: between two such nodes everything is linear, so the bias
current a neuron gets is what the linear part gives for silent inputs (exact also where padding
makes it vary over space). Thresholds are one here; ``fold_thresholds`` sets and folds them into the
reading weights.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from ...errors import GraphError
from ...runtime import graph as snn
from ...runtime.neurons import NeuronParams
from ...runtime.ops import Array, Shape
from ...runtime.ops.arrays import narrowed
from ...runtime.ops.pool import MaxPool
from ..ann.graph import AnnGraph, AnnNode, Clip, Input, LeakyRelu, Opaque, Product, Relu
from ..ann.silent import silent_values


class _Common(TypedDict):
    """What an ANN node and its spiking form share."""

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    tensor: str


UNIT = NeuronParams(v_threshold=np.ones((), np.float32), v_init=np.zeros((), np.float32))


def lower(graph: AnnGraph) -> snn.SpikingGraph:
    """The spiking graph of ``graph``, thresholds 1, initial potentials 0.

    Raises GraphError on a layer that has no spiking form (passes should have rewritten it).
    """
    whole = silent_values(graph)
    nodes: list[snn.Node] = [
        _lower_node(node, [compact(whole[name][0]) for name in node.inputs]) for node in graph.nodes
    ]
    names = snn.Names(node.name for node in graph.nodes)
    for output in graph.outputs:
        source = graph[output.node]
        name = f"{output.name}/readout" if names.taken(output.name) else output.name
        nodes.append(
            snn.Readout(
                name=names.new(name),
                inputs=(source.name,),
                shape=source.shape,
                tensor=output.tensor,
                bias=compact(whole[source.name][0]),
            )
        )
    return snn.SpikingGraph(nodes=tuple(nodes), meta=dict(graph.meta))


def _lower_node(node: AnnNode, biases: list[Array]) -> snn.Node:
    """The node's spiking form; ``biases`` are its inputs' values for silent inputs."""
    layer = node.layer
    common = _Common(name=node.name, inputs=node.inputs, shape=node.shape, tensor=node.tensor)
    match layer:
        case Input():
            return snn.Input(**common)
        case Relu():
            return snn.Population(**common, bias=biases[0], neuron=UNIT, ceiling=layer.ceiling)
        case MaxPool():
            return snn.MaxPool(**common, bias=biases[0], op=layer)
        case Opaque():
            kind = snn.Product if isinstance(layer, Product) else snn.Analog
            return kind(
                **common,
                model=layer.model,
                output=layer.output,
                ops=layer.ops,
                biases=tuple(biases),
            )
        case LeakyRelu() | Clip():
            raise GraphError(
                f"layer {type(layer).__name__} has no spiking form",
                where=f"node '{node.name}'",
                remedy="Run the passes of converter.ann.passes before lowering.",
            )
    return snn.Synapse(**common, op=layer)


def compact(bias: Array) -> Array:
    """The smallest array that broadcasts to the same bias: axes along which it is constant are
    kept with length one, so that a per-channel bias of a feature map is (C, 1, 1)."""
    out = narrowed(np.asarray(bias, np.float32))
    return np.zeros((), np.float32) if not np.any(out) else out
