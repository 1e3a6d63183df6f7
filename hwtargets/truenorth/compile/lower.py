"""A spiking graph as TrueNorth can run it: binary spikes everywhere, in units of neurons.

    Input (constant current)  ->  spikes at the rate (x - low) / (high - low); low times the
                                  weights is a constant, so it becomes part of the bias
    Population that codes it  ->  the same spikes, from the host; the input itself is then no line
    Population                ->  a unit
    average or sum pool       ->  a unit that adds spikes: threshold = spikes per output spike
    MaxPool                   ->  units in a tree of  max(a, b) = a + relu(b - a)
    Readout                   ->  a unit of counting neurons: logits + offset >= 0, ``copies`` of
                                  each with staggered initial potentials

Staggering (Hermite's identity, sum_j floor((x + j) / L) = floor(x) ...): L copies of a neuron with
thresholds theta and potentials j theta / L count together what one neuron of threshold theta / L
would, and never need more than one spike per step each.

Ranges are measured on calibration samples in analog mode (rates, no spikes); the analog values
are also the targets that weight coding is fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from ....errors import TargetError
from ....runtime import graph as g
from ....runtime.facts import GraphFacts
from ....runtime.neurons import NeuronParams
from ....runtime.ops import Array, MultiplyingOp, Shape
from ....runtime.semantics.walk import annotate
from ...view.coders import Coder, coders_of
from ...view.lines import Block, Signal, Wires, apply, blocks_of, currents_of
from . import outputs, pools

Role: TypeAlias = Literal["neurons", "pool", "max", "readout"]
CHUNK = 1 << 26  # gathered elements at a time in the analog pass


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """An input: lines first .. first + size - 1 carry (x - low) / (high - low) spikes per step.
    low, high: of the sample's shape. ``coder``: the lines are those of a population that codes it
    (``view.coders``); its rates are then 0 to 1."""

    name: str
    shape: Shape
    first: int
    low: Array
    high: Array
    coder: Coder | None = None

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Unit:
    """Neurons of one kind in the float domain; lines first .. first + size - 1 are their spikes.

    Attributes:
        name: unique; ``layer``: the graph node it is for.
        blocks: what they read, per spike, in the unit of the membrane.
        bias, threshold, v_init: float64 (size,). reset, v_reset: as ``NeuronParams``.
        target: float32 (samples, size): input per step in analog mode, None without samples.
        copies: staggered copies (the slow axis of the lines).
    """

    name: str
    layer: str
    role: Role
    shape: Shape
    first: int
    blocks: tuple[Block, ...]
    bias: Array
    threshold: Array
    v_init: Array
    reset: Literal["subtract", "zero"] = "subtract"
    v_reset: float = 0.0
    copies: int = 1
    target: Array

    @property
    def size(self) -> int:
        return len(self.bias)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """A readout: out = sum over its unit's copies of spikes * value / steps - offset."""

    name: str
    shape: Shape
    unit: str
    value: Array
    offset: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Lowered:
    """``lines``: how many there are; ``rates``: float32 (samples, lines), analog."""

    sources: tuple[Source, ...]
    units: tuple[Unit, ...]
    readings: tuple[Reading, ...]
    lines: int
    rates: Array
    notes: tuple[str, ...] = ()


def lower(
    graph: g.SpikingGraph, samples: Mapping[str, Array], *, output_copies: int = 4
) -> Lowered:
    """The units of ``graph``. ``samples``: calibration inputs by name, (n, *shape) each.

    Raises TargetError for nodes without a TrueNorth form (check ``truenorth_rules`` first).
    """
    facts = GraphFacts(graph)
    lowering = _Lowering(samples, output_copies, {n: Coder(facts, n) for n in coders_of(facts)})
    annotate(graph, _Signals(lowering))
    return lowering.result()


