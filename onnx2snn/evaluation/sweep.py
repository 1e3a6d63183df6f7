"""Sweeps: the accuracy curve of one network under one or more recipes, from one run each.

The readout accumulates, so the answer after every step t <= T comes from one simulation of T
steps. With start lags the windows depend on T, so each T is its own conversion and simulation, and
only a few T per octave (``LADDER``) are run. Finished chunks are kept in the output folder until
the sweep is complete (``state``): a killed sweep goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..converter.frontend import LoadedModel
from ..data import Samples
from ..provenance import Provenance
from ..provenance.converted import convert
from ..runtime.graph import Population, SpikingGraph
from .ann import onnx_ann
from .evaluate import Evaluation, evaluate
from .plan import Series
from .state import StateFile, dependencies, fingerprint

Stage = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True, eq=False, kw_only=True)
class SweepRun:
    """One curve, and the network it is of (converted for the last step). ``recipe``: what the curve
    is called; ``each``: every point is a network of its own, converted for that T."""

    recipe: str
    steps: int
    evaluation: Evaluation
    notes: tuple[str, ...]
    network: SpikingGraph
    each: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Sweep:
    """All curves on one model and data set."""

    model: str
    data: str
    samples: int
    runs: tuple[SweepRun, ...]

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


def sweep(
    model: LoadedModel,
    *,
    samples: Samples,
    calibration: Samples | None,
    series: Sequence[Series],
    folder: Path,
    stage: Stage = lambda text: lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
    engine: Mapping[str, Any] | None = None,
) -> Sweep:
    """Convert what every series asks for (``plan``) and run it on ``samples``.

    ``folder`` holds the state of an unfinished sweep; ``stage`` gives the progress callback for
    each stage of the work, and ``say`` is told what becomes of an earlier state.
    """
    runs: list[SweepRun] = []
    states: list[StateFile] = []
    for one in series:
        run = _Runner(
            model=model,
            samples=samples,
            calibration=calibration,
            series=one,
            folder=folder,
            stage=stage,
            say=say,
            engine=engine or {},
            states=states,
        )
        runs += run.curves()
    for state in states:
        state.remove()
    return Sweep(
        model=Path(model.path).name, data=samples.source, samples=len(samples), runs=tuple(runs)
    )


def state_name(label: str, steps: int) -> str:
    """The file that an unfinished run is kept in."""
    return f".unfinished-{label.replace(' ', '-')}-{steps}.npz"


def state_names(series: Sequence[Series]) -> list[str]:
    """All that a sweep may write until it is complete."""
    return [state_name(one.label, t) for one in series for t in one.steps.conversions]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Runner:
    """One series: converts once per needed T, evaluates, resumes. ``states``: where it adds the
    files to remove once the whole sweep is complete."""

    model: LoadedModel
    samples: Samples
    calibration: Samples | None
    series: Series
    folder: Path
    stage: Stage
    say: Callable[[str], None]
    engine: Mapping[str, Any]
    states: list[StateFile]

    def curves(self) -> list[SweepRun]:
        """The curve with a conversion for every T where that is asked for or all there is, and that
        of the early answers of the network for the last T."""
        steps, last = self.series.steps, self.series.steps.last
        network, evaluation = self._evaluate(first=steps.answers[0], last=last)
        tied = evaluation.points[-1].latency > last  # start lags: every T has its own windows
        shown = tuple(point for point in evaluation.points if point.T in steps.answers)
        early, out = replace(evaluation, points=shown), []
        if len(steps.conversions) > 1 and (tied or self.series.each):
            made = [self._evaluate(first=t, last=t)[1].points[-1] for t in steps.conversions[:-1]]
            full = replace(evaluation, points=(*made, evaluation.points[-1]))
            out.append(self._run(network, full, each=True))
        if not out or not tied:
            out.append(self._run(network, early, each=False))
        return out

    def _run(self, network: SpikingGraph, evaluation: Evaluation, *, each: bool) -> SweepRun:
        both = self.series.each and len(self.series.steps.answers) > 1
        steps = [point.T for point in evaluation.points]
        way = (", each T" if each else ", early") if both else ""
        return SweepRun(
            recipe=f"{self.series.label}{way}",
            steps=self.series.steps.last,
            evaluation=evaluation,
            notes=(
                *Provenance.of(network).notes,
                *((EACH,) if both and each else early_notes(network, steps)),
            ),
            network=network,
            each=each,
        )

    def _evaluate(self, *, first: int, last: int) -> tuple[SpikingGraph, Evaluation]:
        label, options = self.series.label, {**self.series.options, "steps": last}
        network = convert(
            self.model,
            self.calibration,
            progress=self.stage(f"converting ({label}, T={last})"),
            **options,
        )
        state = self._state(network, options)
        self.states.append(state)
        evaluation = evaluate(
            network,
            self.samples,
            last,
            onnx_ann(self.model, network),
            first=first,
            tally=state.restore(network, last),
            checkpoint=state.save,
            progress=self.stage(f"simulating ({label}, T={last})"),
            **self.engine,
        )
        return network, evaluation

    def _state(self, network: SpikingGraph, options: Mapping[str, Any]) -> StateFile:
        label, steps = self.series.label, options["steps"]
        key = dependencies(
            model=self.model,
            network=network,
            samples=self.samples,
            calibration=self.calibration,
            options=options,
            engine=self.engine,
        )
        return StateFile(
            path=self.folder / state_name(label, steps),
            key=fingerprint(key),
            title=f"{label} (T={steps})",
            total=len(self.samples),
            say=self.say,
        )
