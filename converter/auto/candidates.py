"""What ``--recipe auto`` may choose from, and what makes one better than another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ...runtime.cost import FLOAT_ADD, FLOAT_MAC
from ...runtime.graph import Population, SpikingGraph
from ...runtime.neurons import WindowedNeuron
from ..convert import Conversion
from ..recipes import recipe_named
from ..recipes.options import Options, can_copy


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is searched for its smallest T, beginning at ``start``."""

    recipe: str
    lagged: bool = False
    start: int = 4

    @property
    def window(self) -> type[WindowedNeuron] | None:
        return recipe_named(self.recipe).window

    @property
    def title(self) -> str:
        return f"{self.recipe} with lag" if self.lagged else self.recipe


# Cheapest for chips first. `synchronous` is a reference for what thresholds can do, no candidate.
KINDS = (
    Kind(recipe="binary"),
    Kind(recipe="binary", lagged=True),
    Kind(recipe="signed"),
    Kind(recipe="graded", start=2),
    Kind(recipe="few-spike", start=2),
    Kind(recipe="ttfs"),
    Kind(recipe="differential", start=2),
)


# What makes one candidate within the limit better than another.
PREFERENCES: Mapping[str, str] = {
    "chips": "what every chip can run first: " + ", ".join(k.title for k in KINDS),
    "steps": "fewest steps T between two answers",
    "latency": "fewest steps from input to answer",
    "spikes": "fewest spikes per neuron",
    "synops": "fewest operations: synaptic ones, and multiply-accumulates on analog values",
    "energy": f"least energy of arithmetic at {FLOAT_ADD} pJ per addition and {FLOAT_MAC} pJ per "
    "multiply-accumulate (Horowitz 2014, 45 nm; no memory, routing or neurons)",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """One recipe at one T on the held-back samples. ``drop``: points lost (of accuracy, of
    agreement, or 100 times the relative error of the outputs); ``expected``: what is judged, the
    drop itself but for accuracy (``auto_judge.shrunk``); ``low``, ``high``: 95 % interval, None for
    an error; ``samples``: how many it was converted on; ``macs_per_sample``: multiply-accumulates
    on analog values; ``energy_pj``: of the arithmetic of one sample (``PREFERENCES``);
    ``spike_cost``: the price of a spike that it was converted with; ``confidence``: the probability
    that the drop on unseen data is within the limit (``claim``), None for an error. ``within``:
    neither what was seen nor what is expected is over the limit."""

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
    spike_cost: float = 0.0
    confidence: float | None = None


RANKING: Mapping[str, Callable[[Candidate], float]] = {
    "chips": lambda c: 0,  # what was found is in that order, and min takes the first
    "steps": lambda c: c.T,
    "latency": lambda c: c.latency,
    "spikes": lambda c: c.spikes_per_neuron,
    "synops": lambda c: c.synops_per_sample + c.macs_per_sample,
    "energy": lambda c: c.energy_pj,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Selection:
    """``conversion`` is the chosen one, converted on all calibration samples; its meta lists all
    ``candidates``, and its ``front`` of accuracy against spikes (``front``). ``within``: whether it
    stays under the limit (else the best there was)."""

    conversion: Conversion
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    within: bool
    front: tuple[Candidate, ...] = ()


def as_candidate(
    options: Options, recipe: str, *, steps: int, lag: int, spike_cost: float | None = None
) -> Options:
    """``options`` for one candidate: what only some recipes have is left out for the others.
    ``spike_cost``: another price of a spike."""
    plain = replace(options, recipe=recipe, steps=steps, lag=lag, levels=None, copies=None)
    plain = plain if spike_cost is None else replace(plain, spike_cost=spike_cost)
    return replace(
        plain,
        levels=options.levels if recipe == "graded" else None,
        copies=options.copies if can_copy(plain) else None,
    )


def arithmetic_energy(graph: SpikingGraph, *, synops: float, macs: float) -> float:
    """pJ of synaptic operations and of multiply-accumulates on analog values. Where neurons of a
    recipe send graded spikes all of them do."""
    graded = any(p.neuron.graded for p in graph.of(Population))
    return synops * (FLOAT_MAC if graded else FLOAT_ADD) + macs * FLOAT_MAC
