"""What diagnosis measures: sums over one run of the spiking network, layer by layer.

Only sums over time are kept, for one batch of samples: the mean input current of every neuron and
how often it fired, as the rules of the spiking run (``runtime.semantics.spiking``) compute them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..runtime import graph as snn
from ..runtime.neurons import Neuron, NeuronParams, PacedParams, State
from ..runtime.neurons.differential import DifferentialParams
from ..runtime.neurons.paced import weight
from ..runtime.ops import Array
from ..runtime.semantics.spiking import SpikingRules, run_population

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


def receives_differences(node: snn.Node) -> bool:
    """Whether what reaches a node in step t counts 1/t (differential coding)."""
    if isinstance(node, snn.Population):
        neuron = node.neuron
        return isinstance(neuron, DifferentialParams) and neuron.source == "differential"
    return isinstance(node, snn.Readout) and node.coding == "differential"


def sends_differences(node: snn.Node) -> bool:
    """Whether what a node sends in step t counts 1/t."""
    if isinstance(node, snn.Population):
        return isinstance(node.neuron, DifferentialParams)
    return isinstance(node, snn.MaxPool | snn.Analog) and node.coding == "differential"


def paced_from(graph: snn.SpikingGraph) -> bool:
    """Whether what the nodes of a graph send counts more the earlier it comes (paced neurons)."""
    return any(isinstance(p.neuron, PacedParams) for p in graph.of(snn.Population))


def whole_bias(node: snn.Node) -> Array:
    """The bias of a node with one input, wherever the neuron model keeps it."""
    if isinstance(node, snn.Population) and isinstance(node.neuron, DifferentialParams):
        return np.asarray(node.bias + node.neuron.bias)
    if isinstance(node, snn.Population | snn.Readout):
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
        super().__init__(graph, arrays, steps, seed=seed, offset=offset)
        self.observe = observe
        self.paced = paced_from(graph)
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
        return once if receives_differences(node) else once - getattr(node, "bias", once)

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
        differences = receives_differences(node)
        current = x if differences else self.current(node, x)
        self._add(self.sums.current, node, current, self.begin(node), differences=differences)
        return current

    def _neurons(self, node: snn.Population, current: Array) -> Array:
        if self.observe is not None:
            self.observe(node, current, self.at, self.count)
        spikes = self._sent(node, self.fire(node, node.neuron, current), self.onset[node.name])
        events = self.sums.events.get(node.name, 0.0) + float(np.count_nonzero(spikes))
        self.sums.events[node.name] = events
        return spikes

    def _sent(self, node: snn.Node, out: Array, begin: int) -> Array:
        self._add(self.sums.emitted, node, out, begin, differences=sends_differences(node))
        return out

    def _add(
        self, sums: dict[str, Array], node: snn.Node, x: Array, begin: int, *, differences: bool
    ) -> None:
        """Add a block of a signal in a window from ``begin`` on."""
        at, paced = self.at - begin, self.paced
        counts = worth(at, self.count, self.steps, differences=differences, paced=paced)
        if len(x) == 1:
            total = x[0] * counts.sum()
        else:
            total = np.tensordot(counts, x.astype(np.float64), axes=1)
        if node.name in sums:
            sums[node.name] += total
        else:
            sums[node.name] = total


def worth(position: int, count: int, steps: int, *, differences: bool, paced: bool) -> Array:
    """(count,): what the steps from ``position`` of a window on count in ``Sums``."""
    at = np.arange(position, position + count)
    if differences:
        return np.asarray(steps / (at + 1))
    return np.asarray(2 * weight(at, steps) / (steps + 1)) if paced else np.ones(count)


def constant_response(node: snn.Population, current: Array, steps: int) -> Array:
    """Spikes (batch, *shape) of the same neurons fed ``current`` (batch, *shape) in every one of
    ``steps`` steps: what is left of the error when spikes arrive perfectly evenly. Differential
    spikes count as in ``Sums``; ``current`` is then the mean that they stand for."""
    neuron = node.neuron
    if isinstance(neuron, DifferentialParams):
        return _constant_differential(node, neuron, current, steps)
    lag = neuron.lag
    state: State = {}
    x = current.astype(np.float32)[np.newaxis]
    total = np.zeros(current.shape, np.float64)
    paced = isinstance(neuron, PacedParams)
    counts = worth(-lag, steps + lag, steps, differences=False, paced=paced)
    for t in range(steps + lag):
        now = x if t < steps else np.zeros_like(x)
        total += run_population(node, now, state, t, 1, (lag, lag + steps))[0] * counts[t]
    return total


def _constant_differential(
    node: snn.Population, neuron: DifferentialParams, current: Array, steps: int
) -> Array:
    """Differential neurons that know their mean input from the first step on."""
    state: State = {}
    x = (current - neuron.bias).astype(np.float32)[np.newaxis]
    total = np.zeros(current.shape, np.float64)
    for t in range(steps):
        total += run_population(node, x, state, t, 1, (0, steps))[0] * (steps / (t + 1))
        if neuron.source == "differential":
            x = np.zeros_like(x)
    return total


def initial_charge(neuron: Neuron, steps: int, moved: Array) -> Array:
    """What of the initial potential, beyond the theta / 2 that makes rounding fair, counts as mean
    input over ``steps`` steps: as much as the bias makes up for, ``moved`` being how far it is
    from the ANN's. Calibration moves charge between the two, which changes no rate in the mean.
    """
    if not isinstance(neuron, NeuronParams) or neuron.leak:
        return np.zeros((), np.float32)
    # A paced neuron's initial potential moves the count of every step, not only the last one's.
    counts = (steps + 1) / 2 if isinstance(neuron, PacedParams) else steps
    charge = (neuron.v_init - neuron.v_threshold / 2) / counts
    return np.asarray(np.clip(charge, np.minimum(-moved, 0), np.maximum(-moved, 0)), np.float32)
