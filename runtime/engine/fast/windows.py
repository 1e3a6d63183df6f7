"""Networks whose neurons send one number per window, layer after layer on these numbers.

A layer's window is over before its readers decide, and what they make of it is linear in the
numbers that were sent (``neurons.windowed``): so one product per layer is enough, whatever the
number of steps, and nothing outside a layer's window is computed. The sums of weighted numbers are
exact where those of single steps are (``converter.lowering.grid``), so that the answers are the
definition's to the last bit: in single precision, by ONNX Runtime, where weights are coarse enough
for that (``products.whole``), else in double. Spikes are
counted one by one from the numbers' codes. What readouts read is computed step by step, as the
definition does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Unpack

import numpy as np

from ...cost import static_cost
from ...facts import GraphFacts
from ...graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Population,
    Readout,
    Rules,
    SpikingGraph,
    Synapse,
)
from ...neurons import WindowedNeuron
from ...ops import Array, WeightedOp
from ...ops.convolution import Conv
from ...parallel.threads import available_threads, one_blas_thread, run_tasks
from ...semantics import islands, windows
from ...semantics.constants import constant_currents
from ...semantics.spiking import apply_synapse, run_readout
from ...semantics.walk import annotate, ask, walk
from ...semantics.whole import Largest
from ..definition import by_rows
from ..interface import EngineOptions, How, Request, SimulationResult, TileResult, Total, request
from ..profile import Clock, LayerProfile, layer_profile
from .layer_profile import new_clocks
from .products.whole import Product, whole_products

SILENT = Clock()  # of what no layer reads
SIGNAL_BYTES = 1_000_000  # of a tile's largest signal: it is read again while in the cache


class WindowSimulator:
    """A graph (``GraphFacts.windowed``) to run many times."""

    def __init__(self, graph: SpikingGraph, options: EngineOptions) -> None:
        self.graph, self.options = graph, options
        self.facts = GraphFacts(graph)
        self.cost = static_cost(self.facts)
        self.constants = constant_currents(self.facts)
        self.products: dict[int, dict[str, Product]] = {}
        self.layers = layers_of(self.facts)
        constant = all(i.encoding == "constant" for i in graph.of(Input))
        self.whole = constant and self.facts.windowed and self._countable()

    def applies(self, how: How) -> bool:
        """Whether this is how the graph is run; the definition runs what it is not for. (An early
        exit saves nothing: all but the last layer have sent before the first answer.)"""
        return self.whole and how.get("early_exit") is None

    def _countable(self) -> bool:
        """Whether all that is counted as spikes are the numbers of one neuron each: not those of
        several together, nor the maximum of such sums, whose spikes no code tells."""
        rule = Largest(self.facts.by_name, lambda p: float(p.neuron.levels))
        largest = annotate(self.graph, rule)
        return all(largest[name] == 1 for name in (*self.cost.fan_out, *self.cost.passed_on))

    def run(
        self, inputs: Array | Mapping[str, Array], steps: int, **how: Unpack[How]
    ) -> SimulationResult:
        """As ``Engine.run``, of this graph."""
        asked = request(self.graph, inputs, steps, self.options.dtype, **how)
        total = Total(asked, self.cost)
        widest = max(prod(node.shape) for node in self.graph.nodes)
        threads = self.options.threads or available_threads()
        tile = self.options.tile or max(1, min(SIGNAL_BYTES // (8 * widest), asked.samples))
        if self.options.mem_limit is not None:
            tile = max(1, min(tile, self.options.mem_limit // (threads * 8 * 20 * widest)))

        if steps not in self.products:
            self.products[steps] = whole_products(self.facts, steps)

        clocks: list[Mapping[str, Clock]] = []

        def one(_: int, start: int) -> TileResult:
            part = slice(start, start + tile)
            clocks.append(new_clocks(self.facts, self.options.profile))
            return _Tile(asked, self, part, clocks[-1]).result()

        with one_blas_thread():
            workers, parts = range(threads), range(0, asked.samples, tile)
            run_tasks(workers, parts, one, total.collect, forks=False)
        return total.result(self._profile(clocks, asked.samples) if self.options.profile else ())

    def _profile(
        self, clocks: Sequence[Mapping[str, Clock]], samples: int
    ) -> tuple[LayerProfile, ...]:
        """Of all tiles' clocks: one product per layer and sample."""
        flops = dict.fromkeys(clocks[0], 0.0)
        for node in self.graph.of(Synapse):
            if isinstance(node.op, WeightedOp) and node.name in self.layers:
                uses = node.op.uses(self.facts.shapes[node.inputs[0]])
                flops[self.layers[node.name]] += 2.0 * uses * samples
        return tuple(layer_profile(n, [c[n] for c in clocks], flops[n]) for n in clocks[0])


