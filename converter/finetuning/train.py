"""The training loop: batches, gradients through time, AdamW, a cosine, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import cos, inf, pi, prod
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from ...errors import DataError
from ...runtime import graph as snn
from ...runtime.engine import make_engine
from ...runtime.ops import Array
from ...runtime.semantics.walk import walk
from ...spelling import spelled
from ..lowering.grid import on_grid
from . import losses
from .parameters import Parameter, parameters_of, together, with_values
from .settings import Settings
from .signals import Signals
from .spikes import Learnable
from .state import Epoch, State
from .stretches import Parts, parts_of, threads_of
from .teacher import Teacher
from .variations import varied

Tensor: TypeAlias = torch.Tensor
Fetch: TypeAlias = Callable[[Array], Mapping[str, Array]]  # sample numbers -> preprocessed samples
Progress: TypeAlias = Callable[[int, int], None]
WARM = 0.05  # of all steps: the learning rate rises
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of AdamW
MEASURED = 128  # samples on which the power of activations is measured


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What is learned from.

    Attributes:
        network: converted; steps: T; coded: see ``parameters.parameters_of``.
        fetch: the samples; learn, judge: numbers of those that are learned from, and held back.
        labels: class numbers or values of the first output, by sample; None: the ANN answers.
        classes: whether outputs are scores of classes.
    """

    network: snn.SpikingGraph
    steps: int
    coded: bool
    fetch: Fetch
    learn: Array
    judge: Array
    labels: Array | None
    classes: bool


