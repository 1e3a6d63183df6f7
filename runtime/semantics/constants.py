"""Constant currents, the same to the last bit whatever engine, tile and processor.

What a constant input gives through linear operations is a sum of products of real numbers, whose
last bits depend on the order of summation. It is computed once per tile, so it can be afforded in
double precision; where a population reads it, it is then rounded to 2^-16 of its threshold. Summed
with weights on such a grid (``converter.lowering.grid``) potentials are exact, and no spike depends
on who computed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from ..facts import GraphFacts
from ..graph import Input, Population, Synapse
from ..ops import Array, MultiplyingOp

BITS = 16  # of the power of two below a threshold


@dataclass(frozen=True, eq=False)
class ConstantCurrents:
    """The constant synapses of a graph in execution order; ``grids``: what their output is rounded
    to, where only populations read it."""

    inputs: tuple[str, ...]
    synapses: tuple[Synapse, ...]
    grids: Mapping[str, Array]

    def of(
        self,
        inputs: Mapping[str, Array],
        kernels: Mapping[str, Callable[..., Array]] = MappingProxyType({}),
    ) -> dict[str, Array]:
        """The synapses' outputs in every step for ``inputs``, (samples, *shape), in double
        precision. ``kernels``: what computes some synapses, by name, instead of their record,
        into memory of its own, which is overwritten."""
        values = {name: inputs[name].astype(np.float64) for name in self.inputs}
        out: dict[str, Array] = {}
        for node in self.synapses:
            apply = kernels.get(node.name, node.op.apply)
            y = np.asarray(apply(*[values[i] for i in node.inputs]))
            values[node.name] = y
            grid = self.grids.get(node.name)
            own = (
                y if node.name in kernels else None
            )  # a record's result may be a view of its input
            out[node.name] = y if grid is None else _rounded(y, grid=grid, out=own)
        return out


def constant_currents(facts: GraphFacts) -> ConstantCurrents:
    """The part of the graph that is computed once per sample."""
    graph, constant, consumers = facts.graph, facts.constant, facts.consumers
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


def _rounded(x: Array, *, grid: Array, out: Array | None) -> Array:
    out = np.multiply(x, 1 / grid, out=out)  # exact: grids are powers of two
    np.rint(out, out=out)
    return np.multiply(out, grid, out=out)


def _in_double(node: Synapse) -> Synapse:
    if not isinstance(node.op, MultiplyingOp):
        return node
    return replace(node, op=node.op.with_factors(node.op.factors.astype(np.float64)))


def grid_of(population: Population) -> Array:
    """2^-16 of the power of two below its threshold, in double precision."""
    exponent = np.floor(np.log2(population.neuron.v_threshold.astype(np.float64)))
    return np.asarray(2.0 ** (exponent - BITS))
