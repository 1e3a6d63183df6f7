"""Fine-tuning of a network that remembers how it was fine-tuned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..converter.finetuning.parameters import with_values
from ..converter.finetuning.refusals import refuse
from ..converter.finetuning.settings import Settings
from ..converter.finetuning.state import Epoch, State
from ..converter.finetuning.variations import mixes
from ..converter.lowering.grid import on_grid
from ..data import Samples
from ..display import counted
from ..errors import UsageError
from ..evaluation.answers import Answers
from ..evaluation.evaluate import Evaluation, Point, evaluate
from ..questions.inputs import KEPT, digests, packed, unpacked
from ..results import claim
from ..results.marks import Kind
from ..runtime.engine.torch import needed
from ..runtime.file import from_bytes, to_bytes
from ..runtime.graph import Population, SpikingGraph
from ..runtime.neurons import WindowedNeuron
from ..runtime.ops import Array
from ..runtime.semantics.intervals import paired_points
from ..runtime.semantics.labels import Reading, read
from ..runtime.semantics.samples import spread_over
from ..spelling import spelled
from . import FineTuningSession, Provenance
from .learned import Stages

if TYPE_CHECKING:
    from ..converter.finetuning.train import Task

STATE = "finetune.npz"
FEWEST = 8  # samples to learn from, and to judge by


@dataclass(frozen=True, eq=False, kw_only=True)
class FineTuning:
    """What `finetune` did.

    Attributes:
        network: fine-tuned; or as it was, where ``kept``: no epoch had a smaller loss on what was
            held back, or fewer of that were right than chance explains.
        steps: of every sample.
        samples, held_back: learned from, and judged by.
        seen: of those held back, how many the conversion was calibrated on: ``before`` looks
            better on them than it is.
        labels: whether right answers were learned; else what the ANN inside the network answers.
        classes: whether outputs are scores of classes.
        before, after: the networks of the two files on what was held back, after the last step
            (``after``: what training gave, kept or not).
        settings: that it was done with.
        history: epoch by epoch, the first is before training.
        best: the epoch whose numbers were taken.
        at_once: samples and steps computed at once, so that gradients fit into memory.
        said: how the labels were read, a sentence each.
        seconds, processor_seconds: of training alone.
    """

    network: SpikingGraph
    kept: bool
    steps: int
    samples: int
    held_back: int
    seen: int
    labels: bool
    classes: bool
    before: Point
    after: Point
    settings: Settings
    history: tuple[Epoch, ...]
    best: int
    at_once: tuple[int, int]
    said: tuple[str, ...]
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, eq=False, kw_only=True)
class States:
    """Where the state of a run is kept after every epoch: ``load`` gives the last one, None where
    there is none; ``where``: what that is called."""

    load: Callable[[], bytes | None]
    keep: Callable[[bytes], None]
    where: str


def states_in(folder: Path, *, inputs: Iterable[Path]) -> States:
    """In a ``folder`` of their own. Raises DataError (E220 to E225)."""
    results = claim(folder, {STATE: Kind.TRAINING}, inputs=inputs, force=False)
    path = folder / STATE

    def load() -> bytes | None:
        return path.read_bytes() if path.exists() else None

    return States(load=load, keep=lambda content: results.write(STATE, content), where=str(path))


def finetune(
    network: SpikingGraph,
    samples: Samples,
    settings: Settings | None = None,
    *,
    steps: int | None = None,
    regression: bool = False,
    threads: int | None = None,
    states: States | None = None,
    progress: Stages = lambda stage: lambda done, total: None,
) -> FineTuning:
    """Fine-tune ``network`` with surrogate gradients on ``samples``.

    Parameters:
        samples: with labels, which are learned; without, the ANN inside the network is.
        steps: of every sample [what the network was converted for].
        regression: the outputs are values.
        threads: of PyTorch [all cores, or one where layers are small].
        states: where the state is kept after every epoch, so that a run that was stopped goes on.
        progress: called with the name of a stage, gives what is called with (done, total).

    Raises UsageError (E110, E140, E142; without PyTorch E100), GraphError (E421) and DataError
    (E141, E226, E24x).
    """
    settings = settings or Settings()
    refuse(network)
    steps = _steps(network, steps)
    needed()
    from ..converter.finetuning.train import Task, train

    reading = read(network, samples.labels, regression=regression, where=samples.source)
    settings = _check(network, samples, reading, settings)
    learn, judge = split(samples, settings.hold_out)
    task = Task(
        network=network,
        steps=steps,
        coded=Provenance.of(network).coded,
        fetch=lambda numbers: samples.at(numbers).whole(),
        learn=learn,
        judge=judge,
        labels=reading.numbers,
        classes=reading.classes,
    )
    known = "" if states is None else _fingerprint(task, samples, settings)
    content = None if states is None else states.load()
    where = "" if states is None else states.where

    def keep(state: State) -> None:
        if states is not None:
            states.keep(state.to_bytes(known))

    began, worked = perf_counter(), process_time()
    state, parameters, parts = train(
        task,
        settings,
        state=None if content is None else State.from_bytes(content, known, where=where),
        keep=keep,
        progress=lambda state: progress(_stage(state, settings)),
        threads=threads,
    )
    seconds, worked = perf_counter() - began, process_time() - worked
    tuned = network
    if state.best_epoch:
        tuned = on_grid(with_values(network, parameters, state.best))
        tuned = from_bytes(to_bytes(tuned), where="the fine-tuned network")
    held = samples.at(judge)
    before, after = (_judged(one, held, steps, regression, progress) for one in (network, tuned))
    done = FineTuning(
        network=network,
        kept=not (state.best_epoch and _better(before, after=after, settings=settings)),
        steps=steps,
        samples=len(learn),
        held_back=len(judge),
        seen=_seen(network, held),
        labels=reading.numbers is not None,
        classes=reading.classes,
        before=before.points[-1],
        after=after.points[-1],
        settings=settings,
        history=state.history,
        best=state.best_epoch,
        at_once=(parts.samples, parts.steps),
        said=reading.said,
        seconds=seconds,
        processor_seconds=worked,
    )
    return done if done.kept else replace(done, network=_remembering(done, tuned, samples, learn))


def _steps(network: SpikingGraph, asked: int | None) -> int:
    own = Provenance.of(network).steps
    steps = own if asked is None else asked
    if steps is None or steps < 1:
        what = "the network's file does not say for how many time steps it was converted"
        if steps is not None:
            what = f"the number of time steps must be at least 1, got {steps}"
        raise UsageError(what, remedy=f"Give {spelled('steps')}.", code="E110")
    for node in network.of(Population):
        if isinstance(node.neuron, WindowedNeuron) and steps != node.neuron.lag:
            raise UsageError(
                f"'{node.name}' sends one number in a window of {node.neuron.lag} steps, not of "
                f"{steps}",
                remedy=f"Leave {spelled('steps')} out, or convert for {steps} steps.",
                code="E117",
            )
    return steps


def _check(
    network: SpikingGraph, samples: Samples, reading: Reading, settings: Settings
) -> Settings:
    """The settings, without what has nothing to be compared with. Raises UsageError (E142)."""
    taught = Provenance.of(network).recipe is not None
    if reading.numbers is None and not taught:
        raise UsageError(
            "there are no labels, and the file does not say that it was converted from an ANN that "
            "could answer instead",
            remedy=f"Name the labels: {spelled('data', 'FILE.npz:X_KEY,Y_KEY')}.",
            code="E142",
        )
    if reading.numbers is not None and reading.classes and mixes(settings.augment):
        raise UsageError(
            f"{spelled('augment', 'mix')} and cut leave no sample with one class, and there are "
            "labels",
            remedy="Leave it out, or the labels.",
            code="E142",
        )
    return settings if taught else replace(settings, match=0.0)


def split(samples: Samples, share: float) -> tuple[Array, Array]:
    """Numbers of the samples that are learned from, and of those held back, spread over all."""
    count = len(samples)
    held = round(count * share)
    if held < FEWEST or count - held < FEWEST:
        raise UsageError(
            f"{spelled('hold_out')} {share:g} of {counted(count, 'sample')} leaves "
            f"{count - held} to learn from and {held} to judge by: at least {FEWEST} of each are "
            "needed",
            remedy="Give more samples, or another share.",
            code="E142",
        )
    marks = np.zeros(count, bool)
    marks[spread_over(count, most=held)] = True
    return np.flatnonzero(~marks), np.flatnonzero(marks)


def _stage(state: State, settings: Settings) -> str:
    """The epoch that begins, and where the last one ended."""
    last = state.history[-1]
    held = f"held back {last.held_loss:.3g}"
    if last.held_score is not None:
        held += f", {100 * last.held_score:.1f} %"
    loss = f"loss {last.loss:.3g}, " if np.isfinite(last.loss) else ""
    return f"epoch {len(state.history)} of {settings.epochs} ({loss}{held})"


def _judged(
    network: SpikingGraph, held: Samples, steps: int, regression: bool, progress: Stages
) -> Evaluation:
    return evaluate(
        network,
        held,
        steps,
        first=steps,
        regression=regression,
        progress=progress("judging"),
    )


def _seen(network: SpikingGraph, held: Samples) -> int:
    """How many of these samples the network was calibrated on."""
    calibration = Provenance.of(network).calibration
    if calibration is None or calibration.digests is None:
        return 0
    known = {*unpacked(calibration.digests)}
    return sum(digest in known for digest in digests(held.whole()))


def _score(point: Point) -> float:
    """What a network is judged by."""
    return point.agreement if point.accuracy is None else point.accuracy


def _better(before: Evaluation, *, after: Evaluation, settings: Settings) -> bool:
    """Whether the epoch with the least loss on held-back samples is worth having: where outputs are
    classes, no fewer right on them than chance explains (a few hundred samples tell single points
    from nothing; the loss tells more); else with a smaller error. Where spikes have a price, or
    with fewer."""
    one, other = before.points[-1], after.points[-1]
    if settings.spike_penalty and other.spikes_per_neuron < one.spikes_per_neuron:
        return True
    if before.answers is None or after.answers is None or other.error == one.error:
        return other.error < one.error
    right, still = (_right(found.answers) for found in (before, after))
    _, least, _ = paired_points(
        lost=int((right & ~still).sum()), won=int((still & ~right).sum()), count=len(right)
    )
    return least <= 0


def _right(answers: Answers | None) -> Array:
    """(samples,) bool: what ``_score`` counts, at the last step."""
    assert answers is not None
    wanted = answers.ann if answers.labels is None else answers.labels
    return np.asarray(answers.said[max(answers.said)] == wanted)


def _fingerprint(task: Task, samples: Samples, settings: Settings) -> str:
    """Of all that training depends on."""
    found = hashlib.sha256(to_bytes(task.network))
    some = samples.at(spread_over(len(samples), most=KEPT)).whole()
    for digest in digests(some):
        found.update(digest)
    labels = b"" if task.labels is None else np.ascontiguousarray(task.labels).tobytes()
    about: list[Any] = [asdict(settings), task.steps, len(samples), task.classes]
    found.update(labels + json.dumps(about, sort_keys=True).encode())
    return found.hexdigest()


def _remembering(
    done: FineTuning, tuned: SpikingGraph, samples: Samples, learn: Array
) -> SpikingGraph:
    """The network, whose provenance says how it was fine-tuned."""
    made = Provenance.of(tuned)
    scores = [_score(p) if done.classes else None for p in (done.before, done.after)]
    some = samples.at(learn[spread_over(len(learn), most=KEPT)]).whole()
    session = FineTuningSession(
        source=Path(samples.source).name,
        samples=done.samples,
        held_back=done.held_back,
        labels=done.labels,
        steps=done.steps,
        epochs=len(done.history) - 1,
        best=done.best,
        settings={
            k: list(v) if isinstance(v, tuple) else v for k, v in asdict(done.settings).items()
        },
        score_before=scores[0],
        score=scores[1],
        digests=packed(digests(some)),
    )
    by = "their labels" if done.labels else "the answers of the ANN inside it"
    note = (
        f"fine-tuned with surrogate gradients for T={done.steps} on "
        f"{counted(done.samples, 'sample')} and {by}"
    )
    made = replace(
        made,
        steps=done.steps,
        notes=(*made.notes, note),
        finetuned=(*(made.finetuned or ()), session),
    )
    return replace(tuned, meta=made.to_json())
