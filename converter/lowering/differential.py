"""The differential recipe: how each node's input is coded, and the neurons for it.

Populations emit differential spikes. What the network's inputs inject is rate coded (the same
current in every step), so every node that reads it directly gets ``source`` "rate"; max pools and
islands pass on the coding they receive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...errors import GraphError
from ...runtime import graph as snn
from ...runtime.neurons.differential import DifferentialParams
from ...runtime.ops import Array


def differential(
    lowered: snn.SpikingGraph, largest: Mapping[str, Array], powers: int
) -> tuple[snn.SpikingGraph, dict[str, DifferentialParams]]:
    """The lowered graph with codings set and biases moved into the neurons, and the neurons.

    ``largest``: per population, the value of the largest spike in step 1, broadcasting to its
    shape; ``powers`` levels, each half the next.

    Raises GraphError where a node reads rate-coded and differential signals at once.
    """
    coding: dict[str, snn.Coding] = {}
    neurons: dict[str, DifferentialParams] = {}
    nodes: list[snn.Node] = []
    zero = np.zeros((), np.float32)
    for node in lowered.nodes:
        read = _coding_of(node, coding)
        coding[node.name] = read
        match node:
            case snn.Population():
                coding[node.name] = "differential"
                first = largest[node.name]
                if node.ceiling is not None:  # one spike of step 1 reaches it, and none passes it
                    first = np.minimum(first, np.float32(node.ceiling))
                neurons[node.name] = DifferentialParams(
                    v_threshold=first / np.float32(1 << (powers - 1)),
                    powers=powers,
                    bias=node.bias,
                    source=read,
                    ceiling=node.ceiling,
                )
                ann_bias = node.bias if node.ann_bias is None else node.ann_bias
                nodes.append(replace(node, bias=zero, ann_bias=ann_bias))
            case snn.MaxPool() | snn.Analog() | snn.Readout():
                nodes.append(replace(node, coding=read))
            case _:
                nodes.append(node)
    return replace(lowered, nodes=tuple(nodes)), neurons


def _coding_of(node: snn.Node, coding: Mapping[str, snn.Coding]) -> snn.Coding:
    """How what a node reads is coded (an input: how it is injected)."""
    read = {coding[name] for name in node.inputs}
    if len(read) > 1:
        raise GraphError(
            "reads the input current and differential spikes at once, which are decoded "
            "differently",
            where=f"node '{node.name}'",
            remedy="Use another recipe for this network, such as --recipe graded.",
            code="E411",
        )
    return read.pop() if read else "rate"