class _Signals(g.Rules[Signal]):
    """What a node sends; its units are added to ``lowering``."""

    def __init__(self, lowering: _Lowering) -> None:
        self.lowering = lowering

    def input(self, node: g.Input, xs: Sequence[Signal]) -> Signal:
        return self.lowering.input(node)

    def synapse(self, node: g.Synapse, xs: Sequence[Signal]) -> Signal:
        sums = node.op.pattern == "windows" and not isinstance(node.op, MultiplyingOp)
        if sums and len(xs[0].terms) == 1:
            pooled = pools.add_up(self.lowering, node, xs[0])
            if pooled is not None:
                return pooled
        return apply(node.op, list(xs), node.name)

    def population(self, node: g.Population, xs: Sequence[Signal]) -> Signal:
        return self.lowering.population(node, xs[0])

    def max_pool(self, node: g.MaxPool, xs: Sequence[Signal]) -> Signal:
        return pools.maximum(self.lowering, node, xs[0])

    def readout(self, node: g.Readout, xs: Sequence[Signal]) -> Signal:
        return self.lowering.readout(node, xs[0])

    def analog(self, node: g.Analog, xs: Sequence[Signal]) -> Signal:
        raise TargetError(
            f"an analog island ({', '.join(node.ops)}) has no neurons",
            where=f"node '{node.name}'",
            remedy="Replace these operations in the model by ones that spike.",
            code="E521",
        )

    def delay(self, node: g.Delay, xs: Sequence[Signal]) -> Signal:
        raise TargetError(
            f"a delay of {node.steps} steps beside a start lag has no neurons",
            where=f"node '{node.name}'",
            remedy="Convert without a start lag.",
            code="E521",
        )


