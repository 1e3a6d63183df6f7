"""Runs a plan: what the store has is taken from it, the rest is converted and simulated.

A shard is a slice of the samples through one converted network. Shards are merged in the order of
the samples, so that what comes out does not depend on how often the sweep was interrupted. Every
network goes through the store's form of it, stored now or earlier: what is simulated is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..converter.frontend import LoadedModel
from ..data import Samples
from ..errors import ModelError
from ..evaluation.ann import onnx_ann
from ..evaluation.answers import Answers
from ..evaluation.evaluate import Evaluation, evaluate
from ..evaluation.spread import judged, spread
from ..evaluation.sweep import EACH, Sweep, SweepRun, early_notes
from ..evaluation.tally import Tally
from ..hwtargets import HardwareTarget
from ..provenance import Provenance
from ..provenance.converted import convert
from ..runtime.file.packed import pack, unpack
from ..runtime.graph import SpikingGraph
from . import fingerprint as keys
from .chips import curves_on
from .packing import MALFORMED, packed, unpacked
from .plan import Series
from .store import Store
from .watching import Watcher


def work_on(
    model: LoadedModel,
    samples: Samples,
    *,
    calibration: Samples | None,
    store: Store,
    engine: Mapping[str, Any] | None = None,
    watch: Watcher,
    targets: Sequence[HardwareTarget] = (),
) -> Work:
    """The work, with keys of everything that was read."""
    return Work(
        model=model,
        samples=samples,
        calibration=calibration,
        store=store,
        engine=engine or {},
        watch=watch,
        conversions=keys.conversions(model, calibration),
        inputs=keys.inputs(model, samples),
        targets=tuple(targets),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Work:
    """What all series of a sweep share.

    Attributes:
        calibration: None converts on assumed statistics.
        store: keeps what is finished.
        engine: keyword arguments of ``evaluate``.
        watch: is told what is gone on from, and how it goes.
        conversions, inputs: keys (``fingerprint``), see ``work_on``.
        targets: chips that every network is also run on.
    """

    model: LoadedModel
    samples: Samples
    calibration: Samples | None
    store: Store
    engine: Mapping[str, Any]
    watch: Watcher
    conversions: str
    inputs: str
    targets: tuple[HardwareTarget, ...] = ()

    @cached_property
    def simulations(self) -> str:
        return keys.simulations(self.inputs, self.engine)

    def seeded(self, seed: int) -> Work:
        """With the seed of stochastic encodings that much higher; chips run the first only."""
        if seed == 0:
            return self
        engine = {**self.engine, "seed": self.engine.get("seed", 0) + seed}
        return replace(self, engine=engine, targets=())

    def conversion_key(self, series: Series, steps: int) -> str:
        return keys.fingerprint([self.conversions, series.options, steps])

    def curves(self, series: Series) -> list[SweepRun]:
        """The curve with a conversion for every T where that is asked for or all there is, and that
        of the early answers of the network for the last T."""
        steps, last = series.steps, series.steps.last
        network, evaluation = self._evaluate(series, first=steps.answers[0], last=last)
        tied = evaluation.points[-1].latency > last  # start lags: every T has its own windows
        shown = tuple(point for point in evaluation.points if point.T in steps.answers)
        early, out = replace(evaluation, points=shown), []
        if len(steps.conversions) > 1 and (tied or series.each):
            self.watch.planned(() if series.each else steps.conversions[:-1])
            made = [(*self._evaluate(series, first=t, last=t), t) for t in steps.conversions[:-1]]
            points = (*(found.points[-1] for _, found, _ in made), evaluation.points[-1])
            whole = replace(evaluation, points=points, answers=_answers(made, evaluation))
            run = _run(series, network, whole, each=True)
            networks = [*((each, t) for each, _, t in made), (network, last)]
            out.append(self._on_chips(run, networks, answers=(last,)))
        if not out or not tied:
            run = _run(series, network, early, each=False)
            out.append(self._on_chips(run, [(network, last)], answers=[p.T for p in shown]))
        return out

    def _on_chips(
        self, run: SweepRun, networks: list[tuple[SpikingGraph, int]], *, answers: Sequence[int]
    ) -> SweepRun:
        return replace(run, chips=curves_on(self, networks, answers=answers, label=run.recipe))

    def _evaluate(
        self, series: Series, *, first: int, last: int
    ) -> tuple[SpikingGraph, Evaluation]:
        title = f"{series.label} (T={last})"
        network = self._network(series, last)
        shards = self.shards(series, network, last)
        done = shards.done
        if done:
            self.watch.say(
                f"continuing: {done:,} of {len(self.samples):,} samples of {title} were done"
            )
        evaluation = evaluate(
            network,
            self.samples,
            last,
            onnx_ann(self.model, network),
            first=first,
            shards=shards,
            progress=self.watch.stage(f"simulating ({series.label}, T={last})", samples=True),
            **self.engine,
        )
        score = judged(evaluation, evaluation.points[-1])
        self.watch.finished(series.label, steps=last, score=score)
        return network, evaluation

    def _network(self, series: Series, steps: int) -> SpikingGraph:
        """That of the store, or converted now and stored."""
        found = self.stored(series, steps)
        if found is not None:
            return found
        made = convert(
            self.model,
            self.calibration,
            progress=self.watch.stage(f"converting ({series.label}, T={steps})"),
            **{**series.options, "steps": steps},
        )
        content = pack(made)
        self.store.keep_conversion(self.conversion_key(series, steps), content)
        return unpack(content)

    def shards(self, series: Series, network: SpikingGraph, steps: int) -> StoredShards:
        return StoredShards(
            store=self.store,
            simulations=self.simulations,
            key=keys.simulation(self.simulations, network, steps),
            network=network,
            steps=steps,
            title=f"{series.label} (T={steps})",
            say=self.watch.say,
        )

    def stored(self, series: Series, steps: int) -> SpikingGraph | None:
        """The conversion that the store has."""
        content = self.store.conversion(self.conversion_key(series, steps))
        if content is None:
            return None
        try:
            return unpack(content)
        except ModelError:
            title = f"{series.label} (T={steps})"
            self.watch.say(f"the stored conversion of {title} is damaged: converted again")
            return None


def sweep(work: Work, series: Sequence[Series], *, seeds: int = 1) -> Sweep:
    """Convert what every series asks for (``plan``) and run it on the samples, each with so many
    ``seeds``."""
    works = [work.seeded(seed) for seed in range(seeds)]
    for one in series:
        t = one.steps
        work.watch.planned((t.conversions if one.each else (t.last,)) * seeds)
    known = {
        work.conversion_key(one.seeded(seed), t)
        for one in series
        for seed in range(seeds)
        for t in one.steps.conversions
    }
    others = work.store.others(known, {each.simulations for each in works})
    if others:
        work.watch.say(
            f"{work.store.path} also has {others:,} results of a sweep of something else (another "
            "model, other samples, labels or options, or other versions of the libraries): not "
            "used, and kept"
        )
    return Sweep(
        model=Path(work.model.path).name,
        data=work.samples.source,
        samples=len(work.samples),
        runs=tuple(run for one in series for run in _over_seeds(works, one)),
    )


def _over_seeds(works: Sequence[Work], series: Series) -> list[SweepRun]:
    """The curves of the first seed, with the spread over all."""
    found = [work.curves(series.seeded(seed)) for seed, work in enumerate(works)]
    if len(works) == 1:
        return found[0]
    return [
        replace(same[0], spread=spread([run.evaluation for run in same], range(len(works))))
        for same in zip(*found, strict=True)
    ]


def _answers(
    made: Sequence[tuple[SpikingGraph, Evaluation, int]], last: Evaluation
) -> Answers | None:
    """Of networks that were each converted for a T, and of the ``last``, each after its own."""
    if last.answers is None:
        return None
    each = [evaluation.answers for _, evaluation, _ in made]
    said = {t: a.said[t] for a, (_, _, t) in zip(each, made, strict=True) if a is not None}
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


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredShards:
    """The shards of one network's evaluation, in the store under ``key``. ``title``: what the
    evaluation is called in what there is to ``say``."""

    store: Store
    simulations: str
    key: str
    network: SpikingGraph
    steps: int
    title: str
    say: Callable[[str], None]

    @property
    def done(self) -> int:
        """How many samples are stored."""
        return sum(stop - start for start, stop in self.store.slices(self.key))

    def seconds(self) -> float:
        """What their simulation took."""
        stored = (self.get(start, stop) for start, stop in self.store.slices(self.key))
        return sum(float(tally.state["seconds"]) for tally in stored if tally is not None)

    def get(self, start: int, stop: int) -> Tally | None:
        content = self.store.shard(self.key, start=start, stop=stop)
        if content is None:
            return None
        try:
            return Tally.restored(unpacked(content), self.network, self.steps)
        except MALFORMED:
            self.say(f"stored results of {self.title} are damaged: simulated again")
            return None

    def put(self, start: int, stop: int, tally: Tally) -> None:
        content = packed(tally.state)
        self.store.keep_shard(
            self.simulations, key=self.key, start=start, stop=stop, content=content
        )
