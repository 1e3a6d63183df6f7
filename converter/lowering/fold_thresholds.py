"""Normalization: thresholds from activation statistics, folded into the weights that read them.

A population emits integer spikes k; its output in the ANN's unit is k * theta (theta may differ
per channel). ``set_thresholds`` multiplies theta into the weights of whatever reads the spikes, so
that membrane potentials keep the ANN's unit, residual sums stay exact, and a synapse only
accumulates. It is the threshold form of weight normalization (Diehl et al. 2015; Rueckauer et al.
2017): W theta_in with threshold theta_out spikes exactly as W theta_in / theta_out with 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TypeVar

import numpy as np

from ...runtime import graph as snn
from ...runtime import ops
from ...runtime.names import Names
from ...runtime.neurons import Neuron
from ...runtime.ops import Array, Shape
from .lower import compact_scale


def set_thresholds(graph: snn.SpikingGraph, neurons: Mapping[str, Neuron]) -> snn.SpikingGraph:
    """``graph`` (lowered, unit thresholds) with these neurons, thresholds folded into readers.

    A scale travels forward from its population through pooling, reshaping and concatenation into
    the weights of the next Linear, Conv or ConvTranspose. Where it cannot (a skip connection into
    a sum, channels with different thresholds reduced together), a Scale synapse stays.
    """
    folding = _Folding(graph)
    for node in graph.nodes:
        folding.visit(node, neurons)
    return replace(graph, nodes=tuple(folding.nodes))


D = TypeVar("D", snn.Synapse, snn.MaxPool, snn.Delay)


class _Folding:
    """One walk over a graph. ``pending[name]`` times what node ``name`` now emits is its value."""

    def __init__(self, graph: snn.SpikingGraph) -> None:
        self.nodes: list[snn.Node] = []
        self.shapes: dict[str, Shape] = {n.name: n.shape for n in graph.nodes}
        self.pending: dict[str, Array | None] = {}
        self.source: dict[str, str] = {}  # a folded Scale's readers read its source
        self.scaled: dict[str, str] = {}  # names of Scale nodes made on the way
        self.names = Names(self.shapes)

    def visit(self, node: snn.Node, neurons: Mapping[str, Neuron]) -> None:
        match node:
            case snn.Input():
                self._emit(node, None)
            case snn.Population():
                neuron = neurons[node.name]
                self._emit(
                    replace(node, inputs=self._whole(node.inputs), neuron=neuron),
                    compact_scale(neuron.v_threshold),
                )
            case snn.MaxPool():
                scale = self._scale(node.inputs[0])
                if _spatially_constant(scale) and not np.any(node.bias) and _positive(scale):
                    self._emit(self._reading(node), scale)
                else:
                    self._emit(replace(node, inputs=self._whole(node.inputs)), None)
            case snn.Delay():
                self._emit(self._reading(node), self._scale(node.inputs[0]))
            case snn.Synapse():
                self._synapse(node)
            case _:
                self._emit(replace(node, inputs=self._whole(node.inputs)), None)

    def _synapse(self, node: snn.Synapse) -> None:
        scales = [self._scale(name) for name in node.inputs]
        if all(s is None for s in scales) and not isinstance(node.op, ops.Scale):
            self._emit(self._reading(node), None)
            return
        shapes = [self.shapes[name] for name in node.inputs]
        if isinstance(node.op, ops.Linear | ops.Conv | ops.ConvTranspose):
            folded = _fold(node.op, scales[0], shapes[0])
            if folded is not None:
                ann = None if node.ann_op is None else _fold(node.ann_op, scales[0], shapes[0])
                inputs = (self._now(node.inputs[0]),)
                self._emit(replace(node, inputs=inputs, op=folded, ann_op=ann), None)
                return
        elif isinstance(node.op, ops.Scale):
            if node.op.output_shape(*shapes) == shapes[0]:
                before = np.ones((), np.float32) if scales[0] is None else scales[0]
                self.source[node.name] = self._now(node.inputs[0])
                self.pending[node.name] = compact_scale(before * node.op.scale)
                return
        else:
            moved = carry_scale(node.op, scales, shapes)
            if moved is not None:
                self._emit(self._reading(node), moved)
                return
        self._emit(replace(node, inputs=self._whole(node.inputs)), None)

    def _emit(self, node: snn.Node, pending: Array | None) -> None:
        self.nodes.append(node)
        self.pending[node.name] = pending

    def _now(self, name: str) -> str:
        return self.source.get(name, name)

    def _scale(self, name: str) -> Array | None:
        return self.pending[name]

    def _reading(self, node: D) -> D:
        return replace(node, inputs=tuple(self._now(name) for name in node.inputs))

    def _whole(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of nodes that emit the inputs' true values, Scale nodes added where needed."""
        return tuple(self._materialize(name) for name in names)

    def _materialize(self, name: str) -> str:
        scale = self.pending[name]
        if scale is None or (scale.ndim == 0 and scale == 1):
            return self._now(name)
        if name not in self.scaled:
            # A folded Scale of the ANN comes back under its own name.
            new = name if name in self.source else self.names.new(f"{name}/threshold")
            self.nodes.append(
                snn.Synapse(
                    name=new,
                    inputs=(self._now(name),),
                    shape=self.shapes[name],
                    op=ops.Scale(scale=scale),
                )
            )
            self.scaled[name] = new
        return self.scaled[name]


