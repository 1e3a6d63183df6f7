"""NeuroBench's results of a network, from what a run of it counts, under NeuroBench's own names.

As NeuroBench 2.3 counts them (Yik et al. 2025) on the module that ``--to torch`` writes, which its
harness can be given: operations are uses of weights that are not zero by inputs that are not zero,
of Linear and Conv layers alone, accumulates where a layer's whole input of a step is 0, 1 and -1,
else multiply-accumulates (behind an average pool, say); a current that is the same in every step is
computed once. ``Dense``: what they would be were nothing zero. ``ActivationSparsity``: the share of
neurons that send nothing, over all steps. ``MembraneUpdates``: neurons times steps in which they
integrate; NeuroBench's own count looks at snnTorch's neurons only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import UsageError
from ..results.marks import GENERATOR, Kind
from ..runtime.facts import GraphFacts
from ..runtime.graph import Population, Readout, SpikingGraph, Synapse
from ..runtime.ops import Array, Conv, Linear, Shape
from ..runtime.semantics.decision import decisions
from ..runtime.semantics.samples import as_inputs
from ..runtime.semantics.spiking import SpikingRules
from ..spelling import spelled
from .counts import window
from .format import Choices, Format, Written
from .refusal import refuse
from .torch import exported, unsayable

BATCH = (
    64  # samples at a time; whether a layer's input is 0, 1 and -1 alone is asked of all of them
)


class _Counting(SpikingRules):
    """Counts in every step, over all samples."""

    def __init__(self, facts: GraphFacts, inputs: Mapping[str, Array], steps: int) -> None:
        super().__init__(facts, inputs, steps)
        self.facts, self.answers = facts, dict[str, Array]()
        self.operations = {"Effective_MACs": 0.0, "Effective_ACs": 0.0, "Dense": 0.0}
        self.silent: dict[str, int] = {}
        self.active: dict[str, int] = {}
        self.updates = 0

    def begin_batch(self, inputs: Mapping[str, Array], offset: int) -> None:
        """The same network, afresh, on other samples; counts go on."""
        counted = (self.operations, self.silent, self.active, self.updates)
        SpikingRules.__init__(self, self.facts, inputs, self.steps, offset=offset)
        self.operations, self.silent, self.active, self.updates = counted

    def synapse(self, node: Synapse, xs: Sequence[Array]) -> Array:
        out = super().synapse(node, xs)
        if isinstance(node.op, Conv | Linear):
            if node.name not in self.constants:
                for step in xs[0]:
                    self._use(node.op, step)
            elif self.at == 0:
                self._use(node.op, self._constant_input(node)[0])
        return out

    def _constant_input(self, node: Synapse) -> Array:
        (source,) = node.inputs
        if source in self.inputs:
            return np.asarray(self.inputs[source])[np.newaxis]
        return self.constants[source]

    def _use(self, op: Conv | Linear, x: Array) -> None:
        """One call of a layer on (samples, *shape)."""
        fan = op.fan_out(x.shape[1:])
        kind = "Effective_ACs" if np.isin(x, (-1, 0, 1)).all() else "Effective_MACs"
        self.operations[kind] += float(((x != 0) * fan).sum())
        self.operations["Dense"] += _dense(op, x.shape[1:]) * len(x)

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        out = super().population(node, xs)
        sent = int(np.count_nonzero(out))
        self.active[node.name] = self.active.get(node.name, 0) + sent
        self.silent[node.name] = self.silent.get(node.name, 0) + out.size - sent
        self.updates += out.size
        return out

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        out = super().readout(node, xs)
        last = self.onset[node.name] + self.steps - 1 - self.at
        if 0 <= last < self.count:
            self.answers[node.name] = out[last]
        return out


def _dense(op: Conv | Linear, shape: Shape) -> float:
    """All uses of weights. Padding that differs at the two ends is a layer of its own in PyTorch,
    so that its zeros are inputs too."""
    full = op.with_factors(np.ones_like(op.weight))
    rank = len(shape) - 1
    if isinstance(full, Conv) and full.pads[:rank] != full.pads[rank:]:
        more = (b + e for b, e in zip(full.pads[:rank], full.pads[rank:], strict=True))
        shape = (shape[0], *(n + m for n, m in zip(shape[1:], more, strict=True)))
        full = replace(full, pads=(0,) * len(full.pads))
    return float(full.fan_out(shape).sum())


def results(
    network: SpikingGraph, inputs: Mapping[str, Array], labels: Array | None
) -> dict[str, Any]:
    """NeuroBench's results of a run on samples (count, *shape) by input; with ``labels`` (count,)
    of the first output, ``ClassificationAccuracy`` too."""
    facts, steps = GraphFacts(network), window(network)
    arrays = as_inputs(network, inputs, np.dtype(np.float32))
    number = len(next(iter(arrays.values())))
    rules = _Counting(facts, arrays, steps)
    answers = []
    for at in range(0, number, BATCH):
        rules.begin_batch({name: x[at : at + BATCH] for name, x in arrays.items()}, at)
        rules.run(steps + facts.latency)
        answers.append(rules.answers[network.of(Readout)[0].name])
    made = exported(network)
    weights = [n.op.weight for n in network.of(Synapse) if isinstance(n.op, Conv | Linear)]
    zeros = sum(int(np.count_nonzero(w == 0)) for w in weights)
    share = {
        made.names[name]: silent / (silent + rules.active[name])
        for name, silent in rules.silent.items()
    }
    everything = sum(rules.silent.values()) + sum(rules.active.values())
    found: dict[str, Any] = {
        "Footprint": sum(array.nbytes for array in made.arrays.values()),
        "ConnectionSparsity": round(zeros / max(sum(w.size for w in weights), 1), 4),
        "ActivationSparsity": sum(rules.silent.values()) / max(everything, 1),
        "ActivationSparsityByLayer": share,
        "SynapticOperations": {k: v / number for k, v in rules.operations.items()},
        "MembraneUpdates": rules.updates / number,
    }
    if labels is not None:
        readout = network.of(Readout)[0]
        said = decisions(np.concatenate(answers), readout.shape)
        found["ClassificationAccuracy"] = float(np.mean(said == labels))
    return found


def _write(network: SpikingGraph, name: str, choices: Choices) -> Written:
    if choices.sample is None:
        raise UsageError(
            f"NeuroBench's results are of a run: {spelled('sample')} is missing",
            remedy="Give DATA, with labels for the accuracy.",
        )
    refuse("neurobench", unsayable(network))
    found = results(network, choices.sample, choices.labels)
    return Written(
        contents={name: (json.dumps({"generator": GENERATOR, **found}, indent=4) + "\n").encode()}
    )


NEUROBENCH = Format(
    name="neurobench",
    summary="NeuroBench's results on samples, JSON with its keys",
    files=lambda name: {name: Kind.NEUROBENCH},
    write=_write,
    takes=frozenset(("sample",)),
    samples=None,
)
