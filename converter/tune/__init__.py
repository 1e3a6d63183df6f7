"""Calibration in the spiking loop, one pass over the graph, earlier layers already corrected.

For every population in execution order: its weights are corrected for the rates that really arrive
(``weights``), threshold, initial potential and bias are chosen under the spikes that really
arrive (``search``), it is simulated once, and the next one reads its spikes. No gradients, no
labels; each layer is computed a fixed number of times, so the pass is linear in depth. Memory: the
spikes of the populations in use, within a limit that does not decide how many samples are used
(``plan``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...runtime import graph as snn
from ...runtime.neurons import Neuron, WindowedNeuron, windowed
from ...runtime.ops import Array, WeightedOp
from ...runtime.parallel.threads import available_threads, one_blas_thread
from ...runtime.semantics.samples import as_inputs, spread_over
from ..lowering.lower import compact
from ..statistics.measure import by_channel, channel_axis
from .memory import at_work, give_back, of_fits
from .plan import Plan, planned
from .rates import windowed_mean
from .replay import Replay
from .sampled import drive
from .search import Choice, choose, search_of
from .stream import Firing, Where
from .trains import Train, bits_each, pages, spike_type
from .weights import correct, correctable, fit_bytes, fits, residual

Progress = Callable[[int, int], None]

MEMORY = 1 << 30  # bytes
WORK = 8192  # samples times steps: more is slow and brings little
FEWEST = 32  # samples, however many steps
CONNECTIONS = 1 << 39  # times samples and steps: half a minute or a minute of one core
NEURON = 100  # connections that take as long as a neuron


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuning:
    """What is calibrated in the loop.

    Attributes:
        samples: calibration samples used at most, spread over all; fewer for many steps (``WORK``).
        weights: correct weights; search: choose thresholds and initial potentials; rounds: of
            bias calibration.
        fixed: populations whose neurons stay as they are.
        memory: bytes for what is kept of samples (``plan``) and all else (``memory``).
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
    relative to the mean square of the ANN's activations. ``samples`` were used; ``fitting``: that
    number where memory decided it, else None; ``affordable``: where the bound on connections did
    (``CONNECTIONS``). ``untouched``: synapses whose fit would take too much memory, and how many
    bytes.
    """

    graph: snn.SpikingGraph
    neurons: Mapping[str, Neuron]
    errors: Mapping[str, float]
    samples: int
    fitting: int | None = None
    affordable: int | None = None
    untouched: Mapping[str, int] = field(default_factory=dict)


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
    threads = tuning.threads or available_threads()
    most, affordable = most_samples(given, steps=held, tuning=tuning), _affordable(lowered, held)
    wanted = min(most, affordable)
    replay = Replay(lowered, arrays, steps, neurons, threads=threads, seed=tuning.seed)
    kept = planned(
        lowered,
        neurons,
        steps=held,
        samples=wanted,
        memory=tuning.memory - at_work(replay, weights=tuning.weights),
        fits=of_fits(replay) if tuning.weights else {},
    )
    replay.chosen = spread_over(given, most=kept.samples)
    loop = _Loop(replay, kept, tuning, np.random.default_rng(tuning.seed))
    targets = [n for n in lowered.nodes if isinstance(n, snn.Population | snn.Readout)]
    with one_blas_thread():
        for number, node in enumerate(targets, 1):
            loop.visit(node)
            give_back()
            progress(number, len(targets))
    return Tuned(
        graph=replay.result(),
        neurons=replay.neurons,
        errors=loop.errors,
        samples=kept.samples,
        fitting=kept.samples if kept.samples < wanted else None,
        affordable=kept.samples if kept.samples == affordable < most else None,
        untouched=loop.untouched,
    )


def most_samples(given: int, *, steps: int, tuning: Tuning) -> int:
    """How many of the ``given`` samples are used; ``steps``: 1 with windows."""
    return min(given, tuning.samples, max(WORK // steps, FEWEST))


def _affordable(graph: snn.SpikingGraph, steps: int) -> int:
    """Samples of a large network: time, not memory, is what they cost."""
    each = sum(
        prod(synapse.shape) * prod(synapse.op.weight.shape[1:])
        for synapse in graph.of(snn.Synapse)
        if isinstance(synapse.op, WeightedOp)
    )
    each += NEURON * sum(prod(population.shape) for population in graph.of(snn.Population))
    return max(FEWEST, CONNECTIONS // max(1, each * steps))


@dataclass
class _Loop:
    """The pass over the graph: what has been decided so far."""

    replay: Replay
    kept: Plan
    tuning: Tuning
    rng: np.random.Generator
    errors: dict[str, float] = field(default_factory=dict)
    untouched: dict[str, int] = field(default_factory=dict)

    def visit(self, node: snn.Population | snn.Readout) -> None:
        replay = self.replay
        self._correct_weights(node.name)
        if isinstance(node, snn.Population):
            self._population(node.name)
            return
        source, axis = node.inputs[0], self._axis(node.name)
        sums: list[Array] = []

        def take(part: slice, missing: Array) -> None:
            sums.append(by_channel(missing, axis).sum(axis=1, dtype=np.float64))
            self._release(part, node.name)

        def missing(part: slice) -> Array:
            return self._z(node.name, part) - (replay.mean(source, part) + self._bias(node.name))

        replay.in_order(missing, take)
        count = replay.samples * prod(node.shape) // len(sums[0])
        change = np.sum(sums, axis=0) / count
        self._shift(node.name, compact(_along(change, axis, rank=len(node.shape))))

    def _z(self, name: str, part: slice) -> Array:
        """What the ANN's neurons or outputs get, bias included."""
        node = self.replay.original[name]
        assert isinstance(node, snn.Population | snn.Readout)
        ann = node.bias if node.ann_bias is None else node.ann_bias
        return np.asarray(self.replay.value(node.inputs[0], part) + ann)

    def _target(self, name: str, part: slice) -> Array:
        """The ANN's activations."""
        node = self.replay.original[name]
        assert isinstance(node, snn.Population)
        return np.clip(self._z(name, part), 0, node.ceiling).astype(np.float32)

    def _axis(self, name: str) -> int:
        return channel_axis(self.replay.facts, name)

    def _bias(self, name: str) -> Array:
        """The bias so far; some neurons have it in themselves."""
        neuron = self.replay.neurons.get(name)
        if neuron is not None and "bias" in neuron.traits:
            return neuron.kept_bias
        node = self.replay.nodes[name]
        assert isinstance(node, snn.Population | snn.Readout)
        return node.bias

    def _shift(self, name: str, change: Array) -> None:
        bias = (self._bias(name) + change).astype(np.float32)
        neuron = self.replay.neurons.get(name)
        if neuron is not None and "bias" in neuron.traits:
            self.replay.neurons[name] = neuron.having(bias=bias)
            return
        node = self.replay.nodes[name]
        assert isinstance(node, snn.Population | snn.Readout)
        self.replay.nodes[name] = replace(node, bias=bias)

    def _correct_weights(self, name: str) -> None:
        if not self.tuning.weights:
            return
        replay, node = self.replay, self.replay.nodes[name]
        spiking = isinstance(node, snn.Population)

        def missing(part: slice, means: Callable[[str], Array]) -> Array:
            mean = means(node.inputs[0]) + self._bias(name)
            return residual(self._z(name, part), mean=mean, spiking=spiking)

        for synapse in correctable(replay, name):
            if not fits(synapse):
                self.untouched[synapse.name] = fit_bytes(synapse)
                continue
            replay.nodes[synapse.name], shift = correct(replay, synapse, missing, self.rng)
            give_back()
            self._shift(name, _along(shift, self._axis(name), rank=len(node.shape)))

    def _population(self, name: str) -> None:
        replay, axis = self.replay, self._axis(name)
        node, neuron = replay.nodes[name], replay.neurons[name]
        assert isinstance(node, snn.Population)
        if name not in self.tuning.fixed:
            threshold = np.broadcast_to(neuron.v_threshold, _lengths(node, axis)).ravel()
            search = search_of(
                neuron,
                starts=self.tuning.search,
                rounds=self.tuning.rounds,
                price=self._price(name),
            )
            arriving = drive(
                replay, node, self._bias(name), lambda part: self._target(name, part), self.rng
            )
            self._take(node, choose(neuron, threshold, arriving, search, node.ceiling))
            del arriving
            give_back()
        self.errors[name] = self._run(name)

    def _price(self, name: str) -> float:
        """Of one spike of each of the population's neurons, in squared activations."""
        cost, replay = self.tuning.spike_cost, self.replay
        if not cost:
            return 0.0
        powers = replay.each(lambda part: _square_sum(self._target(name, part)))
        return cost * sum(powers) / (replay.samples * prod(replay.nodes[name].shape))

    def _take(self, node: snn.Population, choice: Choice) -> None:
        neuron, axis, rank = self.replay.neurons[node.name], self._axis(node.name), len(node.shape)
        neuron = neuron.having(v_threshold=_along(choice.threshold, axis, rank=rank))
        if "v_init" in neuron.traits:
            neuron = neuron.having(v_init=_along(choice.v_init, axis, rank=rank))
        self.replay.neurons[node.name] = neuron
        self._shift(node.name, _along(choice.bias, axis, rank=rank))

    def _run(self, name: str) -> float:
        """Lets the population fire on all samples, and keeps what the plan says. The mean squared
        error of what is decoded, relative to the mean square of the ANN's activations."""
        replay, neuron = self.replay, self.replay.neurons[name]
        train = Train(
            threshold=neuron.v_threshold.astype(np.float32),
            worth=neuron.worth(replay.steps),
            bits=bits_each(neuron),
            windowed=replay.windowed,
        )
        values: dict[int, Array] = {}
        sums = np.zeros(2)

        def tile(part: slice) -> tuple[float, float]:
            target = self._target(name, part)
            train.spikes[part.start] = self._fired(name, part, train)
            error = _square_sum(train.mean(part) - target), _square_sum(target)
            if name in self.kept.activations:
                values[part.start] = pages(target.shape, target.dtype)
                values[part.start][...] = target
            if name not in self.kept.trains:
                del train.spikes[part.start]
            self._release(part, name)
            return error

        def take(part: slice, error: tuple[float, float]) -> None:
            np.add(sums, error, out=sums)

        replay.in_order(tile, take)
        replay.activations[name] = values
        if name in self.kept.trains:
            replay.trains[name] = train
        size = replay.samples * prod(replay.nodes[name].shape)
        return float(sums[0] / (sums[1] or size))

    def _fired(self, name: str, part: slice, train: Train) -> Array:
        """The population's spikes on the samples of a tile, as ``train`` keeps them."""
        replay, neuron, node = self.replay, self.replay.neurons[name], self.replay.nodes[name]
        batch = part.stop - part.start
        end = replay.onset[name] + replay.steps
        if isinstance(neuron, WindowedNeuron):
            ((_, _, current),) = replay.signal(node.inputs[0], part, end)
            current = current[0] + self._bias(name)
            return windowed_mean(neuron, current=current, steps=replay.steps)[np.newaxis]
        room = train.empty((batch, *node.shape), spike_type(neuron))
        firing = Firing(replay, name, batch)

        def take(at: int, where: Where, spikes: Array) -> None:
            train.put(room, at, where=where, spikes=spikes)

        for t0, count, current in replay.signal(node.inputs[0], part, end):
            firing.run(current, t0, count, take)
        return room

    def _release(self, part: slice, done: str) -> None:
        """Forget, of the samples ``part``, the populations whose last reader is ``done``."""
        replay = self.replay
        for name, until in self.kept.until.items():
            if until == done and name != done:
                train = replay.trains.get(name)
                if train is not None:
                    train.spikes.pop(part.start, None)
            if replay.last_reader.get(name) == done:
                replay.activations.get(name, {}).pop(part.start, None)


def _lengths(node: snn.Node, axis: int) -> tuple[int, ...]:
    return tuple(n if i == axis else 1 for i, n in enumerate(node.shape))


def _along(values: Array, axis: int, *, rank: int) -> Array:
    shape = [1] * rank
    shape[axis : axis + 1] = [len(values)] * bool(rank)
    return values.reshape(shape).astype(np.float32)


def _square_sum(x: Array) -> float:
    return float(np.square(x).sum(dtype=np.float64))
