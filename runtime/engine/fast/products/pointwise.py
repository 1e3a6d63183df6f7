"""Products position by position, with channels last: what lies between layers driven by spikes.

A convolution of 1 x 1 is one matrix for every position. Where all that a layer reads has its
channels last (``events``), such convolutions and their sums are products of (positions, channels)
with the weights, for several steps and some rows of the map at once: nothing is brought into
another order, and what lies between two of them stays in the cache. Populations that share such a
current, or one that spikes drive, read it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypedDict

import numpy as np

from ....facts import Chain, GraphFacts
from ....graph import Node, Population, Synapse
from ....ops import Array, Shape
from ....ops.convolution import Conv
from ....ops.linear import Add, Linear
from ...profile import Clock
from ..buffers import Arena
from ..events.layers import MOST_FAN_OUT, EventLayer, EventNeurons, event_shape, neurons_of
from ..events.tables import filled
from .onnxruntime import session_kernel
from .sessions import ChainSessions
from .terms import is_plain

GROUP_ELEMENTS = (
    1 << 19
)  # of the widest signal of a group: more are read from memory, fewer cost calls


@dataclass(frozen=True, eq=False, kw_only=True)
class PointwiseLayer:
    """``synapses`` one after the other on ``sources`` give the current of ``node``, or are it;
    without synapses it is the one source.

    ``synapses``: as operations on one position, vectors of channels filled up; ``shapes``: theirs
    and the sources' by name. ``neurons``: of a plain population, else None.
    """

    node: Node
    sources: tuple[str, ...]
    synapses: tuple[Synapse, ...]
    shapes: Mapping[str, Shape]
    neurons: EventNeurons | None


def pointwise_layers(
    facts: GraphFacts, fan_out: Mapping[str, Array], events: Mapping[str, EventLayer]
) -> dict[str, PointwiseLayer]:
    """The layers that read only what has its channels last, those of ``events`` apart: plain
    neurons, and sums that several read."""
    last = {name for name, layer in events.items() if layer.is_channels_last}
    found: dict[str, PointwiseLayer] = {}
    for chain in facts.chains:
        node = facts.by_name[chain.sink]
        if node.name in events or not _qualifies(facts, chain, node, last):
            continue
        if isinstance(node, Population) and fan_out[node.name].sum() > MOST_FAN_OUT:
            continue
        synapses = tuple(_at_a_position(n) for n in chain.nodes)
        shapes = {name: (filled(facts.shapes[name][0]),) for name in chain.sources}
        found[node.name] = PointwiseLayer(
            node=node,
            sources=chain.sources,
            synapses=synapses,
            shapes=shapes | {n.name: n.shape for n in synapses},
            neurons=neurons_of(node, fan_out[node.name]) if isinstance(node, Population) else None,
        )
        last.add(node.name)
    return found


def _qualifies(facts: GraphFacts, chain: Chain, node: Node, last: set[str]) -> bool:
    if chain.constant or not last >= set(chain.sources):
        return False
    if not chain.nodes:  # a current that several share, of any shape
        shared = isinstance(facts.by_name[chain.sources[0]], Synapse)
        return shared and isinstance(node, Population) and is_plain(node.neuron)
    if len(node.shape) != 3:
        return False
    if isinstance(node, Population):
        if not is_plain(node.neuron) or node.inputs != (chain.nodes[-1].name,):
            return False
    elif type(node) is not Synapse:
        return False
    return all(_is_pointwise(n, facts.shapes) for n in chain.nodes)


def _is_pointwise(node: Synapse, shapes: Mapping[str, Shape]) -> bool:
    if isinstance(node.op, Add):
        return all(shapes[name] == node.shape for name in node.inputs)
    if not isinstance(node.op, Conv) or node.op.groups > 1:
        return False
    return prod((*node.op.kernel, *node.op.strides)) == 1 and not any(node.op.pads)


def _at_a_position(node: Synapse) -> Synapse:
    op, shape = node.op, (filled(node.shape[0]),)
    if isinstance(op, Conv):
        out, inside = op.weight.shape[:2]
        weight = np.zeros((filled(out), filled(inside)), np.float32)
        weight[:out, :inside] = op.weight.reshape(out, inside)
        op = Linear(weight=weight)
    return replace(node, op=op, shape=shape)


class Shared(TypedDict):
    """What a plan's products share."""

    sessions: ChainSessions
    arena: Arena


class PointwiseProduct:
    """A layer's current, group by group: (samples, rows of the map) as slices, in ``groups``."""

    def __init__(
        self,
        layer: PointwiseLayer,
        lanes: int,
        chunk: int,
        *,
        sessions: ChainSessions,
        clock: Clock,
        arena: Arena,
    ) -> None:
        self.shape = event_shape(layer.node.shape)
        height, width, channels = self.shape
        widest = max(prod(shape) for shape in layer.shapes.values())
        most = max(1, GROUP_ELEMENTS // (chunk * width * widest))  # rows
        self.groups = list(_groups(lanes, height=height, most=most))
        positions = max(_count(group) for group in self.groups) * width
        session = sessions.session(layer.synapses, layer.sources, layer.shapes)
        shapes = [layer.shapes[name] for name in layer.sources]
        most_of = [(chunk * positions, *shape) for shape in (*shapes, (channels,))]
        *held, self.held = arena.arrays(most_of, np.float32)
        self.run = session_kernel(session, shapes, positions, chunk=chunk, clock=clock, held=held)

    def of_group(self, xs: Sequence[Array], group: tuple[slice, slice]) -> Array:
        """The current (steps, samples, rows, W, C) of spikes or currents (steps, all samples, H, W,
        C), valid until the next call."""
        steps, (lanes, rows) = len(xs[0]), group
        size = (lanes.stop - lanes.start, rows.stop - rows.start, *self.shape[1:])
        flat = [x[:, lanes, rows].reshape(steps, -1, x.shape[-1]) for x in xs]
        out = self.held[: steps * flat[0].shape[1]].reshape(steps, -1, size[-1])
        self.run(flat, out)
        return out.reshape(steps, *size)

    def __call__(self, xs: list[Array], out: Array) -> None:
        """As a kernel (see ``records``)."""
        for group in self.groups:
            out[:, group[0], group[1]] = self.of_group(xs, group)


def _groups(lanes: int, *, height: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Some rows of one sample, or whole maps of several."""
    several = min(max(1, most // height), lanes)
    rows = -(-height // -(-height // min(most, height)))
    for lane in range(0, lanes, several):
        for row in range(0, height, rows):
            yield slice(lane, min(lane + several, lanes)), slice(row, min(row + rows, height))


def _count(group: tuple[slice, slice]) -> int:
    """How many rows of maps there are in it."""
    lanes, rows = group
    return int((lanes.stop - lanes.start) * (rows.stop - rows.start))
