"""Calibration in the spiking loop, one pass over the graph, earlier layers already corrected.

For every population in execution order: its weights are corrected for the rates that really arrive
(``tune_weights``), threshold, initial potential and bias are chosen under the spikes that really
arrive (``tune_neurons``), it is simulated once, and the next one reads its spikes. No gradients, no
labels; each layer is computed a fixed number of times, so the pass is linear in depth. Memory: the
spikes of the populations in use, bounded by the number of samples (``MEMORY``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ..runtime import graph as snn
from ..runtime.neuron import NeuronParams
from ..runtime.ops import Array
from ..runtime.samples import as_inputs
from ..runtime.threads import one_blas_thread
from .calibrate import by_channel, channel_axis
from .lower import compact
from .tune_neurons import Drive, Search, choose, run
from .tune_signals import Replay, Signal
from .tune_weights import correct, correctable, residual

Progress = Callable[[int, int], None]

MEMORY = 400_000_000  # bytes for the spikes or currents of the largest population
WORK = 4096  # samples times steps: more is slow and brings little
SAMPLED = 1 << 16  # neurons of a population (over samples) searched at T <= 16; fewer above
V_INITS = (0.5, 0.25, 0.0, -0.5)
SCALES = (0.7, 0.85, 1.0, 1.2)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuning:
    """What is calibrated in the loop.

    Attributes:
        samples: calibration samples used at most; fewer for many steps (``WORK``).
        weights: correct weights; search: choose thresholds and initial potentials; rounds: of
            bias calibration.
    """

    samples: int = 512
    weights: bool = True
    search: bool = True
    rounds: int = 3
    seed: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuned:
    """The lowered graph with corrected weights and biases, and the neurons to put into it.

    ``errors``: per population, mean squared error of the decoded rates on the calibration samples
    relative to the mean square of the ANN's activations.
    """

    graph: snn.SpikingGraph
    neurons: Mapping[str, NeuronParams]
    errors: Mapping[str, float]
    samples: int


def tune(
    lowered: snn.SpikingGraph,
    calibration: Array | Mapping[str, Array],
    neurons: Mapping[str, NeuronParams],
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
    count = _sample_count(lowered, len(next(iter(arrays.values()))), steps, tuning)
    arrays = {name: x[:count] for name, x in arrays.items()}
    replay = Replay(lowered, arrays, steps, neurons, seed=tuning.seed)
    loop = _Loop(replay, dict(neurons), tuning, np.random.default_rng(tuning.seed))
    targets = [n for n in lowered.nodes if isinstance(n, snn.Population | snn.Readout)]
    with one_blas_thread():
        for number, node in enumerate(targets, 1):
            loop.visit(node)
            progress(number, len(targets))
    changed = [_with_ann(n, replay.original[n.name]) for n in replay.nodes.values()]
    return Tuned(
        graph=lowered.with_nodes(changed), neurons=loop.neurons, errors=loop.errors, samples=count
    )


def _sample_count(graph: snn.SpikingGraph, given: int, steps: int, tuning: Tuning) -> int:
    largest = max((prod(n.shape) for n in graph.nodes), default=1)
    fitting = MEMORY // (largest * steps)
    return max(1, min(given, tuning.samples, max(WORK // steps, 64), fitting))


@dataclass
class _Loop:
    """The pass over the graph: what has been decided so far."""

    replay: Replay
    neurons: dict[str, NeuronParams]
    tuning: Tuning
    rng: np.random.Generator
    errors: dict[str, float] = field(default_factory=dict)

    def visit(self, node: snn.Population | snn.Readout) -> None:
        replay, source = self.replay, node.inputs[0]
        parts = [replay.value(source, part) for part in replay.tiles()]
        z = np.concatenate(parts) + node.bias
        node = self._correct_weights(node, z)
        if isinstance(node, snn.Readout):
            mean = self._mean(source) + node.bias
            shift = compact(_per_channel(z - mean, channel_axis(replay.graph, node.name)))
            replay.nodes[node.name] = replace(node, bias=node.bias + shift)
            replay.drop(node.name)
            return
        self._population(node, np.clip(z, 0, node.ceiling).astype(np.float32))

    def _mean(self, name: str) -> Array:
        return np.concatenate([self.replay.mean(name, part) for part in self.replay.tiles()])

    def _correct_weights(
        self, node: snn.Population | snn.Readout, z: Array
    ) -> snn.Population | snn.Readout:
        if not self.tuning.weights:
            return node
        replay, axis = self.replay, channel_axis(self.replay.graph, node.name)
        for synapse in correctable(replay, node.name):
            mean = self._mean(node.inputs[0]) + node.bias
            missing = residual(z, mean, spiking=isinstance(node, snn.Population))
            new, shift = correct(replay, synapse, missing, self.rng)
            replay.nodes[synapse.name] = new
            node = replace(node, bias=node.bias + _along(shift, axis, len(node.shape)))
        return node

    def _population(self, node: snn.Population, target: Array) -> None:
        replay, name = self.replay, node.name
        begin = max(replay.onset[i] for i in node.inputs)
        fire, steps = replay.onset[name], replay.steps
        axis, rank = channel_axis(replay.graph, name), len(node.shape)
        kept: list[Signal] | None = []
        if len(target) * prod(node.shape) * steps * 4 > MEMORY:
            kept = None
        drive = self._drive(node, target, begin, fire, axis, kept)
        neuron = self.neurons[name]
        threshold = np.broadcast_to(neuron.v_threshold, _lengths(node, axis)).ravel()
        choice = choose(neuron, threshold, drive, self._search(neuron), node.ceiling)
        neuron = replace(
            neuron,
            v_threshold=_along(choice.threshold, axis, rank),
            v_init=_along(choice.v_init, axis, rank),
        )
        bias = (node.bias + _along(choice.bias, axis, rank)).astype(np.float32)
        spikes = np.concatenate(
            [
                run(neuron, bias, current, first, begin, fire, steps)
                for first, current in (kept or self._signals(node.inputs[0]))
            ],
            axis=1,
        )
        self.neurons[name] = neuron
        replay.nodes[name] = replace(node, bias=bias)
        replay.store(name, spikes, target, neuron.v_threshold)
        rate = spikes.sum(axis=0, dtype=np.float32) * (neuron.v_threshold / np.float32(steps))
        power = float(np.mean(target**2)) or 1.0
        self.errors[name] = float(np.mean((rate - target) ** 2)) / power

    def _search(self, neuron: NeuronParams) -> Search:
        if not self.tuning.search:
            fraction = float(np.mean(neuron.v_init / neuron.v_threshold))
            return Search(v_inits=(fraction,), rounds=self.tuning.rounds)
        # What a signed neuron sent too early it takes back: holding spikes back only delays it.
        v_inits = (0.5,) if neuron.signed else V_INITS
        return Search(scales=SCALES, v_inits=v_inits, rounds=self.tuning.rounds)

    def _signals(self, name: str) -> list[Signal]:
        return [self.replay.signal(name, part) for part in self.replay.tiles()]

    def _drive(
        self,
        node: snn.Population,
        target: Array,
        begin: int,
        fire: int,
        axis: int,
        kept: list[Signal] | None,
    ) -> Drive:
        """A sample of the population's neurons with the currents that arrive."""
        replay, steps = self.replay, self.replay.steps
        channels = node.shape[axis]
        budget = SAMPLED * min(16, replay.steps) // replay.steps
        per_tile = -(-max(budget // channels, 256) * replay.tile // replay.samples)
        currents, targets, first = [], [], 0
        for part in replay.tiles():
            first, current = replay.signal(node.inputs[0], part)
            if kept is not None:
                kept.append((first, current))
            flat = np.moveaxis(current, 2 + axis, 1).reshape(len(current), channels, -1)
            bias = np.broadcast_to(node.bias, (current.shape[1], *node.shape))
            count = flat.shape[2]
            chosen = self.rng.permutation(count)[:per_tile]
            steady = len(current) == 1
            sampled = np.repeat(flat[:, :, chosen], steps, 0) if steady else flat[:, :, chosen]
            window = slice(max(begin - first, 0), begin - first + steps)
            sampled = _until(sampled, begin - first + steps)
            sampled[window] += by_channel(bias, axis)[:, chosen]
            currents.append(sampled)
            targets.append(by_channel(target[part], axis)[:, chosen])
        return Drive(
            current=np.concatenate(currents, axis=2),
            target=np.concatenate(targets, axis=1),
            first=first,
            begin=begin,
            fire=fire,
            steps=steps,
        )


def _with_ann(node: snn.Node, original: snn.Node) -> snn.Node:
    """A corrected node that remembers what the ANN computes there."""
    if isinstance(node, snn.Synapse) and isinstance(original, snn.Synapse):
        return node if node.op is original.op else replace(node, ann_op=original.op)
    if isinstance(node, snn.Population | snn.Readout):
        assert isinstance(original, snn.Population | snn.Readout)
        return replace(node, ann_bias=original.bias)
    return node


def _until(current: Array, count: int) -> Array:
    """``current`` (time, ...) with at least ``count`` steps: nothing arrives in those added."""
    if len(current) >= count:
        return current
    return np.concatenate([current, np.zeros((count - len(current), *current.shape[1:]), "f4")])


def _lengths(node: snn.Node, axis: int) -> tuple[int, ...]:
    return tuple(n if i == axis else 1 for i, n in enumerate(node.shape))


def _along(values: Array, axis: int, rank: int) -> Array:
    shape = [1] * rank
    shape[axis] = len(values)
    return values.reshape(shape).astype(np.float32)


def _per_channel(x: Array, axis: int) -> Array:
    """The mean of x (batch, *shape) over everything but its channels, broadcasting to shape."""
    axes = tuple(i for i in range(x.ndim) if i != axis + 1)
    return x.mean(axis=axes, keepdims=True)[0]
