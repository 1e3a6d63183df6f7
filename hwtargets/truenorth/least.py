"""The fewest cores that a network takes on TrueNorth: from its neurons, and from how many inputs
they read.

No core serves two layers, or both the partial sums of a layer and the neurons that add them up. An
input takes at least one axon on each core that reads it, an axon serves at most as many neurons as
a core has, and is driven by a neuron of its own. What cannot be known before calibration is how
many weights are rounded to 0: at least ``CODED`` of those that are not next to nothing are taken
to be coded (4-bit codes round a tenth to a third of the weights of networks in use to 0).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np

from ...display import counted
from ...runtime import ops
from ...runtime.graph import Readout
from ...runtime.ops import Array
from ..mapping import Least
from ..target import HardwareTarget
from ..view.network import ChipLayer, ChipNetwork, Projection

CODED = 0.25
NOTHING = 1e-3  # of a neuron's largest weight: next to nothing
MOVES = (ops.Reshape, ops.Transpose)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reads:
    """What a layer reads from one source along a path with one weighted layer. ``inputs``: of each
    output channel, float64 (channels,); ``positions``: neurons of a channel that read as many."""

    source: str
    inputs: Array
    positions: int

    @property
    def synapses(self) -> float:
        return float(self.inputs.sum()) * self.positions


def least(network: ChipNetwork, target: HardwareTarget, options: Any) -> Least:
    """Copies and splitters are left out but where axons need them; so are max pools, which are
    replaced by neurons, and paths with other than one weighted layer."""
    room, axons = target.limit("neurons"), target.limit("axons")
    reads = {layer.name: tuple(_reads(layer)) for layer in network.layers}
    wanted: dict[str, float] = defaultdict(float)  # axons that carry a layer's spikes
    for found in reads.values():
        for one in found:
            wanted[one.source] += one.synapses / room
    cores = 0
    for layer in network.layers:
        if layer.analog:
            continue
        neurons = max(layer.neurons * _copies(layer, options), wanted[layer.name])
        used = sum(one.synapses for one in reads[layer.name]) / room
        sums = _partial_sums(layer, reads[layer.name], axons)
        if sums:
            cores += ceil(max(sums / room, used / axons))
            used = sums
        cores += ceil(max(neurons / room, used / axons))
    return Least(cores=cores, conditions=(_condition(network, int(axons)),))


def _copies(layer: ChipLayer, options: Any) -> int:
    """Of a readout, which counts spikes of several neurons per output."""
    counts = isinstance(layer.node, Readout) and layer.node.mode != "count"
    return options.output_copies if counts else 1


def _reads(layer: ChipLayer) -> Iterator[_Reads]:
    """By source; of several paths from one source, which may share their axons, the widest."""
    widest: dict[str, _Reads] = {}
    for projection in layer.projections:
        found = _read(projection)
        if found is None:
            continue
        known = widest.get(found.source)
        if known is None or found.synapses > known.synapses:
            widest[found.source] = found
    yield from widest.values()


def _read(p: Projection) -> _Reads | None:
    """None where the path is not one weighted layer, with what only moves values before it."""
    at = [i for i, (op, _, _) in enumerate(p.chain) if isinstance(op, ops.Conv | ops.Linear)]
    if len(at) != 1:
        return None
    before, (op, _, shapes), behind = p.chain[: at[0]], p.chain[at[0]], p.chain[at[0] + 1 :]
    if not all(isinstance(o, MOVES) for o, _, _ in before):
        return None
    if not all(isinstance(o, (*MOVES, ops.Scale, ops.Add)) for o, _, _ in behind):
        return None
    assert isinstance(op, ops.Conv | ops.Linear)
    size = np.abs(op.weight.reshape(len(op.weight), -1))
    real = size > NOTHING * size.max(axis=1, keepdims=True, initial=0)
    places = _inside(op, shapes[0]) if isinstance(op, ops.Conv) else prod(shapes[0][:-1])
    return _Reads(source=p.source, inputs=CODED * real.sum(axis=1), positions=places)


def _inside(op: ops.Conv, shape: tuple[int, ...]) -> int:
    """Positions of a convolution whose fields have no padding."""
    count = 1
    half = len(op.pads) // 2
    for n, k, s, d, begin, end in zip(
        shape[1:], op.kernel, op.strides, op.dilations, op.pads[:half], op.pads[half:], strict=True
    ):
        reach = d * (k - 1) + 1
        starts = np.arange(0, n + begin + end - reach + 1, s) - begin
        count *= int(((starts >= 0) & (starts + reach <= n)).sum())
    return count


def _partial_sums(layer: ChipLayer, reads: tuple[_Reads, ...], axons: float) -> float:
    """Neurons that hold parts of the sums of neurons with more inputs than a core has axons: of the
    widest path alone, as positions and channels of several may differ."""
    most = 0.0
    for one in reads:
        parts = np.ceil(one.inputs / axons)
        most = max(most, float(parts[parts > 1].sum()) * one.positions)
    return most


def _condition(network: ChipNetwork, axons: int) -> str:
    regular = (p for p in network.projections if p.geometry is not None)
    wide = max((p.fan_in for p in regular), default=0)
    split = (
        f" and more partial sums (up to {wide:,} inputs per neuron, "
        f"{counted(axons, 'axon')} per core)"
    )
    return f"copies of neurons{split if wide > axons else ''} come on top"
