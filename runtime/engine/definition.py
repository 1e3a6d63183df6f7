"""The engine "numpy": the definition of what every node does (``semantics``), run as it stands.

Tiles of samples go through blocks of steps node by node, on plain float arrays (time, batch,
*shape); every other engine is compared with this one. It decides nothing and prepares nothing: what
it knows beyond the definition is which samples and steps are computed together, and how spikes are
counted. Early exit is judged and counted as defined, but what has stopped is still computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Unpack

import numpy as np

from ...errors import UsageError
from ..cost import StaticCost, static_cost
from ..graph import (
    Analog,
    Delay,
    Input,
    MaxPool,
    Node,
    Population,
    Readout,
    SpikingGraph,
    Synapse,
    onsets,
)
from ..neurons import State
from ..ops import Array
from ..ops.convolution import COLUMN_ELEMENTS
from ..parallel.threads import available_threads, one_blas_thread, run_tasks
from ..semantics.constants import constant_currents
from ..semantics.encoding import encode
from ..semantics.readout import run_readout
from ..semantics.spiking import (
    apply_synapse,
    gate,
    gate_bias,
    last_uses,
    run_delay,
    run_expectation,
    run_population,
)
from .early_exit import Watch, judged_readout
from .interface import EngineOptions, How, Request, SimulationResult, TileResult, Total, request

SIGNAL_BYTES = 4_000_000  # of a block's largest signal: it is read again while in the cache
MOST_BLOCK = 16
EXACT = 2.0**24  # integers up to here are exact in float32


class DefinitionEngine:
    """See the module. Raises UsageError for what only the other engine does."""

    def __init__(self, options: EngineOptions) -> None:
        if options.events == "always" or options.profile:
            wanted = "keeps no profile" if options.profile else "drives no layer by its spikes"
            raise UsageError(
                f"the engine 'numpy' is the definition, which {wanted}",
                remedy="Use the engine 'fast'.",
            )
        self.options = options

    def run(
        self,
        graph: SpikingGraph,
        inputs: Array | Mapping[str, Array],
        steps: int,
        **how: Unpack[How],
    ) -> SimulationResult:
        """As ``Engine.run``."""
        asked = request(graph, inputs, steps, self.options.dtype, **how)
        threads = self.options.threads or available_threads()
        tile, block = _sizes(asked, threads, self.options)
        cost = static_cost(graph)
        total = Total(asked, cost)

        def one(_: int, start: int) -> TileResult:
            return _Tile(asked, cost, slice(start, start + tile)).run(block)

        with one_blas_thread():
            run_tasks(range(threads), range(0, asked.samples, tile), one, total.collect)
        return total.result()


def _sizes(asked: Request, threads: int, options: EngineOptions) -> tuple[int, int]:
    """Samples per tile and steps per block, within ``mem_limit``."""
    graph, itemsize = asked.graph, asked.dtype.itemsize
    widest = max(prod(node.shape) for node in graph.nodes)
    block = options.block or min(asked.steps, MOST_BLOCK)
    fitting = max(1, SIGNAL_BYTES // (widest * block * itemsize))
    tile = options.tile or min(fitting, -(-asked.samples // threads))
    # States, and of the widest layer a block of spikes and currents with their temporaries.
    states = 4 * sum(prod(node.shape) for node in graph.nodes)
    while options.mem_limit is not None:
        need = threads * (tile * (states + 5 * widest * block) + COLUMN_ELEMENTS) * itemsize
        if need <= options.mem_limit:
            break
        if tile == block == 1:
            raise UsageError(
                f"a memory limit of {options.mem_limit / 2**20:.0f} MiB is too small",
                remedy=f"This network needs about {need / 2**20:.0f} MiB with {threads} thread(s).",
            )
        tile, block = (tile // 2, block) if tile > 1 else (1, block // 2)
    return tile, block


class _Tile:
    """Some of a run's samples through all its steps. Counts are (steps in all, samples)."""

    def __init__(self, asked: Request, cost: StaticCost, where: slice) -> None:
        graph, self.asked, self.start = asked.graph, asked, where.start
        self.arrays = {name: x[where] for name, x in asked.arrays.items()}
        self.samples = len(next(iter(self.arrays.values())))
        self.onset, self.last_uses = onsets(graph), last_uses(graph)
        self.latency = max(self.onset[r.name] for r in graph.of(Readout))
        self.total = asked.steps + self.latency
        self.constants = {
            name: x.astype(asked.dtype)[np.newaxis]
            for name, x in constant_currents(graph).of(self.arrays).items()
        }
        self.states: dict[str, State] = {node.name: {} for node in graph.nodes}
        self.fans = {**cost.fan_out, **cost.passed_on}
        counts = (self.total, self.samples)
        self.fired = {name: np.zeros(counts) for name in self.fans}
        self.operations = np.zeros(counts)
        self.answers = {
            r.name: np.zeros((asked.steps, self.samples, *r.shape), asked.dtype)
            for r in graph.of(Readout)
        }

    def run(self, block: int) -> TileResult:
        for t0 in range(0, self.total, block):
            self._block(t0, min(block, self.total - t0))
        used, last = self._stops()
        runs = np.arange(self.total)[:, np.newaxis] < last
        answered = np.minimum(self.asked.kept[:, np.newaxis], used) - 1  # (kept, samples)
        each = np.arange(self.samples)
        return TileResult(
            start=self.start,
            samples=self.samples,
            readouts={name: x[answered, each] for name, x in self.answers.items()},
            spikes={
                p.name: self._by_answer(self.fired[p.name] * runs)
                for p in self.asked.graph.of(Population)
            },
            synops=self._by_answer(self.operations * runs),
            steps_used=used,
        )

    def _stops(self) -> tuple[Array, Array]:
        """(samples,) each: the step whose answer stands, and the one after which it stopped."""
        rule, steps = self.asked.early_exit, self.asked.steps
        used, last = np.full(self.samples, steps), np.full(self.samples, self.total)
        if rule is None:
            return used, last
        judge, watch = judged_readout(self.asked.graph), Watch(rule, self.samples)
        for t, answers in enumerate(self.answers[judge]):
            watch.see(t + 1, answers, np.arange(self.samples))
        done = watch.done_at
        return np.where(done > 0, done, used), np.where(done > 0, done + self.onset[judge], last)

    def _by_answer(self, counts: Array) -> Array:
        """(steps,): all samples' counts, those before the first answer's step in that."""
        summed = counts.sum(axis=1)
        summed[self.latency] += summed[: self.latency].sum()
        return np.asarray(summed[self.latency :])

    def _block(self, t0: int, count: int) -> None:
        signals: dict[str, Array] = {}
        for i, node in enumerate(self.asked.graph.nodes):
            out = self._node(node, [signals[name] for name in node.inputs], t0, count)
            signals[node.name] = out
            if isinstance(node, Readout):
                self._keep(node.name, out, t0)
            elif node.name in self.fans:
                self._count(node.name, out, t0)
            for name in self.last_uses.get(i, ()):
                signals.pop(name, None)

    def _node(self, node: Node, xs: list[Array], t0: int, count: int) -> Array:
        state, onset, steps = self.states[node.name], self.onset[node.name], self.asked.steps
        begin = max((self.onset[name] for name in node.inputs), default=0)
        if t0 >= onset + steps and isinstance(node, Population | MaxPool | Analog):
            return np.zeros((count, self.samples, *node.shape), self.asked.dtype)
        match node:
            case Input():
                first = self.start + self.asked.offset
                x = encode(node, self.arrays[node.name], t0, count, self.asked.seed, first)
                return gate(x, t0, count, 0, steps)
            case Synapse() if node.name in self.constants:
                return gate(self.constants[node.name], t0, count, 0, steps)
            case Synapse():
                if not any(x.any() for x in xs):  # before or after the window, with start lags
                    return np.zeros((count, self.samples, *node.shape), self.asked.dtype)
                return apply_synapse(node, xs)
            case Delay():
                return run_delay(node, xs[0], state, count)
            case MaxPool() | Analog():
                return run_expectation(node, xs, state, t0, count, begin, steps)
            case Population():
                current = gate_bias(xs[0], node.bias, t0, count, begin, steps)
                return run_population(node, current, state, t0, count, (onset, onset + steps))
            case Readout():
                return run_readout(node, xs[0], state, t0, count, onset, steps)

    def _keep(self, name: str, answers: Array, t0: int) -> None:
        """The answers of a block's steps in the readout's window."""
        first = t0 - self.onset[name]
        low, high = max(first, 0), min(first + len(answers), self.asked.steps)
        if low < high:
            self.answers[name][low:high] = answers[low - first : high - first]

    def _count(self, name: str, out: Array, t0: int) -> None:
        """Count a block's spikes and what they cost, for each sample."""
        fan = self.fans[name].reshape(-1)
        fired = (out != 0).reshape(*out.shape[:2], -1)
        kind = np.float32 if fan.sum() < EXACT else np.float64
        self.fired[name][t0 : t0 + len(out)] = np.count_nonzero(fired, axis=2)
        self.operations[t0 : t0 + len(out)] += fired.astype(kind) @ fan.astype(kind)
