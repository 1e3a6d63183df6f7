"""Coders: neurons in front of a network that code its inputs (``convert`` with the encodings
population, few-spike and ttfs). What they send depends on nothing but the input's values, so that a
host which has these can send it to a chip whose input is spikes, and no core is needed for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import numpy as np

from ...runtime import graph as g
from ...runtime.facts import GraphFacts
from ...runtime.ops import Array
from ...runtime.semantics.constants import constant_currents
from ...runtime.semantics.spiking import run_population

DRAWN: tuple[str, ...] = get_args(get_type_hints(g.Input)["encoding"])  # by the input itself


def coders_of(facts: GraphFacts) -> frozenset[str]:
    """The populations that code inputs; none in a network whose file does not say that it has
    some."""
    options: Any = facts.graph.meta.get("options")
    encoding = options.get("encoding") if isinstance(options, Mapping) else None
    if not isinstance(encoding, str) or encoding.partition(":")[0] in DRAWN:
        return frozenset()
    return frozenset(p.name for p in facts.graph.of(g.Population) if p.inputs[0] in facts.constant)


def sent_by_host(
    facts: GraphFacts, names: Collection[str], x: Mapping[str, Array], steps: int
) -> dict[str, Array]:
    """By coder its spikes in its own window, (steps, n, *shape), as its definition says, for the
    samples ``x`` (n, *shape) of each input."""
    currents = constant_currents(facts).of(x)
    out = {}
    for name in names:
        node = facts.by_name[name]
        assert isinstance(node, g.Population)
        current = (currents[node.inputs[0]] + node.bias)[np.newaxis]
        begin, end = facts.onsets[name], facts.onsets[name] + steps
        spikes = run_population(node, current, {}, t0=0, count=end, fire=(begin, end))
        out[name] = spikes[begin:]
    return out


@dataclass(frozen=True, eq=False)
class Coder:
    """One population that codes input values of a network: ``facts`` of the whole, its name."""

    facts: GraphFacts
    name: str

    @property
    def node(self) -> g.Population:
        node = self.facts.by_name[self.name]
        assert isinstance(node, g.Population)
        return node

    def spikes(self, x: Mapping[str, Array], steps: int) -> Array:
        """See ``sent_by_host``."""
        return sent_by_host(self.facts, (self.name,), x, steps)[self.name]

    def rates(self, x: Mapping[str, Array]) -> Array:
        """Spikes per step that the values stand for, (n, *shape), 0 to 1."""
        current = constant_currents(self.facts).of(x)[self.node.inputs[0]] + self.node.bias
        return np.asarray(np.clip(current / self.node.neuron.v_threshold, 0.0, 1.0))

    def document(self) -> dict[str, Any]:
        """What a host must know of its neurons, in plain JSON values; flat, per element. In every
        step v grows by factor x + bias, from v_init on; a neuron spikes where v >= threshold, which
        is then taken from v."""
        source = self.node.inputs[0]
        while self.facts.by_name[source].inputs:
            source = self.facts.by_name[source].inputs[0]
        ones = {node.name: np.ones((1, *node.shape)) for node in self.facts.graph.of(g.Input)}
        factor = constant_currents(self.facts).of(ones)[self.node.inputs[0]][0]
        neuron, bias = self.node.neuron, self.node.bias
        told = {
            "factor": factor, "bias": bias, "threshold": neuron.v_threshold,
            "v_init": neuron.v_init,
        }  # fmt: skip
        flat = {k: np.broadcast_to(v, self.node.shape).reshape(-1) for k, v in told.items()}
        return {"codes": source, **{k: v.astype(float).tolist() for k, v in flat.items()}}
