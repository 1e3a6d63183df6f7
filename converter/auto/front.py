"""Accuracy against spikes: what the candidate that a search takes gives up where spikes have a
price (``Options.spike_cost``), from small prices on, until two are over the limit (one may be by
chance)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..recipes.options import Options
from .candidates import RANKING, Candidate

COSTS = (0.003, 0.01, 0.03, 0.1, 0.3)
MOST_OVER = 2  # that are shown
CHEAPER = ("spikes", "synops", "energy")  # preferences that a price serves


def can_be_walked(options: Options) -> bool:
    """Whether a price may be chosen: none was given, and there is a search that weighs it."""
    return not options.spike_cost and options.tune and options.reset == "subtract"


def walked(best: Candidate, weigh: Callable[[float], Candidate]) -> Iterator[Candidate]:
    """``best`` at each of ``COSTS`` as ``weigh`` finds it, until two are over the limit; nothing
    where ``best`` is over it already."""
    over = 0
    for cost in COSTS if best.within else ():
        found = weigh(cost)
        yield found
        over += not found.within
        if over == MOST_OVER:
            return


def preferred(best: Candidate, front: tuple[Candidate, ...], options: Options) -> Candidate:
    """``best``, or what costs less on its ``front`` by a preference that a price serves."""
    if options.prefer not in CHEAPER:
        return best
    return min((best, *(c for c in front if c.within)), key=RANKING[options.prefer])
