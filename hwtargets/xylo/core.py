"""Bit-exact integer simulator of SynSense's Xylo core (second generation: Audio 2, Audio 3, IMU).

One step of the core, for every neuron in 16-bit integers that saturate at every addition:

    I <- sat(I + (w << shift))        once per spike; input channels first, then the hidden neurons'
                                      spikes of the step before, both in index order
    I <- I - decay(I, dash_syn)
    d <- sat(sat(sum I - decay(V, dash_mem)) + bias)
    V <- sat(V + d)
    while V >= threshold and k < most:   V <- V - threshold, k <- k + 1

    decay(x, s) = x >> s (arithmetic), or sign(x) where that is 0

``most`` is 31 for hidden and 1 for output neurons; an input channel takes at most 15 spikes per
step. A hidden spike reaches its targets, hidden or output, one step later. The decay never
vanishes, so a state loses at least 1 per step until it is 0: there is no leak-free neuron, and
dash 0 wipes a synaptic current before it is integrated.

Written from the behaviour of xylosim 0.1.3 (core v2), against which the tests compare spikes,
currents and potentials of every step. Not modelled: aliases and the second synapse, which the
mapping does not use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...display import counted
from ...errors import TargetError
from ...runtime.ops import Array, frozen

INPUT_SPIKES, HIDDEN_SPIKES, OUTPUT_SPIKES = 15, 31, 1  # per step and neuron
LOW, HIGH = -(2**15), 2**15 - 1  # the range of every state, threshold and bias

_RANGES = {
    "weights_in": (-128, 127),
    "weights_rec": (-128, 127),
    "weights_out": (-128, 127),
    "dash_mem": (0, 15),
    "dash_mem_out": (0, 15),
    "dash_syn": (0, 15),
    "dash_syn_out": (0, 15),
    "threshold": (1, HIGH),
    "threshold_out": (1, HIGH),
    "bias": (LOW, HIGH),
    "bias_out": (LOW, HIGH),
    "weight_shift_in": (0, 7),
    "weight_shift_rec": (0, 7),
    "weight_shift_out": (0, 7),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class XyloConfig:
    """Everything the core needs, in integers; the fields are the arguments of the vendor's
    ``from_specification``.

    Attributes:
        weights_in: (inputs, hidden), 8 bit; weights_rec: (hidden, hidden), from row to column;
            weights_out: (hidden, outputs).
        weight_shift_in, weight_shift_rec, weight_shift_out: bits by which the weights of a block
            are shifted left.
        dash_syn, dash_mem, threshold, bias: (hidden,); the same with ``_out``: (outputs,).

    Raises:
        TargetError: E510, with every value that the chip's registers cannot hold.
    """

    weights_in: Array
    weights_rec: Array
    weights_out: Array
    dash_mem: Array
    dash_mem_out: Array
    dash_syn: Array
    dash_syn_out: Array
    threshold: Array
    threshold_out: Array
    bias: Array
    bias_out: Array
    weight_shift_in: int = 0
    weight_shift_rec: int = 0
    weight_shift_out: int = 0

    def __post_init__(self) -> None:
        for name in _RANGES:
            if not name.startswith("weight_shift"):
                object.__setattr__(self, name, frozen(getattr(self, name)))
        problems = [*_shape_problems(self), *_range_problems(self)]
        if problems:
            raise TargetError(
                f"{counted(len(problems), 'value')} that Xylo cannot hold: " + "; ".join(problems),
                remedy="Map the network again, or correct the specification file.",
                code="E510",
            )

    @property
    def inputs(self) -> int:
        return int(self.weights_in.shape[0])

    @property
    def hidden(self) -> int:
        return int(self.weights_rec.shape[0])

    @property
    def outputs(self) -> int:
        return int(self.weights_out.shape[1])


def _shape_problems(config: XyloConfig) -> list[str]:
    arrays = (config.weights_in, config.weights_rec, config.weights_out)
    if any(a.ndim != 2 for a in arrays):
        return ["weights must be matrices"]
    hidden, outputs = config.weights_rec.shape[0], config.weights_out.shape[1]
    expected: dict[str, tuple[int, ...]] = {
        "weights_in": (config.weights_in.shape[0], hidden),
        "weights_rec": (hidden, hidden),
        "weights_out": (hidden, outputs),
    }
    for name in ("dash_mem", "dash_syn", "threshold", "bias"):
        expected |= {name: (hidden,), f"{name}_out": (outputs,)}
    return [
        f"{name} has shape {getattr(config, name).shape}, not {shape}"
        for name, shape in expected.items()
        if getattr(config, name).shape != shape
    ]


def _range_problems(config: XyloConfig) -> list[str]:
    problems = []
    for name, (low, high) in _RANGES.items():
        value = np.asarray(getattr(config, name))
        if value.dtype.kind not in "iu":
            problems.append(f"{name} is not an integer")
        elif value.size and (value.min() < low or value.max() > high):
            problems.append(
                f"{name} goes from {value.min()} to {value.max()}, the chip from {low} to {high}"
            )
    return problems


@dataclass(frozen=True, eq=False, kw_only=True)
class XyloRun:
    """What happened in every step; arrays are (samples, steps, neurons).

    ``spikes``: hidden (0 to 31); ``output``: output spikes (0 or 1); ``v_mem_out``: output
    potentials after the step; ``v_mem``, ``i_syn``, ``i_syn_out``: the other states, None unless
    recorded. ``saturated``: per hidden neuron, then per output, how often over samples and steps a
    state met the end of its range: "current", and the membrane "above" or "below" (below is
    harmless for rates: the neuron is silent).
    """

    spikes: Array
    output: Array
    v_mem_out: Array
    saturated: dict[str, Array]
    v_mem: Array | None = None
    i_syn: Array | None = None
    i_syn_out: Array | None = None


def decay(x: Array, *, dash: Array) -> Array:
    """What a state loses per step: x >> dash, or its sign where that is 0."""
    lost = x >> dash
    return np.where(lost == 0, np.sign(x), lost)


def deliver(current: Array, *, spikes: Array, weights: Array, exact: Array) -> Array:
    """Add ``spikes`` (samples, pre) times ``weights`` (pre, post), saturating at every spike.

    The order of the additions matters only where a partial sum may leave 16 bits. ``exact`` is
    abs(weights) in floats that hold all sums: where |current| + spikes @ exact stays in range no
    partial sum can leave it, and one matrix product is the answer; else sources are added one by
    one, in index order. n equal additions saturate as their sum does, so one clip per source.
    """
    if not exact.size or not exact.any():
        return current
    counts = spikes.astype(exact.dtype)
    risky = np.abs(current) + counts @ exact > HIGH
    total = current + (counts @ weights.astype(exact.dtype)).astype(np.int64)
    if not risky.any():
        return total
    sample, post = np.nonzero(risky)
    part = current[sample, post]
    for pre in np.flatnonzero(spikes.any(axis=0)):
        part = np.clip(part + spikes[sample, pre] * weights[pre, post], LOW, HIGH)
    total[sample, post] = part
    return total


@dataclass(eq=False)
class _Neurons:
    """State and parameters of a block of neurons: (samples, neurons) and (neurons,)."""

    i: Array
    v: Array
    dash_syn: Array
    dash_mem: Array
    threshold: Array
    bias: Array
    most: int
    saturated: dict[str, Array] = field(default_factory=dict)

    def step(self) -> Array:
        """Decay, integrate, fire; the number of spikes of each neuron."""
        self._note("current", (self.i == HIGH) | (self.i == LOW))
        self.i = self.i - decay(self.i, dash=self.dash_syn)
        # 16-bit negation: the one value without a positive counterpart (dash_mem 0) stays itself
        lost = (-decay(self.v, dash=self.dash_mem)).astype(np.int16).astype(np.int64)
        drive = np.clip(np.clip(lost + self.i, LOW, HIGH) + self.bias, LOW, HIGH)
        v = np.clip(self.v + drive, LOW, HIGH)
        self._note("above", v == HIGH)
        self._note("below", v == LOW)
        count = np.clip(v // self.threshold, 0, self.most)
        self.v = v - count * self.threshold
        return count

    def _note(self, name: str, at_end: Array) -> None:
        self.saturated[name] = self.saturated.get(name, 0) + np.count_nonzero(at_end, axis=0)


def _neurons(config: XyloConfig, samples: int, suffix: str, *, most: int) -> _Neurons:
    names = ("dash_syn", "dash_mem", "threshold", "bias")
    values = [getattr(config, name + suffix).astype(np.int64) for name in names]
    zero = np.zeros((samples, len(values[0])), np.int64)
    syn, mem, threshold, bias = values
    return _Neurons(zero, zero, syn, mem, threshold, bias, most)


def simulate_core(config: XyloConfig, spikes: Array, *, record: bool = False) -> XyloRun:
    """Run the core from rest on input spike trains.

    Args:
        spikes: (samples, steps, inputs), spikes per step and channel; more than 15 count as 15,
            as on the chip.
        record: keep all states of every step.

    Raises:
        TargetError: E511 where the spike trains do not fit the configuration.
    """
    if spikes.ndim != 3 or spikes.shape[2] != config.inputs or spikes.min(initial=0) < 0:
        raise TargetError(
            f"input spikes must be (samples, steps, {config.inputs}) counts, got {spikes.shape}",
            code="E511",
        )
    samples, steps, _ = spikes.shape
    trains = np.minimum(spikes, INPUT_SPIKES).astype(np.int64)
    blocks = []
    for name in ("in", "rec", "out"):
        shift = getattr(config, f"weight_shift_{name}")
        weights = getattr(config, f"weights_{name}").astype(np.int64) << shift
        # every sum is an integer below 31 * sum |w|: exact in float32 up to 2^24
        largest = HIDDEN_SPIKES * np.abs(weights).sum(axis=0).max(initial=0)
        kind = np.float32 if largest + HIGH < 2**24 else np.float64
        blocks.append({"weights": weights, "exact": np.abs(weights).astype(kind)})
    hidden = _neurons(config, samples, "", most=HIDDEN_SPIKES)
    output = _neurons(config, samples, "_out", most=OUTPUT_SPIKES)
    fired = np.zeros((samples, config.hidden), np.int64)
    out = _Recorder(samples, steps=steps, config=config, full=record)
    for t in range(steps):
        hidden.i = deliver(hidden.i, spikes=trains[:, t], **blocks[0])
        hidden.i = deliver(hidden.i, spikes=fired, **blocks[1])
        output.i = deliver(output.i, spikes=fired, **blocks[2])
        fired = hidden.step()
        out.keep(t, fired, out=output.step(), hidden=hidden, output=output)
    saturated = {
        name: np.concatenate([count, output.saturated[name]])
        for name, count in hidden.saturated.items()
    }
    return out.result(saturated)


class _Recorder:
    """Preallocated records of a run."""

    def __init__(self, samples: int, *, steps: int, config: XyloConfig, full: bool) -> None:
        hidden, outputs = (samples, steps, config.hidden), (samples, steps, config.outputs)
        self.spikes, self.output = np.zeros(hidden, np.uint8), np.zeros(outputs, np.uint8)
        self.v_mem_out = np.zeros(outputs, np.int16)
        sizes = {"v_mem": hidden, "i_syn": hidden, "i_syn_out": outputs}
        self.states = {n: np.zeros(size, np.int16) for n, size in sizes.items() if full}

    def keep(self, t: int, fired: Array, *, out: Array, hidden: _Neurons, output: _Neurons) -> None:
        self.spikes[:, t], self.output[:, t], self.v_mem_out[:, t] = fired, out, output.v
        if self.states:
            self.states["v_mem"][:, t], self.states["i_syn"][:, t] = hidden.v, hidden.i
            self.states["i_syn_out"][:, t] = output.i

    def result(self, saturated: dict[str, Array]) -> XyloRun:
        return XyloRun(
            spikes=self.spikes,
            output=self.output,
            v_mem_out=self.v_mem_out,
            saturated=saturated,
            **self.states,
        )
