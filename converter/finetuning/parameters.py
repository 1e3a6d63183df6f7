"""What of a network is trained, in which unit, and the network with other values of it.

Every trained array x is x0 + unit d, with d = 0 in the beginning: one learning rate then means the
same in every layer, a share of how large the numbers of that kind are. Thresholds are trained as a
gain g = exp(d) per channel on everything that reaches the neurons (weights, bias and initial
potential are divided by it), which sends the same spikes as a threshold of g theta: what a spike is
worth to its readers, in analog mode and on chips, stays what the file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace

import numpy as np

from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.neurons import WindowedNeuron
from ...runtime.ops import Array, MultiplyingOp
from ...runtime.semantics.upstream import iter_upstream
from ..lowering.bounds import Bounds
from ..lowering.copies import front, gathered

KINDS = ("weights", "biases", "thresholds", "potentials")


@dataclass(frozen=True, eq=False, kw_only=True)
class Parameter:
    """``kind``: of ``KINDS``; ``start``: x0, as it is in the network (gains: zeros); ``unit``."""

    node: str
    kind: str
    start: Array
    unit: float

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.node}"


def together(network: snn.SpikingGraph) -> snn.SpikingGraph:
    """``network`` with copies of neurons as one neuron of several levels, as it is trained."""
    return gathered(network)[0]


def parameters_of(
    network: snn.SpikingGraph, kinds: Iterable[str], *, coded: bool
) -> tuple[Parameter, ...]:
    """What is trained of ``network`` (copies gathered). ``coded``: its first neurons only code the
    input (``lowering.coders``) and stay."""
    kinds, facts = frozenset(kinds), GraphFacts(network)
    kept = front(network) if coded else set[str]()
    found: list[Parameter] = []
    gains = gained(network, kept) if "thresholds" in kinds else {}
    before = {
        name for node in kept for name in (node, *(n.name for n in iter_upstream(network, node)))
    }
    for node in network.nodes:
        if node.name in before:
            continue
        if (
            isinstance(node, snn.Synapse)
            and isinstance(node.op, MultiplyingOp)
            and "weights" in kinds
        ):
            found.append(
                _parameter((node.name, "weights"), node.op.factors, _size(node.op.factors))
            )
        if isinstance(node, snn.Population | snn.Readout):
            channels = _per_channel(facts, node)
            size = _unit(network, node)
            if "biases" in kinds:
                found.append(
                    _parameter((node.name, "biases"), channels * 0 + node.bias, size * _worth(node))
                )
            if isinstance(node, snn.Population):
                if "potentials" in kinds and "v_init" in node.neuron.traits:
                    start = channels * 0 + node.neuron.v_init
                    found.append(_parameter((node.name, "potentials"), start, size))
                if node.name in gains:
                    found.append(_parameter((node.name, "thresholds"), channels * 0, 1.0))
    return tuple(found)


def _parameter(key: tuple[str, str], start: Array, unit: float) -> Parameter:
    node, kind = key
    return Parameter(node=node, kind=kind, start=np.asarray(start, np.float32), unit=unit)


def _size(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) or 1.0


def _unit(network: snn.SpikingGraph, node: snn.Population | snn.Readout) -> float:
    """How large a potential is: the threshold; of an output the bias, or what one weight adds."""
    if isinstance(node, snn.Population):
        return float(np.median(node.neuron.v_threshold))
    return _size(node.bias) if np.any(node.bias) else 1.0


def _worth(node: snn.Node) -> float:
    """The bias in every step of a window, in thresholds, that adds up to a neuron's largest number.
    1 where every step counts the same: T steps of one threshold are T spikes."""
    neuron = node.neuron if isinstance(node, snn.Population) else None
    if not isinstance(neuron, WindowedNeuron):
        return 1.0
    return neuron.most(neuron.lag) / neuron.total(neuron.lag)


def _per_channel(facts: GraphFacts, node: snn.Node) -> Array:
    """Ones with an element per channel, broadcasting to the node's shape."""
    axis = facts.channel_axes[node.name]
    shape = [1] * len(node.shape)
    if axis is not None:
        shape[axis] = node.shape[axis]
    elif len(node.shape) == 1:
        shape[0] = node.shape[0]
    return np.ones(shape, np.float32)


