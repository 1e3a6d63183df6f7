"""What a sweep is going to do and about how long it will take, before it begins.

Simulation is timed on what the store has of the very network, else on a few samples through a
network converted for the series' last T with a few calibration samples; fewer steps take
proportionally less. A conversion is timed twice, on few and on more calibration samples, for what
it takes at all and for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from ..converter.tune import Tuning
from ..data import Samples
from ..evaluation.ann import onnx_ann
from ..evaluation.evaluate import evaluate
from ..provenance.converted import convert
from ..runtime.facts import GraphFacts
from ..runtime.graph import SpikingGraph
from ..runtime.semantics.samples import spread_over
from .plan import Series
from .work import Work

FEW, MORE = 4, 16  # samples of the trials


@dataclass(frozen=True, eq=False, kw_only=True)
class Configuration:
    """One network to convert and simulate.

    Attributes:
        label: of its series; steps: its T.
        converted: whether the store has it.
        done: samples whose results the store has, of all ``samples``.
        seconds: that are left, about.
        timed: what ``seconds`` come from, "stored results" or "a trial".
    """

    label: str
    steps: int
    converted: bool
    done: int
    samples: int
    seconds: float
    timed: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimate:
    """All of a sweep, in the order in which it is done."""

    configurations: tuple[Configuration, ...]

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.configurations)


def document(estimate: Estimate) -> dict[str, Any]:
    """As JSON."""
    return {
        "schema": "onnx2snn.sweep-plan/1",
        "configurations": [asdict(one) for one in estimate.configurations],
        "seconds": estimate.seconds,
    }


def estimated(work: Work, series: Sequence[Series], *, seeds: int = 1) -> Estimate:
    """Nothing is stored, and nothing that the store has is done again."""
    found: list[Configuration] = []
    for one in series:
        trial = _timed(work, one, fresh=one.each or seeds > 1)
        for seed in range(seeds):
            found += _of_series(work.seeded(seed), one.seeded(seed), trial)
    return Estimate(configurations=tuple(found))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Trial:
    """Seconds of a conversion, and of each sample, for ``steps``; whether every T is a conversion
    of its own (start lags)."""

    conversion: float
    sample: float
    steps: int
    tied: bool


def _of_series(work: Work, series: Series, trial: _Trial) -> list[Configuration]:
    last = series.steps.last
    each = len(series.steps.conversions) > 1 and (trial.tied or series.each)
    steps = [last, *(series.steps.conversions[:-1] if each else ())]
    return [_configuration(work, series, t, trial) for t in steps]


def _configuration(work: Work, series: Series, steps: int, trial: _Trial) -> Configuration:
    network, count = work.stored(series, steps), len(work.samples)
    share = steps / trial.steps
    done, sample, timed = 0, trial.sample * share, "a trial"
    if network is not None:
        shards = work.shards(series, network, steps)
        done = shards.done
        if done:
            sample, timed = shards.seconds() / done, "stored results"
    converting = 0.0 if network is not None else trial.conversion * share
    return Configuration(
        label=series.label,
        steps=steps,
        converted=network is not None,
        done=done,
        samples=count,
        seconds=converting + sample * (count - done),
        timed=timed,
    )


def _timed(work: Work, series: Series, *, fresh: bool) -> _Trial:
    """``fresh``: more than the network of the last T may have to be converted."""
    last = series.steps.last
    network = work.stored(series, last)
    converting = 0.0
    if network is None or fresh:
        network, converting = _conversion(work, series, last)
    few, more = (_simulation(work, network, last, count=count) for count in (FEW, MORE))
    sample = (more - few) / (MORE - FEW) if len(work.samples) >= MORE else more / len(work.samples)
    return _Trial(
        conversion=converting,
        sample=max(sample, 0.0),
        steps=last,
        tied=GraphFacts(network).latency > 0,
    )


def _conversion(work: Work, series: Series, steps: int) -> tuple[SpikingGraph, float]:
    """A network for trials, and how long the whole conversion will take."""
    options, took = {**series.options, "steps": steps}, []
    for count in (FEW, MORE):
        began = perf_counter()
        network = convert(work.model, _some(work.calibration, count), **options)
        took.append(perf_counter() - began)
    if work.calibration is None:
        return network, took[-1]
    per_sample = max(took[1] - took[0], 0.0) / (MORE - FEW)
    beyond = min(len(work.calibration), Tuning().samples) - MORE
    return network, took[1] + per_sample * max(beyond, 0)


def _simulation(work: Work, network: SpikingGraph, steps: int, *, count: int) -> float:
    samples = work.samples.section(0, count)
    began = perf_counter()
    evaluate(network, samples, steps, onnx_ann(work.model, network), **work.engine)
    return perf_counter() - began


def _some(samples: Samples | None, count: int) -> Samples | None:
    return None if samples is None else samples.at(spread_over(len(samples), most=count))
