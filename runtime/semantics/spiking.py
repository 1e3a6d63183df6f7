"""The spiking network, defined: what each node does over a block of time steps, and a whole run.

On plain arrays (time, batch, *shape), without the engine's memory layouts and buffers. A run walks
the graph once per block of steps; ``SpikingRules`` keep the states from block to block. Calibration
in the spiking loop calls the functions of single nodes, diagnosis observes the rules. Times are
absolute steps from 0. A signal that is the same in every step may have a time axis of length one.

With start lags (``NeuronParams.lag``) every layer has its own window of ``steps`` steps, later
than its input's by its lag (``graph.onsets``): currents and biases arrive in the input's window,
spikes leave in the layer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from ..facts import GraphFacts
from ..graph import Analog, Delay, Input, MaxPool, Node, Population, Readout, Rules, Synapse
from ..neurons import Neuron, State
from ..neurons.model import weight
from ..ops import Array, Shape
from . import islands as analog
from . import windows
from .constants import constant_currents
from .encoding import encode
from .walk import walk

BLOCK_BYTES = 64 * 2**20  # the largest signal of a block
MOST_STEPS = 16  # of a block


class SpikingRules(Rules[Array]):
    """Every node's output (time or 1, batch, *shape) in the steps of a block, for one batch.

    Attributes:
        onset: per node, when its window begins.
        at, count: first step and number of steps of the block.
    """

    def __init__(
        self,
        facts: GraphFacts,
        inputs: Mapping[str, Array],
        steps: int,
        *,
        seed: int = 0,
        offset: int = 0,
    ) -> None:
        self.graph, self.inputs, self.steps = facts.graph, inputs, steps
        self.seed, self.offset = seed, offset
        self.onset = facts.onsets
        self.at = self.count = 0
        self.dtype = next(iter(inputs.values())).dtype
        self.constants = {
            name: x.astype(self.dtype)[np.newaxis]
            for name, x in constant_currents(facts).of(inputs).items()
        }
        self.states: dict[str, State] = {}

    def run(self, total: int, block: int | None = None) -> None:
        """``total`` steps, in blocks of ``block`` (None: what keeps signals small)."""
        if block is None:
            batch = len(next(iter(self.inputs.values())))
            widest = max(prod(node.shape) for node in self.graph.nodes)
            block = max(1, min(MOST_STEPS, total, BLOCK_BYTES // (4 * batch * widest)))
        for self.at in range(0, total, block):
            self.count = min(block, total - self.at)
            walk(self.graph, self, self.inputs)

    def begin(self, node: Node) -> int:
        """The step at which the window of a node's inputs begins."""
        return max((self.onset[name] for name in node.inputs), default=0)

    def state(self, node: Node) -> State:
        """What a node keeps from block to block; empty before its first."""
        return self.states.setdefault(node.name, {})

    def current(self, node: Population | Readout, x: Array) -> Array:
        """The bias added in the window of the node's input."""
        return gate_bias(
            x,
            bias=node.bias,
            t0=self.at,
            count=self.count,
            begin=self.begin(node),
            length=self.steps,
        )

    def fire(self, node: Population | Readout, neuron: Neuron, current: Array) -> Array:
        """Spikes of a node's neurons."""
        first = self.onset[node.name]
        fire, state = (first, first + self.steps), self.state(node)
        return run_neurons(
            neuron, node.shape, current, state, t0=self.at, count=self.count, fire=fire
        )

    def input(self, node: Input, xs: Sequence[Array]) -> Array:
        x = encode(
            node,
            xs[0],
            first_step=self.at,
            steps=self.count,
            seed=self.seed,
            offset=self.offset,
        )
        return gate(x, t0=self.at, count=self.count, begin=0, length=self.steps)

    def synapse(self, node: Synapse, xs: Sequence[Array]) -> Array:
        if node.name in self.constants:
            return gate(
                self.constants[node.name], t0=self.at, count=self.count, begin=0, length=self.steps
            )
        return apply_synapse(node, xs)

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        return self.fire(node, node.neuron, self.current(node, xs[0]))

    def max_pool(self, node: MaxPool | Analog, xs: Sequence[Array]) -> Array:
        begin, state = self.begin(node), self.state(node)
        return run_expectation(
            node, xs, state, t0=self.at, count=self.count, begin=begin, length=self.steps
        )

    analog = max_pool

    def delay(self, node: Delay, xs: Sequence[Array]) -> Array:
        return run_delay(node, xs[0], self.state(node), self.count)

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        begin = self.onset[node.name]
        return run_readout(
            node,
            xs[0],
            self.state(node),
            t0=self.at,
            count=self.count,
            begin=begin,
            steps=self.steps,
        )


