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
from itertools import product
from math import prod

import numpy as np

from .graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Node,
    Population,
    Readout,
    Rules,
    SpikingGraph,
    Synapse,
    refused,
    visit,
)
from .ops import Array, Broadcast, Concat, LinearOp, Pad, Reshape, Shape, Slice, Take, Transpose
from .ops.convolution import Conv, ConvTranspose
from .ops.linear import Add, Linear, ReduceSum, Scale
from .ops.pool import SumPool
from .semantics.walk import annotate

WEIGHTED = (Linear, Conv, ConvTranspose)


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


def static_cost(graph: SpikingGraph) -> StaticCost:
    """Fan-outs and dense operations of a graph (see the module's definitions)."""
    shapes = {node.name: node.shape for node in graph.nodes}
    fans: dict[str, Array] = {}
    consumers = graph.consumers()
    for node in reversed(graph.nodes):
        fans[node.name] = np.zeros(node.shape, np.float64)
        for reader in consumers[node.name]:
            for position, name in enumerate(reader.inputs):
                if name == node.name:
                    use = _Use(node.shape, position, fans, shapes)
                    fans[node.name] += visit(use, reader, ())
    carries = annotate(graph, _Carried())
    macs = {"constant": 0, "current": 0, "spikes": 0}
    for node in graph.of(Synapse):
        if isinstance(node.op, WEIGHTED):
            macs[carries[node.inputs[0]]] += weighted_uses(node.op, shapes[node.inputs[0]])
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


class _Carried(Rules[str]):
    """Does a node emit "spikes", a "current" that varies, or a "constant" current?"""

    def input(self, node: Input, xs: Sequence[str]) -> str:
        return "constant" if node.encoding == "constant" else "spikes"

    def population(self, node: Population, xs: Sequence[str]) -> str:
        return "spikes"

    def max_pool(self, node: MaxPool, xs: Sequence[str]) -> str:
        return "spikes" if set(xs) == {"spikes"} else "current"

    def synapse(self, node: Synapse, xs: Sequence[str]) -> str:
        if isinstance(node.op, WEIGHTED):
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
        if isinstance(node.op, WEIGHTED):
            return uses_per_input(node.op, self.shape)
        inputs = [self.shapes[name] for name in node.inputs]
        return adjoint(node.op, self.fans[node.name], inputs, self.position)

    def delay(self, node: Delay, xs: Sequence[Array | float]) -> Array | float:
        return self.fans[node.name]

    def population(self, node: Node, xs: Sequence[Array | float]) -> Array | float:
        return 1.0

    # In a pooling unit it is one comparison; what follows is counted there.
    max_pool = analog = readout = population


def weighted_uses(op: Linear | Conv | ConvTranspose, shape: Shape) -> int:
    """Nonzero weight uses of one dense evaluation on an input of ``shape``."""
    return int(uses_per_input(op, shape).sum())


def uses_per_input(op: Linear | Conv | ConvTranspose, shape: Shape) -> Array:
    """For every input element, in how many nonzero weighted connections it takes part."""
    if isinstance(op, Linear):
        return np.broadcast_to((op.weight != 0).sum(axis=0), shape).astype(np.float64)
    rank = len(op.kernel)
    nonzero = (op.weight != 0).astype(np.float64)
    if isinstance(op, Conv):
        # weight (out, in/groups, k): each input channel is read by its own group's outputs
        per_group = nonzero.reshape(op.groups, -1, *nonzero.shape[1:]).sum(axis=1)
        uses = per_group.reshape(-1, *op.kernel)  # (in channels, *kernel)
        out_spatial = op.output_shape(shape)[1:]
        begin, end = op.pads[:rank], op.pads[rank:]
        padded = np.zeros(
            (shape[0], *(n + b + e for n, b, e in zip(shape[1:], begin, end, strict=True)))
        )
        for offset in product(*(range(k) for k in op.kernel)):
            padded[(slice(None), *_section(offset, op.dilations, op.strides, out_spatial))] += uses[
                (slice(None), *offset)
            ].reshape(-1, *(1,) * rank)
        return padded[
            (slice(None), *(slice(b, b + n) for b, n in zip(begin, shape[1:], strict=True)))
        ]
    uses = nonzero.sum(axis=1)  # (in channels, *kernel): the outputs of its group
    full = np.zeros(op._full(shape[1:]))
    inside = tuple(
        slice(b, n - e) for n, b, e in zip(full.shape, op.pads[:rank], op.pads[rank:], strict=True)
    )
    full[inside] = 1
    total = np.zeros(shape)
    for offset in product(*(range(k) for k in op.kernel)):
        reached = full[_section(offset, op.dilations, op.strides, shape[1:])]
        total += uses[(slice(None), *offset)].reshape(-1, *(1,) * rank) * reached
    return total


def _section(offset: Shape, dilations: Shape, strides: Shape, count: Shape) -> tuple[slice, ...]:
    """Where kernel element ``offset`` of all windows lies along the padded spatial axes."""
    return tuple(
        slice(o * d, o * d + s * (n - 1) + 1, s)
        for o, d, s, n in zip(offset, dilations, strides, count, strict=True)
    )


def adjoint(op: LinearOp, g: Array, inputs: list[Shape], position: int) -> Array:
    """The transpose of an unweighted op's connection pattern (scales taken as one), applied to g:
    how much of ``g`` each element of input ``position`` reaches."""
    shape = inputs[position]
    match op:
        case Scale() | Add() | Broadcast():
            return _sum_to(g, shape)
        case SumPool():
            rank = len(op.kernel)
            begin, end = op.pads[:rank], op.pads[rank:]
            padded = np.zeros(
                (shape[0], *(n + b + e for n, b, e in zip(shape[1:], begin, end, strict=True)))
            )
            for offset in product(*(range(k) for k in op.kernel)):
                section = _section(offset, op.dilations, op.strides, g.shape[1:])
                padded[(slice(None), *section)] += g
            inner = (slice(b, b + n) for b, n in zip(begin, shape[1:], strict=True))
            return padded[(slice(None), *inner)]
        case ReduceSum():
            if not op.keepdims:
                g = np.expand_dims(g, tuple(op.axes))
            return np.broadcast_to(g, shape)
        case Concat() | Pad() | Slice() | Take() | Reshape() | Transpose():
            return _scatter_back(op, g, inputs, position)
    raise TypeError(f"{type(op).__name__} is a weighted operation")


def _scatter_back(op: LinearOp, g: Array, inputs: list[Shape], position: int) -> Array:
    """Adjoint of an op that only moves elements, found by moving their indices (0 = nothing)."""
    index = [
        (np.arange(1, prod(s) + 1) if i == position else np.zeros(prod(s), np.int64)).reshape(1, *s)
        for i, s in enumerate(inputs)
    ]
    moved = op.apply(*index)[0].ravel()
    size = prod(inputs[position])
    return np.bincount(moved, weights=g.ravel(), minlength=size + 1)[1:].reshape(inputs[position])


def _sum_to(g: Array, shape: Shape) -> Array:
    """Undo broadcasting: sum ``g`` over the axes along which ``shape`` was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=axes, keepdims=True) if axes else g
