"""Replay of a lowered graph, spiking and analog side by side, one population after the other.

A population's spikes and ANN activations are stored when it is done and dropped when its last
reader is; what lies between populations is linear or stateless in the spikes, so it is computed
again whenever it is asked for, tile by tile. Memory is that of the few populations in use.

Signals are decoded (spikes times threshold), so that the graph keeps unit thresholds while
thresholds are still being chosen. A signal is (first step, array (time or 1, batch, *shape)) in
absolute steps; an array of time length one holds for the T steps of a constant input. A signal's
mean is what its reader decodes after T steps: sum x(t) / T, of differential spikes sum x(t) / t.
Of neurons that send one number per window (``runtime.neurons.windowed``) the mean is all there is
to know: their signals are means, as of constant currents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeVar

import numpy as np

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.neurons import Neuron, windowed, worth
from ...runtime.ops import Array
from ...runtime.parallel.threads import available_threads, run_tasks
from ...runtime.semantics import islands
from ...runtime.semantics.encoding import encode
from ...runtime.semantics.spiking import run_expectation
from ...runtime.semantics.walk import ask
from ..statistics.kernels import Kernels

Signal = tuple[int, Array]
R = TypeVar("R")
TILE_BYTES = 32 << 20  # of the largest signal of a tile


@dataclass(frozen=True, eq=False, kw_only=True)
class Train:
    """The spikes of one population, and what they are worth.

    Attributes:
        spikes: (steps, samples, *shape) small integers; binary ones are packed (``packed_bits``).
        threshold: broadcasts to the shape.
        mean: (samples, *shape), what is decoded after all steps.
        steps: how many; packed: whether eight steps share a byte.
    """

    spikes: Array
    threshold: Array
    mean: Array
    steps: int
    packed: bool

    def decoded(self, part: slice) -> Array:
        """Spikes times threshold, (steps, batch, *shape)."""
        spikes = self.spikes[:, part]
        if not self.packed:
            return np.asarray(spikes * self.threshold)
        out = np.empty((self.steps, *spikes.shape[1:]), np.float32)
        for t, step in enumerate(out):
            np.multiply((spikes[t // 8] >> (t % 8)) & 1, self.threshold, out=step)
        return out


def packed_bits(spikes: Array) -> Array:
    """Spikes 0 or 1, (steps, ...), as bits: step t is bit t % 8 of byte t // 8."""
    out = np.zeros((-(-len(spikes) // 8), *spikes.shape[1:]), np.uint8)
    for t, step in enumerate(spikes):
        out[t // 8] |= step.astype(np.uint8) << np.uint8(t % 8)
    return out


def decoded_mean(spikes: Array, *, threshold: Array, worth: Array) -> Array:
    """What is decoded after all steps of spikes (steps, ...): sum of threshold worth(t) k(t)."""
    if (worth == worth[0]).all():
        return np.asarray(spikes.sum(axis=0, dtype=np.float32) * (threshold * worth[0]))
    total = np.zeros(spikes.shape[1:], np.float32)
    for weight, step in zip(worth, spikes, strict=True):
        total += weight * step
    return np.asarray(total * threshold)


def packs(neuron: Neuron) -> bool:
    """Whether spikes are 0 or 1."""
    return not neuron.traits & {"levels", "signed"}


class Replay:
    """The spiking network (``spikes``, by population) and the ANN (``activations``) so far.

    ``nodes`` are the current ones: calibration replaces synapses by corrected ones. The ANN is
    always computed with the lowered graph's own weights.
    """

    def __init__(
        self,
        graph: snn.SpikingGraph,
        inputs: Mapping[str, Array],
        steps: int,
        neurons: Mapping[str, Neuron],
        *,
        tile: int | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        self.graph, self.inputs, self.steps, self.seed = graph, inputs, steps, seed
        self.facts = GraphFacts(graph)
        self.original = self.facts.by_name
        self.nodes: dict[str, snn.Node] = dict(self.original)
        self.samples = len(next(iter(inputs.values())))
        largest = max(prod(node.shape) for node in graph.nodes)
        self.windowed = any(windowed(n) for n in neurons.values())
        held = 1 if self.windowed else steps
        self.tile = tile or max(1, min(16, TILE_BYTES // (4 * held * largest)))
        self.threads = threads or available_threads()
        self.trains: dict[str, Train] = {}
        self.activations: dict[str, Array] = {}
        self.onset = snn.onsets(
            graph.with_nodes(replace(p, neuron=neurons[p.name]) for p in graph.of(snn.Population))
        )
        paced = any(n.coding == "paced" for n in neurons.values())
        self.worth = worth("paced" if paced else "rate", steps)
        self._last_reader = last_readers(graph)
        self.kernels = Kernels()

    def tiles(self) -> Iterator[slice]:
        for start in range(0, self.samples, self.tile):
            yield slice(start, min(start + self.tile, self.samples))

    def each(self, work: Callable[[slice], R], parts: Sequence[slice] | None = None) -> list[R]:
        """``work`` of every tile (or those given), in order; tiles run in threads."""
        done: dict[int, R] = {}

        def one(_: int, part: slice) -> tuple[int, R]:
            return part.start, work(part)

        def collect(result: tuple[int, R]) -> None:
            done[result[0]] = result[1]

        parts = list(self.tiles()) if parts is None else parts
        # Threads: products release the interpreter lock, and a forked process would lose the
        # sessions that are made on the way.
        run_tasks(range(self.threads), parts, one, collect, forks=False)
        return [done[part.start] for part in parts]

    def store(self, name: str, train: Train, activations: Array) -> None:
        """Keep a finished population; drop those that nobody reads any more."""
        self.trains[name], self.activations[name] = train, activations
        self.drop(name)

    def drop(self, done: str) -> None:
        """Forget the populations whose last reader is ``done``."""
        for name in [n for n in self.trains if self._last_reader.get(n) == done]:
            del self.trains[name], self.activations[name]

    def value(self, name: str, part: slice) -> Array:
        """What the ANN computes at ``name`` (a population must be stored), (batch, *shape)."""
        return ask(self.original, _Values(self, part), name, {})

    def mean(self, name: str, part: slice) -> Array:
        """The spiking network's mean over the window of T steps at ``name``, (batch, *shape)."""
        return ask(self.nodes, _Means(self, part), name, {})

    def signal(self, name: str, part: slice) -> Signal:
        """The spiking network's decoded signal over time at ``name``."""
        if self.windowed:
            return self.onset[name], self.mean(name, part)[np.newaxis]
        return ask(self.nodes, _Signals(self, part), name, {})

    def windowed_mean(self, name: str, part: slice) -> Array:
        """The mean at ``name`` from its signal, where inputs' means do not give it."""
        first, x = self.signal(name, part)
        window = x[self.onset[name] - first :]
        return np.asarray(np.tensordot(self.worth, window[: self.steps], axes=1))


UNREAD = snn.refused("what a readout gives is read by no node")


class _Values(snn.Rules[Array]):
    """The ANN's values of the samples ``part``."""

    def __init__(self, replay: Replay, part: slice) -> None:
        self.replay, self.part = replay, part

    def input(self, node: snn.Input, xs: Sequence[Array]) -> Array:
        return self.replay.inputs[node.name][self.part]

    def synapse(self, node: snn.Synapse, xs: Sequence[Array]) -> Array:
        return self.replay.kernels.apply(node.op, *xs)

    def population(self, node: snn.Population, xs: Sequence[Array]) -> Array:
        return self.replay.activations[node.name][self.part]

    def delay(self, node: snn.Delay, xs: Sequence[Array]) -> Array:
        return xs[0]

    def max_pool(self, node: snn.MaxPool, xs: Sequence[Array]) -> Array:
        return node.op.apply(xs[0] + node.bias.astype(xs[0].dtype))

    def analog(self, node: snn.Analog, xs: Sequence[Array]) -> Array:
        return islands.apply(node, xs).astype(np.float32)

    readout = UNREAD


class _Means(_Values):
    """The spiking network's means over the window: as the ANN's values, of what really arrives."""

    def input(self, node: snn.Input, xs: Sequence[Array]) -> Array:
        if node.encoding == "constant":
            return super().input(node, xs)
        return self.replay.windowed_mean(node.name, self.part)

    def population(self, node: snn.Population, xs: Sequence[Array]) -> Array:
        return self.replay.trains[node.name].mean[self.part]

    def max_pool(self, node: snn.MaxPool, xs: Sequence[Array]) -> Array:
        if self._compensates:
            return super().max_pool(node, xs)
        return self.replay.windowed_mean(node.name, self.part)

    def analog(self, node: snn.Analog, xs: Sequence[Array]) -> Array:
        if self._compensates:
            return super().analog(node, xs)
        return self.replay.windowed_mean(node.name, self.part)

    @property
    def _compensates(self) -> bool:
        """Expectation compensation: their running mean is f of their input's, if steps count
        alike, or there is one number for the whole window."""
        return self.replay.windowed or bool(self.replay.worth[0] == self.replay.worth[-1])


class _Signals(snn.Rules[Signal]):
    """The spiking network's decoded signals of the samples ``part``."""

    def __init__(self, replay: Replay, part: slice) -> None:
        self.replay, self.part, self.steps = replay, part, replay.steps

    def input(self, node: snn.Input, xs: Sequence[Signal]) -> Signal:
        x = self.replay.inputs[node.name][self.part]
        if node.encoding == "constant":
            return 0, x[np.newaxis]
        index = np.arange(self.replay.samples)[self.part]
        x = encode(node, x, first_step=0, steps=self.steps, seed=self.replay.seed, offset=index)
        return 0, x.astype(np.float32)

    def population(self, node: snn.Population, xs: Sequence[Signal]) -> Signal:
        return self.replay.onset[node.name], self.replay.trains[node.name].decoded(self.part)

    def delay(self, node: snn.Delay, xs: Sequence[Signal]) -> Signal:
        first, x = xs[0]
        return first + node.steps, x

    def synapse(self, node: snn.Synapse, xs: Sequence[Signal]) -> Signal:
        first, arrays = _aligned(list(xs), self.steps)
        time, batch = arrays[0].shape[:2]
        y = self.replay.kernels.apply(node.op, *[x.reshape(-1, *x.shape[2:]) for x in arrays])
        return first, y.reshape(time, batch, *y.shape[1:])

    def max_pool(self, node: snn.MaxPool | snn.Analog, xs: Sequence[Signal]) -> Signal:
        first, arrays = _aligned(list(xs), self.steps)
        begin = self.replay.onset[node.name]
        count = begin + self.steps - first
        whole = [np.broadcast_to(x, (count, *x.shape[1:])) if len(x) == 1 else x for x in arrays]
        whole = [x[:count] for x in whole]
        return first, run_expectation(
            node, whole, {}, t0=first, count=count, begin=begin, length=self.steps
        )

    analog = max_pool
    readout = UNREAD


def _aligned(signals: list[Signal], steps: int) -> tuple[int, list[Array]]:
    """Several signals over the same steps: zeros where one has not begun or is over."""
    if all(len(x) == 1 for _, x in signals):
        return signals[0][0], [x for _, x in signals]
    first = min(start for start, _ in signals)
    ends = [start + (steps if len(x) == 1 else len(x)) for start, x in signals]
    out = []
    for (start, x), end in zip(signals, ends, strict=True):
        if start == first and len(x) == max(ends) - first:
            out.append(x)
            continue
        y = np.zeros((max(ends) - first, *x.shape[1:]), x.dtype)
        y[start - first : end - first] = x
        out.append(y)
    return first, out


def last_readers(graph: snn.SpikingGraph) -> dict[str, str]:
    """For every population, the last population or readout that depends on its spikes directly."""
    out: dict[str, str] = {}
    for reader in graph.nodes:
        if isinstance(reader, snn.Population | snn.Readout):
            for name in sources(graph, reader.name):
                out[name] = reader.name
    return out


def sources(graph: snn.SpikingGraph, name: str) -> set[str]:
    """The populations that reach ``name`` with no other population in between."""
    nodes = graph.by_name()
    found: set[str] = set()
    seen: set[str] = set()
    stack = list(nodes[name].inputs)
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        if isinstance(nodes[current], snn.Population):
            found.add(current)
        else:
            stack.extend(nodes[current].inputs)
    return found
