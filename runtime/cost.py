"""What a spike costs: fan-out per neuron, dense operations per step, and neuron counts.

A synaptic operation (SynOp) is one accumulate that one spike triggers in one weighted connection
(Linear, Conv, ConvTranspose; zero weights do not count), or in one neuron where spikes reach it
without a weighted operation (a skip connection). Pooling and reshaping before a weighted operation
are part of its connections. A weighted operation that reads currents instead of spikes (a second
convolution without a neuron in between, or the first layer under constant current) is dense: it
costs multiply-accumulates (MACs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from .facts import GraphFacts
from .graph import Analog, Delay, Input, MaxPool, Node, Population, Readout, SpikingGraph, Synapse
from .ops import Array, LinearOp, MultiplyingOp, Shape, WeightedOp


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
        fans[node.name] = _fan_out(node, consumers[node.name], fans, shapes)
    carries = _what_is_carried(graph)
    macs = {"constant": 0, "current": 0, "spikes": 0}
    for node in graph.of(Synapse):
        if isinstance(node.op, WeightedOp):
            macs[carries[node.inputs[0]]] += node.op.uses(shapes[node.inputs[0]])
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


def _what_is_carried(graph: SpikingGraph) -> dict[str, str]:
    """Per node: does it emit "spikes", a "current" that varies, or a "constant" current?"""
    out: dict[str, str] = {}
    for node in graph.nodes:
        before = {out[name] for name in node.inputs}
        match node:
            case Input():
                out[node.name] = "constant" if node.encoding == "constant" else "spikes"
            case Population():
                out[node.name] = "spikes"
            case MaxPool():
                out[node.name] = "spikes" if before == {"spikes"} else "current"
            case Synapse() if isinstance(node.op, WeightedOp):
                out[node.name] = "constant" if before == {"constant"} else "current"
            case Synapse() | Delay():
                out[node.name] = before.pop() if len(before) == 1 else "current"
            case _:
                out[node.name] = "current"
    return out


def _fan_out(
    node: Node, readers: tuple[Node, ...], fans: dict[str, Array], shapes: Mapping[str, Shape]
) -> Array:
    total = np.zeros(node.shape, np.float64)
    for reader in readers:
        for position, name in enumerate(reader.inputs):
            if name != node.name:
                continue
            if isinstance(reader, Synapse) and isinstance(reader.op, WeightedOp):
                total += reader.op.fan_out(node.shape)
            elif isinstance(reader, Synapse):
                inputs = [shapes[i] for i in reader.inputs]
                total += _unscaled(reader.op).adjoint(fans[reader.name], position, inputs)
            elif isinstance(reader, Delay):
                total += fans[reader.name]
            elif isinstance(reader, MaxPool):
                total += 1  # one comparison in the pooling unit; what follows is counted there
            elif isinstance(reader, Population | Readout | Analog):
                total += 1
    return total


def _unscaled(op: LinearOp) -> LinearOp:
    """An unweighted operation with scales of one: what counts is where a spike goes."""
    return op.with_factors(np.ones_like(op.factors)) if isinstance(op, MultiplyingOp) else op
