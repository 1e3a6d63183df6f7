"""The part of a network before its plastic layer, and the spikes that it sends there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ...errors import UsageError, did_you_mean
from ...runtime.engine import Engine
from ...runtime.graph import Input, Names, Node, PlasticSynapse, Population, Readout, SpikingGraph
from ...runtime.ops import Array
from ...runtime.semantics.upstream import iter_upstream
from ...spelling import spelled

MOST_OF_A_BYTE = 127  # all trains are kept, for the passes over them


def plastic_synapse(network: SpikingGraph) -> PlasticSynapse | None:
    """The plastic synapse of a network that has one."""
    return next(iter(network.of(PlasticSynapse)), None)


def cut_at(network: SpikingGraph, at: str | None = None) -> Population:
    """The population whose spikes a plastic layer reads: named ``at``, else the last hidden one.

    Raises UsageError (E132) for another node, a network without one, and neurons whose spikes are
    not one event each that counts the same in every step.
    """
    hidden = [node.name for node in network.of(Population)]
    if plastic_synapse(network) is not None:
        raise UsageError(
            "the network has a plastic layer, which reads what it was put on",
            remedy="Leave the node out, or begin with the converted network.",
            code="E132",
        )
    if not hidden:
        raise UsageError(
            "the network has no hidden population of spiking neurons to learn from",
            remedy="Convert a model with at least one activation between its layers.",
            code="E132",
        )
    name = _last(network, hidden) if at is None else at
    if name not in hidden:
        exists = any(node.name == name for node in network.nodes)
        what = "is no population of neurons" if exists else "is not in the network"
        raise UsageError(f"node '{name}' {what}", remedy=did_you_mean(name, hidden), code="E132")
    node = network[name]
    assert isinstance(node, Population)
    if node.neuron.coding != "rate" or "signed" in node.neuron.traits:
        kind = "negative spikes" if node.neuron.coding == "rate" else "a code of its own"
        raise UsageError(
            f"the neurons of '{name}' ({node.neuron.name}) send {kind}, and traces count spikes",
            remedy=f"Convert with {spelled('recipe', 'binary')} (or synchronous); with a lag, "
            f"{spelled('pace', False)}.",
            code="E132",
        )
    return node


def _last(network: SpikingGraph, hidden: list[str]) -> str:
    """The last population that the first output reads; where a value has several neurons or is
    pooled behind it, what is nearest."""
    readout = network.of(Readout)[0]
    near = {node.name for node in iter_upstream(network, readout.name)}
    return next((name for name in reversed(hidden) if name in near), hidden[-1])


def before(network: SpikingGraph, name: str) -> tuple[Node, ...]:
    """Node ``name`` and all that it needs, in execution order."""
    needed = {name}
    for node in reversed(network.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(node for node in network.nodes if node.name in needed)


def needed(network: SpikingGraph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Those of the ``inputs`` that ``network`` reads: what is behind a cut may have had its own."""
    return {node.name: inputs[node.name] for node in network.of(Input)}


def spike_trains(
    network: SpikingGraph,
    name: str,
    batches: Iterable[tuple[int, Mapping[str, Array]]],
    steps: int,
    *,
    engine: Engine,
    seed: int = 0,
) -> Array:
    """What node ``name`` sends, (samples, steps, neurons) in whole numbers.

    ``batches``: the number of the first sample, and samples by input; ``seed``: of stochastic
    encodings. A readout of the spikes tells them: its answer after t steps, times t, is how many
    were sent.
    """
    nodes = before(network, name)
    tap = Names(node.name for node in nodes).new("spikes")
    readout = Readout(name=tap, inputs=(name,), shape=network[name].shape)
    graph = SpikingGraph(nodes=(*nodes, readout), meta=network.meta)
    parts = []
    for first, given in batches:
        batch = needed(graph, given)
        means = engine.run(graph, batch, steps, seed=seed, offset=first).readouts[tap]
        sums = np.rint(means * np.arange(1, steps + 1).reshape(-1, *(1,) * (means.ndim - 1)))
        sent = np.diff(sums, axis=0, prepend=0)
        sent = sent.astype(np.int8 if sent.max(initial=0) <= MOST_OF_A_BYTE else np.int32)
        parts.append(np.moveaxis(sent.reshape(steps, sums.shape[1], -1), 0, 1))
    return np.concatenate(parts)
