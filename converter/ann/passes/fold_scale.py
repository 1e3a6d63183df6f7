"""A Scale (a BatchNormalization, a Mul by a constant) folded into the weights beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ....runtime.ops import Array, WeightedOp
from ....runtime.ops.arrays import narrowed
from ....runtime.ops.convolution import Conv, ConvTranspose
from ....runtime.ops.linear import Scale
from ..graph import AnnGraph, AnnNode, bias_of

MANY = 64  # Scales: from then on chains are joined first, which rounds in another order


def fold_scale(graph: AnnGraph) -> AnnGraph:
    """Fold where it is exact and nothing else reads the value in between:

    * after a weighted layer: s (W x + b) + c = (s W) x + (s b + c), s per output channel;
    * before a weighted layer: W (s x + c) + b = (W s) x + (W c + b), s per input channel; with
      c != 0 only where no window reaches into the padding (zeros there are not shifted by c);
    * after another Scale: s2 (s1 x + c1) + c2 = (s2 s1) x + (s2 c1 + c2).

    The surviving node keeps its own name; its tensor is the one it now computes.
    """
    if sum(isinstance(node.layer, Scale) for node in graph.nodes) > MANY:
        graph = _chains_joined(graph)
    changed = True
    while changed:
        graph, changed = _fold_one(graph)
    return graph


def _chains_joined(graph: AnnGraph) -> AnnGraph:
    """Scales folded into what they follow, in one walk: one at a time is quadratic."""
    readers, kept = graph.consumers(), {output.node for output in graph.outputs}
    made: dict[str, AnnNode] = {}
    moved: dict[str, str] = {}
    for original in graph.nodes:
        node = replace(original, inputs=tuple(moved.get(n, n) for n in original.inputs))
        if isinstance(node.layer, Scale):
            read, before = original.inputs[0], made[node.inputs[0]]
            merged = None
            if len(readers[read]) == 1 and read not in kept and node.shape == before.shape:
                if isinstance(before.layer, WeightedOp):
                    merged = _after(before, scale=node)
                elif isinstance(before.layer, Scale):
                    merged = _both(before, second=node)
            if merged is not None:
                made[before.name], moved[node.name] = merged, before.name
                continue
        made[node.name] = node
    outputs = tuple(replace(o, node=moved.get(o.node, o.node)) for o in graph.outputs)
    return replace(graph, nodes=tuple(made.values()), outputs=outputs)


def _fold_one(graph: AnnGraph) -> tuple[AnnGraph, bool]:
    nodes = {node.name: node for node in graph.nodes}
    readers = graph.consumers()
    kept = {output.node for output in graph.outputs}
    for node in graph.nodes:
        if not isinstance(node.layer, Scale):
            continue
        before = nodes[node.inputs[0]]
        alone = len(readers[before.name]) == 1 and before.name not in kept
        if alone and isinstance(before.layer, WeightedOp):
            merged = _after(before, scale=node)
            if merged is not None:
                return _replaced(graph, merged, gone=node.name), True
        if alone and isinstance(before.layer, Scale) and node.shape == before.shape:
            return _replaced(graph, _both(before, second=node), gone=node.name), True
        after = readers[node.name]
        if len(after) == 1 and node.name not in kept and isinstance(after[0].layer, WeightedOp):
            merged = _before(node, weighted=after[0])
            if merged is not None and before.shape == node.shape:
                return _bypassed(graph, merged, gone=node), True
    return graph, False


def _after(weighted: AnnNode, *, scale: AnnNode) -> AnnNode | None:
    factor = _per_channel(scale, at=weighted, output=True)
    if factor is None or scale.shape != weighted.shape:
        return None
    layer = weighted.layer
    assert isinstance(layer, WeightedOp)
    weight = layer.weight * layer.per_output(factor)
    assert isinstance(scale.layer, Scale)
    bias = bias_of(weighted) * scale.layer.scale + bias_of(scale)
    return replace(
        weighted,
        layer=layer.with_factors(weight.astype(np.float32)),
        bias=bias.astype(np.float32) if np.any(bias) else None,
        tensor=scale.tensor,
        moments=scale.moments,
    )


def _both(first: AnnNode, *, second: AnnNode) -> AnnNode:
    assert isinstance(first.layer, Scale) and isinstance(second.layer, Scale)
    bias = second.layer.scale * bias_of(first) + bias_of(second)
    return replace(
        first,
        layer=Scale(scale=second.layer.scale * first.layer.scale),
        bias=bias.astype(np.float32) if np.any(bias) else None,
        tensor=second.tensor,
        moments=second.moments,
    )


def _before(scale: AnnNode, *, weighted: AnnNode) -> AnnNode | None:
    factor = _per_channel(scale, at=scale, output=False, weighted=weighted)
    layer = weighted.layer
    if factor is None or isinstance(layer, ConvTranspose):
        return None
    assert isinstance(layer, WeightedOp)
    shift = np.broadcast_to(bias_of(scale), scale.shape)
    padded = isinstance(layer, Conv) and any(layer.pads)
    if padded and shift.any():
        return None
    weight = layer.weight * layer.per_input(factor)
    bias = bias_of(weighted) + (narrowed(layer.apply(shift[None])[0]) if shift.any() else 0)
    return replace(
        weighted,
        layer=layer.with_factors(weight.astype(np.float32)),
        bias=bias.astype(np.float32) if np.any(bias) else None,
        inputs=scale.inputs,
    )


def _per_channel(
    scale: AnnNode, *, at: AnnNode, output: bool, weighted: AnnNode | None = None
) -> Array | None:
    """The scale as one number per channel of ``at`` (the last axis of a Linear, the first of a
    convolution), None where it varies within a channel."""
    assert isinstance(scale.layer, Scale)
    layer = (at if output else weighted or at).layer
    assert isinstance(layer, WeightedOp)
    axis = layer.channel_axis % len(at.shape)
    full = scale.layer.scale
    if full.ndim > len(at.shape):
        return None
    lead = (1,) * (len(at.shape) - full.ndim)
    full = full.reshape(*lead, *full.shape)
    if any(n != 1 for i, n in enumerate(full.shape) if i != axis):
        return None
    return np.broadcast_to(full.reshape(-1), (at.shape[axis],))


def _replaced(graph: AnnGraph, merged: AnnNode, *, gone: str) -> AnnGraph:
    """``merged`` in its place, ``gone`` removed and its readers pointed to ``merged``."""
    return _rewired(graph, merged, {gone: merged.name})


def _bypassed(graph: AnnGraph, merged: AnnNode, *, gone: AnnNode) -> AnnGraph:
    return _rewired(graph, merged, {gone.name: gone.inputs[0]})


def _rewired(graph: AnnGraph, merged: AnnNode, moved: Mapping[str, str]) -> AnnGraph:
    nodes = [merged if n.name == merged.name else n for n in graph.nodes if n.name not in moved]
    return replace(
        graph,
        nodes=tuple(
            replace(n, inputs=tuple(moved.get(name, name) for name in n.inputs)) for n in nodes
        ),
        outputs=tuple(replace(o, node=moved.get(o.node, o.node)) for o in graph.outputs),
    )
