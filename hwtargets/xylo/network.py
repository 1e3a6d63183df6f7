"""A spiking graph as Xylo sees it: input channels, one hidden block, outputs, three matrices.

The chip's hidden block is one recurrent matrix, so every feed-forward graph of populations is a
(block triangular) hidden matrix: layers, skip connections and concatenations alike. What a spike
is worth is folded back out of the weights here: sources count in activations, the unit of the ANN,
so that the mapping is free to choose its own thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...runtime import graph as g
from ...runtime.neurons import Neuron, NeuronParams, PacedParams
from ...runtime.ops import Array
from ...runtime.tables import entry
from ..view.network import ChipLayer, ChipNetwork, Projection

# The leak of a model's neurons, whose rates are coded anew.
LEAKS: dict[type[Neuron], Callable[[Any], float]] = {
    NeuronParams: lambda neuron: neuron.leak,
    PacedParams: lambda neuron: 0.0,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Block:
    """One population in the hidden block: ``first`` to ``stop`` of the hidden neurons."""

    name: str
    first: int
    stop: int
    leak: float
    ceiling: float | None

    @property
    def slice(self) -> slice:
        return slice(self.first, self.stop)


@dataclass(frozen=True, eq=False, kw_only=True)
class XyloNet:
    """The network in activations, layer by layer:

        a = max(0, x w_in + a w_rec + bias),   z = a w_out + bias_out

    Attributes:
        blocks: the populations, in execution order: w_rec leads from a block to later ones only.
        w_in: (inputs, hidden); w_rec: (hidden, hidden); w_out: (hidden, outputs).
        bias: (hidden,); bias_out: (outputs,).
        outputs: readout names with their number of neurons.
    """

    blocks: tuple[Block, ...]
    w_in: Array
    w_rec: Array
    w_out: Array
    bias: Array
    bias_out: Array
    outputs: tuple[tuple[str, int], ...]

    @property
    def hidden(self) -> int:
        return int(self.bias.size)


def is_hidden(layer: ChipLayer) -> bool:
    return isinstance(layer.node, g.Population)


def is_output(layer: ChipLayer) -> bool:
    return isinstance(layer.node, g.Readout)


def positions(view: ChipNetwork) -> dict[str, tuple[int, int]]:
    """Where each input, population and readout begins and ends in its block of channels or
    neurons."""
    out: dict[str, tuple[int, int]] = {}
    at = {"in": 0, "hidden": 0, "out": 0}
    sizes = [(node.name, "in", int(np.prod(node.shape, dtype=int))) for node in view.inputs]
    sizes += [(la.name, "hidden", la.neurons) for la in view.layers if is_hidden(la)]
    sizes += [(la.name, "out", la.neurons) for la in view.layers if is_output(la)]
    for name, kind, size in sizes:
        out[name] = (at[kind], at[kind] + size)
        at[kind] += size
    return out


def of_view(view: ChipNetwork) -> XyloNet:
    """The three matrices of a network that ``xylo_rules.violations`` has passed (populations and
    readouts only, no readout fed by an input)."""
    at = positions(view)
    count = [sum(p.shape[0] if p.shape else 1 for p in view.inputs), 0, 0]
    count[0] = max((at[node.name][1] for node in view.inputs), default=0)
    count[1] = sum(la.neurons for la in view.layers if is_hidden(la))
    count[2] = sum(la.neurons for la in view.layers if is_output(la))
    w_in, w_rec = np.zeros((count[0], count[1])), np.zeros((count[1], count[1]))
    w_out = np.zeros((count[1], count[2]))
    bias, bias_out = np.zeros(count[1]), np.zeros(count[2])
    inputs = {node.name for node in view.inputs}
    blocks = []
    for layer in view.layers:
        first, stop = at[layer.name]
        hidden = is_hidden(layer)
        (bias if hidden else bias_out)[first:stop] = layer.bias.reshape(-1)
        for p in layer.projections:
            a, b = at[p.source]
            matrix = w_in if p.source in inputs else w_rec if hidden else w_out
            matrix[a:b, first:stop] += _per_activation(p, view).T
        if isinstance(layer.node, g.Population):
            node = layer.node
            blocks.append(
                Block(
                    name=layer.name,
                    first=first,
                    stop=stop,
                    leak=entry(LEAKS, node.neuron, "hwtargets.xylo.network.LEAKS")(node.neuron),
                    ceiling=node.ceiling,
                )
            )
    outputs = tuple((la.name, la.neurons) for la in view.layers if is_output(la))
    return XyloNet(
        blocks=tuple(blocks),
        w_in=w_in,
        w_rec=w_rec,
        w_out=w_out,
        bias=bias,
        bias_out=bias_out,
        outputs=outputs,
    )


def centred(net: XyloNet) -> XyloNet | None:
    """The same classes from outputs without what all of a readout have in common: their mean taken
    from the last weights and biases. None where no readout has several outputs."""
    w, b, first = net.w_out.copy(), net.bias_out.copy(), 0
    for _, size in net.outputs:
        at = slice(first, first + size)
        w[:, at] -= w[:, at].mean(axis=1, keepdims=True)
        b[at] -= b[at].mean()
        first += size
    return replace(net, w_out=w, bias_out=b) if any(n > 1 for _, n in net.outputs) else None


def _per_activation(p: Projection, view: ChipNetwork) -> Array:
    """(target, source) weights per unit of activation: a spike of threshold theta stands for
    theta."""
    matrix = p.matrix.dense().astype(np.float64)
    if p.source in view:
        node = view[p.source].node
        if isinstance(node, g.Population):
            theta = np.broadcast_to(node.neuron.v_threshold, node.shape).reshape(-1)
            return np.asarray(matrix / theta)
    return matrix


@dataclass(frozen=True, eq=False, kw_only=True)
class Analog:
    """What the ANN computes: ``hidden`` (samples, hidden) activations, ``out`` (samples, outputs);
    ``drive``: the largest sum of excitatory, or of inhibitory, terms, (samples, neurons), which
    bounds every partial sum of a synaptic current."""

    hidden: Array
    out: Array
    drive: Array
    drive_out: Array


def analog(net: XyloNet, x: Array) -> Analog:
    """Run the network in activations on x (samples, inputs)."""
    x = x.reshape(len(x), -1).astype(np.float64)
    a = np.zeros((len(x), net.hidden))
    drive = np.zeros_like(a)
    for block in net.blocks:
        at = block.slice
        terms = ((x, net.w_in[:, at]), (a, net.w_rec[:, at]))
        a[:, at] = np.maximum(sum(s @ w for s, w in terms) + net.bias[at], 0)
        drive[:, at] = _one_sided(terms)
        if block.ceiling is not None:
            a[:, at] = np.minimum(a[:, at], block.ceiling)
    return Analog(
        hidden=a,
        out=a @ net.w_out + net.bias_out,
        drive=drive,
        drive_out=_one_sided(((a, net.w_out),)),
    )


def _one_sided(terms: tuple[tuple[Array, Array], ...]) -> Array:
    """max(sum of excitatory terms, sum of inhibitory terms) of sources (>= 0) times weights."""
    plus = sum(s @ np.maximum(w, 0) for s, w in terms)
    minus = sum(s @ np.maximum(-w, 0) for s, w in terms)
    return np.asarray(np.maximum(plus, minus))
