"""Threshold, initial potential and bias of one population, chosen in the spiking loop.

Candidates are run on the currents that really arrive (spikes of the layers before, as they are
spaced in time), for a sample of neurons of each channel; the one with the smallest error of the
decoded rate against the ANN's activation a is kept:

    min over theta, v0, db of  mean (theta k / T - a)^2 + (mean(theta k / T) - mean(a))^2

For each theta and v0 the bias is found by a few rounds of db += mean(a) - mean(theta k / T)
(Li et al. 2021, bias calibration). A low v0 with a higher bias carries the same charge over the
window but holds back the first spikes, which are the ones that rest on the least evidence and, in
a binary network, cannot be taken back: unevenness shrinks at no cost in latency or spikes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..runtime.neuron import Neuron, NeuronParams
from ..runtime.ops import Array
from .tune_signals import worth

CHUNK = 1 << 17  # potentials simulated together: what fits a core's cache


@dataclass(frozen=True, eq=False, kw_only=True)
class Search:
    """What is tried. ``scales`` multiply the data's threshold, ``v_inits`` are in thresholds."""

    scales: tuple[float, ...] = (1.0,)
    v_inits: tuple[float, ...] = (0.5,)
    rounds: int = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Drive:
    """Sampled input of a population: ``current`` (time, channels, n) from absolute step ``first``
    on, bias included; ``target`` (channels, n) activations. The bias arrives in [begin, begin + T)
    and spikes leave in [fire, fire + T). ``bias`` (channels, n): of differential neurons, who
    keep it in their state; the current is then without it."""

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
    candidates = list(product(search.scales, search.v_inits))
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
        parts.append(_choose(neuron, threshold[where], part, search, candidates, ceiling))
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
    candidates: list[tuple[float, float]],
    ceiling: float | None,
) -> Choice:
    scale, v_init = np.array(candidates, np.float32).T
    theta = scale[:, np.newaxis] * threshold
    if ceiling is not None:
        theta = np.minimum(theta, np.float32(ceiling / neuron.levels))
    v0 = theta * v_init[:, np.newaxis]
    bias = np.zeros_like(theta)
    lowest = np.full(theta.shape, np.inf, np.float32)
    best = bias.copy()
    mean = drive.target.mean(axis=1)
    for number in range(search.rounds + 1):
        rate = decoded_rates(*_candidates(neuron, theta, v0, bias, drive), drive)
        shift = mean - rate.mean(axis=2)
        rate -= drive.target
        error = np.einsum("kcn,kcn->kc", rate, rate) / rate.shape[2] + shift**2
        better = error < lowest
        np.copyto(lowest, error, where=better)
        np.copyto(best, bias, where=better)
        if number < search.rounds:
            bias = bias + shift
    chosen, at = lowest.argmin(axis=0), np.arange(len(threshold))
    return Choice(threshold=theta[chosen, at], v_init=v0[chosen, at], bias=best[chosen, at])


def _candidates(
    neuron: Neuron, theta: Array, v0: Array, bias: Array, drive: Drive
) -> tuple[Neuron, Array]:
    """Neurons with arrays (candidates, channels, 1 or n), and the bias current beside them."""
    theta, v0, bias = (x[..., np.newaxis] for x in (theta, v0, bias))
    if isinstance(neuron, NeuronParams):
        return replace(neuron, v_threshold=theta, v_init=v0), bias
    assert drive.bias is not None
    return replace(neuron, v_threshold=theta, bias=drive.bias + bias), np.zeros_like(bias)


def decoded_rates(neuron: Neuron, bias: Array, drive: Drive) -> Array:
    """What is decoded after T steps, theta k / T, (candidates, channels, n), of neurons whose
    arrays are (candidates, channels, 1 or n) and that all get the same current, with ``bias`` on
    top."""
    count = len(neuron.v_threshold)
    weights = worth(neuron, drive.steps)
    shape = drive.current.shape[1:]
    state = neuron.initial_state(count, shape, np.dtype(np.float32))
    spikes = np.empty((count, *shape), np.float32)
    total = np.zeros_like(spikes)
    current = np.empty_like(spikes)
    for t in range(drive.first, drive.fire + drive.steps):
        inside = drive.begin <= t < drive.begin + drive.steps
        at = t - drive.first
        np.copyto(current, drive.current[at] if at < len(drive.current) else 0)
        if inside:
            current += bias
        neuron.step(state, current, spikes, drive.fire <= t)
        if t >= drive.fire:
            spikes *= weights[t - drive.fire]
            total += spikes
    total *= neuron.v_threshold
    return total


def run(
    neuron: Neuron, bias: Array, current: Array, first: int, begin: int, fire: int, steps: int
) -> Array:
    """Spikes (steps, batch, *shape) in the window from ``fire`` on, as small integers.

    ``current``: (time or 1, batch, *shape) from step ``first``; one step holds for ``steps``.
    """
    shape = current.shape[1:]
    state = neuron.initial_state(shape[0], shape[1:], np.dtype(np.float32))
    out = np.empty((steps, *shape), np.int8 if neuron.levels <= 127 else np.int16)
    spikes = np.empty(shape, np.float32)
    now = np.empty(shape, np.float32)
    last = first + (steps if len(current) == 1 else len(current))
    for t in range(first, fire + steps):
        np.copyto(now, current[0 if len(current) == 1 else t - first] if t < last else 0)
        if begin <= t < begin + steps:
            now += bias
        neuron.step(state, now, spikes, fire <= t)
        if t >= fire:
            out[t - fire] = spikes
    return out