class Tuner:
    """A network in training: how it answers, what that costs, what a step of it is."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self.task, self.settings = task, settings
        self.network = together(task.network)
        self.parameters = parameters_of(self.network, settings.train, coded=task.coded)
        how = Learnable(
            surrogate=settings.surrogate, width=settings.width, detached=settings.detach
        )
        self.signals = Signals(
            self.network,
            self.parameters,
            task.steps,
            how,
            priced=settings.spike_penalty > 0,
        )
        self.teacher = Teacher(self.network)
        self.parts = parts_of(
            self.network,
            batch=settings.batch,
            steps=self.signals.total,
            memory=settings.mem_limit,
        )
        self.neurons = sum(prod(p.shape) for p in task.network.of(snn.Population))
        self.first = self.network.of(snn.Readout)[0].name
        # Right answers alone are enough where nothing else is compared with the ANN.
        self.taught = task.labels is None or not task.classes or settings.match > 0
        self.powers = self._powers() if self.taught else {}

    def begin(self) -> State:
        zeros = {p.key: np.zeros(p.start.shape, np.float32) for p in self.parameters}
        return State(values=zeros, average=zeros, mean=zeros, square=zeros, best=zeros)

    def _powers(self) -> dict[str, float]:
        """Mean squares of the ANN's activations and outputs."""
        found: dict[str, list[float]] = {}
        for chosen in _batches(self.task.learn[:MEASURED], self.parts.samples):
            answers, activations = self.ann(_tensors(self.task.fetch(chosen)))
            for name, x in {**activations, **answers}.items():
                found.setdefault(name, []).append(float(x.square().mean()))
        return {name: float(np.mean(some)) for name, some in found.items()}

    def ann(self, inputs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the ANN inside the network answers, and its activations."""
        with torch.no_grad():
            answers = walk(self.network, self.teacher, inputs)
        return answers, dict(self.teacher.activations)

    def answers(self, inputs: Mapping[str, Tensor], *, values: Mapping[str, Tensor]) -> Any:
        """Readouts after the last step, mean activations of the populations and their spikes per
        sample, by name each."""
        total, names = self.signals.total, list(values)
        spans = [
            range(start, min(start + self.parts.steps, total))
            for start in range(0, total, self.parts.steps)
        ]
        if len(spans) == 1:
            made, _ = self._stretch(spans[0], inputs, values=values, states={})
            return made
        sums: dict[str, dict[str, Tensor]] = {}
        states: dict[str, tuple[Tensor, ...]] = {}
        for span in spans:
            made, states = checkpoint(
                lambda span, given, *numbers: self._stretch(
                    span, inputs, values=dict(zip(names, numbers, strict=True)), states=given
                ),
                span,
                states,
                *values.values(),
                use_reentrant=False,
            )
            for kind, parts in made.items():
                before = sums.setdefault(kind, {})
                for name, x in parts.items():
                    before[name] = before[name] + x if name in before else x
        return sums

    def _stretch(
        self,
        span: range,
        inputs: Mapping[str, Tensor],
        *,
        values: Mapping[str, Tensor],
        states: dict[str, tuple[Tensor, ...]],
    ) -> tuple[dict[str, dict[str, Tensor]], dict[str, tuple[Tensor, ...]]]:
        signals, steps = self.signals, self.task.steps
        signals.begin(span, values, states)
        walk(self.network, signals, inputs)
        made = {
            "answers": {name: x / steps for name, x in signals.answers.items()},
            "decoded": {name: x / steps for name, x in signals.decoded.items()},
            "sent": dict(signals.sent),
        }
        return made, dict(signals.states)

    def loss(
        self,
        inputs: Mapping[str, Tensor],
        chosen: Array,
        *,
        values: Mapping[str, Tensor],
        answers: Mapping[str, Tensor] | None = None,
    ) -> tuple[losses.Loss, float | None]:
        """Of a batch, and the share of its answers that are right (or the ANN's). ``answers``:
        those that are judged instead of the ones computed here."""
        made, labels = self.answers(inputs, values=values), self.task.labels
        ann, activations = self.ann(inputs) if self.taught else ({}, {})
        mine = made["answers"] if answers is None else answers
        wanted = None if labels is None else torch.as_tensor(labels[chosen])
        if not self.task.classes:
            task = torch.stack(
                [self._error(k, x, ann=ann[k], labels=wanted) for k, x in mine.items()]
            ).mean()
        elif wanted is not None:
            task = losses.cross_entropy(mine[self.first], labels=wanted)
        else:
            parts = [
                losses.distillation(x, ann=ann[k], temperature=self.settings.temperature)
                for k, x in mine.items()
            ]
            task = torch.stack(parts).mean()
        activations = activations if self.settings.match else {}
        match = losses.matching(made["decoded"], wanted=activations, powers=self.powers)
        spikes = torch.stack([x.mean() for x in made["sent"].values()]).sum() / self.neurons
        right = None
        if self.task.classes:
            said = _said(mine[self.first])
            truth = _said(ann[self.first]) if wanted is None else wanted
            right = float((said == truth).float().mean())
        return losses.together(task, match=match, spikes=spikes, settings=self.settings), right

    def _error(self, name: str, mine: Tensor, *, ann: Tensor, labels: Tensor | None) -> Tensor:
        wanted = labels.float() if labels is not None and name == self.first else ann
        return losses.relative_error(mine, wanted=wanted, power=self.powers[name])

    def judged(self, values: Mapping[str, Array], loss: float) -> Epoch:
        """How a network with these ``values`` does on the samples that were held back: what it
        answers as it would be written. A rounded weight or potential moves a spike here and there,
        and with few steps one spike moves what a sample is answered."""
        tensors, network, engine = _tensors(values), self.task.network, make_engine("fast")
        if any(x.any() for x in values.values()):
            network = on_grid(with_values(network, self.parameters, values))
        sums, right, count = np.zeros(2), [], len(self.task.judge)
        for chosen in _batches(self.task.judge, self.parts.samples):
            arrays = self.task.fetch(chosen)
            run = engine.run(network, arrays, self.task.steps)
            answers = _tensors({name: x[-1] for name, x in run.readouts.items()})
            with torch.no_grad():
                found, share = self.loss(_tensors(arrays), chosen, values=tensors, answers=answers)
            sums += [float(found.judged) * len(chosen), float(found.spikes) * len(chosen)]
            right += [] if share is None else [share * len(chosen)]
        score = sum(right) / count if right else None
        held_loss, spikes = (sums / count).tolist()
        return Epoch(loss=loss, held_loss=held_loss, held_score=score, held_spikes=spikes)

    def epoch(self, state: State, progress: Progress) -> State:
        """The state one epoch later."""
        settings, task, number = self.settings, self.task, len(state.history)
        rng = np.random.default_rng((settings.seed, number))
        torch.manual_seed(settings.seed * 100_003 + number)  # of drawn spikes
        order = rng.permutation(task.learn)
        values = {k: torch.tensor(x, requires_grad=True) for k, x in state.values.items()}
        average, mean, square = (_tensors(x) for x in (state.average, state.mean, state.square))
        steps, losses_seen = state.steps, []
        every = -(-len(order) // settings.batch)
        for i, chosen in enumerate(_batches(order, settings.batch)):
            batch = varied(task.fetch(chosen), settings.augment, rng)
            losses_seen.append(self._gradients(batch, chosen, values, number))
            steps += 1
            rate = settings.rate * _schedule(steps, steps=every * settings.epochs)
            adam(values, mean=mean, square=square, steps=steps, rate=rate, decay=settings.decay)
            for key, x in values.items():
                average[key].lerp_(x.detach(), 1 - min(settings.average, 1 - 1 / steps))
            progress(min((i + 1) * settings.batch, len(order)), len(order))
        new = {k: x.numpy().copy() for k, x in average.items()}
        now = self.judged(new, float(np.mean(losses_seen)))
        best = min((e.held_loss for e in state.history if e.held_loss == e.held_loss), default=inf)
        return replace(
            state,
            steps=steps,
            values={k: x.detach().numpy().copy() for k, x in values.items()},
            average=new,
            mean={k: x.numpy().copy() for k, x in mean.items()},
            square={k: x.numpy().copy() for k, x in square.items()},
            best=new if now.held_loss < best else state.best,
            history=(*state.history, now),
        )

    def _gradients(
        self,
        batch: Mapping[str, Array],
        chosen: Array,
        values: Mapping[str, Tensor],
        epoch: int,
    ) -> float:
        """The batch's loss; its gradients are in ``values``."""
        total = 0.0
        for x in values.values():
            x.grad = None
        for start in range(0, len(chosen), self.parts.samples):
            part = slice(start, start + self.parts.samples)
            inputs = _tensors({name: x[part] for name, x in batch.items()})
            loss = self.loss(inputs, chosen[part], values=values)[0].total
            share = len(chosen[part]) / len(chosen)
            torch.autograd.backward(loss * share)
            total += float(loss.detach()) * share
        if not np.isfinite(total):
            raise DataError(
                f"the loss is no number any more in epoch {epoch}: gradients ran away",
                remedy=f"Lower the learning rate: {spelled('rate', self.settings.rate / 10)}.",
                code="E141",
            )
        return total


def train(
    task: Task,
    settings: Settings,
    *,
    state: State | None = None,
    keep: Callable[[State], None] = lambda state: None,
    progress: Callable[[State], Progress] = lambda state: lambda done, total: None,
    threads: int | None = None,
) -> tuple[State, tuple[Parameter, ...], Parts]:
    """Train to the last epoch, or until nothing gets better.

    Parameters:
        state: to go on from; None: from the beginning.
        keep: is given the state after every epoch; progress: before every one.
        threads: of PyTorch (None: ``stretches.threads_of``).

    Raises DataError (E141) where the loss is no number.
    """
    with _alone():
        tuner = Tuner(task, settings)
        threads = threads_of(tuner.network, tuner.parts) if threads is None else threads
        if threads is not None:
            torch.set_num_threads(threads)
        if state is None:
            state = tuner.begin()
            state = replace(state, history=(tuner.judged(state.values, float("nan")),))
            keep(state)
        while len(state.history) <= settings.epochs and not _stopped(state, settings):
            state = tuner.epoch(state, progress(state))
            keep(state)
    return state, tuner.parameters, tuner.parts


def _stopped(state: State, settings: Settings) -> bool:
    return len(state.history) - 1 - state.best_epoch >= settings.patience


def adam(
    values: Mapping[str, Tensor],
    *,
    mean: dict[str, Tensor],
    square: dict[str, Tensor],
    steps: int,
    rate: float,
    decay: float,
) -> None:
    """One step of AdamW (Loshchilov and Hutter 2019) in place, with the gradients in ``values``;
    ``steps``: with this one. What decays is the distance to where training began."""
    first, second = BETAS
    with torch.no_grad():
        for key, x in values.items():
            if x.grad is None:
                continue
            mean[key].lerp_(x.grad, 1 - first)
            square[key].mul_(second).addcmul_(x.grad, x.grad, value=1 - second)
            size = (square[key] / (1 - second**steps)).sqrt_().add_(EPSILON)
            x.mul_(1 - rate * decay)
            x.addcdiv_(mean[key] / (1 - first**steps), size, value=-rate)


def _schedule(step: int, *, steps: int) -> float:
    """A short rise, then half a cosine down to 0 (step counts from 1)."""
    warm = min(1.0, step / max(WARM * steps, 1))
    return warm * (1 + cos(pi * (step - 1) / steps)) / 2


def _said(answers: Tensor) -> Tensor:
    """The class that each answer says, as ``runtime.semantics.decision`` has it."""
    flat = answers.flatten(1)
    return (flat[:, 0] > 0).long() if flat.shape[1] == 1 else flat.argmax(1)


def _batches(numbers: Array, size: int) -> Iterator[Array]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(np.array(x)) for name, x in arrays.items()}


@contextmanager
def _alone() -> Iterator[None]:
    """PyTorch's threads and random numbers as they were, afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            torch.set_num_threads(before)
