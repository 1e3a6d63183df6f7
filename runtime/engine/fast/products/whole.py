"""Products of whole numbers with weights on a grid, exact in single precision.

A sum of weighted numbers is exact in any order where all its partial sums are multiples of the grid
below 2^24 of its steps. Then ONNX Runtime's convolutions give what double precision gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ....facts import GraphFacts
from ....graph import Population, Synapse
from ....neurons import WindowedNeuron
from ....ops import Array
from ....ops.convolution import Conv
from ....semantics.walk import annotate
from ....semantics.whole import Largest
from .sessions import ChainSessions

Product: TypeAlias = Callable[[Array], Array]  # (samples, *shape) to (samples, *shape), float32
MANTISSA = 24  # bits of a float32


def whole_products(facts: GraphFacts, steps: int) -> dict[str, Product]:
    """By name, the convolutions of numbers sent in windows of ``steps`` that are exact in single
    precision."""
    largest = annotate(facts.graph, Largest(facts.by_name, lambda p: _sent(p, steps)))
    sessions, out = ChainSessions(facts), dict[str, Product]()
    for node in facts.graph.of(Synapse):
        most = largest[node.inputs[0]] if node.inputs else None
        if isinstance(node.op, Conv) and most is not None and exact(node.op.weight, most):
            out[node.name] = _product(sessions.session([node], node.inputs))
    return out


def _sent(population: Population, steps: int) -> float:
    assert isinstance(population.neuron, WindowedNeuron)
    return float(population.neuron.most(steps))


def exact(weight: Array, most: float) -> bool:
    """Whether sums of ``weight`` (out, ...) times whole numbers from 0 to ``most`` are exact in
    single precision, output by output."""
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    if not np.array_equal(rows, rows.astype(np.float32)):
        return False
    mantissa, exponent = np.frexp(rows)
    whole = np.ldexp(mantissa, MANTISSA).astype(np.int64)
    lowest = np.ldexp((whole & -whole).astype(np.float64), exponent - MANTISSA)
    grid = np.where(rows == 0, np.inf, lowest).min(axis=1)
    sums = np.abs(rows).sum(axis=1) * most
    return bool(np.all(sums <= 2.0**MANTISSA * grid))


def _product(session: Any) -> Product:
    name = session.get_inputs()[0].name

    def product(x: Array) -> Array:
        out: Array = session.run(None, {name: np.ascontiguousarray(x, np.float32)})[0]
        return out

    return product
