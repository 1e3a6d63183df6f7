"""Which cell runs a population."""

from __future__ import annotations

import numpy as np

from ....graph import Population
from ...profile import Clock
from ..counting import Counter
from ..products.terms import is_plain
from .base import Bias, Cell
from .general import GeneralCell
from .plain import PlainCell


def population_cell(
    node: Population, lanes: int, *, dtype: np.dtype, chunk: int, counter: Counter, clock: Clock
) -> Cell:
    """The cell for a population: a fast one for plain integrate-and-fire neurons."""
    bias = Bias(node.bias, node.shape, lanes, dtype, chunk)
    kind = PlainCell if is_plain(node.neuron) else GeneralCell
    return kind(
        node.neuron, node.shape, bias, lanes=lanes, dtype=dtype, counter=counter, clock=clock
    )
