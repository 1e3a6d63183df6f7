"""What neurons send on sampled currents: decoded rates of candidates, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...runtime.neurons import Neuron, WindowedNeuron
from ...runtime.ops import Array
from .charge import charging, keeps_charge

MOMENTS = 8  # times in a window at which evenness is judged


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
            deviation += mean_square(current) / np.float32(len(moments))
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
    sent, spikes = np.empty_like(v), np.empty(v.shape, np.bool_)
    deviation = np.zeros(v.shape[:2], np.float32)
    moments = _moments(drive.steps) if uneven else set()
    fire = charging(v, current=spare, threshold=threshold, spikes=spikes)
    for t in range(drive.first, drive.fire + drive.steps):
        inside = drive.begin <= t < drive.begin + drive.steps
        if t - drive.first < len(drive.current):
            current = drive.current[t - drive.first]
            came += current
            np.add(constant if inside else np.float32(0), current, out=spare)
        else:
            np.copyto(spare, constant if inside else np.float32(0))
        if t < drive.fire:
            v += spare
            continue
        fire()
        now = t - drive.fire + 1
        if now in moments or now == drive.steps:
            np.subtract(came, v, out=sent)
            sent += v_init + bias * np.float32(min(t + 1 - drive.begin, drive.steps))
            sent *= part
        if now in moments:
            np.subtract(sent, drive.target * np.float32(now / drive.steps), out=spare)
            deviation += mean_square(spare) / np.float32(len(moments))
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


def mean_square(x: Array) -> Array:
    """(candidates, channels) of x (candidates, channels, n)."""
    return np.asarray(np.einsum("kcn,kcn->kc", x, x) / np.float32(x.shape[2]))
