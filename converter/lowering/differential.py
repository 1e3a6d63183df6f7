"""The differential recipe: how each node's input is coded, and the neurons for it.

Populations emit differential spikes. What the network's inputs inject is rate coded (the same
current in every step), so every node that reads it directly gets ``source`` "rate"; max pools and
islands pass on the coding they receive. No node reads both (``ann.passes.one_coding``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from ...errors import GraphError
from ...runtime import graph as snn
from ...runtime.neurons.differential import DifferentialParams
from ...runtime.ops import Array
from ...runtime.semantics.walk import annotate

Source: TypeAlias = Literal["rate", "differential"]


def differential(
    lowered: snn.SpikingGraph, largest: Mapping[str, Array], powers: int
) -> tuple[snn.SpikingGraph, dict[str, DifferentialParams]]:
    """The lowered graph with codings set and biases moved into the neurons, and the neurons.

    ``largest``: per population, the value of the largest spike in step 1, broadcasting to its
    shape; ``powers`` levels, each half the next.

    Raises GraphError (E400) where a node reads rate-coded and differential signals at once.
    """
    rules = _Coded(largest, powers)
    annotate(lowered, rules)
    return replace(lowered, nodes=tuple(rules.nodes)), rules.neurons


class _Coded(snn.Rules[Source]):
    """How what a node sends is coded. ``nodes``: the nodes so far with their codings set."""

    def __init__(self, largest: Mapping[str, Array], powers: int) -> None:
        self.largest, self.powers = largest, powers
        self.nodes: list[snn.Node] = []
        self.neurons: dict[str, DifferentialParams] = {}

    def input(self, node: snn.Input | snn.Synapse | snn.Delay, xs: Sequence[Source]) -> Source:
        read = _coding_read(node, xs)
        self.nodes.append(node)
        return read

    synapse = delay = input

    def population(self, node: snn.Population, xs: Sequence[Source]) -> Source:
        first = self.largest[node.name]
        if node.ceiling is not None:  # one spike of step 1 reaches it, and none passes it
            first = np.minimum(first, np.float32(node.ceiling))
        self.neurons[node.name] = DifferentialParams(
            v_threshold=first / np.float32(1 << (self.powers - 1)),
            powers=self.powers,
            bias=node.bias,
            source=_coding_read(node, xs),
            ceiling=node.ceiling,
        )
        ann_bias = node.bias if node.ann_bias is None else node.ann_bias
        self.nodes.append(replace(node, bias=np.zeros((), np.float32), ann_bias=ann_bias))
        return "differential"

    def max_pool(
        self, node: snn.MaxPool | snn.Analog | snn.Readout, xs: Sequence[Source]
    ) -> Source:
        read = _coding_read(node, xs)
        self.nodes.append(replace(node, coding=read))
        return read

    analog = readout = max_pool


def _coding_read(node: snn.Node, xs: Sequence[Source]) -> Source:
    """How what a node reads is coded (an input: how it is injected)."""
    read = set(xs)
    if len(read) > 1:
        raise GraphError(
            "reads the input current and differential spikes at once, which are decoded "
            "differently",
            where=f"node '{node.name}'",
        )
    return read.pop() if read else "rate"
