"""Neurons of every model, and each model's equations as a loop over one neuron's steps.

A model in the table of the file that is not here fails the contract tests at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from math import floor, inf
from typing import Any

import numpy as np
import pytest
from examples.adaptive_threshold import FORM, AdaptiveParams

from onnx2snn.runtime.file.neurons import NEURONS
from onnx2snn.runtime.neurons import (
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WinnerTakeAllParams,
)
from onnx2snn.runtime.neurons.differential import FIRING_POINT, TOLERANCE, DifferentialParams

WIDTH = 6  # neurons of a population


def row(*values: float) -> np.ndarray:
    return np.resize(np.asarray(values, np.float32), WIDTH)


THETA, HALF = row(1, 0.5, 1.5), row(0.5, 0.25, 0.75)
THETA_OF_CEILING = row(0.25, 0.125, 0.5)  # one spike of step 1 reaches 0.5

# Every model with the options that change what it does. Values are dyadic, so that sums are exact.
EXAMPLES: dict[type[Neuron], dict[str, dict[str, Any]]] = {
    NeuronParams: {
        "plain": {},
        "lag": {"lag": 2},
        "leak": {"leak": 0.5},
        "no memory": {"leak": 1.0, "reset": "zero"},
        "zero": {"reset": "zero", "v_reset": 0.25},
        "graded": {"levels": 3},
        "signed": {"signed": True},
        "signed bursts": {"signed": True, "levels": 5},
        "refractory": {"refractory": 2},
        "floor": {"v_min": -0.5},
        "all": {"leak": 0.5, "levels": 2, "signed": True, "refractory": 1, "v_min": -1.0, "lag": 1},
    },
    PacedParams: {"no lag": {}, "lag": {"lag": 3}},
    FewSpikeParams: {"waits": {"lag": 16}},
    TtfsParams: {"waits": {"lag": 16}},
    DifferentialParams: {
        "of rates": {"source": "rate", "bias": row(0.25, -0.125)},
        "of differences": {"bias": row(0.25, -0.125)},
        "one level": {"powers": 1, "source": "rate"},
        "ceiling": {"ceiling": 0.5, "v_threshold": THETA_OF_CEILING, "bias": row(0.25, -0.125)},
    },
    WinnerTakeAllParams: {
        "plain": {},
        "leak": {"leak": 0.5},
        "subtract": {"reset": "subtract", "inhibition": 0.25},
    },
    AdaptiveParams: {
        "plain": {},
        "lag": {"lag": 2},
        "lasting": {"rise": 0.25, "decay": 0.25},
        "not at all": {"rise": 0.0},
    },
}
MODELS = (*NEURONS, AdaptiveParams)
CASES = [
    pytest.param(model, more, id=f"{model.__name__}, {label}")
    for model in MODELS
    for label, more in EXAMPLES[model].items()
]


def made(model: type[Neuron], more: dict[str, Any]) -> Neuron:
    """A neuron of the model, with a threshold and, where it has one, a start of its own."""
    own = {field.name for field in fields(model)}
    start = {"v_init": HALF} if "v_init" in own else {}
    unit = THETA / 4 if model is DifferentialParams else THETA
    return model(**{"v_threshold": unit, **start, **more})


@contextmanager
def registered() -> Iterator[None]:
    """``AdaptiveParams`` in the table of the file: all that a new model needs there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NEURONS, AdaptiveParams, FORM)
        yield


def naive(neuron: Neuron, currents: np.ndarray, steps: int) -> list[list[float]]:
    """Spikes (steps, WIDTH) in the firing window, of currents (lag + steps, WIDTH)."""
    starts = [float(v) for v in np.broadcast_to(neuron.v_init, (WIDTH,))]
    thetas = [float(v) for v in np.broadcast_to(neuron.v_threshold, (WIDTH,))]
    rows = [[float(v) for v in row] for row in currents]
    if isinstance(neuron, WinnerTakeAllParams):
        return _winner_take_all(neuron, thetas, starts, rows)
    alone = [
        NAIVE[type(neuron)](neuron, at, thetas[at], starts[at], [row[at] for row in rows], steps)
        for at in range(WIDTH)
    ]
    return [list(row) for row in zip(*alone, strict=True)]


