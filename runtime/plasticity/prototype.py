"""Prototypes: a supervised three-factor rule for learning new classes from few examples.

Every neuron in use stands for one class; its weights w are a prototype of the trace x of a sample,
the spikes of each input scaled to a norm of 1. While the sample's spikes s arrive,

    v <- v + sum_i s_i (w_i - novelty / sqrt(inputs))

and the neuron that is farthest above ``threshold`` fires, loses it, and inhibits the others. The
one with the most spikes is the winner (the first of equals), and at the end of the sample

    w <- w + rate r (x - w y),  y = w . x,  r = 1 where the winner's class is right, else -penalty

which keeps the norm of w at 1 (Oja 1982; the three factors are x, y and the reward r). Where no
neuron of the sample's class has won, none fired or a wrong one did, a free neuron becomes a new
prototype, w = x; where none is free, or the class has ``most`` already, the class's neuron nearest
to x is moved with r = 1. So nothing is forgotten but by penalties: learning goes on class by class
(continual learning, as on Loihi 2: CLP-SNN, arXiv 2511.01553, 2025).

A prototype fires at the ``threshold`` of the lesson that made it. The mean of few samples resembles
its class less than that of many, so a late class with few samples is heard only where its neurons
fire earlier than the old ones, and how much earlier is what it may cost these.

``novelty`` is feed-forward inhibition: every incoming spike inhibits all neurons alike, so that
only inputs that resemble a prototype more than a flat one make it fire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..neurons import WinnerTakeAllParams
from ..neurons.winner_take_all import compete
from ..ops import Array
from .rule import NO_LABEL, LayerState, LearningEvents, Rule, charge, setting


@dataclass(frozen=True, eq=False, kw_only=True)
class PrototypeRule(Rule):
    """See the module. Neurons that stand for nothing have no weights."""

    name: ClassVar[str] = "prototype"
    supervised: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "supervised three-factor rule: the winner is moved towards the sample or away from it, "
        "what no neuron knows becomes a new prototype"
    )
    usual: ClassVar[tuple[int, int]] = (64, 1)
    rate: float = setting(0.1, "learning rate of the winner", most=1.0)
    penalty: float = setting(0.0, "of the reward where the winner is wrong", most=1.0)
    novelty: float = setting(0.0, "feed-forward inhibition", most=1.0)
    threshold: float = setting(1.0, "where a prototype fires that is new now", above=True)
    most: float = setting(0.0, "prototypes of a class at most; 0: as many as are free")
    inhibition: float = setting(0.0, "what a winner takes from the other potentials")

    def initial_state(self, *, inputs: int, neurons: int, seed: int) -> LayerState:
        return LayerState(
            weight=np.zeros((inputs, neurons)),
            threshold=np.full(neurons, self.threshold, np.float64),
            labels=np.full(neurons, NO_LABEL, np.int64),
        )

    def present(
        self, state: LayerState, spikes: Array, label: int, *, sent: Array | None = None
    ) -> LearningEvents:
        w = state.weight
        effective, v = self.effective(w), np.zeros(w.shape[1])
        counts = np.zeros(w.shape[1], np.int64)
        x = np.zeros(len(w))
        arrived = 0
        for t, s in enumerate(spikes):
            x += s
            arrived += len(charge(v, effective, s))
            k = compete(v, threshold=state.threshold, subtract=True, inhibition=self.inhibition)
            if k is not None:
                counts[k] += 1
                if sent is not None:
                    sent[t, k] = 1
        made, updates = self._learn(state, trace=x, counts=counts, label=label)
        return LearningEvents(
            spikes_in=arrived,
            spikes_out=int(counts.sum()),
            synaptic_events=arrived * w.shape[1],
            updates=updates,
            new_neurons=made,
        )

    def _learn(
        self, state: LayerState, *, trace: Array, counts: Array, label: int
    ) -> tuple[int, int]:
        """Change ``state`` by the ``trace`` of incoming spikes and how often each neuron fired: how
        many neurons are new, and how many weights were written."""
        norm = np.sqrt(np.cumsum(trace * trace)[-1])
        if label == NO_LABEL or not norm:
            return 0, 0
        x, w, labels = trace / norm, state.weight, state.labels
        winner = int(counts.argmax())
        won = counts[winner] > 0
        right = won and labels[winner] == label
        updates = 0
        if won and (right or self.penalty):
            self._move(w, winner, x=x, reward=1.0 if right else -self.penalty)
            updates += len(w)
        if right:
            return 0, updates
        free, own = np.flatnonzero(labels == NO_LABEL), np.flatnonzero(labels == label)
        new = len(free) > 0 and not 0 < self.most <= len(own)
        if new:
            w[:, free[0]] = x
            labels[free[0]] = label
            state.threshold[free[0]] = self.threshold
        elif len(own):
            nearest = int(own[np.cumsum(w[:, own] * x[:, np.newaxis], axis=0)[-1].argmax()])
            self._move(w, nearest, x=x, reward=1.0)
        written = len(w) if new or len(own) else 0
        return int(new), updates + written

    def _move(self, w: Array, k: int, *, x: Array, reward: float) -> None:
        y = np.cumsum(w[:, k] * x)[-1]
        w[:, k] += self.rate * reward * (x - w[:, k] * y)

    def neuron(self, threshold: Array) -> WinnerTakeAllParams:
        return WinnerTakeAllParams(
            v_threshold=threshold, reset="subtract", inhibition=self.inhibition
        )

    def effective(self, weight: Array) -> Array:
        return np.asarray(weight - self.novelty / np.sqrt(len(weight)))
