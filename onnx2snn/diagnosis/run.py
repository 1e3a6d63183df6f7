"""What diagnosis measures: sums over one run of the spiking network, layer by layer.

Only sums over time are kept, for one batch of samples: the mean input current of every neuron and
how often it fired. Blocks of steps are computed node by node, as the engine's definition does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ..runtime import graph as snn
from ..runtime.neurons import Coding, Neuron, State, counts
from ..runtime.ops import Array
from ..runtime.semantics.constants import constant_currents
from ..runtime.semantics.encoding import encode
from ..runtime.semantics.spiking import (
    apply_synapse,
    gate,
    gate_bias,
    last_uses,
    run_delay,
    run_expectation,
    run_population,
)

BLOCK_BYTES = 64 * 2**20  # the largest signal of a block
Observer = Callable[[snn.Population, Array, int, int], None]


def as_population(node: snn.Population | snn.Readout) -> snn.Population | None:
    """The neurons of a node: a population itself, or those of a readout that counts spikes."""
    if isinstance(node, snn.Population):
        return node
    if node.neuron is None or node.mode != "count":
        return None
    return snn.Population(
        name=node.name,
        inputs=node.inputs,
        shape=node.shape,
        tensor=node.tensor,
        bias=node.bias,
        neuron=node.neuron,
    )


def reads(node: snn.Node, usual: Coding) -> Coding:
    """How the steps of what reaches neurons or a readout count, where others count as ``usual``."""
    coding: Coding = "rate"
    if isinstance(node, snn.Population):
        coding = node.neuron.reads
    elif isinstance(node, snn.Readout):
        coding = node.coding
    return "differential" if coding == "differential" else usual


def sends(node: snn.Node, usual: Coding) -> Coding:
    """How the steps of what a node with state sends count, where others count as ``usual``."""
    coding: Coding = "rate"
    if isinstance(node, snn.Population):
        coding = node.neuron.coding
    elif isinstance(node, snn.MaxPool | snn.Analog):
        coding = node.coding
    return "differential" if coding == "differential" else usual


def usual_coding(graph: snn.SpikingGraph) -> Coding:
    """How the steps of all but differential signals count: in a network with paced neurons, more
    the earlier they come."""
    paced = any(p.neuron.coding == "paced" for p in graph.of(snn.Population))
    return "paced" if paced else "rate"


def whole_bias(node: snn.Node) -> Array:
    """The bias of a node with one input, wherever the neuron model keeps it."""
    if isinstance(node, snn.Population):
        return np.asarray(node.bias + node.neuron.kept_bias)
    if isinstance(node, snn.Readout):
        return node.bias
    return np.zeros((), np.float32)


@dataclass
class Sums:
    """Sums over the steps of a run, for one batch. Where coding is differential or neurons are
    paced, T times the mean that the signal stands for, so that dividing by T gives the value either
    way.

    Attributes:
        current: for populations and readouts, (batch, *shape): the input, bias included.
        emitted: for every other node with an output of its own (and populations): what it sent.
        events: per population, the number of steps with a spike, summed over neurons and samples.
    """

    current: dict[str, Array] = field(default_factory=dict)
    emitted: dict[str, Array] = field(default_factory=dict)
    events: dict[str, float] = field(default_factory=dict)


class SpikingRun:
    """One batch through ``graph`` for ``steps`` time steps (start lags come on top)."""

    def __init__(
        self,
        graph: snn.SpikingGraph,
        arrays: Mapping[str, Array],
        steps: int,
        *,
        seed: int = 0,
        offset: int = 0,
        extra: int = 0,
        observe: Observer | None = None,
    ) -> None:
        self.graph, self.arrays, self.steps = graph, arrays, steps
        self.seed, self.offset, self.observe = seed, offset, observe
        self.onset = snn.onsets(graph)
        self.usual = usual_coding(graph)
        self.total = steps + max(self.onset.values()) + extra
        self.constants = {
            name: x.astype(np.float32)[np.newaxis]
            for name, x in constant_currents(graph).of(arrays).items()
        }
        self.states: dict[str, State] = {}
        self.sums = Sums()

    def run(self) -> Sums:
        block = self._block()
        last = last_uses(self.graph)
        for t0 in range(0, self.total, block):
            count = min(block, self.total - t0)
            signals: dict[str, Array] = {}
            for i, node in enumerate(self.graph.nodes):
                out = self._node(node, [signals[name] for name in node.inputs], t0, count)
                if out is not None:
                    signals[node.name] = out
                for name in last.get(i, ()):
                    signals.pop(name, None)
        for node in self.graph.nodes:
            if node.name in self.sums.current:
                self.sums.current[node.name] += self.steps * self._injected_once(node)
        return self.sums

    def _injected_once(self, node: snn.Node) -> Array:
        """The bias that is not part of the current of every step."""
        once = whole_bias(node)
        if reads(node, self.usual) == "differential":
            return once
        return once - getattr(node, "bias", once)

    def _block(self) -> int:
        batch = len(next(iter(self.arrays.values())))
        widest = max(prod(node.shape) for node in self.graph.nodes)
        return max(1, min(16, self.total, BLOCK_BYTES // (4 * batch * widest)))

    def window(self, node: snn.Node) -> int:
        """The step at which the window of a node's inputs begins."""
        return max((self.onset[name] for name in node.inputs), default=0)

    def _node(self, node: snn.Node, xs: list[Array], t0: int, count: int) -> Array | None:
        state = self.states.setdefault(node.name, {})
        begin = self.window(node)
        match node:
            case snn.Input():
                x = encode(node, self.arrays[node.name], t0, count, self.seed, self.offset)
                out = gate(x, t0, count, 0, self.steps)
                self._add(self.sums.emitted, node.name, out, self._worth(t0, count, 0, self.usual))
                return out
            case snn.Synapse() if node.name in self.constants:
                return gate(self.constants[node.name], t0, count, 0, self.steps)
            case snn.Synapse():
                return apply_synapse(node, xs)
            case snn.Delay():
                return run_delay(node, xs[0], state, count)
            case snn.MaxPool() | snn.Analog():
                out = run_expectation(node, xs, state, t0, count, begin, self.steps)
                worth = self._worth(t0, count, begin, sends(node, self.usual))
                self._add(self.sums.emitted, node.name, out, worth)
                return out
        current = xs[0]
        coding = reads(node, self.usual)
        if coding != "differential":
            current = gate_bias(xs[0], node.bias, t0, count, begin, self.steps)
        worth = self._worth(t0, count, begin, coding)
        self._add(self.sums.current, node.name, current, worth)
        population = as_population(node)
        if population is None:
            return None
        if self.observe is not None:
            self.observe(population, current, t0, count)
        first = self.onset[node.name]
        fire = (first, first + self.steps)
        spikes = run_population(population, current, state, t0, count, fire)
        worth = self._worth(t0, count, first, sends(population, self.usual))
        self._add(self.sums.emitted, node.name, spikes, worth)
        self.sums.events[node.name] = self.sums.events.get(node.name, 0.0) + float(
            np.count_nonzero(spikes)
        )
        return spikes

    def _worth(self, t0: int, count: int, begin: int, coding: Coding) -> Array:
        """What the steps from ``t0`` on count, in a window that begins at ``begin``."""
        return counts(coding, np.arange(t0 - begin, t0 - begin + count), self.steps)

    def _add(self, sums: dict[str, Array], name: str, x: Array, worth: Array) -> None:
        """Add a block whose steps count ``worth``."""
        if len(x) == 1:
            total = x[0] * worth.sum()
        else:
            total = np.tensordot(worth, x.astype(np.float64), axes=1)
        if name in sums:
            sums[name] += total
        else:
            sums[name] = total


