"""A tile's constant currents, computed once and kept where the plan reads them."""

from __future__ import annotations

from collections.abc import Mapping

from ..ops import Array
from ..semantics.constants import ConstantCurrents

LANES = 16  # samples in double precision at once: bounds the memory for it


class Filler:
    """Puts constant signals where a plan keeps them: into ``into``, (1, lanes, *shape)."""

    def __init__(self, currents: ConstantCurrents, into: Mapping[str, Array]) -> None:
        self.currents, self.into = currents, into

    def fill(self, inputs: Mapping[str, Array]) -> None:
        """The signals of samples ``inputs``, (samples, *shape); lanes without one get zeros."""
        names = self.currents.inputs
        if not names:
            return
        samples = len(inputs[names[0]])
        for name in names:
            self.into[name][0, :samples] = inputs[name]
        for start in range(0, samples if self.currents.synapses else 0, LANES):
            part = slice(start, min(start + LANES, samples))
            made = self.currents.of({name: inputs[name][part] for name in names})
            for name, x in made.items():
                self.into[name][0, part] = x
        for array in self.into.values():
            array[0, samples:] = 0