def gate(x: Array, *, t0: int, count: int, begin: int, length: int) -> Array:
    """``x`` (time or 1, batch, ...) with zeros outside the window [begin, begin + length)."""
    if begin <= t0 and t0 + count <= begin + length:
        return x
    t = np.arange(t0, t0 + count)
    inside = ((t >= begin) & (t < begin + length)).reshape(-1, *(1,) * (x.ndim - 1))
    return np.asarray(x * inside.astype(x.dtype))


def gate_bias(x: Array, *, bias: Array, t0: int, count: int, begin: int, length: int) -> Array:
    """``x`` plus ``bias`` in the window [begin, begin + length)."""
    if not np.any(bias):
        return x
    constant = bias.astype(x.dtype)[np.newaxis]
    return np.asarray(
        x
        + gate(
            np.broadcast_to(constant, (1, *x.shape[1:])),
            t0=t0,
            count=count,
            begin=begin,
            length=length,
        )
    )


def apply_synapse(
    node: Synapse, xs: Sequence[Array], apply: Callable[..., Array] | None = None
) -> Array:
    """A linear op on signals (time or 1, batch, ...): time and batch are one axis to it. ``apply``:
    what computes it instead of its record."""
    count = max(len(x) for x in xs)
    merged = [
        (x if len(x) == count else np.broadcast_to(x, (count, *x.shape[1:]))).reshape(
            -1, *x.shape[2:]
        )
        for x in xs
    ]
    out = (apply or node.op.apply)(*merged)
    return out.reshape(count, -1, *out.shape[1:]).astype(xs[0].dtype, copy=False)


def run_population(
    node: Population, current: Array, state: State, *, t0: int, count: int, fire: tuple[int, int]
) -> Array:
    """Spikes (count, batch, *shape) of steps t0..; the neurons fire in [fire[0], fire[1])."""
    return run_neurons(node.neuron, node.shape, current, state, t0=t0, count=count, fire=fire)


def run_neurons(
    neuron: Neuron,
    shape: Shape,
    current: Array,
    state: State,
    *,
    t0: int,
    count: int,
    fire: tuple[int, int],
) -> Array:
    """As ``run_population``, of a readout's neurons too."""
    batch = current.shape[1]
    if not state:
        state.update(neuron.initial_state(batch, shape, current.dtype))
    spikes = np.empty((count, batch, *shape), current.dtype)
    for i in range(count):
        may_fire = fire[0] <= t0 + i < fire[1]
        now = current[i if len(current) > 1 else 0]
        neuron.step(
            state,
            now,
            spikes[i],
            may_fire=may_fire,
            position=t0 + i - fire[0],
            steps=fire[1] - fire[0],
        )
    return spikes


def run_delay(node: Delay, x: Array, state: State, count: int) -> Array:
    """``x`` (time or 1, batch, *shape) some steps later: (count, batch, *shape)."""
    if len(x) == 1:
        x = np.broadcast_to(x, (count, *x.shape[1:]))
    held = state.get("held", np.zeros((node.steps, *x.shape[1:]), x.dtype))
    both = np.concatenate([held, x])
    state["held"] = both[count:]
    return np.asarray(both[:count])


