"""Activation statistics of every population and readout, in memory that does not grow with data.

The lowered graph runs in analog mode (which equals the ANN, see ``runtime.semantics.analog``) over
the calibration samples twice: once for the maximum of every channel, once for a histogram of the
positive activations between 0 and that maximum, in whole numbers as small as their count allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from threading import Lock
from typing import TypeVar

import numpy as np

from ...errors import ModelError
from ...runtime import graph as snn
from ...runtime.facts import GraphFacts
from ...runtime.ops import Array
from ...runtime.parallel.threads import available_threads, one_blas_thread, run_tasks
from ...runtime.semantics.analog import run_analog
from ...runtime.semantics.samples import as_inputs
from ...spelling import spelled
from .kernels import Kernels

BINS = 2048
BLOCK = 4 << 20  # bytes of the largest signal of a tile: more is new memory for every product
PIECE, AT_ONCE = 1 << 16, 256  # activations and channels that are counted together
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
    total = len(next(iter(arrays.values())))
    largest = max(4 * prod(node.shape) for node in graph.nodes)
    batch = max(1, min(batch, BLOCK // largest))
    tiles = _Tiles(graph, arrays, [slice(at, at + batch) for at in range(0, total, batch)])
    with one_blas_thread():
        parts = tiles.each(_Peaks, lambda done: progress(done, 2 * total))
        peaks = {name: [part[name] for part in parts] for name in tiles.axes}
        maxima = {name: np.max([p.maximum for p in of], axis=0) for name, of in peaks.items()}
        counts = {name: sum(p.count for p in of) for name, of in peaks.items()}
        histograms = {
            name: np.zeros((len(maxima[name]), BINS), np.min_scalar_type(-count))
            for name, count in counts.items()
        }
        lock = Lock()

        def counting() -> _Bins:
            return _Bins(maxima, histograms, lock)

        tiles.each(counting, lambda done: progress(total + done, 2 * total))
    return {
        name: LayerStats(
            axis=axis,
            maximum=maxima[name],
            mean=(np.sum([p.total for p in peaks[name]], axis=0) / counts[name]).astype(np.float32),
            histogram=histograms[name],
            count=counts[name],
        )
        for name, axis in tiles.axes.items()
    }


@dataclass(frozen=True, eq=False, kw_only=True)
class _Peak:
    """Of some samples, per channel: the largest activation, their sum, and how many there are."""

    maximum: Array
    total: Array
    count: int


class _Peaks(dict[str, _Peak]):
    """What the first pass finds in one tile."""

    def gather(self, name: str, rows: Array) -> None:
        peak = rows.max(axis=1)
        if not np.isfinite(peak).all():
            raise overflow(name)
        total = rows.sum(axis=1, dtype=np.float64)
        self[name] = _Peak(maximum=peak, total=total, count=rows.shape[1])


class _Bins:
    """What the second pass counts: whole numbers, so that it does not matter who is first."""

    def __init__(
        self, maxima: Mapping[str, Array], histograms: Mapping[str, Array], lock: Lock
    ) -> None:
        self.maxima, self.histograms, self.lock = maxima, histograms, lock

    def gather(self, name: str, rows: Array) -> None:
        each = max(1, min(AT_ONCE, PIECE // max(1, rows.shape[1])))
        for at in range(0, len(rows), each):
            part = slice(at, at + each)
            counted = _histogram(rows[part], maximum=self.maxima[name][part])
            into = self.histograms[name][part]
            with self.lock:
                np.add(into, counted, out=into, casting="unsafe")


S = TypeVar("S", _Peaks, _Bins)


class _Tiles:
    """Samples through the graph in analog mode, tile by tile, on all cores."""

    def __init__(
        self, graph: snn.SpikingGraph, arrays: Mapping[str, Array], parts: list[slice]
    ) -> None:
        self.graph, self.arrays, self.parts = graph, arrays, parts
        facts = GraphFacts(graph)
        measured = (*graph.of(snn.Population), *graph.of(snn.Readout))
        self.axes = {node.name: channel_axis(facts, node.name) for node in measured}
        self.kernels = Kernels()

    def each(self, seeing: Callable[[], S], progress: Callable[[int], None]) -> list[S]:
        """What sees the activations of each tile, in the order of the tiles; ``progress`` is told
        how many samples are done."""
        found: dict[int, S] = {}
        total, done = len(next(iter(self.arrays.values()))), 0

        def one(_: int, part: slice) -> tuple[slice, S]:
            seen = seeing()

            def observe(node: snn.Node, pre: Array, out: Array) -> None:
                if node.name in self.axes:
                    seen.gather(node.name, by_channel(np.maximum(out, 0), self.axes[node.name]))

            samples = {name: x[part] for name, x in self.arrays.items()}
            run_analog(self.graph, samples, observe=observe, apply=self.kernels.apply)
            return part, seen

        def collect(result: tuple[slice, S]) -> None:
            nonlocal done
            part, found[part.start] = result
            done += min(part.stop, total) - part.start
            progress(done)

        run_tasks(range(available_threads()), self.parts, one, collect, forks=False)
        return [found[part.start] for part in self.parts]


def by_channel(x: Array, axis: int) -> Array:
    """(batch, *shape) -> (channels, everything else); a number per sample is one channel."""
    x = x if x.ndim > 1 else x[:, np.newaxis]
    return np.moveaxis(x, axis + 1, 0).reshape(x.shape[axis + 1], -1)


def _histogram(rows: Array, *, maximum: Array) -> Array:
    """Counts (C, BINS) of the positive values of rows (C, n), relative to each row's
    maximum; none is negative."""
    channels = len(rows)
    scale = np.divide(BINS, maximum, out=np.zeros_like(maximum), where=maximum > FLAT)
    scaled = rows * scale[:, np.newaxis]
    np.minimum(scaled, np.float32(BINS - 1), out=scaled)
    bins = scaled.astype(np.int64)
    bins += np.arange(channels)[:, np.newaxis] * BINS
    counts = np.bincount(bins.ravel(), minlength=channels * BINS).reshape(channels, BINS)
    # Cheaper than to choose the others first.
    counts[:, 0] -= rows.shape[1] - np.count_nonzero(rows, axis=1)
    return counts


def channel_axis(facts: GraphFacts, name: str) -> int:
    """Which axis of a node's shape is its channels: 0 after a convolution, the last after a
    linear layer, followed through element-wise operations and transposes; 0 where there is no axis
    (see ``by_channel``)."""
    return facts.channel_axes[name] or 0