def _winner_take_all(n, thetas, v, rows):
    out = []
    for row in rows:
        v = [(1 - n.leak) * old + current for old, current in zip(v, row, strict=True)]
        above = [potential - theta for potential, theta in zip(v, thetas, strict=True)]
        winner = above.index(max(above))
        spikes = [0.0] * WIDTH
        if above[winner] >= 0:
            spikes[winner] = 1.0
            for other in range(WIDTH):
                if v[other] > 0:
                    v[other] = 0 if n.inhibition is None else max(v[other] - n.inhibition, 0)
            v[winner] = above[winner] if n.reset == "subtract" else 0
        out.append(spikes)
    return out


def _integrate_and_fire(n, at, theta, v, currents, steps):
    sent, wait, out = 0, 0, []
    for t, current in enumerate(currents):
        resting = wait > 0
        if resting:
            wait -= 1
        else:
            v = v * (1 - n.leak) + current
        if n.v_min is not None:
            v = max(v, n.v_min)
        if t < n.lag:
            continue
        lowest = -min(n.levels, sent) if n.signed else 0
        k = 0 if resting else max(lowest, min(n.levels, floor(v / theta)))
        if k:
            v = v - k * theta if n.reset == "subtract" else n.v_reset
            wait = n.refractory
        sent += k
        out.append(k)
    return out


def _paced(n, at, theta, v, currents, steps):
    charge, sent, out = 0.0, 0, []
    for t, current in enumerate(currents):
        charge += max(1, steps - t) * current  # T + 1 - k for the k-th step, from 1
        k = t - n.lag + 1
        if k < 1:
            continue
        arrived = sum(steps + 1 - j for j in range(1, min(steps, k + n.lag) + 1))
        fires = charge * k / arrived + v - sent * theta >= theta
        sent += fires
        out.append(int(fires))
    return out


def _few_spike(n, at, theta, v, currents, steps):
    number = 0.0
    for current in currents[:steps]:  # Horner: one shift per step
        number = 2 * number + current
    number = max(0, min(2**steps - 1, floor((number + v) / theta)))
    return [int(digit) for digit in f"{number:0{steps}b}"]


def _ttfs(n, at, theta, v, currents, steps):
    synaptic = charge = 0.0
    for current in currents[:steps]:  # two integrations
        synaptic += current
        charge += synaptic
    number = max(0, min(steps, floor((charge + v) / theta)))
    return [int(steps - t == number) for t in range(steps)]


def _differential(n, at, theta, v, currents, steps):
    mean, out = 0.0, []
    received = float(np.broadcast_to(n.bias, (WIDTH,))[at])
    for t, x in enumerate(currents, 1):
        m = v + x + received - mean
        if n.source == "differential":
            received += x / t
        k = 0
        for level in (2**j for j in range(n.powers)):
            if abs(m) / theta >= FIRING_POINT * level:
                room = mean if m < 0 else inf if n.ceiling is None else n.ceiling - mean
                allowed = t * room / theta + TOLERANCE >= level
                k = (level if m > 0 else -level) if allowed else k
        v = m - k * theta
        mean += k * theta / t
        out.append(k)
    return out


def _adaptive(n, at, theta, v, currents, steps):
    raised, out = 0.0, []
    for t, current in enumerate(currents):
        raised *= 1 - n.decay
        v += current
        if t >= n.lag:
            k = int(v >= theta + raised)
            v -= k * theta
            raised += k * n.rise
            out.append(k)
    return out


# Of one neuron by itself; neurons that compete are looked at together (``_winner_take_all``).
NAIVE: dict[type[Neuron], Callable[..., list[float]]] = {
    NeuronParams: _integrate_and_fire,
    PacedParams: _paced,
    FewSpikeParams: _few_spike,
    TtfsParams: _ttfs,
    DifferentialParams: _differential,
    AdaptiveParams: _adaptive,
}