def gained(network: snn.SpikingGraph, kept: Set[str] = frozenset()) -> dict[str, list[snn.Synapse]]:
    """The populations that can have a gain (of those not ``kept``), and the synapses that it is
    divided into: those that sum up in no other node, and in neurons whose other numbers are 0."""
    bounds, facts = Bounds(network), GraphFacts(network)
    readers: dict[str, int] = {}
    terms: dict[str, list[snn.Synapse]] = {}
    for node in network.nodes:
        if isinstance(node, snn.Population | snn.Readout):
            found = _terms(node, bounds, facts)
            for synapse in found or ():
                readers[synapse.name] = readers.get(synapse.name, 0) + 1
            if found and isinstance(node, snn.Population) and node.name not in kept:
                terms[node.name] = found
    return {
        name: found
        for name, found in terms.items()
        if all(readers[s.name] == 1 and len(_sinks(facts, s.name)) == 1 for s in found)
        and _scales(network[name])
    }


def _terms(
    node: snn.Population | snn.Readout, bounds: Bounds, facts: GraphFacts
) -> list[snn.Synapse] | None:
    if node.inputs[0] not in facts.constant:
        return bounds.terms(node)
    last = facts.by_name[node.inputs[0]]
    return [last] if isinstance(last, snn.Synapse) and isinstance(last.op, MultiplyingOp) else None


def _sinks(facts: GraphFacts, name: str) -> set[str]:
    """The nodes with a state (or weights) that read ``name`` through sums."""
    found: set[str] = set()
    for reader in facts.consumers[name]:
        if isinstance(reader, snn.Synapse) and reader.op.adds:
            found |= _sinks(facts, reader.name)
        else:
            found.add(reader.name)
    return found


def _scales(node: snn.Node) -> bool:
    assert isinstance(node, snn.Population)
    neuron = node.neuron
    return not getattr(neuron, "v_reset", 0.0) and getattr(neuron, "v_min", None) is None


def with_values(
    network: snn.SpikingGraph, parameters: Iterable[Parameter], values: Mapping[str, Array]
) -> snn.SpikingGraph:
    """``network`` (copies as they are in the file) with other ``values``, d by parameter: in the
    ANN's mode it computes what it did. Not on grids yet (``lowering.grid``)."""
    whole = together(network)
    gains = {
        p.node: np.exp(values[p.key].astype(np.float64))
        for p in parameters
        if p.kind == "thresholds"
    }
    terms = gained(whole) if gains else {}
    divided = {s.name: gain for name, gain in gains.items() for s in terms[name]}
    new = {
        p.key: p.start + np.float64(p.unit) * values[p.key]
        for p in parameters
        if p.kind != "thresholds"
    }
    changed: dict[str, snn.Node] = {}
    for node in whole.nodes:
        if isinstance(node, snn.Synapse) and isinstance(node.op, MultiplyingOp):
            factors = new.get(f"weights/{node.name}", node.op.factors)
            if node.name in divided:
                factors = factors / node.op.per_output(divided[node.name])
            own = network[node.name]  # which reads the sum of copies
            assert isinstance(own, snn.Synapse)
            changed[node.name] = replace(
                own,
                op=node.op.with_factors(factors.astype(np.float32)),
                ann_op=node.ann_op or node.op,
                change=None,
            )
        elif isinstance(node, snn.Population | snn.Readout):
            gain = gains.get(node.name, 1.0)
            bias = new.get(f"biases/{node.name}", node.bias) / gain
            node = replace(
                node,
                bias=bias.astype(np.float32),
                ann_bias=node.bias if node.ann_bias is None else node.ann_bias,
            )
            if isinstance(node, snn.Population) and "v_init" in node.neuron.traits:
                start = new.get(f"potentials/{node.name}", node.neuron.v_init) / gain
                node = replace(node, neuron=node.neuron.having(v_init=start.astype(np.float32)))
            changed[node.name] = node
    return _spread(network, changed)


def _spread(network: snn.SpikingGraph, changed: Mapping[str, snn.Node]) -> snn.SpikingGraph:
    """The changed nodes in ``network``, each copy a share of a threshold from the last."""
    consumers, counts = network.consumers(), gathered(network)[1]
    out = {name: node for name, node in changed.items() if name not in counts}
    for name, count in counts.items():
        first, one = network[name], changed[name]
        assert isinstance(first, snn.Population) and isinstance(one, snn.Population)
        fine = first.neuron.v_threshold / np.float32(count)
        for i, copy in enumerate(consumers[name][0].inputs):
            own = network[copy]
            assert isinstance(own, snn.Population)
            start = one.neuron.v_init + fine * np.float32(i)
            out[copy] = replace(
                own,
                bias=one.bias,
                ann_bias=one.ann_bias,
                neuron=own.neuron.having(v_init=start),
            )
    return network.with_nodes(out.values())
