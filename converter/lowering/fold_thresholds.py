"""Normalization: thresholds from activation statistics, folded into the weights that read them.

A population emits integer spikes k; its output in the ANN's unit is k * theta (theta may differ
per channel). ``set_thresholds`` multiplies theta into the weights of whatever reads the spikes, so
that membrane potentials keep the ANN's unit, residual sums stay exact, and a synapse only
accumulates. It is the threshold form of weight normalization (Diehl et al. 2015; Rueckauer et al.
2017): W theta_in with threshold theta_out spikes exactly as W theta_in / theta_out with 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ...runtime import graph as snn
from ...runtime import ops
from ...runtime.neurons import Neuron
from ...runtime.ops import Array, MultiplyingOp, Shape, WeightedOp
from ...runtime.ops.arrays import compact_scale, narrowed, own

MOST = 2**20  # the largest multiple that a sum keeps exact, in single precision with 16 steps


def set_thresholds(graph: snn.SpikingGraph, neurons: Mapping[str, Neuron]) -> snn.SpikingGraph:
    """``graph`` (lowered, unit thresholds) with these neurons, thresholds folded into readers.

    A scale travels forward from its population through pooling, reshaping and concatenation into
    the weights of the next Linear, Conv or ConvTranspose. Where it cannot (a skip connection into
    a sum, channels with different thresholds reduced together), a Scale synapse stays.
    """
    folding = _Folding(graph, neurons)
    for node in graph.nodes:
        snn.visit(folding, node, ())
    return replace(graph, nodes=tuple(folding.nodes))


D = TypeVar("D", snn.Synapse, snn.MaxPool, snn.Delay)


class _Folding(snn.Rules[None]):
    """One walk over a graph. ``pending[name]`` times what node ``name`` now emits is its value."""

    def __init__(self, graph: snn.SpikingGraph, neurons: Mapping[str, Neuron]) -> None:
        self.neurons = neurons
        self.nodes: list[snn.Node] = []
        self.shapes: dict[str, Shape] = {n.name: n.shape for n in graph.nodes}
        self.pending: dict[str, Array | None] = {}
        self.source: dict[str, str] = {}  # a folded Scale's readers read its source
        self.scaled: dict[str, str] = {}  # names of Scale nodes made on the way
        self.names = snn.Names(self.shapes)

    def input(self, node: snn.Input, xs: Sequence[None]) -> None:
        self._emit(node, None)

    def population(self, node: snn.Population, xs: Sequence[None]) -> None:
        neuron = self.neurons[node.name]
        self._emit(
            replace(node, inputs=self._whole(node.inputs), neuron=neuron),
            compact_scale(neuron.v_threshold),
        )

    def max_pool(self, node: snn.MaxPool, xs: Sequence[None]) -> None:
        scale, shape = self._scale(node.inputs[0]), self.shapes[node.inputs[0]]
        moved = None if np.any(node.bias) else node.op.carry_scale([scale], [shape])
        if moved is not None:
            self._emit(self._reading(node), moved)
        else:
            self._emit(replace(node, inputs=self._whole(node.inputs)), None)

    def delay(self, node: snn.Delay, xs: Sequence[None]) -> None:
        self._emit(self._reading(node), self._scale(node.inputs[0]))

    def analog(self, node: snn.Analog | snn.Readout, xs: Sequence[None]) -> None:
        self._emit(replace(node, inputs=self._whole(node.inputs)), None)

    readout = analog

    def synapse(self, node: snn.Synapse, xs: Sequence[None]) -> None:
        scales = [self._scale(name) for name in node.inputs]
        scaling = isinstance(node.op, MultiplyingOp) and not isinstance(node.op, WeightedOp)
        if all(s is None for s in scales) and not scaling:
            self._emit(self._reading(node), None)
            return
        shapes = [self.shapes[name] for name in node.inputs]
        if isinstance(node.op, WeightedOp):
            folded = _folded(node, scales[0], shapes[0])
            if folded is not None:
                self._emit(replace(folded, inputs=(self._now(node.inputs[0]),)), None)
                return
        elif isinstance(node.op, MultiplyingOp):
            if node.op.output_shape(*shapes) == shapes[0]:
                before = np.ones((), np.float32) if scales[0] is None else scales[0]
                self.source[node.name] = self._now(node.inputs[0])
                self.pending[node.name] = compact_scale(before * node.op.factors)
                return
        else:
            moved = node.op.carry_scale(scales, shapes)
            if moved is not None:
                self._emit(self._reading(node), moved)
                return
            unit, factors = self._multiples(node, scales)
            if unit is not None:
                parts = zip(node.inputs, factors, strict=True)
                read = tuple(self._times(name, factor) for name, factor in parts)
                self._emit(replace(node, inputs=read), unit)
                return
        self._emit(replace(node, inputs=self._whole(node.inputs)), None)

    def _multiples(
        self, node: snn.Synapse, scales: Sequence[Array | None]
    ) -> tuple[Array | None, list[float]]:
        """The scale that a sum passes on where its inputs' are whole multiples of the smallest, as
        those of a value and of its negative part are, and the multiples: what is added up is then
        still a whole number of spikes. None where they are not."""
        known = [scale for scale in scales if scale is not None]
        if not node.op.adds or len(known) < len(scales):
            return None, []
        unit = min((np.abs(scale) for scale in known), key=lambda size: float(size.min()))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            factors = [scale / unit for scale in known]
        first = [float(factor.reshape(-1)[0]) for factor in factors]
        same = all(np.all(f == one) for f, one in zip(factors, first, strict=True))
        # A mask of attention adds the lowest number there is: no count of spikes.
        if not same or not all(0 < abs(one) <= MOST and one == round(one) for one in first):
            return None, []
        return compact_scale(unit), first

    def _times(self, name: str, factor: float) -> str:
        """A node that emits ``factor`` times what ``name`` does now."""
        scale = self.pending[name]
        self.pending[name] = np.full((), factor, np.float32)
        made = self._materialize(name)
        self.pending[name] = scale
        return made

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


def _folded(node: snn.Synapse, scale: Array | None, shape: Shape) -> snn.Synapse | None:
    """A weighted synapse whose weights have the ``scale`` of its input in them; None where they
    cannot."""
    op, ann = node.op, node.ann_op
    assert isinstance(op, WeightedOp)
    if scale is None:
        return node
    factor = op.input_factor(scale, shape)
    if factor is None:
        return None
    if isinstance(ann, WeightedOp):
        ann = ann.with_factors(own(ann.weight * factor))
        if node.change is not None:
            change = node.change.scaled(narrowed(factor))
            return replace(
                node, op=op.with_factors(change.of(ann.weight)), ann_op=ann, change=change
            )
    return replace(node, op=op.with_factors(own(op.weight * factor)), ann_op=ann)
