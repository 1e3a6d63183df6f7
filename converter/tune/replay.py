"""Replay of a lowered graph, spiking and analog side by side, one population after the other.

A population's spikes are stored when it is done, and its ANN activations where memory allows
(``plan``), and dropped tile by tile when their last reader is done with the tile; what lies between
populations is linear or stateless in the spikes, so it is computed again whenever it is asked for.
Memory is that of the few populations in use.

Signals are decoded (spikes times threshold), so that the graph keeps unit thresholds while
thresholds are still being chosen, and come in blocks of steps (``stream``). A signal's mean is what
its reader decodes after T steps: sum x(t) / T, of differential spikes sum x(t) / t. Of neurons that
send one number per window (``runtime.neurons.windowed``) the mean is all there is to know: their
signals are means, as of constant currents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TypeVar

import numpy as np

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.neurons import Neuron, windowed, worth
from ...runtime.ops import Array
from ...runtime.parallel.threads import available_threads, run_tasks
from ...runtime.semantics import islands
from ...runtime.semantics.upstream import iter_upstream, onsets
from ...runtime.semantics.walk import ask
from ..statistics.kernels import Kernels
from .stream import blocks
from .trains import Train

R = TypeVar("R")
TILE_BYTES = 32 << 20  # of the largest signal of a tile over all steps, but for one sample


class Replay:
    """The spiking network (``spikes``, by population) and the ANN (``activations``) so far.

    ``nodes`` and ``neurons`` are the current ones: calibration replaces synapses by corrected ones.
    ``chosen``: the numbers of the samples that are looked at; all, until something else is said.
    The ANN is always computed with the lowered graph's own weights. Samples are drawn by tiles,
    which do not depend on memory or threads.
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
        self.neurons = dict(neurons)
        self.facts = GraphFacts(graph)
        self.original = self.facts.by_name
        self.nodes: dict[str, snn.Node] = dict(self.original)
        self.chosen = np.arange(len(next(iter(inputs.values()))))
        largest = max(prod(node.shape) for node in graph.nodes)
        self.windowed = any(windowed(n) for n in neurons.values())
        held = 1 if self.windowed else steps
        self.tile = tile or max(1, min(16, TILE_BYTES // (4 * held * largest)))
        self.threads = threads or available_threads()
        self.trains: dict[str, Train] = {}
        self.activations: dict[str, dict[int, Array]] = {}  # by a tile's first sample
        self.onset = onsets(
            graph.with_nodes(replace(p, neuron=neurons[p.name]) for p in graph.of(snn.Population))
        )
        paced = any(n.coding == "paced" for n in neurons.values())
        self.worth = worth("paced" if paced else "rate", steps)
        self.steady = _steady(graph)
        self.last_reader = last_readers(graph)
        self.kernels = Kernels()
        self._widest: dict[str, int] = {}

    @property
    def samples(self) -> int:
        return len(self.chosen)

    def input(self, name: str, part: slice) -> Array:
        """What network input ``name`` reads: of the ``chosen`` samples those of a tile."""
        return self.inputs[name][self.chosen[part]]

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

    def in_order(self, work: Callable[[slice], R], take: Callable[[slice, R], None]) -> None:
        """``take`` of ``work`` of every tile, in the order of the tiles; ``work`` in threads."""
        parts, waiting = list(self.tiles()), dict[int, R]()
        coming = iter(parts)
        following = next(coming, None)

        def collect(result: tuple[int, R]) -> None:
            nonlocal following
            waiting[result[0]] = result[1]
            while following is not None and following.start in waiting:
                take(following, waiting.pop(following.start))
                following = next(coming, None)

        run_tasks(
            range(self.threads), parts, lambda _, part: (part.start, work(part)), collect, False
        )

    def value(self, name: str, part: slice) -> Array:
        """What the ANN computes at ``name``, (batch, *shape)."""
        return ask(self.original, _Values(self, part), name, {})

    def means(self, part: slice) -> Callable[[str], Array]:
        """A function of a node's name: the spiking network's mean over the window of T steps there,
        (batch, *shape). What several of them need is computed once."""
        rules, known = _Means(self, part), dict[str, Array]()
        return lambda name: ask(self.nodes, rules, name, known)

    def mean(self, name: str, part: slice) -> Array:
        """``means`` of one node."""
        return self.means(part)(name)

    def signal(self, name: str, part: slice, end: int) -> Iterator[tuple[int, int, Array]]:
        """The spiking network's decoded signal at ``name`` up to step ``end``, in ``blocks``."""
        if self.windowed:
            yield self.onset[name], 1, self.mean(name, part)[np.newaxis]
        else:
            yield from blocks(self, name, part, end)

    def window(self, name: str) -> tuple[int, int]:
        """When a population's currents and biases arrive, and when its spikes leave."""
        return max(self.onset[i] for i in self.nodes[name].inputs), self.onset[name]

    def start(self, name: str) -> int:
        """The first step in which something can arrive from ``name``."""
        node = self.original[name]
        if isinstance(node, snn.Input):
            return 0
        if name in self.trains:
            return self.onset[name]
        first = min(self.start(source) for source in node.inputs)
        return first + node.steps if isinstance(node, snn.Delay) else first

    def widest(self, name: str) -> int:
        """Values of the largest signal that is computed for that at ``name``."""
        if name not in self._widest:
            node = self.original[name]
            inputs = () if name in self.trains else node.inputs
            self._widest[name] = max(prod(node.shape), *map(self.widest, inputs), 1)
        return self._widest[name]

    def result(self) -> snn.SpikingGraph:
        """The graph with what was changed."""
        with_ann = _WithAnn(self.original)
        return self.graph.with_nodes(snn.visit(with_ann, node, ()) for node in self.nodes.values())

    def windowed_mean(self, name: str, part: slice) -> Array:
        """The mean at ``name`` from its signal, where inputs' means do not give it."""
        onset, total = self.onset[name], None
        for t0, count, x in self.signal(name, part, onset + self.steps):
            if t0 + count <= onset:
                continue
            x = np.broadcast_to(x, (count, *x.shape[1:]))[max(onset - t0, 0) :]
            worth = self.worth[max(t0 - onset, 0) :][: len(x)]
            share = np.tensordot(worth, x, axes=1)
            total = share if total is None else total + share
        assert total is not None
        return np.asarray(total)


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


UNREAD = snn.refused("what a readout gives is read by no node")


class _Values(snn.Rules[Array]):
    """The ANN's values of the samples ``part``."""

    def __init__(self, replay: Replay, part: slice) -> None:
        self.replay, self.part = replay, part

    def input(self, node: snn.Input, xs: Sequence[Array]) -> Array:
        return self.replay.input(node.name, self.part)

    def synapse(self, node: snn.Synapse, xs: Sequence[Array]) -> Array:
        return self.replay.kernels.apply(node.op, *xs)

    def population(self, node: snn.Population, xs: Sequence[Array]) -> Array:
        held = self.replay.activations.get(node.name, {}).get(self.part.start)
        if held is not None:
            return held[: self.part.stop - self.part.start]
        bias = node.bias if node.ann_bias is None else node.ann_bias
        return np.clip(xs[0] + bias, 0, node.ceiling).astype(np.float32)

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
        train = self.replay.trains.get(node.name)
        if train is not None:
            return train.mean(self.part)
        return self.replay.windowed_mean(node.name, self.part)

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


def _steady(graph: snn.SpikingGraph) -> frozenset[str]:
    """Synapses that are driven by constant inputs alone, in the inputs' own window."""
    steady = {i.name for i in graph.of(snn.Input) if i.encoding == "constant"}
    for node in graph.nodes:
        if isinstance(node, snn.Synapse) and steady.issuperset(node.inputs):
            steady.add(node.name)
    return frozenset(steady)


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
    before = iter_upstream(graph, name, through=lambda n: not isinstance(n, snn.Population))
    return {node.name for node in before if isinstance(node, snn.Population)}
