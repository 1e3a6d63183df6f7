"""What a spike costs: fan-out per neuron, dense operations per step, and neuron counts.

A synaptic operation (SynOp) is one accumulate that one spike triggers in one weighted connection
(Linear, Conv, ConvTranspose; zero weights do not count), or in one neuron where spikes reach it
without a weighted operation (a skip connection). Pooling and reshaping before a weighted operation
are part of its connections.

A layer here is a weighted operation, or a matrix product of two signals (one spike of either is
one accumulate for every number of the other that it meets); what it reads says what drives it
(``Drive``):

    spikes    spikes alone: it costs synaptic operations;
    input     the input's values under constant encoding: dense, it costs multiply-accumulates
              (MACs), but once per sample, since they stay the same;
    analog    values that differ from step to step: what an analog island computes, or currents
              that no neuron turned into spikes (a second convolution behind a first). Dense, and in
              every step; spikes that add to such values cost nothing more there.

Analog islands are dense in every step too; ``file.macs`` counts what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from .facts import GraphFacts
from .file.macs import island_cost
from .graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Node,
    Population,
    Product,
    Readout,
    Rules,
    Synapse,
    islands,
    refused,
    visit,
)
from .ops import Array, LinearOp, MultiplyingOp, Shape, WeightedOp
from .semantics.walk import annotate

# Energy of arithmetic and memory in pJ, the figures that the field compares with.
HOROWITZ = "Horowitz, ISSCC 2014, 45 nm, 0.9 V"
FLOAT_ADD, FLOAT_MULTIPLY = 0.9, 3.7  # 32 bits
FLOAT_MAC = 4.6
WHOLE_ADD, BYTE_MULTIPLY = 0.1, 0.2  # 32 bits; 8 bits
CACHE_BYTE = 10 / 8  # of an 8 kB cache that is read 64 bits at a time

Drive: TypeAlias = Literal["spikes", "input", "analog"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCost:
    """A weighted operation: what drives it, and its MACs in the ANN."""

    drive: Drive
    macs: int


@dataclass(frozen=True, eq=False, kw_only=True)
class StaticCost:
    """Costs that do not depend on the input.

    Attributes:
        fan_out: per population, SynOps of one spike of each neuron, shaped like the population.
        passed_on: the same for what else carries spikes: spiking inputs, and max pools of spikes.
        neurons: per population, how many neurons.
        macs_per_step: dense operations in every step, on analog values: of layers and islands.
        macs_once: dense operations once per sample, on the input's values.
        macs_ann: dense operations of the ANN for one sample, for comparison.
        layers: the weighted operations, by name.
        islands: how many analog islands there are.
        uncounted: operations of islands that no MACs are known for.
    """

    fan_out: dict[str, Array]
    passed_on: dict[str, Array]
    neurons: dict[str, int]
    macs_per_step: int
    macs_once: int
    macs_ann: int
    layers: Mapping[str, LayerCost]
    islands: int = 0
    uncounted: tuple[str, ...] = ()


def static_cost(facts: GraphFacts) -> StaticCost:
    """Fan-outs and dense operations of a graph (see the module's definitions)."""
    graph, shapes, consumers = facts.graph, facts.shapes, facts.consumers
    carries = annotate(graph, _Carried())
    fans: dict[str, Array] = {}
    for node in reversed(graph.nodes):
        fans[node.name] = np.zeros(node.shape, np.float64)
        for reader in consumers[node.name]:
            for position, name in enumerate(reader.inputs):
                if name == node.name:
                    driven = carries[name] == "spikes"
                    driven = driven and (
                        not _weighted(reader) or _drive(reader, carries) == "spikes"
                    )
                    use = _Use(node.shape, position, fans, shapes, driven=driven)
                    fans[node.name] += visit(use, reader, ())
    layers = layer_costs(facts, carries)
    # An island with several outputs is one model, which several nodes read.
    alone = islands(graph)
    inside = {(node.model, node.inputs): island_cost(node.model) for node in alone}
    within = sum(found.macs for found in inside.values())
    dense = {drive: _macs(layers, drive) for drive in _DRIVES.values()}
    populations = graph.of(Population)
    return StaticCost(
        fan_out={p.name: fans[p.name] for p in populations},
        passed_on={
            node.name: fans[node.name]
            for node in (*graph.of(Input), *graph.of(MaxPool))
            if carries[node.name] == "spikes"
        },
        neurons={p.name: prod(p.shape) for p in populations},
        macs_per_step=dense["analog"] + within,
        macs_once=dense["input"],
        macs_ann=sum(dense.values()) + within,
        layers=layers,
        islands=len(inside),
        uncounted=tuple(dict.fromkeys(n for found in inside.values() for n in found.uncounted)),
    )


def _macs(layers: Mapping[str, LayerCost], drive: Drive) -> int:
    return sum(layer.macs for layer in layers.values() if layer.drive == drive)


def layer_costs(
    facts: GraphFacts, carries: Mapping[str, str] | None = None
) -> dict[str, LayerCost]:
    """The weighted operations by name. ``carries``: what every node emits, where that is known."""
    carries = annotate(facts.graph, _Carried()) if carries is None else carries
    return {
        node.name: LayerCost(drive=_drive(node, carries), macs=_uses(node, facts.shapes))
        for node in facts.graph.nodes
        if _weighted(node)
    }


def _weighted(node: Node) -> bool:
    return isinstance(node, Product) or (
        isinstance(node, Synapse) and isinstance(node.op, WeightedOp)
    )


def _uses(node: Node, shapes: Mapping[str, Shape]) -> int:
    """Terms in all numbers that a weighted operation gives."""
    first = shapes[node.inputs[0]]
    if isinstance(node, Synapse) and isinstance(node.op, WeightedOp):
        return node.op.uses(first)
    return prod(node.shape) * first[-1]


def _drive(node: Node, carries: Mapping[str, str]) -> Drive:
    if isinstance(node, Product):  # of running sums, which differ from step to step
        return "spikes" if {carries[name] for name in node.inputs} == {"spikes"} else "analog"
    return _DRIVES[carries[node.inputs[0]]]


_DRIVES: Mapping[str, Drive] = {"spikes": "spikes", "constant": "input", "current": "analog"}


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
    as its input ``position``. ``fans``: of the spikes that readers send; ``driven``: the source
    carries spikes alone."""

    def __init__(
        self,
        shape: Shape,
        position: int,
        fans: Mapping[str, Array],
        shapes: Mapping[str, Shape],
        *,
        driven: bool,
    ) -> None:
        self.shape, self.position, self.fans, self.shapes = shape, position, fans, shapes
        self.driven = driven

    input = refused("an input reads no node")

    def synapse(self, node: Synapse, xs: Sequence[Array | float]) -> Array | float:
        if isinstance(node.op, WeightedOp):
            return node.op.fan_out(self.shape) if self.driven else 0.0
        inputs = [self.shapes[name] for name in node.inputs]
        return _unscaled(node.op).adjoint(self.fans[node.name], self.position, inputs)

    def delay(self, node: Delay, xs: Sequence[Array | float]) -> Array | float:
        return self.fans[node.name]

    def population(self, node: Node, xs: Sequence[Array | float]) -> Array | float:
        return 1.0

    # In a pooling unit it is one comparison; what follows is counted there.
    max_pool = readout = population

    def analog(self, node: Analog, xs: Sequence[Array | float]) -> Array | float:
        if not isinstance(node, Product):
            return 1.0
        return _uses(node, self.shapes) / prod(self.shape) if self.driven else 0.0


def _unscaled(op: LinearOp) -> LinearOp:
    """An unweighted operation with scales of one: what counts is where a spike goes."""
    return op.with_factors(np.ones_like(op.factors)) if isinstance(op, MultiplyingOp) else op
