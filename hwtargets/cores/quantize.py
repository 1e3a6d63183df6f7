"""Weights, thresholds, biases to a chip's integers, one common exponent per connection.

Per layer one unit of synaptic input, s (ANN units), so that

    I = sum_p floor(2^e_p (W_p k)),   W_p = round(w_p / (s 2^e_p)),   |W_p| < 2^(weight_bits - 1)
    theta = round(threshold / s) 2^shift,   bias = mantissa 2^exponent,   v in units of s / 2^shift

with k the source's integer spikes. ``shift`` is the chip's own alignment of input and membrane
(6 on Loihi), which neurons that send one number per window do without: they are microcode, and need
all bits of the membrane for their weighted charge. What whole numbers leave of their bias is there
from the start of the window, and their unit is a whole part of the threshold. Thresholds that
differ per channel are made equal by scaling the channel's weights, because chips of this kind store
one threshold per layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log2, prod
from typing import Any

import numpy as np

from ...errors import TargetError
from ...runtime import ops
from ...runtime.neurons import (
    Coding,
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WindowedNeuron,
)
from ...runtime.ops import Array, LinearOp, MultiplyingOp, Shape, WeightedOp
from ...runtime.tables import entry
from .. import rules
from ..target import HardwareTarget
from ..view import sparse
from ..view.network import ChipLayer, ChipNetwork, Link, Projection

MAX_COMPOSED = 1 << 24  # entries of a product of two weight matrices
# The lowest potential of a model's neurons, and the one after a reset that does not subtract.
RESTS: dict[type[Neuron], Callable[[Any], tuple[float | None, float]]] = {
    NeuronParams: lambda neuron: (neuron.v_min, neuron.v_reset),
    PacedParams: lambda neuron: (None, 0.0),
    FewSpikeParams: lambda neuron: (None, 0.0),
    TtfsParams: lambda neuron: (None, 0.0),
}

# What the steps of a window of so many steps are worth together.
WEIGHTS: Mapping[str, Callable[[int], int]] = {
    "rate": lambda steps: steps,
    "paced": lambda steps: steps * (steps + 1) // 2,
    "few-spike": lambda steps: 2**steps - 1,
}

# What may follow weights whose output channels are scaled; None: their channels are not scaled.
KEEPING_CHANNELS: dict[type, set[type] | None] = {
    ops.Linear: set(),
    ops.Conv: {ops.SumPool},
    ops.ConvTranspose: None,
    ops.Scale: {ops.SumPool},
}


@dataclass(frozen=True, eq=False, kw_only=True)
class IntProjection:
    """current = floor(2^exponent ops(k)): ``ops`` with integer weights. ``host``: ops are in
    floating point and run on the host once per sample (analog input as bias). ``narrow``: no
    partial sum can exceed 2^24, so float32 holds it exactly. ``delay``: steps the spikes wait."""

    source: str
    ops: tuple[LinearOp, ...]
    exponent: int = 0
    host: bool = False
    narrow: bool = False
    delay: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class IntLayer:
    """A layer in integers. ``unit``: ANN units per step of the membrane, for channels scaled to one
    threshold as many as these have; ``bias``, ``v_init``, ``threshold``, ``v_min``, ``v_reset`` are
    in these steps; ``neuron`` is None for a membrane readout. ``coding``:
    how a readout weighs steps."""

    name: str
    shape: Shape
    projections: tuple[IntProjection, ...]
    bias: Array
    unit: float
    shift: int
    neuron: Neuron | None = None
    threshold: Array | None = None
    v_init: Array | None = None
    v_min: Array | None = None
    v_reset: Array | int = 0
    coding: Coding = "rate"


@dataclass(frozen=True, eq=False, kw_only=True)
class IntNetwork:
    """``input_mode``: "graded" (integers of step ``input_unit`` sent in every step), "bias" (the
    host computes the first layer's current), "population" (encoding neurons), "spikes" (the graph
    itself encodes). ``state_max``: largest membrane; ``strict``: fires at v > threshold."""

    layers: tuple[IntLayer, ...]
    input_mode: str
    input_unit: float
    input_max: float
    state_max: float
    strict: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class _Chain:
    """A projection as before -> carrier (the operation with the weights) -> after."""

    projection: Projection
    before: tuple[LinearOp, ...]
    carrier: MultiplyingOp
    after: tuple[LinearOp, ...]

    @property
    def weights(self) -> Array:
        return self.carrier.factors

    def with_weights(self, w: Array) -> tuple[LinearOp, ...]:
        return (*self.before, self.carrier.with_factors(w), *self.after)


def quantize(
    network: ChipNetwork, target: HardwareTarget, mode: str, largest_input: float, steps: int
) -> IntNetwork:
    """The network in the chip's integers. ``mode``: how analog input enters (see ``IntNetwork``);
    ``largest_input``: of |x|, which sets the input's unit; ``steps``: T, for which readouts must
    not overflow."""
    spiking = {n.name for n in network.inputs if n.encoding != "constant"}
    mode = "spikes" if network.inputs and len(spiking) == len(network.inputs) else mode
    bits = int(target.limit("input_bits"))
    unit = {
        "graded": largest_input / (2**bits - 1),
        "population": largest_input,
        "bias": 1.0,
        "spikes": 1.0,
    }[mode]
    notes: list[str] = []
    names = {n.name for n in network.inputs}
    state_max = 2.0 ** (target.limit("state_bits") - 1) - 1
    build = _Builder(target, mode, unit or 1.0, names, notes)
    build.state_max, build.steps = state_max, steps
    neurons = ((la.name, la.neuron) for la in network.layers)
    build.windowed = any(isinstance(la.neuron, WindowedNeuron) for la in network.layers)
    build.levels = {name: neuron.levels for name, neuron in neurons if neuron is not None}
    build.input_max = 2.0**bits - 1 if mode == "graded" else 1.0
    layers = tuple(build.layer(layer) for layer in network.layers)
    return IntNetwork(
        layers=layers,
        input_mode=mode,
        input_unit=unit or 1.0,
        input_max=2**bits - 1,
        state_max=state_max,
        strict=bool(target.can("strict")),
        notes=tuple(notes),
    )


class _Builder:
    """The chip's numbers, and what is said once for the whole network."""

    def __init__(
        self, target: HardwareTarget, mode: str, unit: float, inputs: set[str], notes: list[str]
    ) -> None:
        value = target.limit
        self.largest = 2 ** (int(value("weight_bits")) - 1) - 1
        self.threshold_max = 2 ** int(value("threshold_bits")) - 1
        self.bias_max = 2 ** (int(value("bias_bits")) - 1) - 1
        self.bias_exponent = int(value("bias_exponent"))
        self.shift = int(value("state_shift"))
        self.fraction = int(value("weight_exponent"))
        self.mode, self.unit, self.inputs, self.notes = mode, unit, inputs, notes
        self.state_max, self.steps, self.input_max = float("inf"), 1, 1.0
        self.levels: dict[str, int] = {}
        self.windowed = False
        self.per_neuron = target.can("threshold_per") == "neuron"

    def layer(self, layer: ChipLayer) -> IntLayer:
        neuron = layer.neuron
        rest = entry(RESTS, neuron, "hwtargets.cores.quantize.RESTS")(neuron) if neuron else None
        chains = [split(p) for p in layer.projections]
        theta = np.asarray(neuron.v_threshold, np.float64) if neuron else np.ones(())
        chains, theta, norm = self._equal_thresholds(layer, chains, theta)
        host = [self.mode == "bias" and c.projection.source in self.inputs for c in chains]
        coding: Coding = neuron.reads if neuron else getattr(layer.node, "coding", "rate")
        windowed = isinstance(neuron, WindowedNeuron) or (neuron is None and self.windowed)
        shift = 0 if windowed and not any(host) else self.shift
        theta_of = float(theta.min()) if neuron else None
        s = self._unit(chains, host, theta_of, coding=coding, shift=shift)
        if windowed and theta_of is not None:
            s = theta_of / max(1.0, np.floor(theta_of / s))  # a threshold without rounding
        projections = [
            self._projection(c, s, h, shift=shift) for c, h in zip(chains, host, strict=True)
        ]
        step = s / 2**shift
        rounding = 2.0 ** (shift - 1) * sum(p.exponent < 0 for p in projections)
        exact = np.asarray(layer.bias * norm) / step + rounding
        bias = self._bias(layer, exact)
        # What whole numbers leave of a bias over the window is there from the start.
        begins = (exact - bias) * WEIGHTS[coding](self.steps) if windowed else 0.0
        common = {
            "name": layer.name, "shape": layer.shape, "projections": tuple(projections),
            "bias": bias, "unit": step, "shift": shift,
        }  # fmt: skip
        if neuron is None or rest is None:
            return IntLayer(**common, coding=coding, v_init=np.round(np.asarray(begins)))
        v_min, v_reset = rest
        return IntLayer(
            **common,
            neuron=neuron,
            threshold=np.maximum(1, np.round(theta / s)) * 2**shift,
            v_init=np.round(np.asarray(neuron.v_init * norm, np.float64) / step + begins),
            v_min=None if v_min is None else np.round(v_min * norm / step),
            v_reset=np.round(v_reset * norm / step),
        )

    def _equal_thresholds(
        self, layer: ChipLayer, chains: list[_Chain], theta: Array
    ) -> tuple[list[_Chain], Array, Array]:
        """One threshold for the layer, by scaling weights per channel; with what the potentials of
        each channel are scaled by."""
        one = np.ones(())
        if theta.size == 1 or np.ptp(theta) == 0:
            return chains, theta.reshape(-1)[:1].reshape(()), one
        full = np.broadcast_to(theta, layer.shape)
        if self.per_neuron:
            return chains, full, one
        axis = _only_axis(full)
        if axis is not None:
            others = tuple(a for a in range(full.ndim) if a != axis)
            norm = theta.min() / full.max(axis=others, keepdims=True)
            scaled = [_scale_outputs(c, norm, axis) for c in chains]
            if all(c is not None for c in scaled):
                return [c for c in scaled if c is not None], np.asarray(theta.min()), norm
        self.notes.append(f"'{layer.name}' keeps one threshold per neuron.")
        return chains, full, one

    def _source_unit(self, chain: _Chain) -> float:
        return self.unit if chain.projection.source in self.inputs else 1.0

    def _unit(
        self,
        chains: list[_Chain],
        host: list[bool],
        theta: float | None,
        *,
        coding: Coding,
        shift: int,
    ) -> float:
        """s: the finest step that uses all weight bits, with room for 256 thresholds; for the
        charges of neurons that weigh steps, whose weights sum to T (T + 1) / 2 or to 2^T - 1, for
        four times what a spike in every step needs."""
        steps = [
            float(np.abs(c.weights).max(initial=0)) * self._source_unit(c) / self.largest
            for c, h in zip(chains, host, strict=True)
            if not h
        ]
        found = min((x for x in steps if x > 0), default=0.0)
        whole = WEIGHTS[coding](self.steps)
        weights = whole / self.steps
        room = self.threshold_max / max(256.0, 0.0 if coding == "rate" else 4.0 * whole)
        if shift < self.shift:  # nothing but the potential itself is in the way
            room = min(self.threshold_max, self.state_max / 2**shift / (rules.ROOM * whole))
        if theta is None:
            return self._readout_unit(found or 1.0, chains, weights=weights, shift=shift)
        if not found:
            return theta / room
        while theta / found > room:
            found *= 2
        return found

    def _readout_unit(
        self, found: float, chains: list[_Chain], *, weights: float, shift: int
    ) -> float:
        """Coarser where ``steps`` steps of the largest possible input would overflow: the sum is
        shifted, the weights keep their bits."""
        reach = sum(_largest_sum(c, c.weights) * self._largest_source(c) for c in chains)
        most = self.state_max / 2**shift
        while reach * self.steps * weights / found > most and np.isfinite(most):
            found *= 2
        return found

    def _largest_source(self, chain: _Chain) -> float:
        source = chain.projection.source
        if source in self.inputs:
            return self.unit * self.input_max
        return self.levels.get(source, 1)

    def _projection(self, chain: _Chain, s: float, host: bool, *, shift: int) -> IntProjection:
        if host:
            scaled = chain.with_weights(np.asarray(chain.weights, np.float64) / s * 2**shift)
            delay = chain.projection.delay
            return IntProjection(source=chain.projection.source, ops=scaled, host=True, delay=delay)
        w = np.asarray(chain.weights, np.float64) * self._source_unit(chain) / s
        top = float(np.abs(w).max(initial=0))
        exponent = ceil(log2(top / self.largest) - 1e-9) if top > 0 else 0
        exponent = max(-self.fraction, exponent)
        stored = np.round(w / 2.0**exponent)
        source = chain.projection.source
        most = self.input_max if source in self.inputs else self.levels.get(source, 1)
        narrow = _largest_sum(chain, stored) * most < 2**24
        if narrow:
            stored = stored.astype(np.float32)
        return IntProjection(
            source=source,
            ops=chain.with_weights(stored),
            exponent=exponent,
            narrow=narrow,
            delay=chain.projection.delay,
        )

    def _bias(self, layer: ChipLayer, bias: Array) -> Array:
        top = float(np.abs(bias).max(initial=0))
        need = ceil(log2(top / self.bias_max)) if top > self.bias_max else 0
        exponent = min(need, self.bias_exponent)
        if need > exponent:
            self.notes.append(f"'{layer.name}': biases are clipped to the chip's range.")
        mantissa = np.clip(np.round(bias / 2**exponent), -self.bias_max, self.bias_max)
        return np.asarray(mantissa * 2**exponent)


