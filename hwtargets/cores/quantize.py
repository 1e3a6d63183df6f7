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
from math import ceil, floor, inf, isfinite, log2
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
from ...runtime.ops import Array
from ...runtime.tables import entry
from .. import rules
from ..fitting.feedback import Feedback, Levels
from ..target import HardwareTarget
from ..view.network import ChipLayer, ChipNetwork
from .integer.chains import Chain, largest_sum, split
from .integer.exponents import Formats, exponents, formats, tops
from .integer.network import IntLayer, IntNetwork, IntProjection, Register
from .integer.rounding import rounded
from .integer.thresholds import Scaled, scaled

WEIGHT_BITS = 20  # of a weight whose width is not stated: sums of them stay exact in float64
INPUT_BITS = (16, 14, 12, 11, 10, 9, 8)  # of an input value whose width is not stated
FINER = 0.25  # reach of weights that is left to choose behind an input of such a width
ROOM = 256.0  # thresholds that a potential can hold
HELD = 32.0  # of the highest, where a layer has several
FINEST = 16.0  # steps of the lowest of several thresholds, where the highest leaves room
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
        self.register = Register(
            mantissa=2.0 ** (value("bias_bits") - 1) - 1, exponent=value("bias_exponent")
        )
        self.shift = int(value("state_shift"))
        self.fraction = value("weight_exponent")
        self.state_max = 2.0 ** (value("state_bits") - 1) - 1
        per = {"layer": 1.0, "group": value("thresholds_per_core"), "neuron": inf}
        self.thresholds = per[str(target.can("threshold_per"))]
        self.formats = value("synapse_formats")
        self.largest_input = largest_input
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
            register=self.register,
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
        found = self._thresholds(layer, chains, theta)
        chains, theta, norm = found.chains, found.theta, found.by
        host = [self.mode == "bias" and c.projection.source in self.inputs for c in chains]
        coding: Coding = neuron.reads if neuron else getattr(layer.node, "coding", "rate")
        weighed = [c for c, h in zip(chains, host, strict=True) if not h]
        windowed = isinstance(neuron, WindowedNeuron) or (neuron is None and self.windowed)
        shift, low = 0 if windowed and not any(host) else self.shift, float(theta.min())
        hosted = [self._largest_current(c) for c, h in zip(chains, host, strict=True) if h]
        from_host = sum(hosted, float(np.abs(layer.bias * norm).max())) if hosted else 0.0
        s = self._unit(
            weighed, from_host, theta if neuron else None, coding, reach=tuning.reach, shift=shift
        )
        if windowed and neuron:
            s = low / max(1.0, floor(low / s + 1e-9))  # a threshold without rounding
        within = formats(self.formats, connections=len(weighed))
        projections = [
            self._projection(
                c,
                tuning.feedback.get(i),
                s=s,
                host=h,
                reach=tuning.reach,
                shift=shift,
                spiking=neuron is not None,
                within=within,
            )
            for i, (c, h) in enumerate(zip(chains, host, strict=True))
        ]
        step = s / 2**shift
        rounding = 2.0 ** (shift - 1) * sum(np.less(p.exponent, 0) for p in projections)
        exact = np.asarray((layer.bias + tuning.bias) * norm) / step + rounding
        bias = self._bias(layer, exact)
        # What whole numbers leave of a bias over the window is there from the start.
        begins = (exact - bias) * WEIGHTS[coding](self.steps) if windowed else 0.0
        common = {
            "name": layer.name, "shape": layer.shape, "projections": tuple(projections),
            "bias": bias, "unit": step, "shift": shift,
            "scaled": norm,
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

    def _thresholds(self, layer: ChipLayer, chains: list[Chain], theta: Array) -> Scaled:
        units = [self._source_unit(c) for c in chains]
        bounded = isfinite(min(self.threshold_max, self.state_max))
        most = self.thresholds if layer.neuron is not None else 1
        found = scaled(chains, theta, layer.shape, units=units, most=most, bounded=bounded)
        if not found.shared:
            self.notes[f"'{layer.name}' keeps one threshold per neuron."] = None
        count = len(np.unique(found.theta))
        if 1 < count <= most < np.inf:
            self.notes[
                f"'{layer.name}' has {count} thresholds, each for channels that share it: with one "
                "for all most channels would have few levels of their weights."
            ] = None
        return found

    def _source_unit(self, chain: Chain) -> float:
        return self.unit if chain.projection.source in self.inputs else 1.0

    def _unit(
        self,
        chains: list[Chain],
        from_host: float,
        theta: Array | None,
        coding: Coding,
        *,
        reach: float,
        shift: int,
    ) -> float:
        """s: the finest step that uses all weight bits, with room for 256 thresholds; for the
        charges of neurons that weigh steps, whose weights sum to T (T + 1) / 2 or to 2^T - 1, for
        four times what a spike in every step needs. One threshold is a whole number of steps.
        ``from_host``: the largest current that the host writes, with the bias."""
        steps = [
            reach * self._source_unit(c) / self.largest * tops(c, spiking=theta is not None)
            for c in chains
        ]
        found = min((float(top[top > 0].min()) for top in steps if top.any()), default=0.0)
        whole = WEIGHTS[coding](self.steps)
        weights = whole / self.steps
        # What the host's current needs for its largest value to stay within the bias's register.
        held = 2**shift * from_host / self.register.largest
        if theta is None:
            found = max(found, held)
            reach = from_host + sum(map(self._largest_current, chains))
            return self._readout_unit(found, reach=reach, weights=weights, shift=shift)
        most = min(self.threshold_max, self.state_max / 2**self.shift)
        room = most / max(ROOM, 0.0 if coding == "rate" else 4.0 * whole)
        if shift < self.shift:  # nothing but the potential itself is in the way
            room = min(self.threshold_max, self.state_max / 2**shift / (rules.ROOM * whole))
        if coding == "rate":
            room = max(room, min(most / 4, 64.0))  # a narrow membrane holds fewer thresholds
        low, high = float(theta.min()), float(theta.max())
        if not found:
            return low / max(1.0, floor(min(room, 2.0**16, low / held if held else inf)))
        widest = max(room, self.threshold_max / HELD)
        while low / found > room or high / found > widest:
            found *= 2
        while high > low and low / found < FINEST and 2 * high / found < min(most / ROOM, 2.0**16):
            found /= 2  # weights keep their levels, and the lowest thresholds get more
        return low / max(1.0, floor(low / found + 1e-9)) if theta.size == 1 else found

    def _readout_unit(self, found: float, *, reach: float, weights: float, shift: int) -> float:
        """Coarser where ``steps`` steps of the largest possible input would overflow: the sum is
        shifted, the weights keep their bits. As fine as can be where nothing else asks for one."""
        found = found or reach / 2**WEIGHT_BITS or 1.0
        most = self.state_max / 2**shift
        while reach * self.steps * weights / found > most and np.isfinite(most):
            found *= 2
        return found

    def _largest_current(self, chain: Chain) -> float:
        return largest_sum(chain, chain.weights) * self._largest_source(chain)

    def _largest_source(self, chain: Chain) -> float:
        source = chain.projection.source
        if source in self.inputs:
            return self.largest_input if self.mode == "bias" else self.unit * self.input_max
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
        within: Formats,
    ) -> IntProjection:
        if host:
            scaled = chain.with_weights(np.asarray(chain.weights, np.float64) / s * 2**shift)
            delay = chain.projection.delay
            return IntProjection(source=chain.projection.source, ops=scaled, host=True, delay=delay)
        w = np.asarray(chain.weights, np.float64) * self._source_unit(chain) / s
        exponent, coarse = exponents(
            chain,
            reach * w / self.largest,
            spiking=spiking,
            least=-self.fraction,
            within=within,
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
        """One exponent for the layer, which leaves every bias what its register holds."""
        top, most = float(np.abs(bias).max(initial=0)), self.register.mantissa
        need = ceil(log2(top / most)) if top > most else 0
        exponent = int(min(need, self.register.exponent))
        if need > exponent:
            self.notes[f"'{layer.name}': biases are clipped to the chip's range."] = None
        mantissa = np.clip(np.round(bias / 2**exponent), -most, most)
        return np.asarray(mantissa * 2**exponent)
