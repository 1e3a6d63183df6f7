"""Runs a spiking network over samples and keeps score after every time step.

Chunks of samples are simulated one after the other and only counts are kept, so memory does not
grow with the number of samples. The ANN's answers for the same samples come from outside (ONNX
Runtime, or analog mode).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ..data import Samples
from ..errors import UsageError
from ..questions import Question
from ..questions.answers import questions_of_answers
from ..runtime.cost import StaticCost, static_cost
from ..runtime.engine import DEFAULT, EarlyExit, make_engine
from ..runtime.facts import GraphFacts
from ..runtime.graph import Population, Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.semantics import labels as reader
from ..runtime.semantics.intervals import paired_points, wilson
from ..runtime.semantics.values import ValueScore, score
from .ann import Ann, analog_ann
from .answers import Answers, identities, sha256
from .energy.events import Events, events
from .outputs import OutputScore, concordance, scores
from .spiking import SpikingShare, share_of
from .tally import Part, Shards, Tally, counted

Progress = Callable[[int, int], None]
CHUNK = 200
ANSWER_BYTES = 128 * 2**20  # for one chunk's answers after every step, and their comparison


@dataclass(frozen=True, eq=False, kw_only=True)
class Point:
    """Score after T steps. Accuracies are fractions; None where there are no class labels.

    Attributes:
        T: steps of the answer; latency: T and the start lags, from input to answer.
        low, high: 95 % Wilson interval of the accuracy.
        difference_low, difference_high: 95 % interval of accuracy less the ANN's on the same
            samples (Agresti and Min 2005).
        agreement: share of samples whose class is the ANN's, and its 95 % Wilson interval
            agreement_low, agreement_high; where the outputs are no classes the ``concordance``.
        error: norm of the difference to the ANN's outputs, relative to their norm.
        concordance: Lin's, with the ANN's values (``outputs``); that of the worst output.
        rmse, mae, r2: of the first output against labels that are values.
        spikes_per_neuron: mean over neurons and samples, summed over the steps.
        synops_per_sample: synaptic operations of one sample, summed over the steps.
        macs_per_sample: multiply-accumulates on analog values of one sample: of the input's layers
            once, of layers and islands that are fed by analog values in every step it ran.
        updates_per_sample: neurons updated, once for each step in which they integrate or may fire.
        synops_to_ann, macs_to_ann: both relative to the ANN's multiply-accumulates; None where the
            ANN has none.
    """

    T: int
    latency: int
    accuracy: float | None
    low: float | None
    high: float | None
    agreement: float
    error: float
    spikes_per_neuron: float
    synops_per_sample: float
    macs_per_sample: float
    updates_per_sample: float
    synops_to_ann: float | None
    macs_to_ann: float | None
    concordance: float = 1.0
    agreement_low: float | None = None
    agreement_high: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    rmse: float | None = None
    mae: float | None = None
    r2: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """The whole curve of one network on one data set.

    ``spikes_per_neuron`` is by population, over all steps; ``events``: what the whole run did, as
    it costs energy; ``stopped[t]`` is how many samples an
    early exit stopped after t steps (empty without early exit); ``seconds`` is simulation alone.
    ``classes``: whether the first output is class scores, and labels (if any) are classes; else the
    network is judged by error and concordance; ``guessed_classes``: for want of labels, by the
    shape of the outputs alone; ``logit``: it is one number, class 1 where it is above 0;
    ``unused_labels``: there are class numbers that say nothing of such an output. ``outputs``: each
    output after the last step. ``spiking``: how much of the work spikes do. ``ann_values``: the ANN
    against labels that are values; ``said``: how the labels were read; ``questions``: what the
    ANN's answers to them make doubtful. ``answers``: of every sample, None where they are no
    classes; ``samples_sha256`` and ``labels_sha256``: of the samples (``answers.identities``) and
    labels, as they are stored; ``how``: with what it was simulated, by name.
    """

    points: tuple[Point, ...]
    ann_accuracy: float | None
    samples: int
    neurons: int
    macs_ann: int
    macs_per_step: int
    macs_once: int
    spiking: SpikingShare
    seconds: float
    spikes_per_neuron: Mapping[str, float]
    events: Events
    stopped: tuple[int, ...] = ()
    classes: bool = True
    guessed_classes: bool = False
    logit: bool = False
    unused_labels: bool = False
    outputs: tuple[OutputScore, ...] = ()
    ann_values: ValueScore | None = None
    said: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    answers: Answers | None = None
    samples_sha256: str = ""
    labels_sha256: str | None = None
    how: Mapping[str, Any] = field(default_factory=dict)


def evaluate(
    network: SpikingGraph,
    samples: Samples,
    steps: int,
    ann: Ann | None = None,
    *,
    first: int = 1,
    shards: Shards | None = None,
    progress: Progress = lambda done, total: None,
    chunk: int = CHUNK,
    seed: int = 0,
    early_exit: EarlyExit | None = None,
    regression: bool = False,
    engine: str = DEFAULT,
    **options: Any,
) -> Evaluation:
    """Accuracy, agreement with the ANN and cost after each of steps ``first`` .. ``steps``.

    Parameters:
        ann: ``onnx_ann(model, network)``, or the network's own analog mode by default.
        shards: where the counts of every ``chunk`` of samples are kept; what is there already is
            not simulated again.
        seed, early_exit: see ``runtime.engine.interface.How``.
        regression: the outputs are values, also where they look like one score per class. (Labels
            that are no class numbers say the same.)
        engine: "fast" ("onnxruntime" is its old name); "numpy", the definition; or "torch".
        options: fields of ``runtime.engine.interface.EngineOptions``.

    Raises UsageError for an unknown engine and steps below 1 (E110), DataError for samples that
    do not fit.
    """
    if not 1 <= first <= steps:
        raise UsageError(
            f"steps are at least 1, and the first is not after the last, got {first} to {steps}",
            code="E110",
        )
    ann = ann or analog_ann(network)
    known = reader.read(network, samples.labels, regression=regression, where=samples.source)
    simulator = make_engine(engine, **options)

    def measured(start: int, stop: int) -> Tally:
        part = Part(x=samples.batch(start, stop), known=known.of(start, stop), start=start)
        return counted(
            network,
            part,
            steps,
            simulator,
            ann=ann,
            seed=seed,
            early_exit=early_exit,
            progress=lambda done, _: progress(start + done, count),
        )

    tally, count = Tally(steps), len(samples)
    for start, stop in slices(network, steps, count=count, chunk=chunk):
        part = None if shards is None else shards.get(start, stop)
        if part is None:
            part = measured(start, stop)
            if shards is not None:
                shards.put(start, stop, part)
        tally.merge(part)
        progress(stop, count)
    found = _evaluation(
        network,
        tally,
        (first, steps),
        known.classes,
        known.logits,
        has_labels=known.numbers is not None,
    )
    asked = questions_of_answers(
        known,
        network.of(Readout)[0].shape,
        said=None if known.numbers is None else tally.state.get("ann_said"),
        values=found.ann_values,
        where=samples.source,
    )
    which = identities(samples)
    return replace(
        found,
        answers=_answers(tally.state, which, known=known, span=(first, steps)),
        samples_sha256=sha256(which),
        labels_sha256=None if samples.labels is None else sha256(samples.labels),
        how={
            "engine": engine,
            "seed": seed,
            "early_exit": None if early_exit is None else asdict(early_exit),
            **{k: str(v) for k, v in options.items() if k in ("dtype", "device") and v is not None},
        },
        unused_labels=not regression and not known.classes and known.whole,
        said=known.said,
        questions=tuple(asked),
    )


def _answers(
    state: Mapping[str, Array], samples: Array, *, known: reader.Reading, span: tuple[int, int]
) -> Answers | None:
    """Of a tally's ``state``, after each step of ``span``; None where outputs are no classes."""
    if not known.classes or "said" not in state:
        return None
    return Answers(
        said={t: state["said"][t - 1] for t in range(span[0], span[1] + 1)},
        ann=state["ann_said"],
        labels=known.numbers,
        samples=samples,
    )


