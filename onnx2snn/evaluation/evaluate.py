"""Runs a spiking network over samples and keeps score after every time step.

Chunks of samples are simulated one after the other and only counts are kept, so memory does not
grow with the number of samples. The ANN's answers for the same samples come from outside (ONNX
Runtime, or analog mode).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from ..data import Samples
from ..questions import Question
from ..questions.answers import questions_of_answers
from ..runtime.cost import static_cost
from ..runtime.engine import DEFAULT, EarlyExit, SimulationResult, make_engine
from ..runtime.facts import GraphFacts
from ..runtime.graph import Population, Readout, SpikingGraph
from ..runtime.ops import Array
from ..runtime.semantics import labels as reader
from ..runtime.semantics.decision import decisions
from ..runtime.semantics.intervals import paired_points, wilson
from ..runtime.semantics.values import ValueScore, misses, moments, score
from .ann import Ann, analog_ann
from .energy.events import Events, events
from .outputs import COLUMNS, OutputScore, concordance, is_classifier, scores, sums
from .spiking import SpikingShare, share_of

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
    ANN's answers to them make doubtful.
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


class Tally:
    """Counts over chunks; ``state`` can be saved and restored to resume a run."""

    def __init__(self, steps: int) -> None:
        zeros = np.zeros(steps)
        self.state: dict[str, Array] = {
            "correct": zeros.copy(),
            "agree": zeros.copy(),
            "lost": zeros.copy(),
            "won": zeros.copy(),
            "error": zeros.copy(),
            "spikes": zeros.copy(),
            "synops": zeros.copy(),
            "ann_correct": np.zeros(()),
            "ann_norm": np.zeros(()),
            "samples": np.zeros((), np.int64),
            "seconds": np.zeros(()),
            "stopped": np.zeros(steps + 1, np.int64),
        }

    def restore(self, counts: Mapping[str, Array], graph: SpikingGraph) -> int:
        """Go on from the ``state`` of another tally of ``graph``: how many samples were done.

        Raises KeyError or ValueError where ``counts`` are not such a state.
        """
        zeros = dict(self.state)
        steps = len(zeros["correct"])
        zeros |= {f"output/{r.name}": np.zeros((steps, COLUMNS)) for r in graph.of(Readout)}
        zeros |= {key: np.zeros(()) for key in counts if key.startswith(("layer/", "synops/"))}
        known = {
            "ann_said": np.zeros(int(counts["samples"]), np.int64),
            "values": np.zeros((steps, 2)),
            "ann_values": np.zeros(2),
            "targets": np.zeros((3, prod(graph.of(Readout)[0].shape))),
        }
        zeros |= {key: known[key] for key in counts if key in known}
        if counts.keys() != zeros.keys():
            raise KeyError(*(counts.keys() ^ zeros.keys()))
        for key, wanted in zeros.items():
            got = counts[key]
            if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
                raise ValueError(f"{key}: {got.dtype} of shape {got.shape}")
        self.state = dict(counts)
        return int(self.state["samples"])

    def add(
        self,
        result: SimulationResult,
        ann: Mapping[str, Array],
        labels: Array | None,
        seconds: float,
        logits: frozenset[str] = frozenset(),
        *,
        targets: Array | None = None,
    ) -> None:
        """Add a chunk: simulated readouts, the ANN's outputs, class labels or None; ``logits`` are
        the outputs that are one number and say one of two classes; ``targets`` right values."""
        s = self.state
        for name, readout in result.readouts.items():
            target = ann[name].astype(np.float64)
            found = sums(readout, wanted=target, logit=name in logits)
            s["error"] += found[:, 6]
            s["ann_norm"] += found[0, 4]
            key = f"output/{name}"
            s[key] = s.get(key, 0.0) + found
        first = next(iter(result.readouts))
        shape = ann[first].shape[1:]
        if is_classifier(shape, logit=first in logits):
            guess, ann_guess = (
                decisions(result.readouts[first], shape),
                decisions(ann[first], shape),
            )
            s["agree"] += (guess == ann_guess).sum(axis=1)
            if labels is not None:
                right, ann_right = guess == labels, ann_guess == labels
                s["correct"] += right.sum(axis=1)
                s["lost"] += (ann_right & ~right).sum(axis=1)
                s["won"] += (right & ~ann_right).sum(axis=1)
                s["ann_correct"] += ann_right.sum()
                before = s.get("ann_said", np.zeros(0, np.int64))
                s["ann_said"] = np.concatenate([before, ann_guess.astype(np.int64)])
        if targets is not None:
            s["values"] = s.get("values", 0) + misses(result.readouts[first], targets=targets)
            s["ann_values"] = s.get("ann_values", 0) + misses(ann[first], targets=targets)
            s["targets"] = s.get("targets", 0) + moments(targets)
        s["spikes"] += sum(result.spikes.values(), start=np.zeros_like(s["spikes"]))
        s["synops"] += result.synops
        s["samples"] += result.samples
        if result.steps_used is not None:
            s["stopped"] += np.bincount(result.steps_used, minlength=len(s["stopped"]))
        s["seconds"] += seconds
        for name, spikes in result.spikes.items():
            key = f"layer/{name}"
            s[key] = s.get(key, np.zeros(())) + spikes.sum()
        for name, operations in result.synops_of.items():
            key = f"synops/{name}"
            s[key] = s.get(key, np.zeros(())) + operations


def evaluate(
    network: SpikingGraph,
    samples: Samples,
    steps: int,
    ann: Ann | None = None,
    *,
    first: int = 1,
    tally: Tally | None = None,
    checkpoint: Callable[[Tally], None] = lambda tally: None,
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
        tally: counts to go on from (its samples are skipped); ``checkpoint`` sees it after each
            chunk.
        seed, early_exit: see ``runtime.engine.interface.How``.
        regression: the outputs are values, also where they look like one score per class. (Labels
            that are no class numbers say the same.)
        engine: "fast", or "numpy", the definition ("onnxruntime" is an old name of "fast").
        options: fields of ``runtime.engine.interface.EngineOptions``.

    Raises UsageError for an unknown engine, DataError for samples that do not fit.
    """
    ann = ann or analog_ann(network)
    tally = tally or Tally(steps)
    known = reader.read(network, samples.labels, regression=regression, where=samples.source)
    simulator = make_engine(engine, **options)
    done = int(tally.state["samples"])
    chunk = min(chunk, _most_samples(network, steps))
    while done < len(samples):
        x = samples.batch(done, min(done + chunk, len(samples)))
        began = perf_counter()
        result = simulator.run(network, x, steps, seed=seed, offset=done, early_exit=early_exit)
        seconds = perf_counter() - began
        right = None if known.numbers is None else known.numbers[done : done + result.samples]
        labels, targets = (right, None) if known.classes else (None, right)
        tally.add(result, ann(x), labels, seconds, known.logits, targets=targets)
        done += result.samples
        checkpoint(tally)
        progress(done, len(samples))
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
        said=tally.state.get("ann_said"),
        values=found.ann_values,
        where=samples.source,
    )
    return replace(
        found,
        unused_labels=not regression and not known.classes and known.whole,
        said=known.said,
        questions=tuple(asked),
    )


