"""Runs a plan: what the store has is taken from it, the rest is converted and simulated.

Which tasks that is and in what order is ``schedule``'s, where they are done the executor's. Shards
are merged in the order of the samples, so that what comes out depends on neither, nor on how often
the sweep was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..diagnosis import errors_by_layer
from ..diagnosis.measure import Measured
from ..errors import Onnx2SnnError
from ..evaluation.answers import Answers
from ..evaluation.evaluate import Evaluation
from ..evaluation.spread import spread
from ..evaluation.sweep import EACH, Sweep, SweepRun, early_notes, knee
from ..provenance import Provenance
from ..runtime.facts import GraphFacts
from ..runtime.graph import SpikingGraph
from ..runtime.semantics.samples import spread_over
from .chips import curves_on
from .plan import Series
from .shards.executor import Executor, Here
from .shards.schedule import Configuration, Evaluated, evaluated
from .work import Work

LAYERS_ON = 32  # samples on which the layers' errors are measured


def sweep(
    work: Work,
    series: Sequence[Series],
    *,
    seeds: int = 1,
    executor: Executor | None = None,
    left_out: tuple[str, ...] = (),
) -> Sweep:
    """Convert what every series asks for (``plan``) and run it on the samples, each with so many
    ``seeds``; ``executor``: by default this machine; ``left_out``: of the plan (``fitting``)."""
    works = [work.seeded(seed) for seed in range(seeds)]
    _tell_of_others(work, works, series)
    seeded = [(each, one.seeded(seed)) for one in series for seed, each in enumerate(works)]
    first = [c for each, one in seeded for c in _configurations(each, one, all_of=one.each)]
    work.watch.planned([one.steps for one in first])
    home = executor or Here(work.model, work.samples, work.calibration)
    found = evaluated(home, first, more=_tied)
    return Sweep(
        model=Path(work.model.path).name,
        data=work.samples.source,
        samples=len(work.samples),
        runs=tuple(run for one in series for run in _over_seeds(works, one, found)),
        left_out=left_out,
    )


def _tell_of_others(work: Work, works: Sequence[Work], series: Sequence[Series]) -> None:
    known = {
        work.conversion_key(one.seeded(seed), t)
        for one in series
        for seed in range(len(works))
        for t in one.steps.conversions
    }
    others = work.store.others(known, {each.simulations for each in works})
    if others:
        work.watch.say(
            f"{work.store.path} also has {others:,} results of a sweep of something else (another "
            "model, other samples, labels or options, or other versions of the libraries): not "
            "used, and kept"
        )


def _configurations(work: Work, series: Series, *, all_of: bool) -> list[Configuration]:
    """That of the last T; with ``all_of`` also those of every other."""
    steps = series.steps
    last = Configuration(work=work, series=series, steps=steps.last, first=steps.answers[0])
    others = steps.conversions[:-1] if all_of else ()
    return [last, *(Configuration(work=work, series=series, steps=t, first=t) for t in others)]


def _tied(one: Configuration, network: SpikingGraph) -> list[Configuration]:
    """With start lags every T has its own windows, and is a conversion of its own."""
    if one.series.each or one.steps != one.series.steps.last or not GraphFacts(network).latency:
        return []
    more = _configurations(one.work, one.series, all_of=True)[1:]
    one.work.watch.planned([each.steps for each in more])
    return more


def _over_seeds(
    works: Sequence[Work], series: Series, found: Mapping[object, Evaluated]
) -> list[SweepRun]:
    """The curves of the first seed, with the spread over all."""
    curves = [_curves(work, series.seeded(seed), found) for seed, work in enumerate(works)]
    if len(works) == 1:
        return curves[0]
    return [
        replace(same[0], spread=spread([run.evaluation for run in same], range(len(works))))
        for same in zip(*curves, strict=True)
    ]


def _curves(work: Work, series: Series, found: Mapping[object, Evaluated]) -> list[SweepRun]:
    """The curve with a conversion for every T where that is asked for or all there is, and that of
    the early answers of the network for the last T."""
    steps, last = series.steps, series.steps.last
    whole, *others = (found.get(c.key) for c in _configurations(work, series, all_of=True))
    assert whole is not None
    network, evaluation = whole
    tied = evaluation.points[-1].latency > last
    shown = tuple(point for point in evaluation.points if point.T in steps.answers)
    early, out = replace(evaluation, points=shown), []
    made = [(one, t) for one, t in zip(others, steps.conversions[:-1], strict=True) if one]
    if made:
        points = (*(one[1].points[-1] for one, _ in made), evaluation.points[-1])
        answers = _answers(made, evaluation)
        run = _run(series, network, replace(evaluation, points=points, answers=answers), each=True)
        networks = [*((one[0], t) for one, t in made), (network, last)]
        out.append(_looked_at(work, run, networks, answers=(last,)))
    if not out or not tied:
        run = _run(series, network, early, each=False)
        out.append(_looked_at(work, run, [(network, last)], answers=[p.T for p in shown]))
    return out


def _looked_at(
    work: Work,
    run: SweepRun,
    networks: list[tuple[SpikingGraph, int]],
    *,
    answers: Sequence[int],
) -> SweepRun:
    """On the chips, and layer by layer; ``networks``: each with the T it was converted for."""
    chips = curves_on(work, networks, answers=answers, label=run.recipe)
    return replace(run, chips=chips, layers=_layers(work, run, networks))


def _layers(work: Work, run: SweepRun, networks: list[tuple[SpikingGraph, int]]) -> Measured | None:
    """Of the network of the knee. A sweep does not fail where they cannot be told."""
    if not work.whole or not run.evaluation.spiking.emits:
        return None
    found = knee(run.evaluation)
    steps = run.evaluation.points[-1].T if found is None else found["T"]
    made = {t: network for network, t in networks}
    few = work.samples.at(spread_over(len(work.samples), most=LAYERS_ON))
    network, seed = made.get(steps, networks[-1][0]), work.engine.get("seed", 0)
    try:
        return errors_by_layer(work.model, network, few, steps=steps, seed=seed)
    except Onnx2SnnError as error:
        work.watch.say(f"no errors by layer of {run.recipe}: {error}")
        return None


def _answers(made: Sequence[tuple[Evaluated, int]], last: Evaluation) -> Answers | None:
    """Of networks that were each converted for a T, and of the ``last``, each after its own."""
    if last.answers is None:
        return None
    each = [(evaluation.answers, t) for (_, evaluation), t in made]
    said = {t: answers.said[t] for answers, t in each if answers is not None}
    steps = last.points[-1].T
    return replace(last.answers, said={**said, steps: last.answers.said[steps]})


def _run(series: Series, network: SpikingGraph, evaluation: Evaluation, *, each: bool) -> SweepRun:
    both = series.each and len(series.steps.answers) > 1
    steps = [point.T for point in evaluation.points]
    way = (", each T" if each else ", early") if both else ""
    return SweepRun(
        recipe=f"{series.label}{way}",
        steps=series.steps.last,
        evaluation=evaluation,
        notes=(
            *Provenance.of(network).notes,
            *((EACH,) if both and each else early_notes(network, steps)),
        ),
        network=network,
        each=each,
    )
