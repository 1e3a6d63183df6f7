"""Presents samples to a plastic layer, and names its neurons afterwards where the rule does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...runtime.ops import Array
from ...runtime.plasticity import NO_LABEL, LearningEvents, responses
from .layer import Head

Progress = Callable[[int, int], None]
CHUNK = 200  # samples whose responses are computed together


@dataclass(frozen=True, eq=False, kw_only=True)
class Learned:
    """``head``: the layer as it is now; ``events``: of all presentations; ``right``: share of the
    samples whose class the frozen layer names, None without labels."""

    head: Head
    events: LearningEvents
    right: float | None


def learn_from(
    head: Head,
    spikes: Array,
    *,
    labels: Array | None,
    passes: int,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> Learned:
    """Learn from ``spikes`` (samples, steps, inputs), ``labels`` (samples,): every pass presents
    them in an order of its own, which ``seed`` draws. ``head`` is left as it was."""
    state, events = head.state.copy(), LearningEvents()
    samples = len(spikes)
    for number in range(passes):
        for i, at in enumerate(np.random.default_rng((seed, number)).permutation(samples)):
            label = NO_LABEL if labels is None else int(labels[at])
            events += head.rule.present(state, spikes[at].astype(np.float64), label)
            progress(number * samples + i + 1, passes * samples)
    after = replace(head, state=state)
    if labels is None:
        return Learned(head=after, events=events, right=None)
    sent = _responses(after, spikes)
    if not head.rule.supervised:
        named = named_by(sent, labels=labels, before=state.labels, classes=head.classes)
        after = replace(after, state=replace(state, labels=named))
    scores = sent @ after.votes().T
    return Learned(head=after, events=events, right=float((scores.argmax(axis=1) == labels).mean()))


def _responses(head: Head, spikes: Array) -> Array:
    weight, neuron = head.weights()
    parts = range(0, len(spikes), CHUNK)
    return np.concatenate(
        [responses(spikes[i : i + CHUNK], weight=weight, neuron=neuron) for i in parts]
    )


def named_by(sent: Array, *, labels: Array, before: Array, classes: int) -> Array:
    """(neurons,): the class for whose samples each neuron fires most on average, of ``sent``
    (samples, neurons); a neuron that did not fire keeps the label it had ``before``."""
    means = np.zeros((classes, sent.shape[1]))
    for c in np.unique(labels):
        means[c] = sent[labels == c].mean(axis=0)
    fired = means.max(axis=0) > 0
    return np.where(fired, means.argmax(axis=0), before).astype(np.int64)