def _largest_sum(chain: _Chain, weights: Array) -> float:
    """The largest input that one target can get from sources of at most 1."""
    ones: Array = np.ones((1, *chain.projection.source_shape))
    for op in chain.with_weights(np.abs(weights)):
        ones = op.apply(ones)
    return float(ones.max(initial=0))


def split(p: Projection) -> _Chain:
    """The chain with all scales folded into its one operation with weights."""
    found = _folded(p.chain)
    if found is None:
        return _composed(p)
    before, carrier, after = found
    return _Chain(projection=p, before=tuple(before), carrier=carrier, after=tuple(after))


def _folded(
    chain: Sequence[Link],
) -> tuple[list[LinearOp], MultiplyingOp, list[LinearOp]] | None:
    """Scalar scales are multiplied into the weights; None where that does not work."""
    factor, plain = 1.0, []
    for link in chain:
        op, position, shapes = link
        if (
            isinstance(op, ops.Scale)
            and op.scale.size == 1
            and op.output_shape(*shapes) == shapes[0]
        ):
            factor *= float(op.scale.reshape(-1)[0])
            continue
        single = op.of_input(position, shapes)
        if single is not None:
            plain.append(single)
    carriers = [(i, op) for i, op in enumerate(plain) if isinstance(op, MultiplyingOp)]
    if len(carriers) > 1:
        return None
    if not carriers:
        return plain, ops.Scale(scale=np.array(factor)), []
    at, op = carriers[0]
    carrier = op.with_factors(np.asarray(op.factors, np.float64) * factor)
    return plain[:at], carrier, plain[at + 1 :]