def layers_of(facts: GraphFacts) -> dict[str, str]:
    """For every node the layer whose time is its own: what its chain ends in, of constant currents
    the first that reads them; none where that is nothing."""
    out = {n.name: chain.sink for chain in facts.chains for n in chain.nodes if not chain.constant}
    out |= {chain.sink: chain.sink for chain in facts.chains if not chain.constant}
    for node in reversed(facts.graph.nodes):
        if node.name in facts.constant:
            readers = [out[r.name] for r in facts.consumers[node.name] if r.name in out]
            out |= {node.name: readers[0]} if readers else {}
    return out


class _Tile(Rules[Array]):
    """Some samples through all layers. A signal is what a reader decodes of its window, times W:
    sum_t w(t) x(t), (samples, *shape), in double precision; of neurons, their numbers."""

    def __init__(
        self,
        asked: Request,
        of: WindowSimulator,
        where: slice,
        clocks: Mapping[str, Clock],
    ) -> None:
        self.clocks, self.layers = clocks, of.layers
        self.asked, self.facts, self.start, self.steps = asked, of.facts, where.start, asked.steps
        self.arrays = {name: x[where] for name, x in asked.arrays.items()}
        self.samples = len(next(iter(self.arrays.values())))
        self.fans = {**of.cost.fan_out, **of.cost.passed_on}
        self.products = of.products[self.steps]
        currents = [node.name for node in of.constants.synapses]
        with self._clock(currents[0] if currents else "").synapse:
            self.constants = of.constants.of(self.arrays)
        neuron = asked.graph.of(Population)[0].neuron
        assert isinstance(neuron, WindowedNeuron)
        self.neuron, self.total = neuron, neuron.total(self.steps)
        self.code = neuron.code(self.steps)
        self.spikes_of = self.code.sum(axis=1).astype(np.uint8)
        self.numbers: dict[str, Array] = {}
        self.spikes = {p.name: np.zeros(self.steps) for p in asked.graph.of(Population)}
        self.synops = np.zeros(self.steps)
        self.synops_of = dict.fromkeys(self.fans, 0.0)

    def result(self) -> TileResult:
        walk(self.asked.graph, self, self.arrays)
        nodes, known = self.facts.by_name, dict[str, Array]()
        kept = self.asked.kept - 1
        dtype = self.asked.dtype
        rules = _Steps(self)
        answers = {}
        for r in self.asked.graph.of(Readout):
            with self.clocks[r.name].synapse:
                x = ask(nodes, rules, r.inputs[0], known)
            with self.clocks[r.name].neuron:
                answers[r.name] = rules.readout(r, [x])[kept].astype(dtype)
        return TileResult(
            start=self.start,
            samples=self.samples,
            readouts=answers,
            spikes=self.spikes,
            synops=self.synops,
            synops_of=self.synops_of,
            steps_used=np.full(self.samples, self.steps),
        )

    def input(self, node: Input, xs: Sequence[Array]) -> Array:
        return xs[0].astype(np.float64) * self.total

    def synapse(self, node: Synapse, xs: Sequence[Array]) -> Array:
        if node.name in self.constants:
            return np.multiply(self.constants[node.name], self.total, dtype=np.float64)
        product = self.products.get(node.name)
        with self._clock(node.name).synapse:
            return apply_double(node, xs) if product is None else product(xs[0])

    def delay(self, node: Delay, xs: Sequence[Array]) -> Array:
        return xs[0]

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        assert isinstance(node.neuron, WindowedNeuron)
        with self.clocks[node.name].neuron:
            charge = xs[0] + node.bias.astype(np.float64) * self.total
            return self._count(node.name, node.neuron.numbers(charge, self.steps))

    def max_pool(self, node: MaxPool, xs: Sequence[Array]) -> Array:
        with self.clocks[node.name].neuron:
            charge = xs[0]
            if np.any(node.bias):
                charge = charge + node.bias.astype(np.float64) * self.total
            out = node.op.apply(charge)
            if node.name in self.fans:
                self._count(node.name, out)
        return out

    def analog(self, node: Analog, xs: Sequence[Array]) -> Array:
        with self.clocks[node.name].neuron:
            means = [x / self.total for x in xs]
            out = islands.apply(node, means).astype(np.float64)
        self.numbers[node.name] = out
        return out * self.total

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        return xs[0]

    def _count(self, name: str, numbers: Array) -> Array:
        """Count the spikes of ``numbers``, those before the first answer's step in that; the
        numbers in single precision, which holds them."""
        with self.clocks[name].counting:
            return self._counted(name, numbers)

    def _counted(self, name: str, numbers: Array) -> Array:
        whole = numbers.astype(np.uint32 if len(self.code) > 1 << 16 else np.uint16)
        self.numbers[name] = whole
        first = self.facts.onsets[name] - self.facts.latency
        fan = self.fans[name].reshape(-1)
        if first + self.steps <= 1:
            spikes = self.spikes_of.take(whole)
            self._add(name, 0, spikes.reshape(self.samples, -1), fan=fan)
            return whole.astype(np.float32)
        for t in range(self.steps):
            fired = self.code[:, t][whole].reshape(self.samples, -1)
            self._add(name, max(first + t, 0), fired, fan=fan)
        return whole.astype(np.float32)

    def _clock(self, name: str) -> Clock:
        """That of the layer which a node belongs to."""
        return self.clocks.get(self.layers.get(name, ""), SILENT)

    def _add(self, name: str, step: int, spikes: Array, *, fan: Array) -> None:
        each = spikes.sum(axis=0, dtype=np.uint32).astype(np.float64)
        operations = each @ fan
        self.synops[step] += operations
        self.synops_of[name] += operations
        if name in self.spikes:
            self.spikes[name][step] += each.sum()