def run_expectation(
    node: MaxPool | Analog,
    xs: Sequence[Array],
    state: State,
    *,
    t0: int,
    count: int,
    begin: int,
    length: int,
) -> Array:
    """Expectation compensation: the output's running sum is t f(running mean of the input).

    Max pooling is homogeneous, t f(S/t) = f(S): integers in, integers out.
    """
    biases = (node.bias,) if isinstance(node, MaxPool) else node.biases
    if node.coding == "differential":
        return _run_differential(node, xs, state, t0=t0, count=count, biases=biases)
    if node.coding in windows.READ:
        return windows.run(node, xs, state, t0=t0, count=count, begin=begin, length=length)
    if biases:
        xs = [
            gate_bias(x, bias=b, t0=t0, count=count, begin=begin, length=length)
            for x, b in zip(xs, biases, strict=True)
        ]
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
            total = t * analog.settled(node.model, node.output, [s / t for s in sums])
        np.subtract(total, state["before"], out=out[i])
        state["before"] = total.astype(out.dtype, copy=False)
    return out


def _run_differential(
    node: MaxPool | Analog,
    xs: Sequence[Array],
    state: State,
    *,
    t0: int,
    count: int,
    biases: tuple[Array, ...],
) -> Array:
    """Running means R(t) = R(t-1) + x(t) / t in, t (f(R(t)) - f(R(t-1))) out."""
    if not state:
        for j, x in enumerate(xs):
            state[f"mean{j}"] = np.zeros(x.shape[1:], x.dtype)
            state[f"mean{j}"] += biases[j] if biases else 0
        state["before"] = np.zeros((xs[0].shape[1], *node.shape), xs[0].dtype)
    out = np.empty((count, xs[0].shape[1], *node.shape), xs[0].dtype)
    for i in range(count):
        t = t0 + i + 1
        for j, x in enumerate(xs):
            state[f"mean{j}"] += x[i if len(x) > 1 else 0] / t
        means = [state[f"mean{j}"] for j in range(len(xs))]
        if isinstance(node, MaxPool):
            now = node.op.apply(*means)
        else:
            now = analog.settled(node.model, node.output, means)
        np.multiply(now - state["before"], t, out=out[i])
        state["before"] = now.astype(out.dtype, copy=False)
    return out


def run_readout(
    node: Readout, x: Array, state: State, *, t0: int, count: int, begin: int, steps: int
) -> Array:
    """Answers (count, batch, *shape) after steps t0.. in double precision: the running mean of the
    input, or of spikes times threshold. ``begin``: the first step of its window of ``steps``."""
    differential = node.coding == "differential"
    current = (
        x
        if differential
        else gate_bias(x, bias=node.bias, t0=t0, count=count, begin=begin, length=steps)
    )
    current = np.broadcast_to(current, (count, *current.shape[1:]))
    if node.mode == "count" and node.neuron is not None:
        fire = (begin, begin + steps)
        current = run_neurons(
            node.neuron, node.shape, current, state, t0=t0, count=count, fire=fire
        )
    t = np.maximum(np.arange(t0 - begin, t0 - begin + count, dtype=np.float64), 0) + 1
    t = t.reshape(-1, *(1,) * (current.ndim - 1))
    if differential:  # a spike in step t moves the mean by 1/t
        current = current / t
    elif node.coding == "paced":
        current = current * weight(t - 1, steps)
        t = np.minimum(t, steps)
        t *= (2 * steps + 1 - t) / 2  # the sum of the weights so far
    elif node.coding == "few-spike":
        digits = 2.0 ** (weight(t - 1, steps) - 1)
        current, t = current * digits, 2.0**steps - digits
    current = np.array(current, np.float64)
    current[0] += state.get("answer", node.bias if differential else 0)
    sums = np.cumsum(current, axis=0)  # one after the other, whatever the block
    state["answer"] = sums[-1].copy()
    if differential:
        return sums
    unit = 1.0 if node.neuron is None else node.neuron.v_threshold.astype(np.float64)
    return np.asarray(sums / t * unit)
