"""What a spiking network does with single samples, step by step: spikes, potentials, answers.

The definition of the network is run (``runtime.semantics.spiking``), one step at a time, and what
is to be shown is kept: of large networks some layers, of large layers some neurons. What was left
out is said (``Watched.left_out``, ``LayerTrace.neurons``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..data import Samples
from ..errors import UsageError
from ..runtime.cost import static_cost
from ..runtime.engine import check_windows
from ..runtime.facts import GraphFacts
from ..runtime.graph import Analog, MaxPool, Node, Population, Readout, SpikingGraph
from ..runtime.ops import Array, Shape
from ..runtime.semantics import labels as reader
from ..runtime.semantics.analog import run_analog
from ..runtime.semantics.decision import decisions
from ..runtime.semantics.samples import as_inputs, spread_over
from ..runtime.semantics.spiking import SpikingRules
from .outputs import is_classifier

LAYERS = 12  # shown
CHANNELS = 16  # of a feature map
DENSE = 128  # neurons of a layer without maps
SPIKES = 3_000_000  # bytes of all that is kept: layers x samples x steps x neurons
TRACED = 6  # neurons per layer whose potentials are kept


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerTrace:
    """Of one layer, for all samples.

    Attributes:
        name, shape: of the population, or of the max pool of spikes.
        begins: the step, from 0, at which its window begins.
        shown: (neurons,) which of its neurons, ascending, by their index in a flat layer.
        grid: (channels, height, width) that ``shown`` fills, or (neurons,).
        spikes: (samples, steps in all, neurons): what each sent in each step.
        traced: (samples, few): of ``shown``, by position, those whose potentials are kept.
        potentials: (samples, few, steps in all): after each step; empty for a max pool.
        thresholds: (samples, few): of these neurons; None where they change with the step.
    """

    name: str
    shape: Shape
    begins: int
    shown: Array
    grid: tuple[int, ...]
    spikes: Array
    traced: Array
    potentials: Array
    thresholds: Array | None

    @property
    def neurons(self) -> int:
        """Of the whole layer."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Watched:
    """Some samples through one network.

    Attributes:
        steps, latency: T, and the steps from an input to its answer.
        inputs: (samples, *shape) of the first input, as the network sees it.
        answers: (samples, steps, outputs) of the first readout after each of its T steps.
        ann: (samples, outputs): the ANN's.
        labels: (samples,) class numbers, or None.
        decided, ann_decided: classes (samples, steps) and (samples,); None where the outputs are
            values.
        settles: (samples,) the T from which on the answer's class stays as it is at the end; None
            where the outputs are values.
        layers: those that are kept; ``left_out``: names of others that send spikes.
    """

    steps: int
    latency: int
    inputs: Array
    answers: Array
    ann: Array
    labels: Array | None
    decided: Array | None
    ann_decided: Array | None
    settles: Array | None
    layers: tuple[LayerTrace, ...]
    left_out: tuple[str, ...]


def watch(network: SpikingGraph, samples: Samples, *, steps: int, seed: int = 0) -> Watched:
    """Run ``samples`` for T = ``steps`` and keep what happens.

    Raises UsageError for a T that the network cannot be run for, DataError for samples that do not
    fit.
    """
    if steps < 1:
        raise UsageError(f"T must be at least 1, got {steps}", code="E110")
    check_windows(network, steps)
    facts = GraphFacts(network)
    inputs = as_inputs(network, samples.whole(), np.float32)
    readout = network.of(Readout)[0]
    count, total = len(samples), facts.latency + steps
    known = reader.read(network, samples.labels, where=samples.source)
    logit = readout.name in known.logits
    senders = _senders(facts)
    kept = [senders[i] for i in spread_over(len(senders), most=LAYERS)]
    budget = SPIKES // max(1, len(kept) * count * total)
    recorder = _Recorder(
        facts, inputs, steps, seed=seed, shown={n.name: _shown(n, budget) for n in kept}
    )
    recorder.run(total, block=1)
    answers = np.stack(recorder.answers, axis=1).reshape(count, steps, *readout.shape)
    ann = run_analog(network, inputs)[readout.name]
    classes = is_classifier(readout.shape, logit=logit)
    decided = decisions(answers, readout.shape) if classes else None
    return Watched(
        steps=steps,
        latency=total,
        inputs=next(iter(inputs.values())),
        answers=answers.reshape(count, steps, -1),
        ann=ann.reshape(count, -1),
        labels=known.numbers if classes and known.classes else None,
        decided=decided,
        ann_decided=decisions(ann, readout.shape) if classes else None,
        settles=None if decided is None else _settles(decided),
        layers=tuple(recorder.trace(node) for node in kept),
        left_out=tuple(node.name for node in senders if node not in kept),
    )


