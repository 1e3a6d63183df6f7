"""Calibration in the spiking loop, one pass over the graph, earlier layers already corrected.

For every population in execution order: its weights are corrected for the rates that really arrive
(``weights``), threshold, initial potential and bias are chosen under the spikes that really
arrive (``search``), it is simulated once, and the next one reads its spikes. No gradients, no
labels; each layer is computed a fixed number of times, so the pass is linear in depth. Memory: the
spikes of the populations in use, bounded by the number of samples (``MEMORY``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...runtime import graph as snn
from ...runtime.neurons import Neuron, WindowedNeuron, windowed
from ...runtime.ops import Array
from ...runtime.parallel.threads import one_blas_thread
from ...runtime.semantics.samples import as_inputs, spread_over
from ..lowering.lower import compact
from ..statistics.measure import by_channel, channel_axis
from .replay import Replay, Train, decoded_mean, last_readers, packed_bits, packs
from .search import Choice, Drive, choose, fired, search_of, windowed_mean
from .weights import correct, correctable, residual

Progress = Callable[[int, int], None]

MEMORY = 768 << 20  # bytes for the spikes and activations of the populations in use
WORK = 8192  # samples times steps: more is slow and brings little
FEWEST = 32  # samples, however many steps (if memory allows)
SAMPLED = 1 << 18  # neurons of a population searched at T <= 16; fewer above
DRIVEN = 8  # tiles that the search looks at, at least


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuning:
    """What is calibrated in the loop.

    Attributes:
        samples: calibration samples used at most, spread over all; fewer for many steps (``WORK``).
        weights: correct weights; search: choose thresholds and initial potentials; rounds: of
            bias calibration.
        fixed: populations whose neurons stay as they are.
        spike_cost: what one spike more per neuron costs in the search of a layer, in squared error
            of its activations relative to their mean square: a number without a unit, so that it
            means the same in every layer and network.
    """

    samples: int = 512
    weights: bool = True
    search: bool = True
    rounds: int = 3
    seed: int = 0
    memory: int = MEMORY
    threads: int | None = None
    fixed: frozenset[str] = frozenset()
    spike_cost: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuned:
    """The lowered graph with corrected weights and biases, and the neurons to put into it.

    ``errors``: per population, mean squared error of the decoded rates on the calibration samples
    relative to the mean square of the ANN's activations.
    """

    graph: snn.SpikingGraph
    neurons: Mapping[str, Neuron]
    errors: Mapping[str, float]
    samples: int


def tune(
    lowered: snn.SpikingGraph,
    calibration: Array | Mapping[str, Array],
    neurons: Mapping[str, Neuron],
    steps: int,
    tuning: Tuning | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> Tuned:
    """Calibrate ``lowered`` with ``neurons`` (thresholds from the data) for T = ``steps``.

    Raises DataError where the calibration samples do not fit the graph.
    """
    tuning = tuning or Tuning()
    arrays = as_inputs(lowered, calibration, np.float32)
    given = len(next(iter(arrays.values())))
    one = any(windowed(neuron) for neuron in neurons.values())  # a number for all steps
    held = 1 if one else steps
    count = _sample_count(lowered, neurons, given=given, steps=held, tuning=tuning)
    chosen = spread_over(given, most=count)
    arrays = {name: x[chosen] for name, x in arrays.items()}
    replay = Replay(lowered, arrays, steps, neurons, threads=tuning.threads, seed=tuning.seed)
    loop = _Loop(replay, dict(neurons), tuning, np.random.default_rng(tuning.seed))
    targets = [n for n in lowered.nodes if isinstance(n, snn.Population | snn.Readout)]
    with one_blas_thread():
        for number, node in enumerate(targets, 1):
            loop.visit(node)
            progress(number, len(targets))
    with_ann = _WithAnn(replay.original)
    changed = [snn.visit(with_ann, node, ()) for node in replay.nodes.values()]
    return Tuned(
        graph=lowered.with_nodes(changed), neurons=loop.neurons, errors=loop.errors, samples=count
    )


def _sample_count(
    graph: snn.SpikingGraph,
    neurons: Mapping[str, Neuron],
    *,
    given: int,
    steps: int,
    tuning: Tuning,
) -> int:
    fitting = tuning.memory // bytes_per_sample(graph, neurons, steps)
    return max(1, min(most_samples(given, steps=steps, tuning=tuning), fitting))


def most_samples(given: int, *, steps: int, tuning: Tuning) -> int:
    """How many of the ``given`` samples are used if memory allows; ``steps``: 1 with windows."""
    return min(given, tuning.samples, max(WORK // steps, FEWEST))


def bytes_per_sample(graph: snn.SpikingGraph, neurons: Mapping[str, Neuron], steps: int) -> int:
    """What the populations in use at one time take at most, for one calibration sample: spikes, an
    activation and a mean each, and six values per neuron of the population at work."""
    last, held, most = last_readers(graph), {}, 1
    for node in graph.nodes:
        if not isinstance(node, snn.Population | snn.Readout):
            continue
        size = prod(node.shape)
        if isinstance(node, snn.Population):
            train = -(-steps // 8) if packs(neurons[node.name]) else steps
            held[node.name] = size * (train + 8)
        most = max(most, sum(held.values()) + 24 * size)
        held = {name: n for name, n in held.items() if last.get(name) != node.name}
    return most


@dataclass
class _Loop:
    """The pass over the graph: what has been decided so far."""

    replay: Replay
    neurons: dict[str, Neuron]
    tuning: Tuning
    rng: np.random.Generator
    errors: dict[str, float] = field(default_factory=dict)

    def visit(self, node: snn.Population | snn.Readout) -> None:
        replay, source = self.replay, node.inputs[0]
        ann = node.bias if node.ann_bias is None else node.ann_bias
        z = np.concatenate(replay.each(lambda part: replay.value(source, part))) + ann
        self._correct_weights(node.name, z)
        if isinstance(node, snn.Population):
            self._population(node.name, np.clip(z, 0, node.ceiling).astype(np.float32))
            return
        mean = self._mean(source) + self._bias(node.name)
        self._shift(node.name, compact(_per_channel(z - mean, self._axis(node.name))))
        replay.drop(node.name)

    def _axis(self, name: str) -> int:
        return channel_axis(self.replay.facts, name)

    def _mean(self, name: str) -> Array:
        return np.concatenate(self.replay.each(lambda part: self.replay.mean(name, part)))

    def _bias(self, name: str) -> Array:
        """The bias so far; some neurons have it in themselves."""
        neuron = self.neurons.get(name)
        if neuron is not None and "bias" in neuron.traits:
            return neuron.kept_bias
        node = self.replay.nodes[name]
        assert isinstance(node, snn.Population | snn.Readout)
        return node.bias

    def _shift(self, name: str, change: Array) -> None:
        bias = (self._bias(name) + change).astype(np.float32)
        neuron = self.neurons.get(name)
        if neuron is not None and "bias" in neuron.traits:
            self.neurons[name] = neuron.having(bias=bias)
            return
        node = self.replay.nodes[name]
        assert isinstance(node, snn.Population | snn.Readout)
        self.replay.nodes[name] = replace(node, bias=bias)

    def _correct_weights(self, name: str, z: Array) -> None:
        if not self.tuning.weights:
            return
        replay, node = self.replay, self.replay.nodes[name]
        for synapse in correctable(replay, name):
            mean = self._mean(node.inputs[0]) + self._bias(name)
            missing = residual(z, mean=mean, spiking=isinstance(node, snn.Population))
            replay.nodes[synapse.name], shift = correct(replay, synapse, missing, self.rng)
            self._shift(name, _along(shift, self._axis(name), rank=len(node.shape)))

    def _population(self, name: str, target: Array) -> None:
        replay, axis = self.replay, self._axis(name)
        node = replay.nodes[name]
        assert isinstance(node, snn.Population)
        neuron = self.neurons[name]
        if name not in self.tuning.fixed:
            threshold = np.broadcast_to(neuron.v_threshold, _lengths(node, axis)).ravel()
            drive = self._drive(node, target, axis)
            search = search_of(
                neuron,
                starts=self.tuning.search,
                rounds=self.tuning.rounds,
                price=self._price(target),
            )
            self._take(node, choose(neuron, threshold, drive, search, node.ceiling))
        train = self._run(name)
        replay.store(name, train, target)
        power = float(np.mean(target**2)) or 1.0
        self.errors[name] = float(np.mean((train.mean - target) ** 2)) / power

    def _price(self, target: Array) -> float:
        """Of one spike of each of the population's neurons, in squared activations."""
        cost = self.tuning.spike_cost
        return cost * float(np.mean(target**2)) if cost else 0.0

    def _take(self, node: snn.Population, choice: Choice) -> None:
        neuron, axis, rank = self.neurons[node.name], self._axis(node.name), len(node.shape)
        neuron = neuron.having(v_threshold=_along(choice.threshold, axis, rank=rank))
        if "v_init" in neuron.traits:
            neuron = neuron.having(v_init=_along(choice.v_init, axis, rank=rank))
        self.neurons[node.name] = neuron
        self._shift(node.name, _along(choice.bias, axis, rank=rank))

    def _run(self, name: str) -> Train:
        """The population's spikes on all samples."""
        replay, neuron, node = self.replay, self.neurons[name], self.replay.nodes[name]
        begin, fire = self._window(name)
        bias = np.zeros((), np.float32) if "bias" in neuron.traits else self._bias(name)

        threshold = neuron.v_threshold.astype(np.float32)
        weights = neuron.worth(replay.steps)

        def tile(part: slice) -> tuple[Array, Array]:
            first, current = replay.signal(node.inputs[0], part)
            if isinstance(neuron, WindowedNeuron):
                mean = windowed_mean(neuron, current=current[0] + bias, steps=replay.steps)
                return np.empty((0, *mean.shape), np.uint8), mean
            spikes = fired(
                neuron,
                bias=bias,
                current=current,
                first=first,
                begin=begin,
                fire=fire,
                steps=replay.steps,
            )
            mean = decoded_mean(spikes, threshold=threshold, worth=weights)
            return packed_bits(spikes) if packs(neuron) else spikes, mean

        spikes, means = zip(*replay.each(tile), strict=True)
        return Train(
            spikes=np.concatenate(spikes, axis=1),
            threshold=threshold,
            mean=np.concatenate(means),
            steps=replay.steps,
            packed=packs(neuron),
        )

    def _window(self, name: str) -> tuple[int, int]:
        """When a population's currents and biases arrive, and when its spikes leave."""
        onset = self.replay.onset
        return max(onset[i] for i in self.replay.nodes[name].inputs), onset[name]

    def _drive(self, node: snn.Population, target: Array, axis: int) -> Drive:
        """A sample of the population's neurons with the currents that arrive."""
        replay, steps = self.replay, 1 if self.replay.windowed else self.replay.steps
        begin, fire = self._window(node.name)
        shape = node.shape or (1,)
        channels = shape[axis]
        budget = SAMPLED * min(16, steps) // steps
        per_channel = max(budget // channels, min(256, 8192 // steps), 64)
        bias = np.broadcast_to(self._bias(node.name), shape)
        outside = "bias" not in self.neurons[node.name].traits
        parts = list(replay.tiles())
        # The others would only add neurons of which the sample holds one in a hundred.
        parts = parts[:: 1 if len(parts) < 2 * DRIVEN else 2]
        per_tile = -(-per_channel // len(parts))
        rngs = {p.start: r for p, r in zip(parts, self.rng.spawn(len(parts)), strict=True)}

        def tile(part: slice) -> tuple[int, Array, Array, Array]:
            first, current = replay.signal(node.inputs[0], part)
            current = current.reshape(*current.shape[:2], *shape)
            flat = np.moveaxis(current, 2 + axis, 1).reshape(len(current), channels, -1)
            chosen = rngs[part.start].permutation(flat.shape[2])[:per_tile]
            own = by_channel(np.broadcast_to(bias, (current.shape[1], *shape)), axis)
            if replay.windowed:  # one number for all steps
                sampled = flat[:, :, chosen] + own[:, chosen]
                return first, sampled, by_channel(target[part], axis)[:, chosen], own[:, chosen]
            sampled = np.repeat(flat[:, :, chosen], steps if len(current) == 1 else 1, 0)
            sampled = _until(sampled, begin - first + steps)
            if outside:
                sampled[max(begin - first, 0) : begin - first + steps] += own[:, chosen]
            return first, sampled, by_channel(target[part], axis)[:, chosen], own[:, chosen]

        tiles = replay.each(tile, parts)
        return Drive(
            current=np.concatenate([t[1] for t in tiles], axis=2),
            target=np.concatenate([t[2] for t in tiles], axis=1),
            first=tiles[0][0],
            begin=begin,
            fire=fire,
            steps=replay.steps,
            bias=None if outside else np.concatenate([t[3] for t in tiles], axis=1),
        )


class _WithAnn(snn.Rules[snn.Node]):
    """A corrected node that remembers what the ANN computes there."""

    def __init__(self, original: Mapping[str, snn.Node]) -> None:
        self.original = original

    def synapse(self, node: snn.Synapse, xs: Sequence[snn.Node]) -> snn.Node:
        original = self.original[node.name]
        assert isinstance(original, snn.Synapse)
        return node if node.op is original.op else replace(node, ann_op=original.op)

    def population(self, node: snn.Population | snn.Readout, xs: Sequence[snn.Node]) -> snn.Node:
        original = self.original[node.name]
        assert isinstance(original, snn.Population | snn.Readout)
        ann = original.bias if original.ann_bias is None else original.ann_bias
        return replace(node, ann_bias=ann)

    readout = population

    def input(self, node: snn.Node, xs: Sequence[snn.Node]) -> snn.Node:
        return node

    max_pool = analog = delay = input  # nothing of them is corrected


def _until(current: Array, count: int) -> Array:
    """``current`` (time, ...) with at least ``count`` steps: nothing arrives in those added."""
    if len(current) >= count:
        return current
    return np.concatenate([current, np.zeros((count - len(current), *current.shape[1:]), "f4")])


def _lengths(node: snn.Node, axis: int) -> tuple[int, ...]:
    return tuple(n if i == axis else 1 for i, n in enumerate(node.shape))


def _along(values: Array, axis: int, *, rank: int) -> Array:
    shape = [1] * rank
    shape[axis : axis + 1] = [len(values)] * bool(rank)
    return values.reshape(shape).astype(np.float32)


def _per_channel(x: Array, axis: int) -> Array:
    """The mean of x (batch, *shape) over everything but its channels, broadcasting to shape."""
    axes = tuple(i for i in range(x.ndim) if i != axis + 1)
    return x.mean(axis=axes, keepdims=True)[0]