class _Steps(Rules[Array]):
    """What reaches readouts, step by step: (time or 1, samples, *shape) in its own window."""

    def __init__(self, tile: _Tile) -> None:
        self.tile, self.dtype = tile, tile.asked.dtype

    def input(self, node: Input, xs: Sequence[Array]) -> Array:
        return self.tile.arrays[node.name].astype(self.dtype)[np.newaxis]

    def synapse(self, node: Synapse, xs: Sequence[Array]) -> Array:
        constant = self.tile.constants.get(node.name)
        if constant is not None:
            return constant.astype(self.dtype)[np.newaxis]
        return apply_synapse(node, xs)

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        trains = self.tile.code.astype(self.dtype)[self.tile.numbers[node.name]]
        return np.ascontiguousarray(np.moveaxis(trains, -1, 0))

    def max_pool(self, node: MaxPool, xs: Sequence[Array]) -> Array:
        steps = self.tile.steps
        return windows.run(node, xs, {}, t0=0, count=steps, begin=0, length=steps)

    def analog(self, node: Analog, xs: Sequence[Array]) -> Array:
        return self.tile.numbers[node.name].astype(self.dtype)[np.newaxis]

    def delay(self, node: Delay, xs: Sequence[Array]) -> Array:
        return xs[0]

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        steps = self.tile.steps
        return run_readout(node, xs[0], {}, t0=0, count=steps, begin=0, steps=steps)


def apply_double(node: Synapse, xs: Sequence[Array]) -> Array:
    """A linear operation on (samples, *shape), in double precision."""
    apply = partial(by_rows, node.op) if isinstance(node.op, Conv) else node.op.apply
    return np.asarray(apply(*[x.astype(np.float64, copy=False) for x in xs]), np.float64)
