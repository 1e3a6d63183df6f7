"""What values a node of the ANN can have at most: intervals, carried forward by operation.

They hold for every input. Rounding is not in them: a value may leave its interval by as much as a
sum in single precision is off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, prod
from typing import Any

import numpy as np

from ...runtime import ops
from ...runtime.ops.linear import CumSum
from ...runtime.tables import entry
from .graph import AnnGraph, AnnNode, Clip, Input, LeakyRelu, Opaque, Product, Relu, bias_of

Range = tuple[float, float]
ANYTHING: Range = (-inf, inf)


def range_of(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    """The interval of ``node``'s output, bias included, for those of what it reads.

    A linear operation without an entry in ``RANGES`` can give anything, which is always true and
    costs only bounds that are kept. Raises GraphError (E420) for another layer without one.
    """
    if isinstance(node.layer, ops.LinearOp) and type(node.layer) not in RANGES:
        return ANYTHING
    low, high = entry(RANGES, node.layer, "converter.ann.ranges.RANGES")(node, inputs, read)
    bias = bias_of(node)
    return low + float(bias.min()), high + float(bias.max())


def ranges(graph: AnnGraph) -> dict[str, Range]:
    """The interval of every node's output, by name."""
    nodes: dict[str, AnnNode] = {}
    found: dict[str, Range] = {}
    for node in graph.nodes:
        found[node.name] = range_of(
            node, [nodes[name] for name in node.inputs], [found[name] for name in node.inputs]
        )
        nodes[node.name] = node
    return found


def _anything(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    return ANYTHING


def _island(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    """By the operation that gives its output."""
    return ISLANDS.get(node.op_type, ANYTHING)


def _same(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    return min(low for low, _ in read), max(high for _, high in read)


def _with_zero(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    low, high = read[0]
    return min(low, 0.0), max(high, 0.0)


def _relu(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    assert isinstance(node.layer, Relu)
    return _clipped(read[0], 0.0, node.layer.ceiling)


def _clip(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    assert isinstance(node.layer, Clip)
    return _clipped(read[0], node.layer.low, node.layer.high)


def _clipped(given: Range, low: float, high: float | None) -> Range:
    top = inf if high is None else high
    return min(max(given[0], low), top), min(max(given[1], low), top)


def _leaky(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    assert isinstance(node.layer, LeakyRelu)
    slopes = float(node.layer.slope.min()), float(node.layer.slope.max())
    below = [_times(s, end=min(end, 0.0)) for s in slopes for end in read[0]]
    above = [max(end, 0.0) for end in read[0]] if read[0][1] > 0 else []
    return min(below + above), max(below + above)


def _scale(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    assert isinstance(node.layer, ops.Scale)
    scale = node.layer.scale
    ends = [_times(float(s), end=end) for s in (scale.min(), scale.max()) for end in read[0]]
    return min(ends), max(ends)


def _add(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    return sum(low for low, _ in read), sum(high for _, high in read)


def _counted(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    """A sum over a fixed number of values, some of which may be padding."""
    layer = node.layer
    pool = isinstance(layer, ops.SumPool)
    count = prod(layer.kernel) if pool else prod(inputs[0].shape) / prod(node.shape)  # type: ignore[union-attr]
    low, high = _with_zero(node, inputs, read) if pool else read[0]
    return count * low, count * high


def _running(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    """CumSum: sums of one to all values along the axis; exclusive, of none to all but one."""
    assert isinstance(node.layer, CumSum)
    fewest = 0 if node.layer.exclusive else 1
    counts = fewest, node.shape[node.layer.axis] - (1 - fewest)
    low, high = read[0]
    return min(_times(n, end=low) for n in counts), max(_times(n, end=high) for n in counts)


def _weighted(node: AnnNode, inputs: Sequence[AnnNode], read: Sequence[Range]) -> Range:
    """Linear and Conv: the largest sum of weights times ends; windows may reach into zeros."""
    assert isinstance(node.layer, ops.Linear | ops.Conv)
    conv = isinstance(node.layer, ops.Conv)
    low, high = _with_zero(node, inputs, read) if conv else read[0]
    if not np.isfinite([low, high]).all():
        return ANYTHING
    weight = node.layer.weight.reshape(len(node.layer.weight), -1).astype(np.float64)
    up, down = np.maximum(weight, 0).sum(axis=1), np.minimum(weight, 0).sum(axis=1)
    return float((up * low + down * high).min()), float((up * high + down * low).max())


def _times(factor: float, *, end: float) -> float:
    return 0.0 if factor == 0 else factor * end  # 0 times infinity is no number


ISLANDS: Mapping[str, Range] = dict.fromkeys(("Softmax", "Sigmoid", "HardSigmoid"), (0.0, 1.0))
Rule = Callable[[AnnNode, Sequence[AnnNode], Sequence[Range]], Range]
RANGES: Mapping[type[Any], Rule] = {
    Input: _anything,
    Opaque: _island,
    Product: _anything,
    Relu: _relu,
    Clip: _clip,
    LeakyRelu: _leaky,
    ops.Linear: _weighted,
    ops.Conv: _weighted,
    ops.ConvTranspose: _anything,
    ops.SumPool: _counted,
    ops.ReduceSum: _counted,
    CumSum: _running,
    ops.Scale: _scale,
    ops.Add: _add,
    ops.Concat: _same,
    ops.Pad: _with_zero,
    ops.Slice: _same,
    ops.Take: _same,
    ops.Reshape: _same,
    ops.Transpose: _same,
    ops.Broadcast: _same,
    ops.MaxPool: _same,
}
