"""Which layers can be driven by their spikes, and what each spike does there.

A layer qualifies where its neurons are plain and its input is a sum of convolutions of spikes
(``plan_terms``). Vectors count as maps of one position, a fully connected layer on a flattened map
as a convolution whose kernel is the whole map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from .chains import constant_signals
from .event_tables import EventTable, event_table, filled
from .graph import Input, Population, SpikingGraph, Synapse
from .ops import Array, Conv, Linear, Pad, ReduceSum, Reshape, Scale, Shape, Slice, SumPool
from .plan_terms import pool_convolution, scale_convolution, selection_convolution, sums_of_terms

MOST_FAN_OUT = 2**31 - 1  # of all neurons of a layer: sums are kept in 32 bits


@dataclass(frozen=True, eq=False)
class EventLayer:
    """A population driven by spikes: per source a table; none where its input is one constant.

    ``threshold``, ``bias``, ``fan_out``: rows of the map, (rows that differ, W * C filled up), and
    which of them each row of the map has, (H,); float32, the fan-outs int32.
    """

    node: Population
    shape: Shape
    sources: tuple[str, ...]
    tables: tuple[EventTable, ...]
    threshold: tuple[Array, Array]
    bias: tuple[Array, Array]
    fan_out: tuple[Array, Array]


def event_layers(graph: SpikingGraph, fan_out: Mapping[str, Array]) -> dict[str, EventLayer]:
    """Every layer of ``graph`` that qualifies, by name."""
    shapes = {node.name: node.shape for node in graph.nodes}
    layers: dict[str, EventLayer] = {}
    made: dict[tuple[object, ...], EventTable | None] = {}
    for name, terms in sums_of_terms(graph, constant_signals(graph), _convolutions).items():
        node = graph[name]
        if not isinstance(node, Population) or fan_out[name].sum() > MOST_FAN_OUT:
            continue
        if not all(_emits_small_integers(graph, term.source) for term in terms):
            continue
        tables = []
        for term in terms:
            key = (*map(id, term.convs), shapes[term.source])
            if key not in made:
                made[key] = event_table(term.convs, as_map(shapes[term.source]))
            table = made[key]
            if table is not None:
                tables.append(table)
        if len(tables) != len(terms):
            continue
        shape = as_map(node.shape)
        layers[name] = EventLayer(
            node=node,
            shape=shape,
            sources=tuple(term.source for term in terms) or node.inputs,
            tables=tuple(tables),
            threshold=_rows(node.neuron.v_threshold, node.shape, np.inf),
            bias=_rows(node.bias, node.shape, 0.0),
            fan_out=_rows(fan_out[name], node.shape, 0, np.int32),
        )
    return layers


def as_map(shape: Shape) -> Shape:
    """(C, H, W) of a vector (C,), a line (C, W) or a map."""
    if len(shape) == 1:
        return (shape[0], 1, 1)
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


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
    rows, index = np.unique(full.reshape(len(full), -1), axis=0, return_inverse=True)
    return rows, index.reshape(-1)


def _emits_small_integers(graph: SpikingGraph, name: str) -> bool:
    """Whether a signal is kept in bytes."""
    node = graph[name]
    if isinstance(node, Input):
        return node.encoding != "constant"
    return isinstance(node, Population) and node.neuron.levels <= np.iinfo(np.int8).max


def _convolutions(path: list[Synapse], shape: Shape) -> tuple[Conv, ...] | None:
    """Synapses one after the other on samples of ``shape``, as convolutions on maps, or None."""
    if len(shape) > 3:
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
