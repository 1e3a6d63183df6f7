"""The records of a sweep: the accuracy curves of one model's conversions, and their knees.

The readout accumulates, so the answer after every step t <= T comes from one simulation of T
steps. With start lags the windows depend on T, so each T is its own conversion and simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..provenance import Provenance
from ..runtime.graph import Population, SpikingGraph
from .chips import ChipCurve
from .evaluate import Evaluation
from .spread import Spread

if TYPE_CHECKING:  # which knows sweeps
    from ..diagnosis.measure import Measured


@dataclass(frozen=True, eq=False, kw_only=True)
class SweepRun:
    """One curve, and the network it is of (converted for the last step). ``recipe``: what the curve
    is called; ``each``: every point is a network of its own, converted for that T; ``spread``:
    over several seeds, of which the evaluation is the first one's; ``chips``: the same in the
    integers of chips; ``layers``: the layers' errors at the knee (else after the last T), on some
    samples, None where they were not measured."""

    recipe: str
    steps: int
    evaluation: Evaluation
    notes: tuple[str, ...]
    network: SpikingGraph
    each: bool = False
    spread: Spread | None = None
    chips: tuple[ChipCurve, ...] = ()
    layers: Measured | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Sweep:
    """All curves on one model and data set. ``left_out``: what was asked for and does not exist,
    such as combinations of a grid, in words."""

    model: str
    data: str
    samples: int
    runs: tuple[SweepRun, ...]
    left_out: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[SweepRun, ...]:
        """A run of every network: two curves may be of one."""
        return tuple({id(run.network): run for run in self.runs}.values())


def early_notes(
    network: SpikingGraph, steps: Sequence[int], *, sweeps: bool = True
) -> tuple[str, ...]:
    """What must be said of answers after other T than the network was converted for. ``sweeps``:
    whether networks with start lags were converted for every T."""
    made_for = Provenance.of(network).steps
    others = [t for t in steps if t != made_for]
    if made_for is None or not others:
        return ()
    lagged = any(p.neuron.lag for p in network.of(Population))
    tied = "; behind start lags calibration holds for that T only: convert for the other one"
    if len(steps) == 1:
        made = f"the network was converted for T={made_for}, not for T={steps[0]}"
        return (made + (tied if lagged else ""),)
    if lagged and not sweeps:
        return (
            f"every T is an answer on the way to T={max(steps)}, of a network converted for "
            f"T={made_for}; run with another last T, spikes and answers are others{tied}",
        )
    if max(steps) != made_for:
        return (f"every T is an answer of one network, which was converted for T={made_for}",)
    if lagged:
        return ("with start lags every T is a conversion of its own",)
    return (
        f"every T is an answer of one network, converted for T={made_for}: what it says early, not "
        "what a network converted for fewer steps says",
    )


EACH = "every T is a conversion of its own: calibrated for that T, and run for it"
POINT, ERROR = 0.005, 0.05  # how near to the ANN the knee is: accuracy or agreement; output error


def knee(evaluation: Evaluation, drop: float | None = None) -> dict[str, Any] | None:
    """The first point from which the curve stays within ``drop`` of the ANN: in accuracy, in
    agreement where there are no labels, in the outputs' error where there are no classes. None
    where it never does."""
    target = evaluation.ann_accuracy
    drop = drop if drop is not None else POINT if evaluation.classes else ERROR

    def short(point: Any) -> float:
        if not evaluation.classes:
            return float(point.error)
        return float(1 - point.agreement if target is None else target - point.accuracy)

    found = None
    for point in reversed(evaluation.points):
        if short(point) > drop + 1e-12:
            break
        found = point
    if found is None:
        return None
    return {"T": found.T, "latency": found.latency, "drop": short(found), "within": drop}
