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
from math import ceil

import numpy as np

from .buffers import zeros
from .chains import constant_signals
from .convolution import Kernel
from .graph import Input, Population, SpikingGraph, Synapse
from .kernels import synapse_kernel
from .layout import Layout
from .ops import Array, Conv, ConvTranspose, Linear
from .profile import Clock

BITS = 16  # of the power of two below a threshold
LANES = 64  # in double precision at once


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

    They are computed by the kernels that run in every step of the NumPy engine, in its memory
    order whatever the plan's, in double precision: a third of the time that samples take one by
    one. Some lanes at a time, which bounds the memory for it.
    """

    def __init__(
        self, currents: ConstantCurrents, into: Mapping[str, Array], layout: Layout
    ) -> None:
        self.currents, self.into, self.layout = currents, into, layout
        self.own = Layout(ceil(layout.lanes / ceil(layout.lanes / LANES)))
        double = np.dtype(np.float64)
        shapes = {name: layout.natural(x).shape[2:] for name, x in into.items()}
        self.values = {name: zeros((1, *self.own.inner(s)), double) for name, s in shapes.items()}
        self.steps: list[tuple[Synapse, Kernel]] = []
        self.grids: dict[str, Array] = {}
        for node in currents.synapses:
            of = [shapes[name] for name in node.inputs]
            self.steps.append((node, synapse_kernel(node.op, of, self.own, double, 1, Clock())))
            if node.name in currents.grids:
                grid = self.own.parameter(currents.grids[node.name], node.shape, double)
                self.grids[node.name] = self.own.long_rows(grid, node.shape)

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
            for start in range(0, samples, self.own.lanes):
                part = slice(start, min(start + self.own.lanes, samples))
                self._compute({name: inputs[name][part] for name in self.currents.inputs})
                for node, _ in self.steps:
                    made = self.own.natural(self.values[node.name])[0]
                    natural[node.name][part] = made[: part.stop - start]

    def _compute(self, inputs: Mapping[str, Array]) -> None:
        """All signals of some samples into ``values``."""
        for name, x in inputs.items():
            lanes = self.own.natural(self.values[name])[0]
            lanes[: len(x)] = x
            lanes[len(x) :] = 0
        for node, kernel in self.steps:
            kernel([self.values[i] for i in node.inputs], self.values[node.name])
        for name, grid in self.grids.items():
            y = self.values[name]
            _round(y.reshape(-1, grid.size) if grid.size > 1 else y, grid)


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
    """2^-16 of the power of two below its threshold, in double precision."""
    exponent = np.floor(np.log2(population.neuron.v_threshold.astype(np.float64)))
    return np.asarray(2.0 ** (exponent - BITS))
