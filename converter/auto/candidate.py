"""A candidate of ``--recipe auto``, and by what one is better than another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..recipes import Recipe

# Of 32-bit floating point, in pJ: Horowitz, ISSCC 2014, 45 nm, 0.9 V (0.9 an addition, 3.7 a
# multiplication), the figures that most of the field's comparisons use.
ADD, MULTIPLY = 0.9, 4.6


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """One recipe at one T on the held-back samples. ``drop``: points lost (of accuracy, of
    agreement, or 100 times the relative error of the outputs); ``expected``: what is judged, the
    drop itself but for accuracy (``auto_judge.shrunk``); ``low``, ``high``: 95 % interval, None for
    an error; ``samples``: how many it was converted on; ``macs_per_sample``: multiply-accumulates
    on analog values; ``energy_pj``: of the arithmetic of one sample (``PREFERENCES``);
    ``confidence``: the probability that the drop on unseen data is within the
    limit (``judge.confidence``), None for an error. ``within``: neither what was seen nor what is
    expected is over the limit."""

    recipe: str
    T: int
    lag: int
    latency: int
    drop: float
    expected: float
    low: float | None
    high: float | None
    within: bool
    samples: int
    spikes_per_neuron: float
    synops_per_sample: float
    macs_per_sample: float
    energy_pj: float
    confidence: float | None = None


RANKING: Mapping[str, Callable[[Candidate], float]] = {
    "chips": lambda c: 0,  # what was found is in that order, and min takes the first
    "steps": lambda c: c.T,
    "latency": lambda c: c.latency,
    "spikes": lambda c: c.spikes_per_neuron,
    "synops": lambda c: c.synops_per_sample + c.macs_per_sample,
    "energy": lambda c: c.energy_pj,
}


def arithmetic_energy(recipe: Recipe, *, synops: float, macs: float) -> float:
    """pJ of synaptic operations and of multiply-accumulates on analog values."""
    return synops * (MULTIPLY if recipe.multiplies else ADD) + macs * MULTIPLY
