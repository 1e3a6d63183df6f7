"""Executes a spiking graph: layer by layer over blocks of time steps, for tiles of samples.

A synapse sees all steps of a block as one large batch; only the neuron update walks through time.
A signal that is the same in every step (constant current through the first convolution) has a time
axis of length one and is computed once. State is carried from block to block, so memory does not
grow with the number of steps; results do not depend on tile or block.

With start lags (``NeuronParams.lag``) every layer has its own window of ``steps`` steps: see
``_window``. Times are absolute steps from 0; the last readout window ends at steps + max onset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import analog
from .cost import static_cost
from .encoding import encode
from .graph import (
    Analog,
    Input,
    MaxPool,
    Node,
    Population,
    Readout,
    SpikingGraph,
    Synapse,
    onsets,
)
from .neuron import State
from .ops import Array
from .samples import as_inputs

DEFAULT_TILE = 50
DEFAULT_BLOCK = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulationResult:
    """What a simulation gives.

    Attributes:
        readouts: per readout, (steps, samples, *shape): the answer after every step.
        spikes: per population, (steps,): spikes (graded ones count once) in its window's step t,
            summed over samples.
        synops: (steps,): synaptic operations in step t, summed over samples.
        neurons: per population, how many neurons.
        macs_per_step, macs_once: dense operations per sample (see ``cost``).
        latency: steps from input to the first answer's window: sum of start lags.
    """

    readouts: Mapping[str, Array]
    spikes: Mapping[str, Array]
    synops: Array
    neurons: Mapping[str, int]
    macs_per_step: int
    macs_once: int
    latency: int
    samples: int

    @property
    def spikes_per_neuron(self) -> Array:
        """(steps,): mean spikes per neuron and sample up to and including each step."""
        neurons = max(sum(self.neurons.values()), 1)
        total = sum(self.spikes.values(), start=np.zeros_like(self.synops))
        return np.cumsum(total) / (neurons * self.samples)

    @property
    def synops_per_sample(self) -> Array:
        """(steps,): mean synaptic operations per sample up to and including each step."""
        return np.cumsum(self.synops) / self.samples


def simulate(
    graph: SpikingGraph,
    inputs: Array | Mapping[str, Array],
    steps: int,
    *,
    tile: int = DEFAULT_TILE,
    block: int = DEFAULT_BLOCK,
    seed: int = 0,
    dtype: np.dtype | type = np.float32,
) -> SimulationResult:
    """Run ``graph`` for ``steps`` time steps on a batch of samples.

    Parameters:
        inputs: (samples, *shape) for one input, or one array per input name.
        steps: answers are given after each of these steps.
        tile: samples simulated together; block: steps computed together.
        seed: for stochastic encodings; a run is reproducible from it.

    Raises DataError where inputs do not fit the graph.
    """
    arrays = as_inputs(graph, inputs, dtype)
    samples = len(next(iter(arrays.values())))
    run = _Run(graph, steps, seed, np.dtype(dtype), samples)
    for start in range(0, samples, tile):
        run.simulate_tile({k: a[start : start + tile] for k, a in arrays.items()}, start, block)
    return run.result()


class _Run:
    """One simulation: what is accumulated over tiles."""

    def __init__(
        self, graph: SpikingGraph, steps: int, seed: int, dtype: np.dtype, samples: int
    ) -> None:
        self.graph, self.steps, self.seed, self.dtype = graph, steps, seed, dtype
        self.onset = onsets(graph)
        self.cost = static_cost(graph)
        self.total_steps = steps + max(self.onset[r.name] for r in graph.of(Readout))
        self.readouts = {
            r.name: np.zeros((steps, samples, *r.shape), dtype) for r in graph.of(Readout)
        }
        self.samples = samples
        self.spikes = {p.name: np.zeros(steps) for p in graph.of(Population)}
        self.synops = np.zeros(steps)
        self.last_use = _last_uses(graph)

    def simulate_tile(self, arrays: dict[str, Array], offset: int, block: int) -> None:
        states: dict[str, State] = {}
        for t0 in range(0, self.total_steps, block):
            count = min(block, self.total_steps - t0)
            signals: dict[str, Array] = {}
            for i, node in enumerate(self.graph.nodes):
                xs = [signals[name] for name in node.inputs]
                out = self._run_node(node, xs, arrays, states, t0, count, offset)
                if out is not None:
                    signals[node.name] = out
                for name in self.last_use.get(i, ()):
                    signals.pop(name, None)

    def _run_node(
        self,
        node: Node,
        xs: list[Array],
        arrays: dict[str, Array],
        states: dict[str, State],
        t0: int,
        count: int,
        offset: int,
    ) -> Array | None:
        state = states.setdefault(node.name, {})
        match node:
            case Input():
                x = encode(node, arrays[node.name], t0, count, self.seed, offset)
                return gate(x, t0, count, 0, self.steps)
            case Synapse():
                return apply_synapse(node, xs)
            case Population():
                begin = self._input_onset(node)
                current = gate_bias(xs[0], node.bias, t0, count, begin, self.steps)
                fire = (self.onset[node.name], self.onset[node.name] + self.steps)
                spikes = run_population(node, current, state, t0, count, fire)
                self._count(node, spikes, t0)
                return spikes
            case MaxPool() | Analog():
                begin = self._input_onset(node)
                return run_expectation(node, xs, state, t0, count, begin, self.steps)
            case Readout():
                self._read(node, xs[0], state, t0, count, offset)
                return None

    def _input_onset(self, node: Node) -> int:
        return max((self.onset[name] for name in node.inputs), default=0)

    def _count(self, node: Population, spikes: Array, t0: int) -> None:
        """Add a block's spikes to the statistics, in the population's own window."""
        flat = np.abs(np.sign(spikes)).reshape(*spikes.shape[:2], -1)
        fan = self.cost.fan_out[node.name].ravel().astype(spikes.dtype)
        events, operations = flat.sum(axis=2, dtype=np.float64), flat @ fan
        for i in range(len(spikes)):
            t = t0 + i - self.onset[node.name]
            if 0 <= t < self.steps:
                self.spikes[node.name][t] += events[i].sum()
                self.synops[t] += operations[i].sum(dtype=np.float64)

    def _read(
        self, node: Readout, x: Array, state: State, t0: int, count: int, offset: int
    ) -> None:
        onset = self.onset[node.name]
        current = gate_bias(x, node.bias, t0, count, onset, self.steps)
        scale = np.ones((), self.dtype)
        if node.mode == "count" and node.neuron is not None:
            as_population = Population(
                name=node.name, shape=node.shape, inputs=node.inputs, neuron=node.neuron
            )
            fire = (onset, onset + self.steps)
            current = run_population(as_population, current, state, t0, count, fire)
            scale = node.neuron.v_threshold.astype(self.dtype)
        if "sum" not in state:
            state["sum"] = np.zeros(current.shape[1:], np.float64)
        out = self.readouts[node.name]
        for i in range(count):
            state["sum"] += current[i if len(current) > 1 else 0]
            t = t0 + i - onset
            if 0 <= t < self.steps:
                out[t, offset : offset + current.shape[1]] = state["sum"] / (t + 1) * scale

    def result(self) -> SimulationResult:
        return SimulationResult(
            readouts=self.readouts,
            spikes=self.spikes,
            synops=self.synops,
            neurons=self.cost.neurons,
            macs_per_step=self.cost.macs_per_step,
            macs_once=self.cost.macs_once,
            latency=self.total_steps - self.steps,
            samples=self.samples,
        )


def _last_uses(graph: SpikingGraph) -> dict[int, list[str]]:
    """Node index -> signals that nobody reads after it."""
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    out: dict[int, list[str]] = {}
    for name, i in last.items():
        out.setdefault(i, []).append(name)
    return out


def gate(x: Array, t0: int, count: int, begin: int, length: int) -> Array:
    """``x`` (time or 1, batch, ...) with zeros outside the window [begin, begin + length)."""
    if begin <= t0 and t0 + count <= begin + length:
        return x
    t = np.arange(t0, t0 + count)
    inside = ((t >= begin) & (t < begin + length)).reshape(-1, *(1,) * (x.ndim - 1))
    return np.asarray(x * inside.astype(x.dtype))


def gate_bias(x: Array, bias: Array, t0: int, count: int, begin: int, length: int) -> Array:
    """``x`` plus ``bias`` in the window [begin, begin + length)."""
    if not np.any(bias):
        return x
    constant = bias.astype(x.dtype)[np.newaxis]
    return np.asarray(
        x + gate(np.broadcast_to(constant, (1, *x.shape[1:])), t0, count, begin, length)
    )


def apply_synapse(node: Synapse, xs: list[Array]) -> Array:
    """A linear op on signals (time or 1, batch, ...): time and batch are one axis to it."""
    count = max(len(x) for x in xs)
    merged = [
        (x if len(x) == count else np.broadcast_to(x, (count, *x.shape[1:]))).reshape(
            -1, *x.shape[2:]
        )
        for x in xs
    ]
    out = node.op.apply(*merged)
    return out.reshape(count, -1, *out.shape[1:]).astype(xs[0].dtype, copy=False)


def run_population(
    node: Population, current: Array, state: State, t0: int, count: int, fire: tuple[int, int]
) -> Array:
    """Spikes (count, batch, *shape) of steps t0..; the neurons fire in [fire[0], fire[1])."""
    batch = current.shape[1]
    if not state:
        state.update(node.neuron.initial_state(batch, node.shape, current.dtype))
    spikes = np.empty((count, batch, *node.shape), current.dtype)
    for i in range(count):
        may_fire = fire[0] <= t0 + i < fire[1]
        node.neuron.step(state, current[i if len(current) > 1 else 0], spikes[i], may_fire)
    return spikes


def run_expectation(
    node: MaxPool | Analog,
    xs: list[Array],
    state: State,
    t0: int,
    count: int,
    begin: int,
    length: int,
) -> Array:
    """Expectation compensation: the output's running sum is t f(running mean of the input).

    Max pooling is homogeneous, t f(S/t) = f(S): integers in, integers out.
    """
    biases = (node.bias,) if isinstance(node, MaxPool) else node.biases
    if biases:
        xs = [gate_bias(x, b, t0, count, begin, length) for x, b in zip(xs, biases, strict=True)]
    if not state:
        for j, x in enumerate(xs):
            state[f"sum{j}"] = np.zeros(x.shape[1:], x.dtype)
        state["before"] = np.zeros((xs[0].shape[1], *node.shape), xs[0].dtype)
    out = np.empty((count, xs[0].shape[1], *node.shape), xs[0].dtype)
    for i in range(count):
        t = t0 + i - begin + 1
        for j, x in enumerate(xs):
            state[f"sum{j}"] += x[i if len(x) > 1 else 0]
        if not 1 <= t <= length:
            # Before its window nothing arrives; after it the answer stands.
            out[i] = 0
            continue
        sums = [state[f"sum{j}"] for j in range(len(xs))]
        if isinstance(node, MaxPool):
            total = node.op.apply(*sums)
        else:
            total = t * analog.evaluate(node.model, node.output, [s / t for s in sums])
        np.subtract(total, state["before"], out=out[i])
        state["before"] = total.astype(out.dtype, copy=False)
    return out
