"""A population's input as a sum of convolutions of its sources.

    I = sum_k C_k,n( ... C_k,1(x_k) )

Convolutions, pools that sum, scales per channel (a depthwise convolution with one weight each) and
selections of every s-th row and column with channels moved (a 1 x 1 convolution) are all written as
``Conv`` records, so that one kind of kernel computes a whole layer and can add each term to the
membrane potentials in place (see ``products.blocked``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ....facts import GraphFacts
from ....graph import Node, Population, Synapse
from ....neurons import Neuron
from ....ops import Array, Pad, Shape, Slice
from ....ops.convolution import Conv
from ....ops.linear import Add, Scale
from ....ops.pool import SumPool

PLAIN = frozenset(("if", "subtract", "lag", "v_init"))
MOST_CHANNELS = 1024  # of a selection written as a 1 x 1 convolution


@dataclass(frozen=True, eq=False)
class Term:
    """``convs`` one after the other on ``source`` give a part of the current."""

    source: str
    convs: tuple[Conv, ...]


def is_plain(neuron: Neuron) -> bool:
    """Integrate-and-fire with soft reset and at most one positive spike per step."""
    return neuron.traits <= PLAIN


def convolution_terms(facts: GraphFacts) -> dict[str, tuple[Term, ...]]:
    """The terms of every plain population on maps (C, H, W) whose input is such a sum, by name. A
    constant signal as the whole input gives no terms."""

    def plain_maps(node: Node) -> bool:
        return isinstance(node, Population) and len(node.shape) == 3 and is_plain(node.neuron)

    return sums_of_terms(facts, plain_maps, _map_convolutions)


def sums_of_terms(
    facts: GraphFacts,
    wanted: Callable[[Node], bool],
    convert: Callable[[list[Synapse], Shape], tuple[Conv, ...] | None],
    signals: Collection[str] = (),
) -> dict[str, tuple[Term, ...]]:
    """As ``convolution_terms``, for every node with one input, or synapse that several read, that
    is ``wanted``; ``convert`` writes synapses one after the other on samples of a shape as
    convolutions, or says None. ``signals``: synapses that are sources as nodes with state are."""
    found: dict[str, tuple[Term, ...]] = {}
    nodes, constant = facts.by_name, facts.constant
    for chain in facts.chains:
        node = nodes[chain.sink]
        shared = isinstance(node, Synapse)
        if not (shared or len(node.inputs) == 1) or not wanted(node):
            continue
        if not chain.nodes and node.inputs[0] in constant:
            found[chain.sink] = ()
            continue
        inner = {n.name: n for n in chain.nodes if n.name not in signals}
        terms = _sum(node.name if shared else node.inputs[0], inner, nodes, convert)
        if terms is not None and not any(t.source in constant for t in terms):
            found[chain.sink] = terms
    return found


def _sum(
    name: str,
    inner: Mapping[str, Synapse],
    nodes: Mapping[str, Node],
    convert: Callable[[list[Synapse], Shape], tuple[Conv, ...] | None],
) -> tuple[Term, ...] | None:
    if name in inner and isinstance(inner[name].op, Add):
        if any(nodes[i].shape != nodes[name].shape for i in inner[name].inputs):
            return None
        parts = [_sum(i, inner, nodes, convert) for i in inner[name].inputs]
        if any(p is None for p in parts):
            return None
        return tuple(term for part in parts if part is not None for term in part)
    path: list[Synapse] = []
    while name in inner:
        path.insert(0, inner[name])
        if len(inner[name].inputs) != 1:
            return None
        name = inner[name].inputs[0]
    convs = convert(path, nodes[name].shape)
    return None if convs is None else (Term(name, convs),)


def _map_convolutions(path: list[Synapse], shape: Shape) -> tuple[Conv, ...] | None:
    """The operations of ``path`` on samples of ``shape`` as convolutions, or None."""
    if len(shape) != 3:
        return None
    convs: list[Conv] = []
    at = 0
    while at < len(path):
        op = path[at].op
        end = at + 1
        if isinstance(op, Conv):
            conv: Conv | None = op if len(op.kernel) == 2 else None
        elif isinstance(op, SumPool):
            conv = pool_convolution(op, shape)
        else:
            while end < len(path) and isinstance(path[end].op, Slice | Pad | Scale):
                end += 1
            conv = selection_convolution(path[at:end], shape)
        if conv is None:
            return None
        convs.append(conv)
        shape, at = conv.output_shape(shape), end
    return tuple(convs) or (scale_convolution(np.ones(shape[0], np.float32)),)


def scale_convolution(values: Array) -> Conv:
    """A factor per channel."""
    weight = values.reshape(-1, 1, 1, 1)
    return Conv(
        weight=np.ascontiguousarray(weight),
        strides=(1, 1),
        dilations=(1, 1),
        pads=(0,) * 4,
        groups=len(values),
    )


def pool_convolution(op: SumPool, shape: Shape) -> Conv | None:
    """A sum over windows of each channel, with weights of one."""
    if len(op.kernel) != 2:
        return None
    return Conv(
        weight=np.ones((shape[0], 1, *op.kernel), np.float32),
        strides=op.strides,
        dilations=op.dilations,
        pads=op.pads,
        groups=shape[0],
    )


def selection_convolution(path: list[Synapse], shape: Shape) -> Conv | None:
    """Slices, pads and scales as one convolution: depthwise where only scales are there, else
    1 x 1 with strides. What it should be is read off one-hot inputs and then checked on all of
    a random input, so a section that is shifted, reversed or padded in space is refused."""
    if not all(isinstance(node.op, Slice | Pad | Scale) for node in path):
        return None
    if shape[0] > MOST_CHANNELS or len(path[-1].shape) != 3:
        return None

    def apply(x: Array) -> Array:
        for node in path:
            x = node.op.apply(x)
        return x

    if all(isinstance(node.op, Scale) for node in path):
        scales = apply(np.ones((1, *shape), np.float32))[0]
        if scales.shape != shape or np.any(scales != scales[:, :1, :1]):
            return None
        return scale_convolution(scales[:, 0, 0])
    out = path[-1].shape
    strides = tuple(-(-n // m) for n, m in zip(shape[1:], out[1:], strict=True))
    one_hot = np.zeros((shape[0], *shape), np.float32)
    one_hot[np.arange(shape[0]), np.arange(shape[0])] = 1
    weight = np.ascontiguousarray(apply(one_hot)[:, :, 0, 0].T)[:, :, np.newaxis, np.newaxis]
    conv = Conv(weight=weight, strides=strides, dilations=(1, 1), pads=(0,) * 4)
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    if conv.output_shape(shape) != out or not np.allclose(conv.apply(x), apply(x), rtol=1e-6):
        return None
    return conv
