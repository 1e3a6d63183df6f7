"""The engine "numpy": the definition of what every node does (``semantics``), run as it stands.

Tiles of samples go through blocks of steps node by node, on plain float arrays (time, batch,
*shape); every other engine is compared with this one. It decides nothing and prepares nothing: what
it knows beyond the definition is which samples and steps are computed together. ``tally`` counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Unpack

import numpy as np

from ..cost import StaticCost, static_cost
from ..facts import GraphFacts
from ..graph import Analog, Input, MaxPool, Node, Population, Readout, SpikingGraph, Synapse
from ..ops import Array
from ..ops.arrays import valid_taps
from ..ops.convolution import Conv
from ..parallel.threads import available_threads, one_blas_thread, run_tasks
from ..semantics.spiking import SpikingRules, apply_synapse
from .interface import (
    EngineOptions,
    How,
    Request,
    SimulationResult,
    TileResult,
    Total,
    request,
    too_little_memory,
)
from .tally import Tally

SIGNAL_BYTES = 2_000_000  # of a block's largest signal: it is read again while in the cache
MOST_BLOCK = 4  # steps: more make signals larger, fewer more calls
COLUMN_ELEMENTS = 300_000  # of a convolution's columns laid out at a time: they stay in the cache


class DefinitionEngine:
    """See the module. Raises UsageError for what only the other engine does."""

    def __init__(self, options: EngineOptions) -> None:
        options.refuse_of_fast("the engine 'numpy', the definition,")
        self.options = options

    def run(
        self,
        graph: SpikingGraph,
        inputs: Array | Mapping[str, Array],
        steps: int,
        **how: Unpack[How],
    ) -> SimulationResult:
        """As ``Engine.run``."""
        asked = request(graph, inputs, steps, self.options.dtype, **how)
        threads, tile, block = _sizes(asked, self.options)
        facts = GraphFacts(graph)
        cost = static_cost(facts)
        total = Total(asked, cost)

        def one(_: int, start: int) -> TileResult:
            return _Tile(asked, facts, cost, slice(start, start + tile)).result(block)

        with one_blas_thread():
            run_tasks(range(threads), range(0, asked.samples, tile), one, total.collect)
        return total.result()


def _sizes(asked: Request, options: EngineOptions) -> tuple[int, int, int]:
    """Threads, samples per tile and steps per block, within ``mem_limit``. What fits one tile runs
    in this process: starting others takes longer."""
    graph, itemsize = asked.graph, asked.dtype.itemsize
    widest = max(prod(node.shape) for node in graph.nodes)
    block = options.block or min(asked.steps, MOST_BLOCK)
    fitting = max(1, SIGNAL_BYTES // (widest * block * itemsize))
    threads = options.threads or (available_threads() if asked.samples > fitting else 1)
    tile = options.tile or min(fitting, -(-asked.samples // threads))
    # States, and of the widest layer a block of spikes and currents with their temporaries.
    states = 4 * sum(prod(node.shape) for node in graph.nodes)
    while options.mem_limit is not None:
        need = threads * (tile * (states + 5 * widest * block) + COLUMN_ELEMENTS) * itemsize
        if need <= options.mem_limit:
            break
        if tile == block == 1:
            raise too_little_memory(options.mem_limit, need, threads=threads)
        tile, block = (tile // 2, block) if tile > 1 else (1, block // 2)
    return threads, tile, block


class _Tile(SpikingRules):
    """Some of a run's samples through all its steps."""

    def __init__(self, asked: Request, facts: GraphFacts, cost: StaticCost, where: slice) -> None:
        arrays = {name: x[where] for name, x in asked.arrays.items()}
        offset = where.start + asked.offset
        super().__init__(facts, arrays, asked.steps, seed=asked.seed, offset=offset)
        self.samples = len(next(iter(arrays.values())))
        self.tally = Tally(asked, facts, cost, start=where.start, samples=self.samples)

    def result(self, block: int) -> TileResult:
        self.run(self.tally.total, block)
        return self.tally.result()

    def input(self, node: Input, xs: Sequence[Array]) -> Array:
        return self._counted(node, super().input(node, xs))

    def synapse(self, node: Synapse, xs: Sequence[Array]) -> Array:
        if not any(x.any() for x in xs):
            return self._nothing(node)
        if node.name in self.constants or not isinstance(node.op, Conv):
            return super().synapse(node, xs)
        return apply_synapse(node, xs, partial(by_rows, node.op))

    def population(self, node: Population, xs: Sequence[Array]) -> Array:
        if self._over(node):
            return self._nothing(node)
        return self._counted(node, super().population(node, xs))

    def max_pool(self, node: MaxPool | Analog, xs: Sequence[Array]) -> Array:
        if self._over(node):
            return self._nothing(node)
        return self._counted(node, super().max_pool(node, xs))

    analog = max_pool

    def readout(self, node: Readout, xs: Sequence[Array]) -> Array:
        answers = super().readout(node, xs)
        self.tally.answer(node.name, self.at, answers)
        return answers

    def _over(self, node: Node) -> bool:
        """Whether a node's window has passed."""
        return self.at >= self.onset[node.name] + self.steps

    def _nothing(self, node: Node) -> Array:
        return np.zeros((self.count, self.samples, *node.shape), self.dtype)

    def _counted(self, node: Node, out: Array) -> Array:
        """Counts a block's spikes and what they cost, for each sample."""
        columns = self.tally.columns.get(node.name)
        if columns is not None:
            fired = np.not_equal(out, 0, out=np.empty(out.shape, columns.dtype))
            self.tally.count(node.name, self.at, fired.reshape(*out.shape[:2], -1) @ columns)
        return out


def by_rows(op: Conv, x: Array) -> Array:
    """As ``op.apply``: a sum of one product per kernel row, all of which read the same columns.
    These are laid out for the horizontal axis only: two thirds of the record's time."""
    if len(op.kernel) != 2 or op.groups > 1:
        return op.apply(x)
    height, width = op.output_shape(x.shape[1:])[1:]
    count, channels, rows, _ = x.shape
    top, left, bottom, _ = op.pads
    taps = list(
        valid_taps(
            op.kernel[1],
            stride=op.strides[1],
            dilation=op.dilations[1],
            pad=left,
            size=x.shape[3],
            size_out=width,
        )
    )
    kernels = np.moveaxis(op.weight, 2, 0).reshape(op.kernel[0], len(op.weight), -1)
    y = np.empty((count, len(op.weight), height * width), np.result_type(x, kernels))
    # A few samples at a time: their columns stay in the cache. Their borders stay zero.
    size = max(1, COLUMN_ELEMENTS // (kernels.shape[2] * (rows + top + bottom) * width))
    columns = np.zeros((size, channels, op.kernel[1], rows + top + bottom, width), x.dtype)
    part = np.empty((size, *y.shape[1:]), y.dtype)
    for at in range(0, count, size):
        some, n = x[at : at + size], min(size, count - at)
        for tap, target, source in taps:
            columns[:n, :, tap, top : top + rows, target] = some[..., source]
        flat = columns[:n].reshape(n, kernels.shape[2], -1, width)
        for k, kernel in enumerate(kernels):
            first = k * op.dilations[0]
            read = flat[:, :, first : first + op.strides[0] * (height - 1) + 1 : op.strides[0]]
            out = part[:n] if k else y[at : at + n]
            np.matmul(kernel, read.reshape(n, kernels.shape[2], -1), out=out)
            if k:
                y[at : at + n] += out
    return y.reshape(count, -1, height, width)