def _most_samples(graph: SpikingGraph, steps: int) -> int:
    """Samples whose answers after all ``steps`` fit ``ANSWER_BYTES``: kept in float32 and compared
    in float64, with its temporaries. At least one."""
    numbers = steps * sum(prod(r.shape) for r in graph.of(Readout))
    return max(1, ANSWER_BYTES // (numbers * (4 + 3 * 8)))


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
    cost, latency = static_cost(facts), facts.latency
    count, neurons = int(s["samples"]), sum(cost.neurons.values())
    scored = has_labels and classifier
    shapes = {r.name: r.shape for r in graph.of(Readout)}
    totals = {name: s[f"output/{name}"] for name in shapes}
    worst = np.min([concordance(total) for total in totals.values()], axis=0)
    spikes, synops = np.cumsum(s["spikes"]), np.cumsum(s["synops"])
    ran = _steps_run(s["stopped"], count)
    macs = cost.macs_once + cost.macs_per_step * ran
    waiting = sum(cost.neurons[p.name] * p.neuron.lag for p in graph.of(Population))
    valued = "targets" in s
    by_population = {
        name: float(s.get(f"layer/{name}", 0.0)) / max(n, 1) / count
        for name, n in cost.neurons.items()
    }
    points = []
    for t in range(span[0] - 1, span[1]):
        bounds = wilson(int(s["agree"][t]), count=count) if classifier else (None, None)
        value = score(s["values"][t], s["targets"]) if valued else None
        points.append(
            Point(
                T=t + 1,
                latency=t + 1 + latency,
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
    return Evaluation(
        points=tuple(points),
        ann_accuracy=float(s["ann_correct"]) / count if scored else None,
        samples=count,
        neurons=neurons,
        macs_ann=cost.macs_ann,
        macs_per_step=cost.macs_per_step,
        macs_once=cost.macs_once,
        spiking=share_of(graph, cost),
        seconds=float(s["seconds"]),
        spikes_per_neuron=by_population,
        events=events(
            facts,
            cost=cost,
            spikes=by_population,
            synops={
                name: float(s[f"synops/{name}"]) / count
                for name in (*cost.fan_out, *cost.passed_on)
            },
            macs=points[-1].macs_per_sample,
            steps=span[1],
            ran=float(ran[-1]),
        ),
        stopped=tuple(int(n) for n in s["stopped"]) if s["stopped"].any() else (),
        classes=classifier,
        guessed_classes=classifier and not has_labels,
        logit=classifier and next(iter(shapes)) in logits,
        outputs=scores(totals, shapes, count, logits),
        ann_values=score(s["ann_values"], s["targets"]) if valued else None,
    )


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
