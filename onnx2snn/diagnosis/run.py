"""What diagnosis measures: sums over one run of the spiking network, layer by layer.

Only sums over time are kept, for one batch of samples: the mean input current of every neuron and
how often it fired, as the rules of the spiking run (``runtime.semantics.spiking``) compute them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..runtime import graph as snn
from ..runtime.facts import GraphFacts
from ..runtime.neurons import Coding, Neuron, State, counts
from ..runtime.ops import Array
from ..runtime.semantics.spiking import SpikingRules, run_population
from ..runtime.semantics.windows import READ

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
    """How the steps of all but differential signals count: in a network with paced neurons, or
    with such that send one number per window, more the earlier they come."""
    codings = {p.neuron.coding for p in graph.of(snn.Population)} - {"differential"}
    return next((coding for coding in READ if coding in codings), "rate")


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


class SpikingRun(SpikingRules):
    """One batch through ``graph`` for ``steps`` time steps (start lags come on top), observed.

    ``observe(population, current, at, count)`` sees what neurons get in every block; ``extra``
    steps are run after the last window.
    """

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
        super().__init__(GraphFacts(graph), arrays, steps, seed=seed, offset=offset)
        self.observe = observe
        self.usual = usual_coding(graph)
        self.total = steps + max(self.onset.values()) + extra
        self.sums = Sums()

    def measure(self) -> Sums:
        self.run(self.total)
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

    def input(self, node: snn.Input, xs: Sequence[Array]) -> Array:
        return self._sent(node, super().input(node, xs), self.begin(node))

    def max_pool(self, node: snn.MaxPool | snn.Analog, xs: Sequence[Array]) -> Array:
        return self._sent(node, super().max_pool(node, xs), self.begin(node))

    analog = max_pool

    def population(self, node: snn.Population, xs: Sequence[Array]) -> Array:
        return self._neurons(node, self._received(node, xs[0]))

    def readout(self, node: snn.Readout, xs: Sequence[Array]) -> Array:
        current, population = self._received(node, xs[0]), as_population(node)
        return current if population is None else self._neurons(population, current)

    def _received(self, node: snn.Population | snn.Readout, x: Array) -> Array:
        coding = reads(node, self.usual)
        current = x if coding == "differential" else self.current(node, x)
        self._add(self.sums.current, node, current, self.begin(node), coding)
        return current

    def _neurons(self, node: snn.Population, current: Array) -> Array:
        if self.observe is not None:
            self.observe(node, current, self.at, self.count)
        spikes = self._sent(node, self.fire(node, node.neuron, current), self.onset[node.name])
        events = self.sums.events.get(node.name, 0.0) + float(np.count_nonzero(spikes))
        self.sums.events[node.name] = events
        return spikes

    def _sent(self, node: snn.Node, out: Array, begin: int) -> Array:
        self._add(self.sums.emitted, node, out, begin, sends(node, self.usual))
        return out

    def _add(
        self, sums: dict[str, Array], node: snn.Node, x: Array, begin: int, coding: Coding
    ) -> None:
        """Add a block of a signal in a window from ``begin`` on, whose steps count as in
        ``coding``."""
        at = np.arange(self.at - begin, self.at - begin + self.count)
        each = counts(coding, at, self.steps)
        if len(x) == 1:
            total = x[0] * each.sum()
        else:
            total = np.tensordot(each, x.astype(np.float64), axes=1)
        if node.name in sums:
            sums[node.name] += total
        else:
            sums[node.name] = total


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
        total += (
            run_population(node, now, state, t0=t, count=1, fire=(lag, lag + steps))[0] * each[t]
        )
    return total


def initial_charge(neuron: Neuron, steps: int, moved: Array) -> Array:
    """What of the initial potential counts as mean input over ``steps`` steps: as much as the bias
    makes up for, ``moved`` being how far it is from the ANN's. Calibration moves charge between the
    two, which changes no rate in the mean.
    """
    charge = neuron.charge(steps)
    return np.asarray(np.clip(charge, np.minimum(-moved, 0), np.maximum(-moved, 0)), np.float32)
