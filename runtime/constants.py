"""Constant currents, the same to the last bit whatever engine, tile and processor.

What a constant input gives through linear operations is a sum of products of real numbers, whose
last bits depend on the order of summation. It is computed once per tile, so it can be afforded in
double precision; where a population reads it, it is then rounded to 2^-16 of its threshold. Summed
with weights on such a grid (``converter.grid``) potentials are exact, and no spike depends on who
computed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from .buffers import zeros
from .chains import constant_signals
from .convolution import Kernel
from .graph import Input, Population, SpikingGraph, Synapse
from .kernels import synapse_kernel
from .layout import Layout
from .neuron import NeuronParams
from .ops import Array, Conv, ConvTranspose, Linear, Shape
from .profile import Clock

BITS = 16  # of the power of two below a threshold
ELEMENTS = 1 << 16  # of the largest signal in double precision at once, sample by sample


@dataclass(frozen=True, eq=False)
class ConstantCurrents:
    """The constant synapses of a graph in execution order; ``grids``: what their output is rounded
    to, where only populations read it."""

    inputs: tuple[str, ...]
    synapses: tuple[Synapse, ...]
    grids: Mapping[str, Array]

    def of(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The synapses' outputs in every step for ``inputs``, (samples, *shape), in double
        precision."""
        values = {name: inputs[name].astype(np.float64) for name in self.inputs}
        out: dict[str, Array] = {}
        for node in self.synapses:
            y = np.asarray(node.op.apply(*[values[i] for i in node.inputs]))
            values[node.name] = y
            grid = self.grids.get(node.name)
            if grid is not None:
                y = np.array(y)
                _round(y, grid)
            out[node.name] = y
        return out


def constant_currents(graph: SpikingGraph) -> ConstantCurrents:
    """The part of ``graph`` that is computed once per sample."""
    constant, consumers = constant_signals(graph), graph.consumers()
    synapses = tuple(
        _in_double(n) for n in graph.nodes if isinstance(n, Synapse) and n.name in constant
    )
    grids: dict[str, Array] = {}
    for node in synapses:
        readers = consumers[node.name]
        found = [grid_of(reader) for reader in readers if isinstance(reader, Population)]
        if found and len(found) == len(readers):
            smallest = found[0]
            for other in found[1:]:
                smallest = np.minimum(smallest, other)
            grids[node.name] = smallest
    return ConstantCurrents(
        inputs=tuple(n.name for n in graph.of(Input) if n.name in constant),
        synapses=synapses,
        grids=grids,
    )


class Filler:
    """Puts constant signals where a plan keeps them: into ``into``, (1, *inner) in ``layout``.

    In "rows" order by the kernels that run in every step, in double precision, which costs a third
    of computing them sample by sample.
    """

    def __init__(
        self, currents: ConstantCurrents, into: Mapping[str, Array], layout: Layout
    ) -> None:
        self.currents, self.into, self.layout = currents, into, layout
        self.values: dict[str, Array] = {}
        self.steps: list[tuple[Synapse, Kernel, Array | None]] = []
        if layout.order == "rows" and currents.synapses:
            self._prepare()

    def _prepare(self) -> None:
        double = np.dtype(np.float64)
        self.values = {name: zeros(array.shape, double) for name, array in self.into.items()}
        for node in self.currents.synapses:
            shapes = [self._shape(name) for name in node.inputs]
            kernel = synapse_kernel(node.op, shapes, self.layout, double, 1, Clock())
            grid = self.currents.grids.get(node.name)
            if grid is not None:
                parameter = self.layout.parameter(grid, node.shape, double)
                grid = self.layout.long_rows(parameter, node.shape)
            self.steps.append((node, kernel, grid))

    def _shape(self, name: str) -> Shape:
        return self.layout.natural(self.into[name]).shape[2:]

    def fill(self, inputs: Mapping[str, Array]) -> None:
        """The signals of samples ``inputs``, (samples, *shape); lanes without one get zeros."""
        if not self.currents.inputs:
            return
        samples = len(inputs[self.currents.inputs[0]])
        natural = {name: self.layout.natural(x)[0] for name, x in self.into.items()}
        for array in natural.values():
            array[samples:] = 0
        for name in self.currents.inputs:
            natural[name][:samples] = inputs[name]
        if self.steps:
            self._by_kernels()
        elif self.currents.synapses:
            self._by_samples(inputs, natural)

    def _by_kernels(self) -> None:
        for name in self.currents.inputs:
            np.copyto(self.values[name], self.into[name])
        for node, kernel, _ in self.steps:
            kernel([self.values[i] for i in node.inputs], self.values[node.name])
        for node, _, grid in self.steps:
            y = self.values[node.name]
            if grid is not None:
                _round(y.reshape(-1, grid.size) if grid.size > 1 else y, grid)
            np.copyto(self.into[node.name], y)

    def _by_samples(self, inputs: Mapping[str, Array], natural: Mapping[str, Array]) -> None:
        samples = len(inputs[self.currents.inputs[0]])
        batch = max(1, ELEMENTS // max(prod(node.shape) for node in self.currents.synapses))
        for start in range(0, samples, batch):
            part = slice(start, min(start + batch, samples))
            given = {name: inputs[name][part] for name in self.currents.inputs}
            for name, y in self.currents.of(given).items():
                natural[name][part] = y


def _round(x: Array, grid: Array) -> None:
    """In place."""
    np.multiply(x, 1 / grid, out=x)  # exact: grids are powers of two
    np.rint(x, out=x)
    np.multiply(x, grid, out=x)


def _in_double(node: Synapse) -> Synapse:
    if not isinstance(node.op, Linear | Conv | ConvTranspose):
        return node
    return replace(node, op=replace(node.op, weight=node.op.weight.astype(np.float64)))


def grid_of(population: Population) -> Array:
    """2^-16 of the power of two below its threshold, in double precision; the smallest positive
    number where neurons have another model, whose arithmetic is not exact anyway."""
    if not isinstance(population.neuron, NeuronParams):
        return np.full((), np.finfo(np.float32).tiny, np.float64)
    exponent = np.floor(np.log2(population.neuron.v_threshold.astype(np.float64)))
    return np.asarray(2.0 ** (exponent - BITS))