def _spatially_constant(scale: Array | None) -> bool:
    """Whether a compact scale varies along the first axis at most."""
    return scale is None or prod(scale.shape[1:]) == 1


def _positive(scale: Array | None) -> bool:
    return scale is None or bool(np.all(scale > 0))


def _fold(op: ops.LinearOp, scale: Array | None, shape: Shape) -> ops.LinearOp | None:
    """A weighted operation with a scale of its input multiplied into its weights."""
    if not isinstance(op, ops.Linear | ops.Conv | ops.ConvTranspose):
        return None
    weight = fold_into_weight(op, scale, shape)
    return None if weight is None else replace(op, weight=weight)


def fold_into_weight(
    op: ops.Linear | ops.Conv | ops.ConvTranspose, scale: Array | None, shape: Shape
) -> Array | None:
    """``op.weight`` with a scale of its input multiplied in, or None where that is impossible."""
    if scale is None:
        return op.weight
    if scale.ndim == 0:
        return op.weight * scale
    if isinstance(op, ops.Linear):
        if prod(scale.shape[:-1]) != 1:
            return None
        return op.weight * np.broadcast_to(scale.ravel(), (shape[-1],))
    if not _spatially_constant(scale):
        return None
    channels = np.broadcast_to(scale.ravel(), (shape[0],))
    tail = (1,) * len(op.kernel)
    if isinstance(op, ops.ConvTranspose):
        return op.weight * channels.reshape(-1, 1, *tail)
    # Output channel o of group g reads the input channels of its group.
    per_group = channels.reshape(op.groups, 1, -1, *tail)
    grouped = op.weight.reshape(op.groups, -1, *op.weight.shape[1:])
    return (grouped * per_group).reshape(op.weight.shape)


def carry_scale(op: ops.LinearOp, scales: list[Array | None], shapes: list[Shape]) -> Array | None:
    """The scale of an unweighted op's output such that op(x) * out == op(x * scale), or None."""
    match op:
        case ops.SumPool():
            return scales[0] if _spatially_constant(scales[0]) else None
        case ops.ReduceSum():
            scale = np.broadcast_to(_or_one(scales[0]), shapes[0])
            kept = compact_scale(scale)
            if kept.ndim and any(kept.shape[axis] != 1 for axis in op.axes):
                return None
            index = tuple(slice(0, 1) if i in op.axes else slice(None) for i in range(scale.ndim))
            reduced = scale[index]
            return compact_scale(reduced if op.keepdims else reduced.squeeze(tuple(op.axes)))
        case ops.Add():
            whole = [np.broadcast_to(_or_one(s), op.output_shape(*shapes)) for s in scales]
            same = all(np.array_equal(whole[0], other) for other in whole[1:])
            return compact_scale(whole[0]) if same else None
        case ops.Pad():
            rank = len(shapes[0])
            widths = list(zip(op.pads[:rank], op.pads[rank:], strict=True))
            # What is padded is zero, so any scale will do there: repeat the edge.
            return compact_scale(
                np.pad(np.broadcast_to(_or_one(scales[0]), shapes[0]), widths, mode="edge")
            )
    whole = [
        np.broadcast_to(_or_one(s), shape)[np.newaxis]
        for s, shape in zip(scales, shapes, strict=True)
    ]
    return compact_scale(op.apply(*whole)[0])


def _or_one(scale: Array | None) -> Array:
    return np.ones((), np.float32) if scale is None else scale
