"""A tile's constant currents, computed once and kept in the plan's layout."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from ..graph import Synapse
from ..ops import Array
from ..semantics.constants import ConstantCurrents, _round
from .buffers import zeros
from .layout import Layout
from .products.numpy import synapse_kernel
from .products.numpy_convolution import Kernel
from .profile import Clock

LANES = 64  # in double precision at once


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
