"""What is left to choose of a layer's integers, chosen on calibration data in the integer run.

Layer by layer in execution order, with the chip's own spikes of the layers before it: how far the
weights' step reaches (one channel of large weights would leave the others few levels), weights
rounded so that their errors cancel in the sums (``fitting.feedback``, by what the layer's sources
send on average), and a bias that takes the mean error of the summed input out; at the end, on more
samples, that of the outputs. What is wanted is what the network does with numbers of unlimited
width on the same samples; what counts is the squared error of the layer's spikes. Half of the
samples are held back: the whole is kept only if the answers on these are nearer to what is wanted
than those of plain rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...runtime.graph import Node, Population, Readout
from ...runtime.ops import Array, WeightedOp
from ...runtime.parallel.stages import stage
from ...runtime.semantics.analog import run_analog
from ...runtime.semantics.windows import READ
from ..fitting.feedback import Feedback
from ..fitting.samples import fitting_samples
from ..mapping import ChipRun, Request
from ..target import HardwareTarget
from ..view.network import ChipLayer, ChipNetwork
from .integer.network import IntLayer, IntNetwork
from .integer.populations import Tally
from .integer.rounding import feedback
from .integers import Walk, simulate_integers
from .quantize import PLAIN, Quantizer, Tuning, quantize, quantizer

REACHES = (1.0, 0.71, 0.5, 0.35, 0.25, 0.18, 0.125)  # the first that is worse ends the search
SHORT = (2.0**-4, 2.0**-6, 2.0**-8, 2.0**-10)  # tried too where most channels have few levels
FEW = 8  # levels
MOST, FEWEST = 32, 6  # samples, half of them held back
RATES = 64  # more samples, of which only rates and the answers' means are looked at
CENTRED = 16  # samples in a run
WORK = 250_000_000  # steps of neurons in one run of all of them
WIDTHS = ("weight_bits", "weight_exponent", "threshold_bits", "bias_bits", "bias_exponent",
          "input_bits", "state_bits")  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """By layer what was chosen; ``samples``: chosen on; ``held_back``: others; ``errors``: mean
    squared error of the answers on these, relative to the wanted answers, plain and chosen."""

    tunings: Mapping[str, Tuning]
    samples: int
    held_back: int
    errors: tuple[float, float]

    @property
    def kept(self) -> bool:
        return self.errors[1] < self.errors[0]


def fit(
    network: ChipNetwork,
    target: HardwareTarget,
    mode: str,
    largest_input: float,
    steps: int,
    *,
    x: Array,
) -> Fit:
    """Choose on calibration samples x (n, *input shape); arguments otherwise as of ``quantize``."""
    others, x = _others(network, x, steps)
    seen, held = (x[::2], x[1::2]) if len(x) > 1 else (x, x)
    build = quantizer(network, target, mode, largest_input, steps)
    unlimited = {name: n for name, n in target.limits.items() if name not in WIDTHS}
    exact = quantizer(network, replace(target, limits=unlimited), mode, largest_input, steps)
    wanted = exact.network(map(exact.layer, network.layers))
    means = {m.name: m for m in _measured(network, wanted, seen, steps)}
    rates = _rates(network, np.concatenate([seen, others]))
    search = _Search(build, rates, corrects=bool(target.can("per_neuron_bias")))
    plain = build.network(map(build.layer, network.layers))
    walk = Walk(network, plain, seen, steps, Tally())
    chosen, told = {}, stage("choosing integers")
    for number, layer in enumerate(network.layers, 1):
        chosen[layer.name] = search.layer(layer, walk, means[layer.name])
        told(number, len(network.layers))
    tuned = build.network(build.layer(la, chosen[la.name]) for la in network.layers)
    if search.corrects:
        more = np.concatenate([seen, others[: 2 * WORK // (steps * _neurons(network))]])
        chosen |= _centred(network, tuned, more, wanted=wanted, chosen=chosen, steps=steps)
        tuned = build.network(build.layer(la, chosen[la.name]) for la in network.layers)
    right, *answers = (_answers(network, n, held, steps) for n in (wanted, plain, tuned))
    scale = float(np.mean(right**2)) or 1.0
    before, after = (float(np.mean((a - right) ** 2)) / scale for a in answers)
    return Fit(tunings=chosen, samples=len(seen), held_back=len(held), errors=(before, after))


def _others(network: ChipNetwork, x: Array, steps: int) -> tuple[Array, Array]:
    """As many samples as ``WORK`` allows, from all of x, behind others, at most ``RATES``."""
    most = int(np.clip(WORK // (steps * _neurons(network)), FEWEST, MOST))
    chosen = np.linspace(0, len(x) - 1, min(most, len(x))).astype(int)
    left = np.setdiff1d(np.arange(len(x)), chosen)
    few = np.linspace(0, len(left) - 1, min(RATES, len(left))).astype(int)
    return x[left[few]], x[chosen]


def _neurons(network: ChipNetwork) -> int:
    return sum(layer.neurons for layer in network.layers)


def _centred(
    network: ChipNetwork,
    tuned: IntNetwork,
    x: Array,
    *,
    wanted: IntNetwork,
    chosen: Mapping[str, Tuning],
    steps: int,
) -> Mapping[str, Tuning]:
    """Outputs whose bias takes out what all layers before have left of a mean error. Spikes are
    too irregular for a few samples to tell it: as many as rates were measured on, ``CENTRED`` at a
    time."""
    found = {}
    for layer in network.layers:
        if not isinstance(layer.node, Readout) or layer.neuron is not None:
            continue
        parts = [x[i : i + CENTRED] for i in range(0, len(x), CENTRED)]
        weights = [len(part) / len(x) for part in parts]
        right, got = (
            sum(w * _mean_into(network, layer, ints, part, steps)
                for w, part in zip(weights, parts, strict=True))
            for ints in (wanted, tuned)
        )  # fmt: skip
        own = chosen[layer.name]
        found[layer.name] = replace(own, bias=own.bias + right - got)
    return found


def _mean_into(
    network: ChipNetwork, layer: ChipLayer, ints: IntNetwork, x: Array, steps: int
) -> Array:
    """Mean of what a layer gets per step, by channel, in ANN units."""
    walk = Walk(network, ints, x, steps, Tally())
    for each in ints.layers:
        current = walk.current(each)
        if each.name == layer.name:
            break
        walk.keep(each, walk.outcome(each, current))
    return np.asarray(_mean_current(layer, current, steps=steps) * each.unit / each.scaled)


def _rates(network: ChipNetwork, x: Array) -> Mapping[str, Array]:
    """What every source sends per step on samples x, in analog mode, by its name."""
    sources = {p.source for layer in network.layers for p in layer.projections}
    found: dict[str, Array] = {}

    def observe(node: Node, pre: Array, out: Array) -> None:
        if node.name in sources:
            theta = node.neuron.v_threshold if isinstance(node, Population) else 1.0
            found[node.name] = np.asarray(out / theta, np.float32)

    run_analog(network.graph, np.asarray(x, np.float32), observe=observe)
    return found


@dataclass(frozen=True, eq=False, kw_only=True)
class _Measured:
    """What a layer does with exact numbers: ``value`` (n, *shape) as its readers take it, ``mean``
    sum of its input over the window, by channel, in ANN units."""

    name: str
    value: Array
    mean: Array


def _measured(
    network: ChipNetwork, wanted: IntNetwork, x: Array, steps: int
) -> Iterator[_Measured]:
    walk = Walk(network, wanted, x, steps, Tally())
    for layer, ints in zip(network.layers, wanted.layers, strict=True):
        current = walk.current(ints)
        outcome = walk.outcome(ints, current)
        walk.keep(ints, outcome)
        mean = _mean_current(layer, current, steps=steps) * ints.unit / ints.scaled
        yield _Measured(name=ints.name, value=_value(walk, ints, outcome), mean=mean)


def _value(walk: Walk, layer: IntLayer, outcome: Array) -> Array:
    """Of spikes what they are worth in their window together; of answers the last one."""
    if layer.name in walk.readouts:
        return outcome[-1] * (1.0 if layer.neuron else layer.unit)
    first, stop = walk.window(layer)
    read = READ.get(layer.coding)
    worth = [1.0 if read is None else read(t, walk.steps) for t in range(walk.steps)]
    return np.asarray(np.einsum("t,t...->...", np.array(worth), outcome[first:stop]))


def _mean_current(layer: ChipLayer, current: Array, *, steps: int) -> Array:
    """Per step of the window, over samples and positions; by channel, 1 along other axes."""
    ops = [op for p in layer.projections for op, _, _ in p.chain if isinstance(op, WeightedOp)]
    rank = current.ndim - 2
    axis = (ops[-1].channel_axis % rank if ops and rank else 0) + 2
    others = tuple(i for i in range(1, current.ndim) if i != axis or not rank)
    mean = current.mean(axis=others, keepdims=True)
    whole = mean.sum(axis=0) / (steps if len(current) > 1 else 1)
    return np.asarray(whole[0])


@dataclass(frozen=True, eq=False, kw_only=True)
class _Tried:
    tuning: Tuning
    layer: IntLayer
    outcome: Array
    error: float


def _starved(layer: IntLayer) -> bool:
    """Whether the weights of most channels of a connection are but a few levels."""
    weighted = [op for p in layer.projections for op in p.ops if isinstance(op, WeightedOp)]
    tops = [np.abs(op.factors).reshape(len(op.factors), -1).max(axis=1) for op in weighted]
    return any(float(np.median(top)) < FEW for top in tops)


class _Search:
    """The best of some forms of each layer; ``corrects``: the chip has a bias per neuron."""

    def __init__(self, build: Quantizer, rates: Mapping[str, Array], *, corrects: bool) -> None:
        self.build, self.rates, self.corrects = build, rates, corrects

    def layer(self, layer: ChipLayer, walk: Walk, wanted: _Measured) -> Tuning:
        """Choose, and let ``walk`` go on with it."""
        fed = self._feedback(layer)
        best = self._best(layer, walk, wanted, [Tuning(feedback=fed), *([PLAIN] if fed else [])])
        for reach in REACHES[1:]:
            if all(p.host for p in best.layer.projections):
                break
            found = self._best(layer, walk, wanted, [Tuning(reach=reach, feedback=fed)])
            if found.error >= best.error:
                break
            best = found
        if _starved(best.layer):
            few = [Tuning(reach=reach, feedback=fed) for reach in SHORT]
            found = self._best(layer, walk, wanted, few)
            best = min(best, found, key=lambda tried: tried.error)
        walk.keep(best.layer, best.outcome)
        return best.tuning

    def _best(
        self, layer: ChipLayer, walk: Walk, wanted: _Measured, tunings: Sequence[Tuning]
    ) -> _Tried:
        tried = (form for t in tunings for form in self._forms(layer, walk, wanted, t))
        return min(tried, key=lambda form: form.error)

    def _feedback(self, layer: ChipLayer) -> dict[int, tuple[Feedback, ...]]:
        chains = enumerate(self.build.chains(layer))
        found = {i: feedback(c, self.rates[c.projection.source]) for i, c in chains}
        return {i: given for i, given in found.items() if given is not None}

    def _forms(
        self, layer: ChipLayer, walk: Walk, wanted: _Measured, tuning: Tuning
    ) -> Iterator[_Tried]:
        ints = self.build.layer(layer, tuning)
        current = walk.current(ints)
        yield self._tried(walk, ints, current, wanted, tuning)
        if self.corrects:
            mean = _mean_current(layer, current, steps=walk.steps) * ints.unit / ints.scaled
            missing = wanted.mean - mean
            tuning = replace(tuning, bias=missing)
            corrected = self.build.layer(layer, tuning)
            if any(p.host for p in ints.projections):  # in a register with the bias
                current = walk.current(corrected)
            else:
                first = walk.begin(ints) if len(current) > 1 else 0
                current[first : first + walk.steps] += corrected.bias - ints.bias
            yield self._tried(walk, corrected, current, wanted, tuning)

    @staticmethod
    def _tried(
        walk: Walk, ints: IntLayer, current: Array, wanted: _Measured, tuning: Tuning
    ) -> _Tried:
        outcome = walk.outcome(ints, current)
        error = float(np.mean((_value(walk, ints, outcome) - wanted.value) ** 2))
        return _Tried(tuning=tuning, layer=ints, outcome=outcome, error=error)


def _answers(network: ChipNetwork, ints: IntNetwork, x: Array, steps: int) -> Array:
    walk = Walk(network, ints, x, steps, Tally())
    found = [(layer, walk.take(layer)) for layer in ints.layers]
    layer, answer = next((la, a) for la, a in found if a is not None)
    return _value(walk, layer, answer)


class Runner:
    """Runs the quantized network; a run on the request's samples is kept, not repeated. ``fit``:
    how its integers were chosen, None for plain rounding; ``origin``: on what."""

    def __init__(
        self,
        network: ChipNetwork,
        target: HardwareTarget,
        mode: str,
        request: Request[Any],
        *,
        tune: bool,
    ) -> None:
        size = network.inputs[0].shape
        x, self.origin = fitting_samples(request, size, drawn=1, dtype=np.float64)
        given = request.calib is not None or request.x is not None
        self.network, self.target = network, target
        self.largest = float(np.abs(x).max()) if given else 1.0
        build = partial(quantize, network, target, mode, self.largest, request.steps)
        self.fit: Fit | None = None
        if given and tune:
            self.fit = fit(network, target, mode, self.largest, request.steps, x=x)
        kept = self.fit is not None and self.fit.kept
        self.tunings = self.fit.tunings if self.fit is not None and kept else {}
        self.quantized = build(tunings=self.tunings)
        self._last: tuple[Array, int, ChipRun] | None = None

    def ideal(self, x: Array, steps: int) -> ChipRun:
        """The same weights with unlimited states, and the input sent as integers: what is left is
        the loss by quantized weights, thresholds and biases alone."""
        found = self(x, steps)
        population = self.quantized.input_mode == "population"
        if not population and not any(found.saturations.values()):
            return found
        mode = "graded" if population else self.quantized.input_mode
        free = quantize(self.network, self.target, mode, self.largest, steps, tunings=self.tunings)
        return simulate_integers(self.network, replace(free, state_max=float("inf")), x, steps)

    def __call__(self, x: Array, steps: int) -> ChipRun:
        if self._last is None or self._last[0] is not x or self._last[1] != steps:
            self._last = (x, steps, simulate_integers(self.network, self.quantized, x, steps))
        return self._last[2]

    def notes(self) -> tuple[str, ...]:
        """What was chosen on what, and what the integers say of themselves."""
        found = self.fit
        if found is None:
            return (*self.quantized.notes,)
        clipped = sum(t.reach < 1 for t in found.tunings.values())
        before, after = (f"{100 * e:.2g} %" for e in found.errors)
        said = (
            f"Steps of weights and biases were chosen on {found.samples} samples ({self.origin}), "
            f"in the integer run ({clipped} of {len(found.tunings)} layers clip their largest "
            f"weights). On {found.held_back} others the answers' squared error is {after}"
        )
        end = f", {before} with plain rounding." if found.kept else (
            f", with plain rounding {before}: plain rounding was kept."
        )  # fmt: skip
        return (said + end, *self.quantized.notes)
