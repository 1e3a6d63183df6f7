"""Which layers can be driven by their spikes, and what each spike does there.

A layer qualifies where its input is a sum of convolutions of spikes (``products.terms``), or of
sums of spikes: of copies, several neurons for one value. Copies read one current, which is driven
by spikes as a layer without neurons, once for all of them. Vectors
count as maps of one position, a fully connected layer on a flattened map as a convolution whose
kernel is the whole map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ....facts import GraphFacts
from ....graph import Delay, Input, MaxPool, Node, Population, Readout, Synapse
from ....ops import Array, Pad, Reshape, Shape, Slice
from ....ops.convolution import Conv
from ....ops.linear import Add, Linear, ReduceSum, Scale
from ....ops.pool import SumPool
from ..products.terms import (
    Term,
    is_plain,
    pool_convolution,
    scale_convolution,
    selection_convolution,
    sums_of_terms,
)
from .tables import EventTable, event_table, filled

MOST = np.iinfo(np.int8).max  # of a signal kept in bytes
MOST_FAN_OUT = 2**31 - 1  # of all neurons of a layer: sums are kept in 32 bits


@dataclass(frozen=True, eq=False)
class EventSource:
    """What reaches a layer from the spikes of ``names``, by ``table``. Those of several are first
    added, and where there is a ``pool``, then summed over windows, to integers that still fit a
    byte."""

    names: tuple[str, ...]
    pool: EventTable | None
    pooled: Shape
    table: EventTable


@dataclass(frozen=True, eq=False)
class EventNeurons:
    """A plain population's parameters: rows of the map, (rows that differ, W * C filled up), and
    which of them each row of the map has, (H,); float32, the fan-outs int32."""

    threshold: tuple[Array, Array]
    bias: tuple[Array, Array]
    fan_out: tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class EventLayer:
    """A node whose current is driven by spikes: none where it is one constant.

    ``shape``: of the current. ``neurons``: for plain ones, which the kernel updates too; None: it
    gives the current only, that of a synapse to ``readers`` plain populations (copies).
    """

    node: Population | Readout | MaxPool | Synapse
    shape: Shape
    sources: tuple[EventSource, ...]
    neurons: EventNeurons | None
    readers: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        """The signals that it reads, each once."""
        names = [name for source in self.sources for name in source.names]
        return tuple(dict.fromkeys(names)) or self.node.inputs

    @property
    def is_channels_last(self) -> bool:
        """Whether what it passes on has its channels last."""
        return self.neurons is not None or self.readers > 0


def event_layers(facts: GraphFacts, fan_out: Mapping[str, Array]) -> dict[str, EventLayer]:
    """Every layer of the graph that qualifies, by name."""
    nodes = facts.by_name
    layers: dict[str, EventLayer] = {}
    sums = _sums_of_spikes(facts)
    made: dict[tuple[object, ...], EventSource | None] = {}

    def source(term: Term, out: Shape) -> EventSource | None:
        key = (term.source, out, *map(id, term.convs))
        if key not in made:
            names = sums.get(term.source, (term.source,))
            made[key] = _source(nodes, names, term.convs, out=out)
        return made[key]

    def is_plain_one(node: Node) -> bool:
        plain = isinstance(node, Population) and is_plain(node.neuron)
        return plain and bool(fan_out[node.name].sum() <= MOST_FAN_OUT)

    def is_wanted(node: Node) -> bool:
        if len(node.shape) > 3:
            return False
        if isinstance(node, Synapse):  # its readers take what has its channels last
            readers = facts.consumers[node.name]
            shared = type(node) is Synapse and node.name not in sums and len(readers) > 1
            return shared and all(map(is_plain_one, readers))
        return isinstance(node, Population | Readout | MaxPool)

    for name, terms in sums_of_terms(facts, is_wanted, _convolutions, sums).items():
        node = nodes[name]
        assert isinstance(node, Population | Readout | MaxPool | Synapse)
        plain = is_plain_one(node)
        if isinstance(node, Population) and is_plain(node.neuron) and not plain:
            continue
        shared = isinstance(node, Synapse)
        inside = node if shared else nodes[node.inputs[0]]
        if not plain and (not terms or not isinstance(inside, Synapse)):
            continue
        found = [source(term, as_map(inside.shape)) for term in terms]
        sources = tuple(s for s in found if s is not None)
        if len(sources) == len(terms):
            neurons = neurons_of(node, fan_out[name]) if isinstance(node, Population) else None
            layers[name] = EventLayer(
                node=node,
                shape=inside.shape,
                sources=sources,
                neurons=neurons if plain else None,
                readers=len(facts.consumers[name]) if shared else 0,
            )
    return layers


def _sums_of_spikes(facts: GraphFacts) -> dict[str, tuple[str, ...]]:
    """What each sum of spikes that still fits a byte adds."""
    return {
        node.name: node.inputs
        for node in facts.graph.of(Synapse)
        if isinstance(node.op, Add)
        and all(facts.shapes[name] == node.shape for name in node.inputs)
        and _largest_sum(facts.by_name, node.inputs) is not None
    }


def _source(
    nodes: Mapping[str, Node], names: tuple[str, ...], whole: tuple[Conv, ...], *, out: Shape
) -> EventSource | None:
    """The tables of convolutions of a sum of spikes, which must end in maps ``out``."""
    largest = _largest_sum(nodes, names)
    if largest is None:
        return None
    shape, convs, pool = as_map(nodes[names[0]].shape), whole, None
    last = shape
    for conv in convs:
        last = conv.output_shape(last)
    if last != out:
        return None
    first = convs[0]
    windows = prod(first.kernel) > 1 and bool(np.all(first.weight == 1))
    is_pool = first.groups == shape[0] == len(first.weight) and windows
    if is_pool and len(convs) > 1 and prod(first.kernel) * largest <= MOST:
        pool, convs = event_table(convs[:1], shape), convs[1:]
        shape = first.output_shape(shape)
        if pool is None or not pool.points:  # one channel: the general table gives the same
            pool, convs, shape = None, whole, as_map(nodes[names[0]].shape)
    table = event_table(convs, shape)
    return None if table is None else EventSource(names, pool, shape, table)


def neurons_of(node: Population, fan_out: Array) -> EventNeurons:
    """A plain population's parameters; ``fan_out`` of its neurons."""
    return EventNeurons(
        threshold=_rows(node.neuron.v_threshold, node.shape, np.inf),
        bias=_rows(node.bias, node.shape, 0.0),
        fan_out=_rows(fan_out, node.shape, 0, np.int32),
    )