def _senders(facts: GraphFacts) -> list[Node]:
    """What sends spikes, but for the input: populations and max pools of spikes, in order."""
    cost = static_cost(facts)
    names = {*cost.fan_out, *cost.passed_on}
    nodes = facts.graph.nodes
    return [n for n in nodes if n.name in names and isinstance(n, Population | MaxPool)]


def _settles(decided: Array) -> Array:
    """(samples,): the T, from 1, from which on the class is that of the last step."""
    differs = decided != decided[:, -1:]
    steps = decided.shape[1]
    last = steps - 1 - np.argmax(differs[:, ::-1], axis=1)  # of the steps that differ
    return np.where(differs.any(axis=1), last + 2, 1)


def _shown(node: Node, budget: int) -> tuple[Array, tuple[int, ...]]:
    """Which neurons of a layer are kept, at most ``budget``, by flat index, and their ``grid``:
    some channels of feature maps, thinned where they are large; else some neurons."""
    index = np.arange(prod(node.shape)).reshape(node.shape)
    if index.ndim == 2:  # channels by time
        index = index[:, np.newaxis]
    if index.ndim != 3 or index[0].size == 1:
        flat = index.reshape(-1)
        flat = flat[spread_over(len(flat), most=max(1, min(DENSE, budget)))]
        return flat, flat.shape
    stride = 1
    while index[0, ::stride, ::stride].size > max(1, budget // 2):
        stride += 1
    maps = index[:, ::stride, ::stride]
    most = max(1, min(CHANNELS, budget // maps[0].size))
    maps = maps[spread_over(len(maps), most=most)]
    return maps.reshape(-1), maps.shape


class _Recorder(SpikingRules):
    """Keeps what the shown neurons of some layers do, step by step, and the first readout."""

    def __init__(
        self,
        facts: GraphFacts,
        inputs: Mapping[str, Array],
        steps: int,
        *,
        seed: int,
        shown: Mapping[str, tuple[Array, tuple[int, ...]]],
    ) -> None:
        super().__init__(facts, inputs, steps, seed=seed)
        self.shown = shown
        self.judged = facts.graph.of(Readout)[0]
        self.spikes: dict[str, list[Array]] = {name: [] for name in shown}
        self.potentials: dict[str, list[Array]] = {name: [] for name in shown}
        self.answers: list[Array] = []

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        out = super().population(node, xs)
        if node.name in self.shown:
            self._keep(self.spikes, node, out[0])
            self._keep(self.potentials, node, node.neuron.potential(self.state(node)))
        return out

    def max_pool(self, node: MaxPool | Analog, xs: Sequence[Array]) -> Array:
        out = super().max_pool(node, xs)
        if node.name in self.shown:
            self._keep(self.spikes, node, out[0])
        return out

    analog = max_pool

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        out = super().readout(node, xs)
        first = self.onset[node.name]
        if node.name == self.judged.name and first <= self.at < first + self.steps:
            self.answers.append(out[0])
        return out

    def _keep(self, kept: dict[str, list[Array]], node: Node, values: Array) -> None:
        batch = values.reshape(len(values), -1)
        kept[node.name].append(batch[:, self.shown[node.name][0]])

    def trace(self, node: Node) -> LayerTrace:
        """What was kept of a layer; potentials of some neurons that sent much, some and little."""
        indices, grid = self.shown[node.name]
        spikes = np.stack(self.spikes[node.name], axis=1)
        sent = (spikes != 0).sum(axis=1)
        order = np.argsort(-sent, axis=1, kind="stable")
        active = np.maximum((sent > 0).sum(axis=1), min(TRACED, len(indices)))
        few = [row[spread_over(most, most=TRACED)] for row, most in zip(order, active, strict=True)]
        traced = np.stack(few)
        potentials, thresholds = np.zeros((len(spikes), 0, spikes.shape[1])), None
        if isinstance(node, Population):
            whole = np.stack(self.potentials[node.name], axis=2)
            potentials = np.take_along_axis(whole, traced[:, :, np.newaxis], axis=1)
            if node.neuron.coding == "rate":
                theta = np.broadcast_to(node.neuron.v_threshold, node.shape).reshape(-1)
                thresholds = theta[indices[traced]]
        return LayerTrace(
            name=node.name,
            shape=node.shape,
            begins=self.onset[node.name],
            shown=indices,
            grid=grid,
            spikes=spikes.astype(np.int8),
            traced=traced,
            potentials=potentials,
            thresholds=thresholds,
        )
