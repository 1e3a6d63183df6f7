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
from .charge import discharge, keeps_charge

MOMENTS = 8  # times in a window at which evenness is judged
PRIOR = 1000.0  # neurons of all channels that count beside those of one (``_shrunk``)
CHUNK = 1 << 17  # potentials simulated together: what fits a core's cache
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
class Drive:
    """Sampled input of a population: ``current`` (time, channels, n) from absolute step ``first``
    on, bias included; ``target`` (channels, n) activations. The bias arrives in [begin, begin + T)
    and spikes leave in [fire, fire + T). ``bias`` (channels, n): of neurons that keep it in
    their state; the current is then without it."""

    current: Array
    target: Array
    first: int
    begin: int
    fire: int
    steps: int
    bias: Array | None = None


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
    bias = np.zeros_like(theta)
    lowest = np.full(theta.shape, np.inf, np.float32)
    best = bias.copy()
    mean, n = drive.target.mean(axis=1), drive.target.shape[1]
    for number in range(search.rounds + 1):
        rate, uneven, fired = decoded_rates(
            *_candidates(neuron, theta=theta, v0=v0, bias=bias, drive=drive),
            drive,
            uneven=search.evenness > 0,
            counted=search.price > 0,
        )
        shift = mean - rate.mean(axis=2)
        rate -= drive.target
        error = _mean_square(rate) + shift**2 + np.float32(search.evenness) * uneven
        if search.price:
            error += np.float32(search.price) * fired
        better = error < lowest
        np.copyto(lowest, error, where=better)
        np.copyto(best, bias, where=better)
        if number < search.rounds:
            bias = bias + shift
    chosen = _shrunk(lowest, n, PRIOR).argmin(axis=0)
    at = np.arange(len(threshold))
    return Choice(threshold=theta[chosen, at], v_init=v0[chosen, at], bias=best[chosen, at])


def _shrunk(error: Array, n: int, prior: float) -> Array:
    """Scores (candidates, channels) from errors on ``n`` neurons per channel: those of the channel,
    and as if on ``prior`` more those of all channels, each relative to the first candidate's. Many
    candidates on few neurons would fit these neurons only."""
    tiny = np.float32(1e-30)
    own = error / (error[:1] + tiny)
    common = error.sum(axis=1) / (error[0].sum() + tiny)
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


def decoded_rates(
    neuron: Neuron, bias: Array, drive: Drive, *, uneven: bool = False, counted: bool = False
) -> tuple[Array, Array, Array]:
    """What is decoded after T steps, theta k / T, (candidates, channels, n), of neurons whose
    arrays are (candidates, channels, 1 or n) and that all get the same current, with ``bias`` on
    top; and with ``uneven`` how far the spikes sent so far are from that part of the target,
    (candidates, channels), as a mean square over ``MOMENTS`` times of the window; and how often a
    neuron fires in it on average, (candidates, channels), where that is ``counted``."""
    if isinstance(neuron, WindowedNeuron):
        numbers = windowed_numbers(neuron, current=drive.current[0] + bias, steps=drive.steps)
        none = np.zeros(numbers.shape[:2], np.float32)
        fired = none
        if counted:
            each = neuron.code(drive.steps).sum(axis=1).astype(np.float32)
            fired = each[numbers.astype(np.int64)].mean(axis=2)
        return _decoded_numbers(neuron, numbers, drive.steps), none, fired
    if not counted and keeps_charge(neuron):
        rates, deviation = _charged(neuron, bias, drive, uneven=uneven)
        return rates, deviation, np.zeros_like(deviation)
    count = len(neuron.v_threshold)
    weights = neuron.worth(drive.steps)
    shape = drive.current.shape[1:]
    state = neuron.initial_state(count, shape, np.dtype(np.float32))
    spikes = np.empty((count, *shape), np.float32)
    total = np.zeros_like(spikes)
    current = np.empty_like(spikes)
    deviation = np.zeros((count, shape[0]), np.float32)
    fired = np.zeros_like(deviation)
    moments = _moments(drive.steps) if uneven else set()
    for t in range(drive.first, drive.fire + drive.steps):
        inside = drive.begin <= t < drive.begin + drive.steps
        at = t - drive.first
        np.copyto(current, drive.current[at] if at < len(drive.current) else 0)
        if inside:
            current += bias
        at, steps = t - drive.fire, drive.steps
        neuron.step(state, current, spikes, may_fire=at >= 0, position=at, steps=steps)
        if counted and t >= drive.fire:
            fired += np.count_nonzero(spikes, axis=2) / np.float32(shape[1])
        if t >= drive.fire:
            spikes *= weights[t - drive.fire]
            total += spikes
        sent = t - drive.fire + 1
        if sent in moments:
            np.multiply(total, neuron.v_threshold, out=current)
            current -= drive.target * np.float32(sent / drive.steps)
            deviation += _mean_square(current) / np.float32(len(moments))
    total *= neuron.v_threshold
    return total, deviation, fired


