"""What a network takes of a Xylo chip, and the order of its neurons there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...runtime.ops import Array
from ..view.network import ChipLayer, ChipNetwork
from .network import is_hidden, is_output

LOOK_AT = 300_000  # synapses of a projection up to which zero weights are told apart


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a network takes of each resource; the names are those of the target's limits."""

    inputs: int
    hidden_neurons: int
    outputs: int
    input_expansion: int
    output_expansion: int
    fan_out: int
    hidden_synapses: int


def _counts(view: ChipNetwork) -> tuple[int, int, int]:
    """Input channels, hidden neurons, outputs."""
    hidden = sum(layer.neurons for layer in view.layers if not is_output(layer))
    outputs = sum(layer.neurons for layer in view.layers if is_output(layer))
    return sum(int(np.prod(node.shape, dtype=int)) for node in view.inputs), hidden, outputs


def sizes_of(view: ChipNetwork) -> Usage:
    """Channels and neurons alone, of a network whose wiring the chip does not have."""
    inputs, hidden, outputs = _counts(view)
    return Usage(
        inputs=inputs,
        hidden_neurons=hidden,
        outputs=outputs,
        input_expansion=0,
        output_expansion=0,
        fan_out=0,
        hidden_synapses=0,
    )


def usage_of(view: ChipNetwork) -> Usage:
    """Resources of a network of populations and readouts, counting every non-zero synapse."""
    wiring = [wiring_of(view, layer) for layer in view.layers if is_hidden(layer)]
    return replace(
        unwired(view),
        fan_out=max((fan for fan, _ in wiring), default=0),
        hidden_synapses=sum(total for _, total in wiring),
    )


def unwired(view: ChipNetwork) -> Usage:
    """What does not depend on the weights: channels, neurons, and how far the first and last of
    them have to reach."""
    _, hidden, _ = _counts(view)
    names = {node.name for node in view.inputs}
    expansion = {
        "in": [la for la in view.layers if any(p.source in names for p in la.projections)],
        "out": [la for la in view.layers if read_by_output(view, la)],
    }
    first = order(view)
    at = np.empty(hidden, np.int64)
    at[first] = np.arange(hidden)
    spans = _spans(view)
    reached = [int(at[spans[la.name]].max()) + 1 for la in expansion["in"]]
    read = [hidden - int(at[spans[la.name]].min()) for la in expansion["out"] if is_hidden(la)]
    return replace(
        sizes_of(view),
        input_expansion=max(reached, default=0),
        output_expansion=max(read, default=0),
    )


def _spans(view: ChipNetwork) -> dict[str, Array]:
    """Numbers of each population's neurons in execution order."""
    out, at = {}, 0
    for layer in filter(is_hidden, view.layers):
        out[layer.name] = np.arange(at, at + layer.neurons)
        at += layer.neurons
    return out


def order(view: ChipNetwork) -> Array:
    """Physical order of the hidden neurons: entry k is the network's number of the chip's neuron k.

    The newer chips project inputs to the first 128 hidden neurons only and outputs from the last
    128: layers that read inputs come first, layers that outputs read last, and those that do both
    in between, with the others where they fit (see ``others_before``).
    """
    names = {node.name for node in view.inputs}
    spans = _spans(view)
    groups: dict[tuple[bool, bool], list[Array]] = {}
    for layer in filter(is_hidden, view.layers):
        reads = any(p.source in names for p in layer.projections)
        is_read = any(is_output(view[p.target]) for p in view.readers(layer.name))
        groups.setdefault((reads, is_read), []).append(spans[layer.name])

    def take(reads: bool, *, is_read: bool) -> Array:
        parts = groups.get((reads, is_read), [])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    first, both, last = (
        take(True, is_read=False),
        take(True, is_read=True),
        take(False, is_read=True),
    )
    rest = take(False, is_read=False)
    gap = others_before(len(first), both=len(both), last=len(last), rest=len(rest))
    return np.concatenate([first, rest[:gap], both, rest[gap:], last])


def others_before(first: int, *, both: int, last: int, rest: int) -> int:
    """How many of the others go before the neurons that do both: those push the reach of the
    inputs, the ones behind push that of the outputs; as even as possible."""
    if not both:
        return rest
    return min(max((last + rest - first) // 2, 0), rest)


def read_by_output(view: ChipNetwork, layer: ChipLayer) -> bool:
    return any(is_output(view[p.target]) for p in view.readers(layer.name))


def wiring_of(view: ChipNetwork, layer: ChipLayer) -> tuple[int, int]:
    """Largest fan-out of the layer's neurons to hidden neurons, and their synapses in all. Zero
    weights take no place; they are counted only where the matrix is too large to look at."""
    fan_out: Array | int = 0
    total = 0
    for p in view.readers(layer.name):
        if not is_hidden(view[p.target]):
            continue
        small = p.synapses <= LOOK_AT
        fan_out = fan_out + (p.matrix.fan_out() if small else p.fan_out)
        total += len(p.matrix.values) if small else p.synapses
    return int(np.max(fan_out)), total
