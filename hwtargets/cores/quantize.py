"""Weights, thresholds, biases to a chip's integers, one common exponent per connection.

Per layer one unit of synaptic input, s (ANN units), so that

    I = sum_p floor(2^e_p (W_p k)),   W_p = round(w_p / (s 2^e_p)),   |W_p| < 2^(weight_bits - 1)
    theta = round(threshold / s) 2^shift,   bias = mantissa 2^exponent,   v in units of s / 2^shift

with k the source's integer spikes. An input of a grouped (depthwise) convolution reaches one group
alone, so its list of weights can have an exponent of its own: e_p then differs from group to group.
``shift`` is the chip's own alignment of input and membrane
(6 on Loihi), which neurons that send one number per window do without: they are microcode, and need
all bits of the membrane for their weighted charge. What whole numbers leave of their bias is there
from the start of the window, and their unit is a whole part of the threshold. Thresholds that
differ per channel are made equal by scaling the channel's weights, where a chip stores one
threshold per layer; where it stores one per neuron, every channel is scaled until its weights use
all their bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor, isfinite, log2
from typing import Any

import numpy as np

from ...runtime.neurons import (
    Coding,
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WindowedNeuron,
)
from ...runtime.ops import Array, WeightedOp
from ...runtime.tables import entry
from .. import rules
from ..fitting.feedback import Feedback, Levels
from ..target import HardwareTarget
from ..view.network import ChipLayer, ChipNetwork
from .integer.chains import Chain, largest_by_channel, largest_sum, only_axis, scale_outputs, split
from .integer.exponents import exponents, tops
from .integer.network import IntLayer, IntNetwork, IntProjection
from .integer.rounding import rounded

WEIGHT_BITS = 20  # of a weight whose width is not stated: sums of them stay exact in float64
INPUT_BITS = (16, 14, 12, 11, 10, 9, 8)  # of an input value whose width is not stated
FINER = 0.25  # reach of weights that is left to choose behind an input of such a width
ROOM = 256.0  # thresholds that a potential can hold
SPREAD = 16.0  # of thresholds of one layer, where their width is limited
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuning:
    """What is left to choose of a layer's integers; see ``fit``. ``reach``: share of its largest
    weights that the step still covers (those beyond are clipped); ``bias``: added to the layer's,
    in ANN units as ``IntLayer.unit`` counts them, broadcasts to its shape; ``feedback``: by
    the projection's place in the layer, what ``chains.rounded`` takes."""

    reach: float = 1.0
    bias: Array | float = 0.0
    feedback: Mapping[int, tuple[Feedback, ...]] = field(default_factory=dict)


PLAIN = Tuning()


def quantize(
    network: ChipNetwork,
    target: HardwareTarget,
    mode: str,
    largest_input: float,
    steps: int,
    *,
    tunings: Mapping[str, Tuning] | None = None,
) -> IntNetwork:
    """The network in the chip's integers; see ``quantizer``. ``tunings``: by layer name, ``PLAIN``
    where there is none."""
    build = quantizer(network, target, mode, largest_input, steps)
    chosen = tunings or {}
    return build.network(build.layer(la, chosen.get(la.name, PLAIN)) for la in network.layers)


def quantizer(
    network: ChipNetwork, target: HardwareTarget, mode: str, largest_input: float, steps: int
) -> Quantizer:
    """``mode``: how analog input enters (see ``IntNetwork``); ``largest_input``: of |x|, which sets
    the input's unit; ``steps``: T, for which readouts must not overflow. Where a target does not
    state ``input_bits``, as many as leave the weights theirs."""
    spiking = {n.name for n in network.inputs if n.encoding != "constant"}
    mode = "spikes" if network.inputs and len(spiking) == len(network.inputs) else mode
    stated = target.limit("input_bits")
    if isfinite(stated) or mode != "graded":
        bits = int(stated) if isfinite(stated) else INPUT_BITS[-1]
        return Quantizer(network, target, mode, largest_input, steps, bits=bits)
    names = {n.name for n in network.inputs}
    readers = [la for la in network.layers if names & {p.source for p in la.projections}]
    for bits in INPUT_BITS:
        build = Quantizer(network, target, mode, largest_input, steps, bits=bits)
        for layer in readers:
            build.layer(layer, Tuning(reach=FINER))
        if not build.coarse:
            break
    return build


