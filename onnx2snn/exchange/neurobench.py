"""The metrics of NeuroBench 2.3 of a network, under NeuroBench's own keys.

They are what NeuroBench's harness finds for the network's PyTorch module (``exchange.torch``), from
a run by the definition of every node (``runtime.semantics``), which is slower than an engine's but
knows every potential:

Footprint               bytes of the module's parameters and buffers
ConnectionSparsity      share of weights that are 0
ActivationSparsity      share of neurons and steps without a spike; ...ByLayer of each population
SynapticOperations      per sample, of connections with a weight: inputs that are not 0, times their
                        weights that are not 0. Effective_ACs where all inputs of a step are 0, 1 or
                        -1, Effective_MACs elsewhere: of values, of graded spikes, behind average
                        pools. Dense: all connections, with pads where they differ between the
                        sides of a convolution. What is the same in every step counts once.
MembraneUpdates         per sample, neurons and steps in which a potential changes; all in the first
ClassificationAccuracy  share of right answers after the last step; null without classes

Source: NeuroBench 2.3.0 (neurobench.metrics); Yik et al., Nature Communications 16, 2025.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ..data import Samples
from ..runtime.engine.torch import in_module, source_of
from ..runtime.facts import GraphFacts
from ..runtime.graph import Population, Readout, SpikingGraph, Synapse
from ..runtime.neurons import Neuron
from ..runtime.ops import Array, WeightedOp
from ..runtime.semantics.decision import decisions
from ..runtime.semantics.labels import read
from ..runtime.semantics.samples import as_inputs
from ..runtime.semantics.spiking import SpikingRules, run_neurons

BATCH = 100  # samples
POTENTIALS = ("v", "charge")  # what neurons integrate, as their models name it


class Metrics:
    """Adds up batches of samples of one network; ``document`` is what NeuroBench calls results.

    Raises GraphError E420 for a network that has no PyTorch module.
    """

    def __init__(self, network: SpikingGraph, steps: int) -> None:
        self.facts, self.steps = GraphFacts(network), steps
        made = source_of(network, steps, "")
        self.footprint = sum(array.nbytes for array in made.arrays.values())
        self.names = made.names
        self.samples = self.right = 0
        self.labelled = True
        self.ops = dict.fromkeys(("Effective_MACs", "Effective_ACs", "Dense"), 0.0)
        self.updates = 0
        self.sent: dict[str, int] = {}
        self.could: dict[str, int] = {}

    def add(self, inputs: Mapping[str, Array], labels: Array | None) -> None:
        """A batch, arrays (samples, *shape) by input; class numbers (samples,), or None where the
        outputs are no classes."""
        arrays = as_inputs(self.facts.graph, inputs, np.dtype(np.float32))
        rules = _Rules(self.facts, arrays, self.steps)
        rules.run(self.steps + self.facts.latency)
        self.samples += len(next(iter(arrays.values())))
        for kind, count in rules.ops.items():
            self.ops[kind] += count
        self.updates += rules.updates
        for name, (spikes, could) in rules.fired.items():
            self.sent[name] = self.sent.get(name, 0) + spikes
            self.could[name] = self.could.get(name, 0) + could
        if labels is None:
            self.labelled = False
        else:
            self.right += int((decisions(rules.answer, rules.answer.shape[1:]) == labels).sum())

    def measure(self, samples: Samples, *, regression: bool = False, size: int = BATCH) -> Self:
        """Adds all of ``samples``, batches of ``size``; ``regression``: the outputs are values."""
        known = read(self.facts.graph, samples.labels, regression=regression)
        labels = known.numbers if known.classes else None
        for start, inputs in samples.batches(size):
            stop = start + len(next(iter(inputs.values())))
            self.add(inputs, None if labels is None else labels[start:stop])
        return self

    def document(self) -> dict[str, Any]:
        """The metrics of all samples so far."""
        ops = [synapse.op for synapse in self.facts.graph.of(Synapse)]
        weights = [op.weight for op in ops if isinstance(op, WeightedOp)]
        zeros = sum(int((w == 0).sum()) for w in weights)
        layers = {
            self.names[name]: (could - self.sent[name]) / could
            for name, could in self.could.items()
        }
        could = sum(self.could.values())
        return {
            "Footprint": self.footprint,
            "ConnectionSparsity": round(zeros / max(sum(w.size for w in weights), 1), 4),
            "ClassificationAccuracy": self.right / self.samples if self.labelled else None,
            "ActivationSparsity": (could - sum(self.sent.values())) / could if could else 0.0,
            "ActivationSparsityByLayer": layers,
            "SynapticOperations": {name: n / self.samples for name, n in self.ops.items()},
            "MembraneUpdates": self.updates / self.samples,
        }


class _Rules(SpikingRules):
    """The definition, counted."""

    def __init__(self, facts: GraphFacts, inputs: Mapping[str, Array], steps: int) -> None:
        super().__init__(facts, inputs, steps)
        self.ops = dict.fromkeys(("Effective_MACs", "Effective_ACs", "Dense"), 0.0)
        self.updates = 0
        self.fired: dict[str, tuple[int, int]] = {}
        self.answer = np.zeros(0)

    def synapse(self, node: Synapse, xs: Sequence[Array]) -> Array:
        if isinstance(node.op, WeightedOp):
            still = node.name in self.constants
            if not still or self.at == 0:
                self._connections(node.op, xs[0][:1] if still else xs[0], still)
        return super().synapse(node, xs)

    def _connections(self, op: WeightedOp, x: Array, still: bool) -> None:
        """``x``: (steps or 1, batch, *shape)."""
        layer, padded = in_module(op, x.shape[2:])
        fan_out = (layer if padded == x.shape[2:] else op).fan_out(x.shape[2:]).astype(np.float64)
        dense = float(layer.with_factors(np.ones_like(op.weight)).fan_out(padded).sum())
        times = 1 if still else self.count
        for now in np.broadcast_to(x, (times, *x.shape[1:])):
            binary = bool(((now == 0) | (abs(now) == 1)).all())
            kind = "Effective_ACs" if binary else "Effective_MACs"
            self.ops[kind] += float(((now != 0).sum(axis=0) * fan_out).sum())
            self.ops["Dense"] += dense * len(now)

    def fire(self, node: Population | Readout, neuron: Neuron, current: Array) -> Array:
        first, state = self.onset[node.name], self.state(node)
        out = []
        for i in range(self.count):
            before = None if not state else _potential(state).copy()
            now = current[i : i + 1] if len(current) > 1 else current
            t = self.at + i
            window = (first, first + self.steps)
            out.append(run_neurons(neuron, node.shape, now, state, t0=t, count=1, fire=window))
            after = _potential(state)
            self.updates += after.size if before is None else int((after != before).sum())
        spikes = np.concatenate(out)
        sent, could = self.fired.get(node.name, (0, 0))
        self.fired[node.name] = sent + int((spikes != 0).sum()), could + spikes.size
        return spikes

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        out = super().readout(node, xs)
        last = self.onset[node.name] + self.steps - 1 - self.at
        if 0 <= last < self.count and node is self.graph.of(Readout)[0]:
            self.answer = out[last]
        return out


def _potential(state: Mapping[str, Array]) -> Array:
    return next(state[name] for name in POTENTIALS if name in state)
