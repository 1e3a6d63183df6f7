"""From activations to Xylo's integers.

For hidden neuron j let A_j be the activation that one spike per step stands for (the largest one
on the calibration data over ``spikes``), c_j the integers per unit of activation, and gain the
charge that a synapse delivers per unit of weight (``charge``). Then

    w_ij << shift = c_j W_ij A_i,   threshold_j = gain c_j A_j,   bias_j = gain c_j b_j

gives the rate a_j / A_j in the mean. Thresholds are per neuron, so c_j is too: as large as 8-bit
weights allow, and as small as it takes for no partial sum of a synaptic current to leave 16 bits
on the calibration data (with a margin). With currents of thousands per step, the leak of 1 per step
(dash_mem 15) and the truncation of the decays are small; what is left of them, and of the weight
rounding, is calibrated away in the integer loop (``calibrate``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...runtime.ops import Array
from ..kinds import Choice, Flag, Real, Whole
from ..options import Options, option
from .coding import XyloCoding
from .core import HIDDEN_SPIKES, HIGH, INPUT_SPIKES, LOW, XyloConfig
from .network import Analog, XyloNet, analog

WEIGHT = 127  # symmetric 8-bit weights
SHIFTS = range(8)


@dataclass(frozen=True, kw_only=True)
class XyloOptions(Options):
    """How to use the chip.

    Few spikes per step keep weights, currents and biases on one scale: a bias acts in every step,
    so in 8 bits it matches weights that are scaled for a few spikes, not for 15 or 31.
    """

    readout: Literal["count", "charge"] = option(
        "count", Choice(("count", "charge")), "output spikes, or these and what is left in the "
        "membrane", code="E513",
    )  # fmt: skip
    dt: float = option(
        0.01, Real(positive=True), "seconds per step, for clock and power", code="E512"
    )
    recode: bool = option(
        False, Flag(), "neurons that the chip lacks, such as signed ones, are mapped as plain "
        "rates of their ReLU activation instead of refused", code="E512",
    )  # fmt: skip
    input_spikes: int = option(
        4, Whole(most=INPUT_SPIKES), "spikes per step of the largest input", code="E512"
    )
    spikes: float = option(
        2.0, Real(least=1, most=HIDDEN_SPIKES), "spikes per step of a hidden neuron at its largest "
        "calibrated activation", code="E512",
    )  # fmt: skip
    dash_syn: int = option(
        1, Whole(most=15), "decay of the synaptic currents; 1 has the shortest delay", code="E512"
    )
    dash_mem: int = option(
        15, Whole(most=15), "decay of the membranes of neurons without a leak of their own; 15 is "
        "the weakest", code="E512",
    )  # fmt: skip
    margin: float = option(
        1.5, Real(least=1, most=100), "head room of synaptic currents over the calibration data",
        code="E512",
    )  # fmt: skip
    rounds: int = option(
        4, Whole(least=0, most=100), "calibration rounds in the integer loop; 0 for none",
        code="E512",
    )  # fmt: skip
    window: Literal["winner", "full"] = option(
        "winner", Choice(("winner", "full")), "what the rates of the output neurons code: the "
        "range of the winner, the largest output of each sample (for classes), or of all outputs",
        code="E512",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class XyloSettings(XyloOptions):
    """The options, with ``steps``, T per sample, and ``bias_bits``, the width of the bias register,
    sign included."""

    steps: int
    bias_bits: int

    @property
    def bias_range(self) -> tuple[int, int]:
        return -(2 ** (self.bias_bits - 1)), 2 ** (self.bias_bits - 1) - 1


def charge(weight: int, *, dash: int) -> int:
    """What one spike of ``weight`` (shifted) adds to the membrane in all, alone on its synapse.

    About weight (2^dash - 1); exactly, with truncation: the sum of the current after each decay.
    """
    current, total = int(np.clip(weight, LOW, HIGH)), 0
    while current:
        lost = current >> dash
        current -= lost or (1 if current > 0 else -1)
        total += current
    return total


def gain(weights: Array, dash: int) -> float:
    """Charge per unit of weight over a block of shifted weights: exact for spikes far apart."""
    values, counts = np.unique(np.abs(weights[weights != 0]), return_counts=True)
    if not values.size:
        return float(2**dash - 1)
    delivered = np.array([charge(int(v), dash=dash) for v in values])
    return float((delivered * counts).sum() / (values * counts).sum())


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantized:
    """A configuration with its meaning.

    Attributes:
        per_spike: (hidden,) activation that one spike per step stands for, A.
        delays: (hidden,) steps before a neuron receives its full current.
        clipped: parameters that met the end of their register, by name.
    """

    config: XyloConfig
    coding: XyloCoding
    settings: XyloSettings
    per_spike: Array
    delays: Array
    clipped: dict[str, int]


def quantize(net: XyloNet, x: Array, settings: XyloSettings) -> Quantized:
    """Integers for a network, with the ranges of calibration samples x (samples, inputs)."""
    coding = _input_range(x, settings)
    net = _per_unit_rate(net, coding)
    seen = analog(net, coding.rates(x))
    per_spike = _per_spike(net, seen, settings)
    w_rec, w_out = per_spike[:, None] * net.w_rec, per_spike[:, None] * net.w_out
    delays, out_delay = _delays(net, settings)
    coding = _output_window(coding, seen, out_delay, settings.window)
    clipped: dict[str, int] = {}
    # half a threshold of initial potential, spread over the run, belongs to the bias
    span_out = np.full(w_out.shape[1], coding.out_high - coding.out_low)
    b = net.bias + 0.5 / settings.steps * per_spike
    b_out = net.bias_out - coding.out_low + 0.5 / settings.steps * span_out
    blocks, units = _weights(
        [net.w_in, w_rec], seen.drive, per_spike=per_spike, bias=b, settings=settings
    )
    (out,), units_out = _weights(
        [w_out], seen.drive_out, per_spike=span_out, bias=b_out, settings=settings
    )
    config = XyloConfig(
        weights_in=blocks[0].weights,
        weights_rec=blocks[1].weights,
        weights_out=out.weights,
        weight_shift_in=blocks[0].shift,
        weight_shift_rec=blocks[1].shift,
        weight_shift_out=out.shift,
        dash_mem=_dash_mem(net, settings),
        dash_mem_out=np.full(len(b_out), settings.dash_mem),
        dash_syn=np.full(net.hidden, settings.dash_syn),
        dash_syn_out=np.full(len(b_out), settings.dash_syn),
        threshold=register("threshold", blocks[0].gain * units * per_spike, (1, HIGH), clipped),
        threshold_out=register(
            "threshold_out", out.gain * units_out * span_out, (1, HIGH), clipped
        ),
        bias=register("bias", blocks[0].gain * units * b, settings.bias_range, clipped),
        bias_out=register("bias_out", out.gain * units_out * b_out, settings.bias_range, clipped),
    )
    return Quantized(
        config=config,
        coding=coding,
        settings=settings,
        per_spike=per_spike,
        delays=delays,
        clipped=clipped,
    )


def register(name: str, values: Array, limits: tuple[int, int], clipped: dict[str, int]) -> Array:
    """Round to a register that holds ``limits``, and note how many did not fit."""
    rounded = np.rint(values).astype(np.int64)
    outside = int(np.count_nonzero((rounded < limits[0]) | (rounded > limits[1])))
    if outside:
        clipped[name] = clipped.get(name, 0) + outside
    return np.clip(rounded, *limits)


def _input_range(x: Array, settings: XyloSettings) -> XyloCoding:
    low, high = min(0.0, float(x.min())), float(x.max())
    return XyloCoding(
        steps=settings.steps,
        input_spikes=settings.input_spikes,
        low=low,
        high=high if high > low else low + 1.0,
    )


def _per_unit_rate(net: XyloNet, coding: XyloCoding) -> XyloNet:
    """The same network on input rates instead of features: x = low + rate (high - low) / n."""
    scale = (coding.high - coding.low) / coding.input_spikes
    return replace(net, w_in=net.w_in * scale, bias=net.bias + coding.low * net.w_in.sum(axis=0))


def _per_spike(net: XyloNet, seen: Analog, settings: XyloSettings) -> Array:
    """A_j. A neuron that is silent on the calibration data gets its layer's largest; one that is
    nearly so a twentieth of it, or rounding errors of its weights would make it fire."""
    out = np.ones(net.hidden)
    for block in net.blocks:
        largest = seen.hidden[:, block.slice].max(axis=0, initial=0.0)
        overall = largest.max(initial=0.0) or 1.0
        largest = np.where(largest > 0, np.maximum(largest, 0.05 * overall), overall)
        out[block.slice] = largest / settings.spikes
        if block.ceiling is not None:  # the chip's own limit of spikes per step cuts there
            cut = largest >= 0.999 * block.ceiling
            out[block.slice] = np.where(cut, block.ceiling / HIDDEN_SPIKES, out[block.slice])
    return out


def _delays(net: XyloNet, settings: XyloSettings) -> tuple[Array, int]:
    """Mean delay of every neuron's input: 2^dash - 1 steps in the synapse, one per layer more."""
    each = 2**settings.dash_syn - 1
    delays = np.full(net.hidden, each)
    for block in net.blocks:
        sources = np.flatnonzero(np.any(net.w_rec[:, block.slice] != 0, axis=1))
        if sources.size:
            delays[block.slice] = delays[sources].max() + 1 + each
    readers = np.flatnonzero(np.any(net.w_out != 0, axis=1))
    return delays, int(delays[readers].max(initial=0)) + 1 + each


