"""Activation statistics of every population and readout, in memory that does not grow with data.

The lowered graph runs in analog mode (which equals the ANN, see ``runtime.semantics.analog``) over
the calibration samples twice: once for the maximum of every channel, once for a histogram of the
positive activations between 0 and that maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import ModelError
from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.ops import Array
from ...runtime.semantics.analog import run_analog
from ...runtime.semantics.samples import as_inputs
from ...spelling import spelled
from .kernels import Kernels

BINS = 2048
FLAT = BINS * np.finfo(np.float32).tiny  # no bins can be told apart below
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerStats:
    """Statistics of one population's ANN activations a = clip(z, 0, ceiling), per channel.

    Attributes:
        axis: the channel axis of the population's shape.
        maximum: (C,), largest activation seen.
        mean: (C,), mean activation.
        histogram: (C, BINS), counts of a > 0; bin b covers maximum * [b, b+1) / BINS.
        count: activations per channel, zeros included.
    """

    axis: int
    maximum: Array
    mean: Array
    histogram: Array
    count: int

    def broadcast(self, per_channel: Array, rank: int) -> Array:
        """(C,) as an array that broadcasts along the channel axis of a shape of ``rank`` axes."""
        shape = [1] * rank
        shape[self.axis : self.axis + 1] = [len(per_channel)] * bool(rank)
        return per_channel.reshape(shape)


def overflow(name: str) -> ModelError:
    """The error of a layer whose activations are not finite."""
    return ModelError(
        f"the activations of '{name}' are infinite or no numbers",
        remedy="The weights or the samples are too large for float32; check "
        f"{spelled('scale')}, or take an earlier checkpoint.",
        code="E313",
    )


def calibrate(
    graph: snn.SpikingGraph,
    inputs: Array | Mapping[str, Array],
    *,
    batch: int = 32,
    progress: Progress = lambda done, total: None,
) -> dict[str, LayerStats]:
    """Statistics per population and readout (negative outputs count as 0) of a lowered graph.

    Raises DataError where ``inputs`` do not fit the graph, ModelError (E313) where activations
    are no finite numbers.
    """
    arrays = as_inputs(graph, inputs, np.float32)
    measured = (*graph.of(snn.Population), *graph.of(snn.Readout))
    facts = GraphFacts(graph)
    axes = {node.name: channel_axis(facts, node.name) for node in measured}
    total = len(next(iter(arrays.values())))
    maxima: dict[str, Array] = {}
    sums: dict[str, Array] = {}
    counts: dict[str, int] = dict.fromkeys(axes, 0)
    histograms: dict[str, Array] = {}

    def first(node: snn.Node, pre: Array, out: Array) -> None:
        if node.name in axes:
            rows = by_channel(np.maximum(out, 0), axes[node.name])
            peak = rows.max(axis=1)
            if not np.isfinite(peak).all():
                raise overflow(node.name)
            name = node.name
            maxima[name] = np.maximum(maxima[name], peak) if name in maxima else peak
            sums[name] = sums.get(name, 0) + rows.sum(axis=1, dtype=np.float64)
            counts[name] += rows.shape[1]

    def second(node: snn.Node, pre: Array, out: Array) -> None:
        if node.name in axes:
            rows = by_channel(np.maximum(out, 0), axes[node.name])
            counted = _histogram(rows, maximum=maxima[node.name])
            if node.name in histograms:
                histograms[node.name] += counted
            else:
                histograms[node.name] = counted

    kernels = Kernels()
    for number, observe in enumerate((first, second)):
        for start in range(0, total, batch):
            part = {k: a[start : start + batch] for k, a in arrays.items()}
            run_analog(graph, part, observe=observe, apply=kernels.apply)
            progress(number * total + min(start + batch, total), 2 * total)
    return {
        name: LayerStats(
            axis=axes[name],
            maximum=maxima[name],
            mean=(sums[name] / counts[name]).astype(np.float32),
            histogram=histograms[name],
            count=counts[name],
        )
        for name in axes
    }


def by_channel(x: Array, axis: int) -> Array:
    """(batch, *shape) -> (channels, everything else); a number per sample is one channel."""
    x = x if x.ndim > 1 else x[:, np.newaxis]
    return np.moveaxis(x, axis + 1, 0).reshape(x.shape[axis + 1], -1)


def _histogram(rows: Array, *, maximum: Array) -> Array:
    """Counts (C, BINS) of the positive values of rows (C, n), relative to each row's maximum."""
    channels = len(rows)
    scale = np.divide(BINS, maximum, out=np.zeros_like(maximum), where=maximum > FLAT)
    bins = np.minimum((rows * scale[:, np.newaxis]).astype(np.int64), BINS - 1)
    bins += np.arange(channels)[:, np.newaxis] * BINS
    counts = np.bincount(bins[rows > 0], minlength=channels * BINS)
    return counts.reshape(channels, BINS)


def channel_axis(facts: GraphFacts, name: str) -> int:
    """Which axis of a node's shape is its channels: 0 after a convolution, the last after a
    linear layer, followed through element-wise operations and transposes; 0 where there is no axis
    (see ``by_channel``)."""
    return facts.channel_axes[name] or 0