def as_map(shape: Shape) -> Shape:
    """(C, H, W) of a vector (C,), a line (C, W) or a map."""
    if len(shape) == 1:
        return (shape[0], 1, 1)
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def event_shape(shape: Shape) -> Shape:
    """(H, W, C filled up) of a sample shape."""
    channels, *plane = as_map(shape)
    return (*plane, filled(channels))


def channels_first(x: Array, shape: Shape) -> Array:
    """A view (..., *shape) of a signal (..., H, W, C filled up)."""
    inside = np.moveaxis(x[..., : shape[0]], -1, -3)
    return inside.reshape(*x.shape[:-3], *shape)


def channels_last(values: Array, shape: Shape, fill: float = 0.0, dtype: object = None) -> Array:
    """(H, W, C filled up) of values that broadcast to a sample ``shape``."""
    channels, *plane = as_map(shape)
    full = np.broadcast_to(values, shape).reshape(channels, *plane)
    kind = np.dtype(np.float32) if dtype is None else np.dtype(dtype)  # type: ignore[call-overload]
    out = np.full((*plane, filled(channels)), fill, kind)
    out[..., :channels] = full.transpose(1, 2, 0)
    return out


def _rows(values: Array, shape: Shape, fill: float, dtype: object = None) -> tuple[Array, Array]:
    full = channels_last(values, shape, fill, dtype)
    flat = full.reshape(len(full), -1)
    seen: dict[bytes, int] = {}  # sorting rows, as numpy.unique does, takes seconds for large maps
    index = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in flat])
    return flat[np.unique(index, return_index=True)[1]], index


def _largest_sum(nodes: Mapping[str, Node], names: Sequence[str]) -> int | None:
    """How large sums of the spikes of ``names`` get, in either direction; None where they or what
    they add are not kept in bytes."""
    each = [_largest_spike(nodes, name) for name in names]
    total = sum(one for one in each if one is not None)
    return None if None in each or total > MOST else total


def _largest_spike(nodes: Mapping[str, Node], name: str) -> int | None:
    node = nodes[name]
    if isinstance(node, Input):
        return None if node.encoding == "constant" else 1
    if isinstance(node, Delay):
        return _largest_spike(nodes, node.inputs[0])
    if isinstance(node, Population) and node.neuron.levels <= MOST:
        return node.neuron.levels
    return None


def _convolutions(path: list[Synapse], shape: Shape) -> tuple[Conv, ...] | None:
    """Synapses one after the other on samples of ``shape``, as convolutions on maps, or None."""
    if not 1 <= len(shape) <= 3:
        return None
    convs: list[Conv] = []
    here, pending = as_map(shape), list(path)
    flattened = False  # whether ``here`` is the map that the vector at this place was
    while pending:
        node = pending.pop(0)
        op = node.op
        conv: Conv | None = None
        if isinstance(op, Reshape) and len(op.shape) == 1:
            flattened = flattened or prod(here[1:]) > 1
            continue
        if isinstance(op, Linear) and len(node.shape) == 1:
            conv, flattened = _linear(op, here if flattened else (here[0], 1, 1)), False
        elif flattened:
            return None
        elif isinstance(op, Conv):
            conv = _planar(op)
        elif isinstance(op, SumPool):
            conv = pool_convolution(op, here)
        elif isinstance(op, ReduceSum) and set(op.axes) == {1, 2} and len(here) == 3:
            whole = SumPool(kernel=here[1:], strides=(1, 1), dilations=(1, 1), pads=(0,) * 4)
            conv = pool_convolution(whole, here)
        elif isinstance(op, Slice | Pad | Scale) and len(node.shape) == 3:
            group = [node]
            while pending and isinstance(pending[0].op, Slice | Pad | Scale):
                group.append(pending.pop(0))
            conv = selection_convolution(group, here)
        if conv is None:
            return None
        convs.append(conv)
        here = conv.output_shape(here)
    if flattened:
        return None
    return tuple(convs) or (scale_convolution(np.ones(here[0], np.float32)),)


def _linear(op: Linear, shape: Shape) -> Conv:
    """A fully connected layer on a map of ``shape``, flattened."""
    return Conv(
        weight=op.weight.reshape(len(op.weight), *shape),
        strides=(1, 1),
        dilations=(1, 1),
        pads=(0,) * 4,
    )


def _planar(op: Conv) -> Conv | None:
    """A convolution over one or two axes, over two."""
    if len(op.kernel) == 2:
        return op
    if len(op.kernel) != 1:
        return None
    return Conv(
        weight=op.weight[:, :, np.newaxis],
        strides=(1, *op.strides),
        dilations=(1, *op.dilations),
        pads=(0, op.pads[0], 0, op.pads[1]),
        groups=op.groups,
    )
