"""Threshold, initial potential and bias of one population, chosen in the spiking loop.

Candidates are run on the currents that really arrive (spikes of the layers before, as they are
spaced in time), for a sample of neurons of each channel; the one with the smallest error of the
decoded rate against the ANN's activation a is kept:

    min over theta, v0, db of  mean (theta k(T) / T - a)^2 + (mean(theta k(T) / T) - mean(a))^2
                               + evenness mean_t mean (theta k(t) / T - a t / T)^2
                               + price mean k(T)

with k(t) the spikes up to step t. For each theta and v0 the bias is found by a few rounds of
db += mean(a) - mean(theta k / T) (Li et al. 2021, bias calibration). A low v0 with a higher bias
carries the same charge over the window but holds back the first spikes, which are the ones that
rest on the least evidence and, in a binary network, cannot be taken back: unevenness shrinks at no
cost in latency or spikes. The last term is for the layers that read this one: what has been sent up
to step t should be that part of the whole. Without it every layer holds its spikes back as suits
itself best, the next one must decide on less, and the error of a deep network grows. The price is 0
unless the user gives one; with it, candidates that save spikes are tried too: higher thresholds,
and lower initial potentials where a number is decided at once, so that small values are silent.
Of many candidates each channel's ``KEPT`` best are looked at closely, with all neurons and the
second half of the rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ...runtime.neurons import (
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WindowedNeuron,
)
from ...runtime.neurons.differential import DifferentialParams
from ...runtime.ops import Array
from ...runtime.tables import entry
from .rates import Drive, decoded_rates, mean_square

PRIOR = 1000.0  # neurons of all channels that count beside those of one (``_shrunk``)
CHUNK = 1 << 17  # potentials simulated together: what fits a core's cache
# Of many candidates a channel's best after half of the rounds, on a part of the neurons, go on.
KEPT = 6
PART = 4  # neurons for one that the first rounds look at
LEAST = 128  # neurons of a channel that they look at
V_INITS = (0.5, 0.25, 0.0, -0.5, -1.0)
EVENNESS = 0.5  # of binary spikes without a lag, against the error of the whole
SCALES = (0.7, 0.85, 1.0, 1.2)
# Where each neuron decides once, on its whole input: the data's threshold is nearly right, and a
# layer's own error says little of more than this (held-back images: docs/methods.md).
WINDOWED = (0.95, 1.0, 1.1)
# Where a spike has a price: higher thresholds, and what a window's number is rounded by.
DEARER = (1.45, 1.75, 2.1)
LATER = (0.35, 0.2, 0.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Search:
    """What is tried. ``scales`` multiply the data's threshold, ``v_inits`` are in thresholds;
    ``evenness`` weighs how evenly in time the spikes leave (see the module), ``price`` a spike of
    one neuron and window, in squared activations; with a price ``dearer`` and ``later`` are
    tried too, scales and initial potentials that save spikes."""

    scales: tuple[float, ...] = (1.0,)
    v_inits: tuple[float, ...] = (0.5,)
    rounds: int = 3
    evenness: float = 0.0
    price: float = 0.0
    dearer: tuple[float, ...] = ()
    later: tuple[float, ...] = ()

    def candidates(self) -> list[tuple[float, float]]:
        """Scales and initial potentials, all combinations."""
        if not self.price:
            return list(product(self.scales, self.v_inits))
        return list(product((*self.scales, *self.dearer), (*self.v_inits, *self.later)))


def search_of(neuron: Neuron, *, starts: bool, rounds: int, price: float = 0.0) -> Search:
    """What is tried for neurons like this one. ``starts``: also other thresholds and initial
    potentials where the model has a choice. ``price``: of a spike (``Search``). Raises GraphError
    E420 for a model that is not in ``SEARCHES``."""
    search = entry(SEARCHES, neuron, "converter.tune.search.SEARCHES")(neuron, starts)
    return replace(search, rounds=rounds, price=price)


def _integrate_and_fire(neuron: NeuronParams, starts: bool) -> Search:
    if not starts:
        return Search(v_inits=(float(np.mean(neuron.v_init / neuron.v_threshold)),))
    if neuron.signed:
        # What it sent too early it takes back: holding spikes back would only delay it.
        return Search(scales=SCALES, dearer=DEARER, later=(0.25, 0.0))
    # Behind a start lag spikes are paced, or leave in a burst whatever v_init is.
    evenness = 0.0 if neuron.lag else EVENNESS
    return Search(scales=SCALES, v_inits=V_INITS, evenness=evenness, dearer=DEARER)


def _differential(neuron: DifferentialParams, starts: bool) -> Search:
    return Search(scales=SCALES, dearer=DEARER)


def _windowed(neuron: WindowedNeuron, starts: bool) -> Search:
    # What is sent is decided at once, on all there is: nothing comes too early.
    if not starts:
        return Search()
    return Search(scales=WINDOWED, dearer=(1.2, *DEARER), later=LATER)


SEARCHES: dict[type[Neuron], Callable[[Any, bool], Search]] = {
    NeuronParams: _integrate_and_fire,
    PacedParams: _integrate_and_fire,
    DifferentialParams: _differential,
    FewSpikeParams: _windowed,
    TtfsParams: _windowed,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice:
    """Per channel, (channels,): threshold, initial potential and change of the bias."""

    threshold: Array
    v_init: Array
    bias: Array


def choose(
    neuron: Neuron,
    threshold: Array,
    drive: Drive,
    search: Search,
    ceiling: float | None = None,
) -> Choice:
    """The best candidate of every channel; ``threshold`` (channels,) is the data's."""
    channels, n = drive.target.shape
    candidates = search.candidates()
    per_chunk = max(1, CHUNK // (len(candidates) * n))
    parts = []
    for at in range(0, channels, per_chunk):
        where = slice(at, min(at + per_chunk, channels))
        part = replace(
            drive,
            current=drive.current[:, where],
            target=drive.target[where],
            bias=None if drive.bias is None else drive.bias[where],
        )
        parts.append(
            _choose(neuron, threshold[where], part, search, candidates=candidates, ceiling=ceiling)
        )
    return Choice(
        threshold=np.concatenate([p.threshold for p in parts]),
        v_init=np.concatenate([p.v_init for p in parts]),
        bias=np.concatenate([p.bias for p in parts]),
    )


def _choose(
    neuron: Neuron,
    threshold: Array,
    drive: Drive,
    search: Search,
    *,
    candidates: list[tuple[float, float]],
    ceiling: float | None,
) -> Choice:
    scale, v_init = np.array(candidates, np.float32).T
    theta = scale[:, np.newaxis] * threshold
    if ceiling is not None:
        top: float = neuron.levels
        if isinstance(neuron, WindowedNeuron):
            top = neuron.reach(drive.steps) / drive.steps
        theta = np.minimum(theta, np.float32(ceiling / top))
    v0 = theta * v_init[:, np.newaxis]
    # A charge that a neuron lacks comes back over the window; where spikes have a price, only if
    # rounds find that it is worth them.
    bias = np.zeros_like(theta)
    if "v_init" in neuron.traits and not search.price:
        bias -= neuron.having(v_threshold=theta, v_init=v0).charge(drive.steps)
    tried = _tried(theta, v0=v0, bias=bias)
    n, rounds = drive.target.shape[1], search.rounds + 1
    if len(candidates) <= KEPT or rounds == 1:
        tried.judge(neuron, drive, search, rounds=rounds)
        return tried.choice(_shrunk(tried.lowest, n, PRIOR).argmin(axis=0))
    every = max(1, min(PART, n // LEAST))
    tried.judge(neuron, _some(drive, every), search, rounds=rounds // 2)
    known, first = tried.lowest, tried.lowest[:1].copy()
    scores = _shrunk(known, n // every, PRIOR)
    kept = np.sort(np.argpartition(scores, KEPT - 1, axis=0)[:KEPT], axis=0)
    tried = tried.of(kept, anew=every > 1)
    tried.judge(neuron, drive, search, rounds=rounds - rounds // 2)
    np.put_along_axis(known, kept, tried.lowest, axis=0)
    scores = np.take_along_axis(_shrunk(known, n, PRIOR, first=first), kept, axis=0)
    return tried.choice(scores.argmin(axis=0))


def _some(drive: Drive, every: int) -> Drive:
    """One in ``every`` of the neurons."""
    if every == 1:
        return drive
    return replace(
        drive,
        current=np.ascontiguousarray(drive.current[..., ::every]),
        target=np.ascontiguousarray(drive.target[:, ::every]),
        bias=None if drive.bias is None else np.ascontiguousarray(drive.bias[:, ::every]),
    )


@dataclass(eq=False, kw_only=True)
class _Tried:
    """Candidates, (candidates, channels) each: ``bias``, the next to be tried; the ``lowest``
    error so far and ``best``, the bias it came with."""

    theta: Array
    v0: Array
    bias: Array
    lowest: Array
    best: Array

    def of(self, kept: Array, *, anew: bool) -> _Tried:
        """Of every channel the candidates ``kept``; ``anew``: errors so far do not count."""
        fields = self.theta, self.v0, self.bias, self.lowest, self.best
        theta, v0, bias, lowest, best = (np.take_along_axis(x, kept, axis=0) for x in fields)
        if anew:
            return _tried(theta, v0=v0, bias=bias)
        return _Tried(theta=theta, v0=v0, bias=bias, lowest=lowest, best=best)

    def judge(self, neuron: Neuron, drive: Drive, search: Search, *, rounds: int) -> None:
        """Some rounds, each with a better bias."""
        mean = drive.target.mean(axis=1)
        for _ in range(rounds):
            rate, uneven, fired = decoded_rates(
                *_candidates(neuron, theta=self.theta, v0=self.v0, bias=self.bias, drive=drive),
                drive,
                uneven=search.evenness > 0,
                counted=search.price > 0,
            )
            shift = mean - rate.mean(axis=2)
            rate -= drive.target
            error = mean_square(rate) + shift**2 + np.float32(search.evenness) * uneven
            if search.price:
                error += np.float32(search.price) * fired
            better = error < self.lowest
            np.copyto(self.lowest, error, where=better)
            np.copyto(self.best, self.bias, where=better)
            self.bias = self.bias + shift

    def choice(self, chosen: Array) -> Choice:
        at = np.arange(len(chosen))
        return Choice(
            threshold=self.theta[chosen, at], v_init=self.v0[chosen, at], bias=self.best[chosen, at]
        )


def _tried(theta: Array, *, v0: Array, bias: Array) -> _Tried:
    lowest = np.full(theta.shape, np.inf, np.float32)
    return _Tried(theta=theta, v0=v0, bias=bias, lowest=lowest, best=bias.copy())


def _shrunk(error: Array, n: int, prior: float, *, first: Array | None = None) -> Array:
    """Scores (candidates, channels) from errors on ``n`` neurons per channel: those of the channel,
    and as if on ``prior`` more those of all channels, each relative to the first candidate's, or
    to ``first`` (1, channels). Many candidates on few neurons would fit these neurons only."""
    tiny = np.float32(1e-30)
    first = error[:1] if first is None else first
    own = error / (first + tiny)
    common = error.sum(axis=1) / (first.sum() + tiny)
    return np.asarray(n * own + prior * common[:, np.newaxis])


def _candidates(
    neuron: Neuron, *, theta: Array, v0: Array, bias: Array, drive: Drive
) -> tuple[Neuron, Array]:
    """Neurons with arrays (candidates, channels, 1 or n), and the bias current beside them."""
    theta, v0, bias = (x[..., np.newaxis] for x in (theta, v0, bias))
    neuron = neuron.having(v_threshold=theta)
    if "v_init" in neuron.traits:
        neuron = neuron.having(v_init=v0)
    if "bias" not in neuron.traits:
        return neuron, bias
    assert drive.bias is not None
    return neuron.having(bias=drive.bias + bias), np.zeros_like(bias)