def _output_window(coding: XyloCoding, seen: Analog, delay: int, window: str) -> XyloCoding:
    """The values that the rates of 0 to 1 code, with a margin."""
    values = seen.out.max(axis=1) if window == "winner" else seen.out
    high, low = float(values.max()), float(values.min())
    room = 0.1 * (high - low) + 1e-6 * max(abs(high), abs(low), 1.0)
    return replace(coding, out_low=low - room, out_high=high + room, out_delay=delay)


@dataclass(frozen=True, eq=False)
class _Block:
    weights: Array
    shift: int
    gain: float


def _weights(
    blocks: list[Array], drive: Array, *, per_spike: Array, bias: Array, settings: XyloSettings
) -> tuple[list[_Block], Array]:
    """8-bit weights of the blocks that end at the same neurons, and those neurons' c_j.

    ``drive``: (samples, neurons) one-sided currents per step and unit c. The current before its
    decay is 2^dash times that, and has to stay in 16 bits. ``per_spike`` and ``bias``: activations
    whose integers, gain c_j times them, are threshold and bias and have to fit those registers.
    """
    peak = drive.max(axis=0, initial=0.0)
    state = HIGH / (np.maximum(peak, 1e-12) * 2**settings.dash_syn * settings.margin)
    span = [np.abs(w).max(axis=0, initial=0.0) for w in blocks]
    # a tenth of head room for the calibration
    each = 1.1 * (2**settings.dash_syn - 1)
    state = np.minimum(state, HIGH / (each * per_spike))
    state = np.minimum(state, settings.bias_range[1] / np.maximum(each * np.abs(bias), 1e-12))
    shifts = [_shift(s, state=state) for s in span]
    units = state
    for s, shift in zip(span, shifts, strict=True):
        units = np.minimum(units, (WEIGHT << shift) / np.maximum(s, 1e-12))
    out = []
    for w, shift in zip(blocks, shifts, strict=True):
        ints = np.clip(np.rint(w * units / 2**shift), -WEIGHT, WEIGHT).astype(np.int64)
        out.append(_Block(ints, shift, gain(ints << shift, settings.dash_syn)))
    return out, units


def _shift(span: Array, *, state: Array) -> int:
    """The shift with the smallest error over neurons: rounding of a weight (1/2 of 2^shift
    against the largest weight's c_j span) and of the leak (1 per step against c_j span)."""
    used = span > 0
    if not used.any():
        return 0

    def error(shift: int) -> float:
        largest = np.minimum(state * span, WEIGHT << shift)[used]
        return float(np.mean((0.3 * 2**shift / largest) ** 2 + (1.0 / largest) ** 2))

    return min(SHIFTS, key=error)


def _dash_mem(net: XyloNet, settings: XyloSettings) -> Array:
    """-log2 of a population's own leak, else the weakest."""
    out = np.full(net.hidden, settings.dash_mem)
    for block in net.blocks:
        if block.leak > 0:
            out[block.slice] = int(np.clip(np.rint(-np.log2(block.leak)), 1, 15))
    return out
