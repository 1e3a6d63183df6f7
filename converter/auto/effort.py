"""How far a search is, by what its candidates cost: who waits is to know for how long.

A candidate costs about as much as its time steps; where neurons send one number per window, the
same for every T. Every kind is expected to be searched up to the largest T that it may have, so
that the end comes sooner rather than later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..statistics.measure import Progress
from .candidates import Kind
from .front import COSTS

PARTS = 1000  # that are told
ONCE, WINDOW = 1, 3  # time steps' worth: of every candidate; of one with windows
AFTER = 1 + len(COSTS)  # the last conversion, and the front before it


def _cost(kind: Kind, steps: int) -> int:
    return ONCE + (WINDOW if kind.window else steps)


def _search(kind: Kind, most: int) -> int:
    """Of doubling T from the kind's first up to ``most``."""
    steps = max(min(kind.start, most), 1)
    cost = _cost(kind, steps)
    while steps < most:
        steps = min(2 * steps, most)
        cost += _cost(kind, steps)
    return cost


@dataclass(eq=False, kw_only=True)
class Effort:
    """``ahead``: the kinds that are still searched, each with the largest T."""

    progress: Progress
    ahead: Mapping[Kind, int] = field(default_factory=dict)
    spent: Counter[Kind] = field(default_factory=Counter)
    told: int = 0

    def expect(self, ahead: Mapping[Kind, int]) -> None:
        self.ahead = ahead
        self._tell()

    def weighed(self, kind: Kind, *, steps: int) -> None:
        """A candidate was converted and judged."""
        self.spent[kind] += _cost(kind, steps)
        self._tell()

    def _tell(self) -> None:
        left = sum(max(_search(k, t) - self.spent[k], 0) for k, t in self.ahead.items())
        left += AFTER * (ONCE + max(self.ahead.values(), default=1))
        done = sum(self.spent.values())
        self.told = max(self.told, PARTS * done // (done + left))  # it never seems to go back
        self.progress(self.told, PARTS)
