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

from .chains import constant_signals
from .graph import Input, Population, SpikingGraph, Synapse
from .layout import Layout
from .neuron import NeuronParams
from .ops import Array, Conv, ConvTranspose, Linear

BITS = 16  # of the power of two below a threshold
ELEMENTS = 1 << 16  # of the largest signal in double precision at once


@dataclass(frozen=True, eq=False)
class ConstantCurrents:
    """The constant synapses of a graph in execution order; ``grids``: what their output is rounded
    to, where only populations read it."""

    inputs: tuple[str, ...]
    synapses: tuple[Synapse, ...]
    grids: Mapping[str, Array]

    def fill(self, inputs: Mapping[str, Array], into: Mapping[str, Array], layout: Layout) -> None:
        """Put the signals of samples ``inputs``, (samples, *shape), into ``into``, (1, *inner) in
        ``layout``; lanes without a sample get zeros."""
        if not self.inputs:
            return
        samples = len(inputs[self.inputs[0]])
        natural = {name: layout.natural(x)[0] for name, x in into.items()}
        for array in natural.values():
            array[samples:] = 0
        for name in self.inputs:
            natural[name][:samples] = inputs[name]
        if not self.synapses:
            return
        batch = max(1, ELEMENTS // max(prod(node.shape) for node in self.synapses))
        for start in range(0, samples, batch):
            part = slice(start, min(start + batch, samples))
            for name, y in self.of({k: inputs[k][part] for k in self.inputs}).items():
                natural[name][part] = y

    def of(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The synapses' outputs in every step for ``inputs``, (samples, *shape), in double
        precision."""
        values = {name: inputs[name].astype(np.float64) for name in self.inputs}
        out: dict[str, Array] = {}
        for node in self.synapses:
            y = np.asarray(node.op.apply(*[values[i] for i in node.inputs]))
            values[node.name] = y
            grid = self.grids.get(node.name)
            out[node.name] = y if grid is None else _rounded(y, grid)
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


def _rounded(x: Array, grid: Array) -> Array:
    out = np.asarray(x * (1 / grid))  # exact: grids are powers of two
    np.rint(out, out=out)
    out *= grid
    return out


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
