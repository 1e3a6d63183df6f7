"""Pair-based spike-timing-dependent plasticity with soft bounds and homeostasis, without labels.

Traces of the incoming and the layer's own spikes, x and y, and potentials v, in every step:

    x <- x (1 - x_decay) + s                                    s: incoming spikes
    y <- y (1 - y_decay)
    v <- (1 - leak) v + sum_i s_i w_i
    w_ik <- w_ik max(1 - depression y_k s_i, 0)               at an incoming spike of i
    the neuron k that is farthest above its threshold fires: v <- 0 for all (lateral inhibition),
    w_ik <- w_ik + potentiation (x_i (1 - w_ik) - offset w_ik)  at its spike
    y_k <- y_k + 1,   threshold_k <- threshold_k + rise

Both bounds of a weight, 0 and 1, are soft: what is added falls with the distance to 1, what is
taken with that to 0 (Gütig et al. 2003). ``offset`` weakens the synapses whose input was silent
before the spike. Homeostasis, after each sample: the weights of every neuron that fired are scaled
to sum up to ``total``, and all thresholds fall back by the fraction ``recovery`` of what was above
``threshold``. The layer is that of Diehl and Cook (2015), whose neurons are named afterwards by the
class for which they fire most.
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
class StdpRule(Rule):
    """See the module. Weights begin at random, with the sum that homeostasis keeps."""

    name: ClassVar[str] = "stdp"
    supervised: ClassVar[bool] = False
    summary: ClassVar[str] = (
        "pair-based STDP with soft bounds, adaptive thresholds and lateral inhibition; "
        "neurons are named afterwards"
    )
    usual: ClassVar[tuple[int, int]] = (400, 4)
    potentiation: float = setting(0.05, "learning rate at the layer's own spikes", most=1.0)
    depression: float = setting(0.01, "learning rate at incoming spikes", most=1.0)
    offset: float = setting(0.2, "what silent inputs lose at a spike, relative to the rate")
    x_decay: float = setting(0.2, "of the traces of incoming spikes, per step", most=1.0)
    y_decay: float = setting(0.2, "of the traces of the layer's spikes, per step", most=1.0)
    leak: float = setting(0.0, "of the membrane potential, per step; below 1", most=0.999)
    threshold: float = setting(2.0, "where neurons begin to fire", above=True)
    rise: float = setting(0.3, "of a neuron's threshold with each of its spikes")
    recovery: float = setting(0.0, "of what thresholds have risen, lost per sample", most=1.0)
    total: float = setting(10.0, "sum of a neuron's weights", above=True)

    def initial_state(self, *, inputs: int, neurons: int, seed: int) -> LayerState:
        weight = np.random.default_rng(seed).random((inputs, neurons))
        return LayerState(
            weight=weight * (self.total / weight.sum(axis=0)),
            threshold=np.full(neurons, self.threshold, np.float64),
            labels=np.full(neurons, NO_LABEL, np.int64),
        )

    def present(
        self, state: LayerState, spikes: Array, label: int, *, sent: Array | None = None
    ) -> LearningEvents:
        w, threshold = state.weight, state.threshold
        x, y, v = np.zeros(len(w)), np.zeros(w.shape[1]), np.zeros(w.shape[1])
        fired: dict[int, None] = {}
        arrived = fires = updates = 0
        for t, s in enumerate(spikes):
            x *= 1 - self.x_decay
            x += s
            y *= 1 - self.y_decay
            v *= 1 - self.leak
            active = charge(v, w, s)
            arrived += len(active)
            recent = np.count_nonzero(y) if self.depression else 0
            if recent:
                kept = 1 - self.depression * y * s[active, np.newaxis]
                w[active] *= np.maximum(kept, 0)
                updates += len(active) * int(recent)
            k = compete(v, threshold=threshold, subtract=False, inhibition=None)
            if k is not None:
                w[:, k] += self.potentiation * (x * (1 - w[:, k]) - self.offset * w[:, k])
                y[k] += 1
                threshold[k] += self.rise
                fired[k] = None
                if sent is not None:
                    sent[t, k] = 1
                fires, updates = fires + 1, updates + len(w)
        for k in fired:
            total = np.cumsum(w[:, k])[-1]
            if total > 0:
                w[:, k] *= self.total / total
                updates += len(w)
        threshold -= self.recovery * (threshold - self.threshold)
        return LearningEvents(
            spikes_in=arrived,
            spikes_out=fires,
            synaptic_events=arrived * w.shape[1],
            updates=updates,
        )

    def neuron(self, threshold: Array) -> WinnerTakeAllParams:
        return WinnerTakeAllParams(v_threshold=threshold, reset="zero", leak=self.leak)