class Quantizer:
    """The chip's numbers, and what is said once for the whole network. ``coarse``: a layer's
    weights have lost bits to its threshold, for lack of a larger right shift."""

    def __init__(
        self,
        network: ChipNetwork,
        target: HardwareTarget,
        mode: str,
        largest_input: float,
        steps: int,
        *,
        bits: int,
    ) -> None:
        value = target.limit
        weight_bits = min(value("weight_bits"), WEIGHT_BITS)
        self.largest = 2 ** (int(weight_bits) - 1) - 1
        self.threshold_max = 2.0 ** value("threshold_bits") - 1
        self.bias_max = 2.0 ** (value("bias_bits") - 1) - 1
        self.bias_exponent = value("bias_exponent")
        self.shift = int(value("state_shift"))
        self.fraction = value("weight_exponent")
        self.state_max = 2.0 ** (value("state_bits") - 1) - 1
        self.per_neuron = target.can("threshold_per") == "neuron"
        self.strict = bool(target.can("strict"))
        unit = {"graded": largest_input / (2**bits - 1), "population": largest_input}
        self.mode, self.steps, self.unit = mode, steps, unit.get(mode, 1.0) or 1.0
        self.input_max = 2.0**bits - 1 if mode == "graded" else 1.0
        self.inputs = {n.name for n in network.inputs}
        neurons = ((la.name, la.neuron) for la in network.layers)
        self.levels = {name: neuron.levels for name, neuron in neurons if neuron is not None}
        self.windowed = any(isinstance(la.neuron, WindowedNeuron) for la in network.layers)
        self.notes: dict[str, None] = {}
        self.coarse = False
        self._chains: dict[str, list[Chain]] = {}

    def network(self, layers: Iterable[IntLayer]) -> IntNetwork:
        """All layers, in the order of the network's."""
        return IntNetwork(
            layers=tuple(layers),
            input_mode=self.mode,
            input_unit=self.unit,
            input_max=self.input_max,
            state_max=self.state_max,
            strict=self.strict,
            notes=tuple(self.notes),
        )

    def chains(self, layer: ChipLayer) -> list[Chain]:
        """One per projection, with weights in ANN units."""
        if layer.name not in self._chains:
            self._chains[layer.name] = [split(p) for p in layer.projections]
        return self._chains[layer.name]

    def layer(self, layer: ChipLayer, tuning: Tuning = PLAIN) -> IntLayer:
        """One layer in integers."""
        neuron = layer.neuron
        rest = entry(RESTS, neuron, "hwtargets.cores.quantize.RESTS")(neuron) if neuron else None
        chains = self.chains(layer)
        theta = np.asarray(neuron.v_threshold, np.float64) if neuron else np.ones(())
        chains, theta, norm = self._equal_thresholds(layer, chains, theta)
        host = [self.mode == "bias" and c.projection.source in self.inputs for c in chains]
        coding: Coding = neuron.reads if neuron else getattr(layer.node, "coding", "rate")
        weighed = [c for c, h in zip(chains, host, strict=True) if not h]
        windowed = isinstance(neuron, WindowedNeuron) or (neuron is None and self.windowed)
        shift, low = 0 if windowed and not any(host) else self.shift, float(theta.min())
        s = self._unit(weighed, theta if neuron else None, coding, reach=tuning.reach, shift=shift)
        if windowed and neuron:
            s = low / max(1.0, floor(low / s + 1e-9))  # a threshold without rounding
        projections = [
            self._projection(
                c,
                tuning.feedback.get(i),
                s=s,
                host=h,
                reach=tuning.reach,
                shift=shift,
                spiking=neuron is not None,
            )
            for i, (c, h) in enumerate(zip(chains, host, strict=True))
        ]
        step = s / 2**shift
        rounding = 2.0 ** (shift - 1) * sum(np.less(p.exponent, 0) for p in projections)
        exact = np.asarray(layer.bias * norm + tuning.bias) / step + rounding
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
        self, layer: ChipLayer, chains: list[Chain], theta: Array
    ) -> tuple[list[Chain], Array, Array]:
        """One threshold for the layer, by scaling weights per channel; with what the potentials of
        each channel are scaled by."""
        one = np.ones(())
        if self.per_neuron and layer.neuron is not None:
            return self._own_thresholds(layer, chains, theta)
        if theta.size == 1 or np.ptp(theta) == 0:
            return chains, theta.reshape(-1)[:1].reshape(()), one
        full = np.broadcast_to(theta, layer.shape)
        axis = only_axis(full)
        if axis is not None:
            others = tuple(a for a in range(full.ndim) if a != axis)
            norm = theta.min() / full.max(axis=others, keepdims=True)
            scaled = [scale_outputs(c, norm, axis) for c in chains]
            if all(c is not None for c in scaled):
                return [c for c in scaled if c is not None], np.asarray(theta.min()), norm
        self.notes[f"'{layer.name}' keeps one threshold per neuron."] = None
        return chains, full, one

    def _own_thresholds(
        self, layer: ChipLayer, chains: list[Chain], theta: Array
    ) -> tuple[list[Chain], Array, Array]:
        """Every channel scaled until its weights use all their bits, as far as its threshold has
        room; as ``_equal_thresholds``."""
        full, one = np.broadcast_to(theta, layer.shape), np.ones(())
        carriers = [c.carrier for c in chains if isinstance(c.carrier, WeightedOp)]
        if not carriers:
            return chains, full, one
        axis = carriers[0].channel_axis % len(layer.shape)
        tops = [largest_by_channel(c, axis) for c in chains]
        found = [
            t * self._source_unit(c) for t, c in zip(tops, chains, strict=True) if t is not None
        ]
        if len(found) < len(chains):
            return chains, full, one
        top = np.maximum(np.maximum.reduce(found), 1e-30)
        others = tuple(a for a in range(full.ndim) if a != axis)
        each = full.max(axis=others, keepdims=True)
        norm = top.max() / top
        if isfinite(min(self.threshold_max, self.state_max)):
            norm = np.minimum(norm, np.maximum(SPREAD * (each * norm).min() / each, 1.0))
        scaled = [scale_outputs(c, norm, axis) for c in chains]
        return [c for c in scaled if c is not None], full * norm, norm

    def _source_unit(self, chain: Chain) -> float:
        return self.unit if chain.projection.source in self.inputs else 1.0

    def _unit(
        self,
        chains: list[Chain],
        theta: Array | None,
        coding: Coding,
        *,
        reach: float,
        shift: int,
    ) -> float:
        """s: the finest step that uses all weight bits, with room for 256 thresholds; for the
        charges of neurons that weigh steps, whose weights sum to T (T + 1) / 2 or to 2^T - 1, for
        four times what a spike in every step needs. One threshold is a whole number of steps."""
        steps = [
            reach * self._source_unit(c) / self.largest * tops(c, spiking=theta is not None)
            for c in chains
        ]
        found = min((float(top[top > 0].min()) for top in steps if top.any()), default=0.0)
        whole = WEIGHTS[coding](self.steps)
        weights = whole / self.steps
        if theta is None:
            return self._readout_unit(found or 1.0, chains, weights=weights, shift=shift)
        most = min(self.threshold_max, self.state_max / 2**self.shift)
        room = most / max(ROOM, 0.0 if coding == "rate" else 4.0 * whole)
        if shift < self.shift:  # nothing but the potential itself is in the way
            room = min(self.threshold_max, self.state_max / 2**shift / (rules.ROOM * whole))
        if coding == "rate":
            room = max(room, min(most / 4, 64.0))  # a narrow membrane holds fewer thresholds
        low, high = float(theta.min()), float(theta.max())
        if not found:
            return low / max(1.0, floor(min(room, 2.0**16)))
        while low / found > room or high / found > self.threshold_max / 4:
            found *= 2
        return low / max(1.0, floor(low / found + 1e-9)) if theta.size == 1 else found

    def _readout_unit(
        self, found: float, chains: list[Chain], *, weights: float, shift: int
    ) -> float:
        """Coarser where ``steps`` steps of the largest possible input would overflow: the sum is
        shifted, the weights keep their bits."""
        reach = sum(largest_sum(c, c.weights) * self._largest_source(c) for c in chains)
        most = self.state_max / 2**shift
        while reach * self.steps * weights / found > most and np.isfinite(most):
            found *= 2
        return found

    def _largest_source(self, chain: Chain) -> float:
        source = chain.projection.source
        if source in self.inputs:
            return self.unit * self.input_max
        return self.levels.get(source, 1)

    def _projection(
        self,
        chain: Chain,
        feedback: tuple[Feedback, ...] | None,
        *,
        s: float,
        host: bool,
        reach: float,
        shift: int,
        spiking: bool,
    ) -> IntProjection:
        if host:
            scaled = chain.with_weights(np.asarray(chain.weights, np.float64) / s * 2**shift)
            delay = chain.projection.delay
            return IntProjection(source=chain.projection.source, ops=scaled, host=True, delay=delay)
        w = np.asarray(chain.weights, np.float64) * self._source_unit(chain) / s
        exponent, coarse = exponents(
            chain, reach * w / self.largest, spiking=spiking, least=-self.fraction
        )
        self.coarse |= coarse
        w = w / (
            2.0**exponent if isinstance(exponent, int) else chain.carrier.per_output(2.0**exponent)
        )
        source = chain.projection.source
        levels = Levels(lowest=-self.largest, highest=self.largest)
        found = levels.nearest(w) if feedback is None else rounded(w, feedback, levels)
        stored = found.astype(np.float64)
        most = self.input_max if source in self.inputs else self.levels.get(source, 1)
        narrow = largest_sum(chain, stored) * most < 2**24
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
        exponent = int(min(need, self.bias_exponent))
        if need > exponent:
            self.notes[f"'{layer.name}': biases are clipped to the chip's range."] = None
        mantissa = np.clip(np.round(bias / 2**exponent), -self.bias_max, self.bias_max)
        return np.asarray(mantissa * 2**exponent)
