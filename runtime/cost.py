"""What a spike costs: fan-out per neuron, dense operations per step, and neuron counts.

A synaptic operation (SynOp) is one accumulate that one spike triggers in one weighted connection
(Linear, Conv, ConvTranspose; zero weights do not count), or in one neuron where spikes reach it
without a weighted operation (a skip connection). Pooling and reshaping before a weighted operation
are part of its connections. A weighted operation that reads currents instead of spikes (a second
convolution without a neuron in between, or the first layer under constant current) is dense: it
costs multiply-accumulates (MACs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .facts import GraphFacts
from .graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Node,
    Population,
    Readout,
    Rules,
    Synapse,
    refused,
    visit,
)
from .ops import Array, LinearOp, MultiplyingOp, Shape, WeightedOp
from .semantics.walk import annotate


@dataclass(frozen=True, eq=False, kw_only=True)
class StaticCost:
    """Costs that do not depend on the input.

    Attributes:
        fan_out: per population, SynOps of one spike of each neuron, shaped like the population.
        passed_on: the same for what else carries spikes: spiking inputs, and max pools of spikes.
        neurons: per population, how many neurons.
        macs_per_step: dense operations in every step.
        macs_once: dense operations once per sample (constant currents).
        macs_ann: dense operations of the ANN for one sample, for comparison.
    """

    fan_out: dict[str, Array]
    passed_on: dict[str, Array]
    neurons: dict[str, int]
    macs_per_step: int
    macs_once: int
    macs_ann: int


def static_cost(facts: GraphFacts) -> StaticCost:
    """Fan-outs and dense operations of a graph (see the module's definitions)."""
    graph, shapes, consumers = facts.graph, facts.shapes, facts.consumers
    fans: dict[str, Array] = {}
    for node in reversed(graph.nodes):
        fans[node.name] = np.zeros(node.shape, np.float64)
        for reader in consumers[node.name]:
            for position, name in enumerate(reader.inputs):
                if name == node.name:
                    use = _Use(node.shape, position, fans, shapes)
                    fans[node.name] += visit(use, reader, ())
    carries, macs = annotate(graph, _Carried()), macs_by_input(facts)
    populations = graph.of(Population)
    return StaticCost(
        fan_out={p.name: fans[p.name] for p in populations},
        passed_on={
            node.name: fans[node.name]
            for node in (*graph.of(Input), *graph.of(MaxPool))
            if carries[node.name] == "spikes"
        },
        neurons={p.name: prod(p.shape) for p in populations},
        macs_per_step=macs["current"],
        macs_once=macs["constant"],
        macs_ann=sum(macs.values()),
    )


def macs_by_input(facts: GraphFacts) -> dict[str, int]:
    """Multiply-accumulates of the ANN for one sample, by what the weighted operation reads in the
    SNN: "constant" (a current that does not change), "current" or "spikes"."""
    carries = annotate(facts.graph, _Carried())
    macs = {"constant": 0, "current": 0, "spikes": 0}
    for node in facts.graph.of(Synapse):
        if isinstance(node.op, WeightedOp):
            macs[carries[node.inputs[0]]] += node.op.uses(facts.shapes[node.inputs[0]])
    return macs


class _Carried(Rules[str]):
    """Does a node emit "spikes", a "current" that varies, or a "constant" current?"""

    def input(self, node: Input, xs: Sequence[str]) -> str:
        return "constant" if node.encoding == "constant" else "spikes"

    def population(self, node: Population, xs: Sequence[str]) -> str:
        return "spikes"

    def max_pool(self, node: MaxPool, xs: Sequence[str]) -> str:
        return "spikes" if set(xs) == {"spikes"} else "current"

    def synapse(self, node: Synapse, xs: Sequence[str]) -> str:
        if isinstance(node.op, WeightedOp):
            return "constant" if set(xs) == {"constant"} else "current"
        return _same(xs)

    def delay(self, node: Delay, xs: Sequence[str]) -> str:
        return _same(xs)

    def analog(self, node: Analog | Readout, xs: Sequence[str]) -> str:
        return "current"

    readout = analog


def _same(carried: Sequence[str]) -> str:
    return carried[0] if len(set(carried)) == 1 else "current"


class _Use(Rules[Array | float]):
    """SynOps that one spike of each neuron of a source, (*shape), triggers in a node that reads it
    as its input ``position``. ``fans``: of the spikes that readers send."""

    def __init__(
        self, shape: Shape, position: int, fans: Mapping[str, Array], shapes: Mapping[str, Shape]
    ) -> None:
        self.shape, self.position, self.fans, self.shapes = shape, position, fans, shapes

    input = refused("an input reads no node")

    def synapse(self, node: Synapse, xs: Sequence[Array | float]) -> Array | float:
        if isinstance(node.op, WeightedOp):
            return node.op.fan_out(self.shape)
        inputs = [self.shapes[name] for name in node.inputs]
        return _unscaled(node.op).adjoint(self.fans[node.name], self.position, inputs)

    def delay(self, node: Delay, xs: Sequence[Array | float]) -> Array | float:
        return self.fans[node.name]

    def population(self, node: Node, xs: Sequence[Array | float]) -> Array | float:
        return 1.0

    # In a pooling unit it is one comparison; what follows is counted there.
    max_pool = analog = readout = population


def _unscaled(op: LinearOp) -> LinearOp:
    """An unweighted operation with scales of one: what counts is where a spike goes."""
    return op.with_factors(np.ones_like(op.factors)) if isinstance(op, MultiplyingOp) else op
