"""What a network does, neuron by neuron: what files for other tools are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..runtime.facts import GraphFacts
from ..runtime.graph import Input, Population, Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.semantics.samples import as_inputs
from ..runtime.semantics.spiking import SpikingRules


@dataclass(frozen=True, eq=False, kw_only=True)
class Done:
    """What every neuron sent, and what the network said.

    Attributes:
        spikes: per population, (samples, *shape): the sum of its spikes over all steps.
        answers: per readout, (samples, *shape): after the last step, in double precision.
        steps: of a window.
    """

    spikes: Mapping[str, Array]
    answers: Mapping[str, Array]
    steps: int


class _Counting(SpikingRules):
    """The definition of what every node does, with the sum of what each neuron sent."""

    def __init__(self, facts: GraphFacts, inputs: Mapping[str, Array], steps: int) -> None:
        super().__init__(facts, inputs, steps)
        self.sent: dict[str, Array] = {}
        self.answers: dict[str, Array] = {}

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        out = super().population(node, xs)
        self.sent[node.name] = self.sent.get(node.name, 0) + out.sum(axis=0, dtype=np.float64)
        return out

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        out = super().readout(node, xs)
        last = self.onset[node.name] + self.steps - 1 - self.at
        if 0 <= last < self.count:
            self.answers[node.name] = out[last]
        return out


def count(network: SpikingGraph, inputs: Mapping[str, Array], steps: int) -> Done:
    """Run ``network`` for a window of ``steps`` steps on samples (count, *shape) by input."""
    facts = GraphFacts(network)
    arrays = as_inputs(network, inputs, np.dtype(np.float32))
    rules = _Counting(facts, arrays, steps)
    rules.run(steps + facts.latency)
    return Done(spikes=rules.sent, answers=rules.answers, steps=steps)


def samples(network: SpikingGraph, number: int, seed: int = 0) -> dict[str, Array]:
    """Numbers from 0 to 1 for every input, (number, *shape): multiples of 1/256, as pixels are."""
    rng = np.random.default_rng(seed)
    return {
        node.name: (rng.integers(0, 257, (number, *node.shape)) / 256).astype(np.float32)
        for node in network.of(Input)
    }


def window(network: SpikingGraph, default: int = 16) -> int:
    """The number of steps that a network was converted for."""
    steps = network.meta.get("T", default)
    return steps if isinstance(steps, int) and steps > 0 else default