def slices(
    graph: SpikingGraph, steps: int, *, count: int, chunk: int = CHUNK
) -> Iterator[tuple[int, int]]:
    """(start, stop) of the shards of ``count`` samples: as many in each as have answers after all
    ``steps`` that fit ``ANSWER_BYTES`` (kept in float32 and compared in float64, with its
    temporaries), at least one and at most ``chunk``."""
    numbers = steps * sum(prod(r.shape) for r in graph.of(Readout))
    chunk = min(chunk, max(1, ANSWER_BYTES // (numbers * (4 + 3 * 8))))
    for start in range(0, count, chunk):
        yield start, min(start + chunk, count)


def _evaluation(
    graph: SpikingGraph,
    tally: Tally,
    span: tuple[int, int],
    classifier: bool,
    logits: frozenset[str],
    *,
    has_labels: bool,
) -> Evaluation:
    facts, s = GraphFacts(graph), tally.state
    cost, count = static_cost(facts), int(s["samples"])
    scored = has_labels and classifier
    shapes = {r.name: r.shape for r in graph.of(Readout)}
    totals = {name: s[f"output/{name}"] for name in shapes}
    by_population = {
        name: float(s.get(f"layer/{name}", 0.0)) / max(n, 1) / count
        for name, n in cost.neurons.items()
    }
    points = _points(facts, cost, s, span=span, classifier=classifier, scored=scored)
    done = events(
        facts,
        cost=cost,
        spikes=by_population,
        synops={
            name: float(s[f"synops/{name}"]) / count for name in (*cost.fan_out, *cost.passed_on)
        },
        macs=points[-1].macs_per_sample,
        steps=span[1],
        ran=float(_steps_run(s["stopped"], count)[-1]),
    )
    return Evaluation(
        points=points,
        ann_accuracy=float(s["ann_correct"]) / count if scored else None,
        samples=count,
        neurons=sum(cost.neurons.values()),
        macs_ann=cost.macs_ann,
        macs_per_step=cost.macs_per_step,
        macs_once=cost.macs_once,
        spiking=share_of(graph, cost),
        seconds=float(s["seconds"]),
        spikes_per_neuron=by_population,
        events=done,
        stopped=tuple(int(n) for n in s["stopped"]) if s["stopped"].any() else (),
        classes=classifier,
        guessed_classes=classifier and not has_labels,
        logit=classifier and next(iter(shapes)) in logits,
        outputs=scores(totals, shapes, count, logits),
        ann_values=score(s["ann_values"], s["targets"]) if "targets" in s else None,
    )


def _points(
    facts: GraphFacts,
    cost: StaticCost,
    s: Mapping[str, Array],
    *,
    span: tuple[int, int],
    classifier: bool,
    scored: bool,
) -> tuple[Point, ...]:
    """The score after each step of ``span``, both ends included, of a tally's state ``s``;
    ``scored``: there are class labels."""
    count, neurons = int(s["samples"]), sum(cost.neurons.values())
    totals = [s[f"output/{r.name}"] for r in facts.graph.of(Readout)]
    worst = np.min([concordance(total) for total in totals], axis=0)
    spikes, synops = np.cumsum(s["spikes"]), np.cumsum(s["synops"])
    ran = _steps_run(s["stopped"], count)
    macs = cost.macs_once + cost.macs_per_step * ran
    populations = facts.graph.of(Population)
    waiting = sum(cost.neurons[p.name] * p.neuron.lag for p in populations)
    points = []
    for t in range(span[0] - 1, span[1]):
        bounds = wilson(int(s["agree"][t]), count=count) if classifier else (None, None)
        value = score(s["values"][t], s["targets"]) if "targets" in s else None
        points.append(
            Point(
                T=t + 1,
                latency=t + 1 + facts.latency,
                agreement=float(s["agree"][t]) / count if classifier else float(worst[t]),
                error=float(np.sqrt(s["error"][t] / max(float(s["ann_norm"]), 1e-30))),
                spikes_per_neuron=float(spikes[t]) / max(neurons, 1) / count,
                synops_per_sample=float(synops[t]) / count,
                macs_per_sample=float(macs[t]),
                updates_per_sample=float(neurons * ran[t] + waiting),
                synops_to_ann=float(synops[t]) / count / cost.macs_ann if cost.macs_ann else None,
                macs_to_ann=float(macs[t]) / cost.macs_ann if cost.macs_ann else None,
                concordance=float(worst[t]),
                agreement_low=bounds[0],
                agreement_high=bounds[1],
                **_scored(s, t, count=count, known=scored),
                rmse=None if value is None else value.rmse,
                mae=None if value is None else value.mae,
                r2=None if value is None else value.r2,
            )
        )
    return tuple(points)


def _scored(counts: Mapping[str, Array], t: int, *, count: int, known: bool) -> dict[str, Any]:
    """Of a ``Point``: the accuracy after step ``t``, from 0; None where it is not ``known``."""
    keys = ("accuracy", "low", "high", "difference_low", "difference_high")
    if not known:
        return dict.fromkeys(keys)
    correct = int(counts["correct"][t])
    drop = paired_points(lost=int(counts["lost"][t]), won=int(counts["won"][t]), count=count)
    values = (correct / count, *wilson(correct, count=count), -drop[2] / 100, -drop[1] / 100)
    return dict(zip(keys, values, strict=True))


def _steps_run(stopped: Array, count: int) -> Array:
    """(steps,): how many steps a sample ran up to each, on average. ``stopped[t]``: how many of the
    ``count`` samples an early exit stopped after t steps; all 0 without one."""
    steps = np.arange(1, len(stopped), dtype=np.float64)
    if not stopped.any():
        return steps
    ran_on = count - np.cumsum(stopped)[:-1]  # past 0, 1, ... steps
    return np.cumsum(ran_on) / count