@dataclass(eq=False)
class _Lowering:
    """What has been made so far, and the rates of all lines."""

    samples: Mapping[str, Array]
    output_copies: int
    coders: Mapping[str, Coder]
    sources: list[Source] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    rates: list[Array] = field(default_factory=list)
    lines: int = 0
    notes: list[str] = field(default_factory=list)

    def result(self) -> Lowered:
        return Lowered(
            sources=tuple(self.sources),
            units=tuple(self.units),
            readings=tuple(self.readings),
            lines=self.lines,
            rates=np.concatenate(self.rates, axis=1),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def new_lines(self, shape: Shape, rates: Array, scale: Array | float) -> Signal:
        """New lines as a signal; ``scale``: what one spike is worth."""
        ids = np.arange(self.lines, self.lines + prod(shape)).reshape(shape)
        self.lines += prod(shape)
        self.rates.append(rates.reshape(len(rates), -1).astype(np.float32))
        wires = Wires(ids, np.broadcast_to(np.asarray(scale, np.float64), shape))
        return Signal(shape=shape, constant=np.zeros(shape), terms=(wires,))

    def input(self, node: g.Input) -> Signal:
        if self.coders:
            return Signal(shape=node.shape, constant=np.zeros(node.shape))
        x = np.asarray(self.samples[node.name], np.float64)
        axes = (0, *range(2, x.ndim)) if x.ndim > 2 else (0,)
        low = np.minimum(x.min(axis=axes, keepdims=True)[0], 0.0)
        high = np.maximum(x.max(axis=axes, keepdims=True)[0], 0.0)
        whole = (float(low.min(initial=0.0)), max(float(high.max(initial=0.0)), 1e-6))
        silent = high - low < 1e-3 * (whole[1] - whole[0])  # says nothing: take the whole range
        low, high = np.where(silent, whole[0], low), np.where(silent, whole[1], high)
        low, high = (np.broadcast_to(a, node.shape) for a in (low, high))
        self.sources.append(
            Source(name=node.name, shape=node.shape, first=self.lines, low=low, high=high)
        )
        signal = self.new_lines(node.shape, (x - low) / (high - low), high - low)
        return Signal(shape=signal.shape, constant=np.array(low), terms=signal.terms)

    def add_unit(
        self,
        name: str,
        *,
        layer: str,
        role: Role,
        shape: Shape,
        blocks: Sequence[Block],
        bias: Array,
        threshold: Array,
        v_init: Array,
        ceiling: float = 1.0,
        **more: object,
    ) -> tuple[Array, Unit]:
        """Add a unit; its analog rates and itself (its lines are numbered by ``new_lines``)."""
        size = len(bias)
        target = self.analog(blocks, size) + bias.astype(np.float32)
        unit = Unit(
            name=name,
            layer=layer,
            role=role,
            shape=shape,
            first=self.lines,
            blocks=tuple(blocks),
            bias=bias.astype(np.float64),
            threshold=np.array(np.broadcast_to(threshold, size), np.float64),
            v_init=np.array(np.broadcast_to(v_init, size), np.float64),
            target=target,
            **more,  # type: ignore[arg-type]
        )
        self.units.append(unit)
        return np.clip(target / unit.threshold, 0.0, ceiling), unit

    def analog(self, blocks: Sequence[Block], size: int) -> Array:
        """The blocks' sum on the analog rates so far, float32 (samples, size)."""
        rates = np.concatenate(self.rates, axis=1) if self.rates else np.zeros((0, 0), np.float32)
        gathered = max((b.fields.size for b in blocks), default=1)
        step = max(CHUNK // gathered, 1)
        parts = [currents_of(blocks, rates[i : i + step], size) for i in range(0, len(rates), step)]
        return np.concatenate(parts)

    def coding(self, coder: Coder) -> Signal:
        """The spikes of a population that codes an input, which the host sends."""
        shape = coder.node.shape
        low, high = np.zeros(shape), np.ones(shape)
        self.sources.append(
            Source(name=coder.name, shape=shape, first=self.lines, low=low, high=high, coder=coder)
        )
        return self.new_lines(shape, coder.rates(self.samples), 1.0)

    def population(self, node: g.Population, signal: Signal) -> Signal:
        if node.name in self.coders:
            return self.coding(self.coders[node.name])
        neuron = _integrate_and_fire(node)
        flat = {
            name: np.broadcast_to(array, node.shape).reshape(-1).astype(np.float64)
            for name, array in (
                ("bias", signal.constant + node.bias),
                ("threshold", neuron.v_threshold),
                ("v_init", neuron.v_init),
            )
        }
        rates, _ = self.add_unit(
            node.name,
            layer=node.name,
            role="neurons",
            shape=node.shape,
            blocks=blocks_of(signal),
            bias=flat["bias"],
            threshold=flat["threshold"],
            v_init=flat["v_init"],
            reset=neuron.reset,
            v_reset=neuron.v_reset,
        )
        return self.new_lines(node.shape, rates, 1.0)

    def readout(self, node: g.Readout, signal: Signal) -> Signal:
        size, copies = prod(node.shape), self.output_copies
        bias = (signal.constant + node.bias).reshape(-1)
        blocks = blocks_of(signal)
        values = self.analog(blocks, size) + bias
        if node.mode == "count" and node.neuron is not None:
            neuron = _integrate_and_fire(node)
            threshold = np.broadcast_to(neuron.v_threshold, node.shape).reshape(-1)
            copies, offset = 1, np.zeros(size)
            start = np.broadcast_to(neuron.v_init, node.shape).reshape(-1) / threshold
        else:
            blocks, bias, window, said = outputs.chosen(node.name, blocks, bias, values=values)
            offset, threshold = np.full(size, window.offset), np.full(size, window.top)
            self.notes += said
            start = np.full(size, 0.5 / copies)
        wide = [
            Block(
                fields=b.fields,
                outputs=np.concatenate([b.outputs + j * size for j in range(copies)], axis=1),
                weights=np.tile(b.weights, (copies, 1)),
                grid=b.grid,
                unit=b.unit,
            )
            for b in blocks
        ]
        stagger = np.concatenate([start + j / copies for j in range(copies)])
        wide_threshold = np.tile(threshold, copies).astype(np.float64)
        rates, unit = self.add_unit(
            node.name,
            layer=node.name,
            role="readout",
            shape=node.shape,
            blocks=wide,
            bias=np.tile(bias + offset, copies),
            threshold=wide_threshold,
            v_init=stagger * wide_threshold,
            copies=copies,
        )
        lines = self.new_lines((unit.size,), rates, 1.0)
        self.readings.append(
            Reading(
                name=node.name,
                shape=node.shape,
                unit=node.name,
                value=np.asarray(threshold, np.float64) / copies,
                offset=np.asarray(offset, np.float64),
            )
        )
        return lines


def _integrate_and_fire(node: g.Population | g.Readout) -> NeuronParams:
    if type(node.neuron) is not NeuronParams:
        raise TargetError(
            f"a neuron of the model {type(node.neuron).__name__}",
            where=f"node '{node.name}'",
            remedy="Convert with a recipe of integrate-and-fire neurons.",
            code="E521",
        )
    return node.neuron
