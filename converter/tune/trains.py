"""Spikes of populations that have been calibrated, as they are kept: tile by tile, binary ones in
bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...runtime.neurons import Neuron
from ...runtime.ops import Array

ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)  # of a byte


def packs(neuron: Neuron) -> bool:
    """Whether spikes are 0 or 1."""
    return not neuron.traits & {"levels", "signed"}


def bytes_each(neuron: Neuron, steps: int) -> int:
    """What the spikes of one neuron on one sample take; ``steps``: 1 with windows."""
    if steps == 1:
        return np.dtype(np.float32).itemsize
    return -(-steps // 8) if packs(neuron) else steps * spike_type(neuron).itemsize


def spike_type(neuron: Neuron) -> np.dtype:
    return np.dtype(np.int8 if neuron.levels <= 127 else np.int16)


@dataclass(frozen=True, eq=False, kw_only=True)
class Train:
    """The spikes of one population, and what they are worth.

    Attributes:
        threshold: broadcasts to the shape.
        worth: (steps,), of a spike of one threshold in each step.
        packed: whether eight steps share a byte: step t is bit t % 8 of byte t // 8.
        spikes: by a tile's first sample, (steps, batch, *shape) small integers; where neurons send
            one number per window, what is decoded of it, (1, batch, *shape).
    """

    threshold: Array
    worth: Array
    packed: bool
    windowed: bool = False
    spikes: dict[int, Array] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.worth)

    def empty(self, shape: tuple[int, ...], kind: np.dtype) -> Array:
        """Room for the spikes of a tile, (batch, *shape), that ``put`` fills."""
        if self.packed:
            return np.zeros((-(-self.steps // 8), *shape), np.uint8)
        return np.empty((self.steps, *shape), kind)

    def put(self, room: Array, at: int, *, where: tuple[slice, ...], spikes: Array) -> None:
        """The spikes of step ``at`` of the neurons ``where``."""
        if not self.packed:
            room[at][where] = spikes
            return
        bits = spikes.astype(np.uint8)
        bits <<= np.uint8(at % 8)
        room[at // 8][where] |= bits

    def steps_of(self, tile: int, *, first: int, count: int) -> Iterator[Array]:
        """Spikes of single steps, (batch, *shape) each."""
        spikes = self.spikes[tile]
        for t in range(first, first + count):
            yield (spikes[t // 8] >> np.uint8(t % 8)) & np.uint8(1) if self.packed else spikes[t]

    def decoded(self, tile: int, *, first: int, count: int) -> Array:
        """Spikes times threshold, (count, batch, *shape), from step ``first`` on."""
        shape = self.spikes[tile].shape[1:]
        out = np.empty((count, *shape), np.float32)
        for at, step in enumerate(self.steps_of(tile, first=first, count=count)):
            np.multiply(step, self.threshold, out=out[at], casting="unsafe")
        return out

    def mean(self, tile: int) -> Array:
        """What is decoded after all steps, (batch, *shape): sum of threshold worth(t) k(t)."""
        spikes = self.spikes[tile]
        if self.windowed:
            return np.asarray(spikes[0])
        worth = self.worth
        if (worth == worth[0]).all():
            counts = ONES[spikes] if self.packed else spikes
            total = counts.sum(axis=0, dtype=np.float32)
            return np.asarray(total * (self.threshold * worth[0]))
        total = np.zeros(spikes.shape[1:], np.float32)
        for weight, step in zip(worth, self.steps_of(tile, first=0, count=self.steps), strict=True):
            total += weight * step.astype(np.float32)
        return np.asarray(total * self.threshold)