def _charged(neuron: Neuron, bias: Array, drive: Drive, *, uneven: bool) -> tuple[Array, Array]:
    """``decoded_rates`` of neurons that keep their charge: spikes are neither written nor counted,
    and a step is four passes over the potentials."""
    v_init, part = neuron.v_init, np.float32(1 / drive.steps)
    v, spare, threshold, constant = (
        np.empty((len(v_init), *drive.target.shape), np.float32) for _ in range(4)
    )
    # Whole arrays: what is repeated along the last axis takes twice as long.
    v[...], threshold[...], constant[...] = v_init, neuron.v_threshold, bias
    came = np.zeros_like(drive.target)
    sent = np.empty_like(v)
    deviation = np.zeros(v.shape[:2], np.float32)
    moments = _moments(drive.steps) if uneven else set()
    for t in range(drive.first, drive.fire + drive.steps):
        if t - drive.first < len(drive.current):
            v += drive.current[t - drive.first]
            came += drive.current[t - drive.first]
        if drive.begin <= t < drive.begin + drive.steps:
            v += constant
        if t < drive.fire:
            continue
        discharge(v, threshold=threshold, spare=spare)
        now = t - drive.fire + 1
        if now in moments or now == drive.steps:
            np.subtract(came, v, out=sent)
            sent += v_init + bias * np.float32(min(t + 1 - drive.begin, drive.steps))
            sent *= part
        if now in moments:
            np.subtract(sent, drive.target * np.float32(now / drive.steps), out=spare)
            deviation += _mean_square(spare) / np.float32(len(moments))
    return sent, deviation


def windowed_mean(neuron: WindowedNeuron, *, current: Array, steps: int) -> Array:
    """What is decoded of a window, float32, whose input is worth ``current`` in every step."""
    numbers = windowed_numbers(neuron, current=current, steps=steps)
    return _decoded_numbers(neuron, numbers, steps)


def windowed_numbers(neuron: WindowedNeuron, *, current: Array, steps: int) -> Array:
    """The numbers that are sent, in double precision, of such a window."""
    return neuron.numbers(current.astype(np.float64) * neuron.total(steps), steps)


def _decoded_numbers(neuron: WindowedNeuron, numbers: Array, steps: int) -> Array:
    level = neuron.v_threshold.astype(np.float64) / neuron.total(steps)
    return np.asarray(numbers * level).astype(np.float32)


def _moments(steps: int) -> set[int]:
    """Steps of the firing window after which evenness is judged."""
    every = max(1, steps // MOMENTS)
    return set(range(every, steps + 1, every))


def _mean_square(x: Array) -> Array:
    """(candidates, channels) of x (candidates, channels, n)."""
    return np.asarray(np.einsum("kcn,kcn->kc", x, x) / np.float32(x.shape[2]))
