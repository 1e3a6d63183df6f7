"""What a network takes of a Xylo chip, and the order of its neurons there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...runtime.ops import Array
from ..view.network import ChipLayer, ChipNetwork
from .copies import copies_for, copies_of
from .core import XyloConfig
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
    reads, is_read = roles(view)
    inputs, outputs = reaches(reads, is_read=is_read)
    return replace(sizes_of(view), input_expansion=inputs, output_expansion=outputs)


def with_copies(view: ChipNetwork, usage: Usage, *, fan_out: float) -> Usage:
    """``usage``, of a network whose neurons with more than ``fan_out`` hidden targets are copied
    (see ``copies``)."""
    wired = wiring(view)
    number = copies_for(wired, fan_out=fan_out)
    of, first = copies_of(number)
    reads, is_read = roles(view)
    inputs, outputs = reaches(reads[of], is_read=is_read[of] & first)
    return replace(
        usage,
        hidden_neurons=len(of),
        input_expansion=inputs,
        output_expansion=outputs,
        fan_out=int(np.ceil((wired @ number) / number).max(initial=0)),
        hidden_synapses=int((wired @ number).sum()),
    )


def usage_of_config(config: XyloConfig) -> Usage:
    """What the emitted configuration takes: weights rounded to zero take no place."""
    reached = np.flatnonzero(np.any(config.weights_in != 0, axis=0))
    read = np.flatnonzero(np.any(config.weights_out != 0, axis=1))
    wired = config.weights_rec != 0
    return Usage(
        inputs=config.inputs,
        hidden_neurons=config.hidden,
        outputs=config.outputs,
        input_expansion=int(reached.max(initial=-1)) + 1,
        output_expansion=config.hidden - int(read.min(initial=config.hidden)),
        fan_out=int(wired.sum(axis=1).max(initial=0)),
        hidden_synapses=int(wired.sum()),
    )


def roles(view: ChipNetwork) -> tuple[Array, Array]:
    """Of every hidden neuron in execution order, whether its layer reads inputs, and whether
    outputs read it."""
    names = {node.name for node in view.inputs}
    layers = [layer for layer in view.layers if is_hidden(layer)]
    sizes = [layer.neurons for layer in layers]
    reads = [any(p.source in names for p in layer.projections) for layer in layers]
    is_read = [read_by_output(view, layer) for layer in layers]
    return np.repeat(np.array(reads, bool), sizes), np.repeat(np.array(is_read, bool), sizes)


def wiring(view: ChipNetwork) -> Array:
    """(hidden, hidden), bool: which neuron, in execution order, has which as a target."""
    at, first = {}, 0
    for layer in filter(is_hidden, view.layers):
        at[layer.name] = first
        first += layer.neurons
    wired = np.zeros((first, first), bool)
    for p in view.projections:
        if p.source in at and p.target in at:
            matrix = p.matrix
            wired[at[p.source] + matrix.cols, at[p.target] + matrix.rows] = True
    return wired


def order(view: ChipNetwork) -> Array:
    """Physical order of the hidden neurons: entry k is the network's number of the chip's neuron
    k; see ``ordered``."""
    reads, is_read = roles(view)
    return ordered(reads, is_read=is_read)


def ordered(reads: Array, *, is_read: Array) -> Array:
    """Physical order of neurons that read inputs or not, and are read by outputs or not.

    The newer chips project inputs to the first 128 hidden neurons only and outputs from the last
    128: neurons that read inputs come first, those that outputs read last, and those that do both
    in between, with the others where they fit (see ``others_before``).
    """
    first, both, last, rest = (
        np.flatnonzero((reads == a) & (is_read == b))
        for a, b in ((True, False), (True, True), (False, True), (False, False))
    )
    gap = others_before(len(first), both=len(both), last=len(last), rest=len(rest))
    return np.concatenate([first, rest[:gap], both, rest[gap:], last])


def reaches(reads: Array, *, is_read: Array) -> tuple[int, int]:
    """Input and output expansion of neurons in the order of ``ordered``."""
    at = ordered(reads, is_read=is_read)
    reached, read = np.flatnonzero(reads[at]), np.flatnonzero(is_read[at])
    return int(reached.max(initial=-1)) + 1, len(at) - int(read.min(initial=len(at)))


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