def constant_response(node: snn.Population, current: Array, steps: int) -> Array:
    """Spikes (batch, *shape) of the same neurons that know their mean input from the first step on:
    fed ``current`` (batch, *shape) in every one of ``steps`` steps, or where it counts as
    differences once. What is left of the error when spikes arrive perfectly evenly; spikes count as
    in ``Sums``."""
    neuron, lag = node.neuron, node.neuron.lag
    state: State = {}
    x = (current - neuron.kept_bias).astype(np.float32)[np.newaxis]
    arrives = 1 if neuron.reads == "differential" else steps
    total = np.zeros(current.shape, np.float64)
    each = counts(neuron.coding, np.arange(-lag, steps), steps)
    if neuron.coding == "differential":  # single precision, in which these neurons divide by t
        each = each.astype(np.float32)
    for t in range(steps + lag):
        now = x if t < arrives else np.zeros_like(x)
        total += run_population(node, now, state, t, 1, (lag, lag + steps))[0] * each[t]
    return total


def initial_charge(neuron: Neuron, steps: int, moved: Array) -> Array:
    """What of the initial potential counts as mean input over ``steps`` steps: as much as the bias
    makes up for, ``moved`` being how far it is from the ANN's. Calibration moves charge between the
    two, which changes no rate in the mean.
    """
    charge = neuron.charge(steps)
    return np.asarray(np.clip(charge, np.minimum(-moved, 0), np.maximum(-moved, 0)), np.float32)
