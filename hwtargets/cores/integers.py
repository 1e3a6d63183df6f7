"""Runs a quantized network in the chip's own integers, layer by layer over all time steps.

Every number is an integer held in float64, exact below 2^53 (sums over synapses in float32 where
they stay below 2^24); what neurons do with their sums is in ``integer.populations``.
"""

from __future__ import annotations

import numpy as np

from ...runtime.graph import Input, Readout
from ...runtime.ops import Array
from ...runtime.parallel.stages import stage
from ...runtime.semantics.windows import READ
from ..mapping import ChipRun
from ..view.coders import sent_by_host
from ..view.network import ChipNetwork
from .integer.network import IntLayer, IntNetwork, IntProjection
from .integer.populations import Tally, count, population

TILE_BYTES = 400_000_000


def simulate_integers(network: ChipNetwork, quantized: IntNetwork, x: Array, steps: int) -> ChipRun:
    """Execute on samples x (n, *shape) of the one input for ``steps`` steps."""
    tally = Tally()
    per_sample = 8 * steps * sum(layer.neurons for layer in network.layers)
    tile = int(np.clip(TILE_BYTES // max(per_sample, 1), 1, 100))
    parts, show = [], stage("running on the chip's integers")
    for i in range(0, len(x), tile):
        parts.append(_tile(network, quantized, x[i : i + tile], steps, tally))
        show(min(i + tile, len(x)), len(x))
    n = max(1, len(x) * steps)
    return ChipRun(
        readout=np.concatenate(parts, axis=1),
        spikes={name: float(a.sum()) for name, a in tally.spikes.items()},
        saturations=tally.saturations,
        rates={name: a / n for name, a in tally.spikes.items()},
    )


def _tile(network: ChipNetwork, quantized: IntNetwork, x: Array, steps: int, tally: Tally) -> Array:
    walk = Walk(network, quantized, x, steps, tally)
    answers = {layer.name: walk.take(layer) for layer in quantized.layers}
    return next(answer for answer in answers.values() if answer is not None)


class Walk:
    """Layer by layer, each over all time steps, on samples x (n, *shape) of the one input. A
    layer may be tried in several forms (``current``, ``outcome``) before one is kept."""

    def __init__(
        self, network: ChipNetwork, quantized: IntNetwork, x: Array, steps: int, tally: Tally
    ) -> None:
        self.onset = network.facts.onsets
        self.readouts = {r.name for r in network.layers if isinstance(r.node, Readout)}
        self.total = steps + max((self.onset[n] for n in self.readouts), default=0)
        self.quantized, self.x, self.steps, self.tally = quantized, x, steps, tally
        self.last = {p.source: la.name for la in network.layers for p in la.projections}
        self.signals: dict[str, Array] = {
            node.name: _encode(node, quantized, np.asarray(x, np.float64), steps, tally)
            for node in (() if network.hosted else network.inputs)
        }
        self.signals |= _from_host(network, x, self.total, steps=steps, tally=tally)

    def begin(self, layer: IntLayer) -> int:
        """The first step of the window of what a layer reads."""
        return max((self.onset[p.source] + p.delay for p in layer.projections), default=0)

    def current(self, layer: IntLayer) -> Array:
        """What the layer's membranes get, see ``_current``."""
        begin = self.begin(layer)
        bias = self._register(layer)
        return _current(layer, self.signals, bias, self.total, begin=begin, steps=self.steps)

    def _register(self, layer: IntLayer) -> Array:
        """Biases with what the host computes, (1, n, *shape); what is cut counts as saturated."""
        bias = np.broadcast_to(layer.bias, (1, len(self.x), *layer.shape))
        host = [_apply(p, self.signals[p.source], shift=0) for p in layer.projections if p.host]
        if not host:
            return bias
        wanted = sum(host, bias)
        over = int((np.abs(wanted) > self.quantized.register.largest).sum())
        found = self.tally.saturations
        found[layer.name] = found.get(layer.name, 0) + over
        return self.quantized.register.holds(wanted)

    def outcome(self, layer: IntLayer, current: Array) -> Array:
        """Spikes (total, n, *shape) of a population; answers (steps, n, *shape) of a readout."""
        if layer.name in self.readouts:
            begin = self.begin(layer)
            return _read(layer, self.quantized, current, begin, steps=self.steps, tally=self.tally)
        return population(layer, self.quantized, current, self.window(layer), self.tally)

    def window(self, layer: IntLayer) -> tuple[int, int]:
        """The steps in which a population fires."""
        return self.onset[layer.name], self.onset[layer.name] + self.steps

    def keep(self, layer: IntLayer, outcome: Array) -> Array | None:
        """Go on with this outcome; returned if it is an answer. What nobody reads any more is
        dropped."""
        answers = layer.name in self.readouts
        if not answers:
            self.signals[layer.name] = outcome
        for name in [n for n, reader in self.last.items() if reader == layer.name]:
            self.signals.pop(name, None)
        return outcome if answers else None

    def take(self, layer: IntLayer) -> Array | None:
        """Run and keep a layer."""
        return self.keep(layer, self.outcome(layer, self.current(layer)))


def graded(quantized: IntNetwork, x: Array) -> Array:
    """The numbers that are sent of graded inputs in every step."""
    most = quantized.input_max
    return np.asarray(np.clip(np.round(x / quantized.input_unit), -most, most))


def _encode(node: Input, quantized: IntNetwork, x: Array, steps: int, tally: Tally) -> Array:
    """The input as integers per step: (steps or 1, n, *shape)."""
    if quantized.input_mode == "graded":
        return graded(quantized, x)[np.newaxis]
    if quantized.input_mode == "bias":
        return x[np.newaxis]
    t = np.arange(1, steps + 1).reshape(-1, *(1,) * x.ndim)
    if quantized.input_mode == "population":
        # an IF neuron with constant current x and threshold 1 (the input's unit), v_init 1/2
        sent = np.floor(np.minimum(np.abs(x / quantized.input_unit), 1) * t + 0.5) * np.sign(x)
    elif node.encoding == "rate":
        sent = np.floor(np.abs(x) * t + 0.5) * np.sign(x)
    else:
        assert node.encoding == "poisson", node.encoding
        rng = np.random.default_rng(0)
        return np.sign(x) * (rng.random((steps, *x.shape)) < np.abs(x))
    spikes = np.diff(sent, axis=0, prepend=0)
    count(tally, node.name, spikes)
    return np.asarray(spikes)


def _from_host(
    network: ChipNetwork, x: Array, total: int, *, steps: int, tally: Tally
) -> dict[str, Array]:
    """The spikes of the neurons that the host has in the chip's stead, (total, n, *shape)."""
    out = {}
    inputs = {node.name: np.asarray(x, np.float64) for node in network.inputs}
    hosted = sorted(network.hosted)
    for name, sent in sent_by_host(network.facts, hosted, inputs, steps).items():
        begin = network.facts.onsets[name]
        out[name] = np.zeros((total, *sent.shape[1:]), np.float32)
        out[name][begin : begin + steps] = sent
        count(tally, name, sent)
    return out


def _apply(p: IntProjection, signal: Array, *, shift: int) -> Array:
    """A projection on (steps or 1, n, *shape), in steps of the membrane; the array is nobody
    else's."""
    merged = signal.reshape(-1, *signal.shape[2:])
    merged = merged.astype(np.float32 if p.narrow else np.float64, copy=False)
    for op in p.ops:
        merged = op.apply(merged)
    out = merged.reshape(*signal.shape[:2], *merged.shape[1:]).astype(np.float64)
    if p.host:
        return np.round(out, out=out)
    if np.any(p.exponent):
        out *= 2.0**p.exponent
    if np.any(np.less(p.exponent, 0)):
        np.floor(out, out=out)
    if shift:
        out *= 2**shift
    return out


def _later(signal: Array, delay: int, *, total: int) -> Array:
    """A signal over all steps, ``delay`` later; others begin with the layer's window anyway."""
    if not delay or len(signal) != total:
        return signal
    return np.concatenate([np.zeros_like(signal[:delay]), signal[: total - delay]])


def _current(
    layer: IntLayer, signals: dict[str, Array], bias: Array, total: int, *, begin: int, steps: int
) -> Array:
    """(total or 1, n, *shape) in membrane steps, bias included in the layer's window."""
    parts = [
        _later(_apply(p, signals[p.source], shift=layer.shift), p.delay, total=total)
        for p in layer.projections
        if not p.host
    ]
    parts.append(bias)
    window = slice(begin, begin + steps)
    if all(len(a) == 1 for a in parts) and total == steps:
        return np.asarray(sum(parts))
    whole = [a for a in parts if len(a) == total]
    out = whole[0] if whole else np.zeros((total, *bias.shape[1:]))
    for a in whole[1:]:
        out += a
    for a in (a for a in parts if len(a) != total):
        out[window] += a  # constant, or an input of ``steps`` steps
    return out


def _read(
    layer: IntLayer, quantized: IntNetwork, current: Array, begin: int, *, steps: int, tally: Tally
) -> Array:
    """The answer after every step, (steps, n, *shape): membrane, or spike counts."""
    if layer.neuron is not None:
        fire = (begin, begin + steps)
        spikes = population(layer, quantized, current, fire, tally)[begin : begin + steps]
        return np.cumsum(spikes, axis=0)
    window = current[begin : begin + steps] if len(current) > 1 else current
    if len(window) == 1:
        window = np.broadcast_to(window, (steps, *window.shape[1:]))
    if layer.coding != "rate":
        return _read_weighted(layer, quantized, window, tally)
    v = np.cumsum(window, axis=0)
    over = int((np.abs(v) > quantized.state_max).sum())
    tally.saturations[layer.name] = tally.saturations.get(layer.name, 0) + over
    return np.clip(v, -quantized.state_max, quantized.state_max)


def _read_weighted(layer: IntLayer, quantized: IntNetwork, window: Array, tally: Tally) -> Array:
    """As ``_read``; t times the weighted mean so far, which is what a plain membrane holds."""
    steps = len(window)
    along = (-1, *(1,) * (window.ndim - 1))
    weights = np.array([READ[layer.coding](t, steps) for t in range(steps)], np.float64)
    charge = np.cumsum(window * weights.reshape(along), axis=0)
    if layer.v_init is not None:
        charge += layer.v_init
    over = int((np.abs(charge) > quantized.state_max).sum())
    tally.saturations[layer.name] = tally.saturations.get(layer.name, 0) + over
    bounded = np.clip(charge, -quantized.state_max, quantized.state_max)
    sums = np.cumsum(weights) / np.arange(1, steps + 1)  # of the weights so far, over t
    return np.asarray(bounded / sums.reshape(along))