def _composed(p: Projection) -> _Chain:
    """Several weighted operations in a row: their product, as one dense layer."""
    size = prod(p.source_shape) * prod(p.target_shape)
    if size > MAX_COMPOSED:
        raise TargetError(
            f"synapses {', '.join(p.names)} into '{p.target}' are {len(p.names)} weighted "
            f"operations in a row, whose product has {size:,} weights",
            remedy="Put an activation between them, or merge them in the model.",
            code="E505",
        )
    dense = sparse.of_chain(p.chain, prod(p.source_shape)).dense()
    return _Chain(
        projection=p,
        before=(ops.Reshape(shape=(prod(p.source_shape),)),),
        carrier=ops.Linear(weight=dense),
        after=(ops.Reshape(shape=p.target_shape),),
    )


def _only_axis(values: Array) -> int | None:
    """The axis along which alone the values differ, None where there are several."""
    for axis in range(values.ndim):
        if np.ptp(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1), axis=1).max() == 0:
            return axis
    return None


def _scale_outputs(chain: _Chain, factor: Array, axis: int) -> _Chain | None:
    """The chain with every output channel along ``axis`` scaled; None where the operation's
    channels lie along another, or are mixed afterwards. ``factor``: 1 along the other axes."""
    op = chain.carrier
    allowed = entry(KEEPING_CHANNELS, op, "hwtargets.cores.quantize.KEEPING_CHANNELS")
    if allowed is None or not {type(o) for o in chain.after} <= allowed:
        return None
    rank = len(chain.projection.target_shape)
    own = op.channel_axis % rank if isinstance(op, WeightedOp) else axis
    if own != axis or (axis and chain.after):  # what pools leave alone is the first axis
        return None
    return replace(chain, carrier=op.with_factors(op.factors * op.per_output(factor)))
