"""Spikes of populations that have been calibrated, as they are kept: tile by tile, small ones in a
bit or two."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ...runtime.neurons import Neuron
from ...runtime.ops import Array

PAGED = 1 << 16  # bytes from which an array has pages of its own


def bits_each(neuron: Neuron) -> int:
    """Bits that hold a spike, where they are one or two: up to 1, up to 3; 0 for others."""
    if "signed" in neuron.traits or neuron.levels > 3:
        return 0
    return 1 if neuron.levels == 1 else 2


def bytes_each(neuron: Neuron, steps: int) -> int:
    """What the spikes of one neuron on one sample take; ``steps``: 1 with windows."""
    if steps == 1:
        return np.dtype(np.float32).itemsize
    bits = bits_each(neuron)
    return -(-steps * bits // 8) if bits else steps * spike_type(neuron).itemsize


def spike_type(neuron: Neuron) -> np.dtype:
    return np.dtype(np.int8 if neuron.levels <= 127 else np.int16)


def pages(shape: tuple[int, ...], kind: np.dtype) -> Array:
    """Zeros whose memory goes back to the system with them. What stays while much else comes and
    goes would otherwise leave holes behind, too small for what comes next."""
    size = prod(shape) * kind.itemsize
    if size < PAGED:
        return np.zeros(shape, kind)
    return np.frombuffer(mmap.mmap(-1, size), kind).reshape(shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Train:
    """The spikes of one population, and what they are worth.

    Attributes:
        threshold: broadcasts to the shape.
        worth: (steps,), of a spike of one threshold in each step.
        bits: of a spike, 1 or 2, eight or four steps to a byte, the first in the lowest bits; 0: of
            other spikes, which have bytes of their own.
        spikes: by a tile's first sample, (steps, batch, *shape) small integers; where neurons send
            one number per window, what is decoded of it, (1, batch, *shape). Samples are asked for
            by tiles, or by the first ones of a tile.
    """

    threshold: Array
    worth: Array
    bits: int
    windowed: bool = False
    spikes: dict[int, Array] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.worth)

    def empty(self, shape: tuple[int, ...], kind: np.dtype) -> Array:
        """Room for the spikes of a tile, (batch, *shape), that ``put`` fills."""
        if self.bits:
            return pages((-(-self.steps * self.bits // 8), *shape), np.dtype(np.uint8))
        return pages((self.steps, *shape), kind)

    def put(self, room: Array, at: int, *, where: tuple[slice, ...], spikes: Array) -> None:
        """The spikes of step ``at`` of the neurons ``where``."""
        if not self.bits:
            room[at][where] = spikes
            return
        bits = spikes.view(np.uint8) if spikes.dtype == np.bool_ else spikes.astype(np.uint8)
        byte, shift = self._place(at)
        into = room[byte][where]
        into |= bits << shift

    def _place(self, at: int) -> tuple[int, np.uint8]:
        """The byte of a step's spikes, and where they begin in it."""
        byte, bit = divmod(at * self.bits, 8)
        return byte, np.uint8(bit)

    def _of(self, part: slice) -> Array:
        """The spikes of a tile, or of its first samples."""
        return self.spikes[part.start][:, : part.stop - part.start]

    def steps_of(self, part: slice, *, first: int, count: int) -> Iterator[Array]:
        """Spikes of single steps, (batch, *shape) each."""
        spikes = self._of(part)
        most = np.uint8((1 << self.bits) - 1)
        for t in range(first, first + count):
            if self.bits:
                byte, shift = self._place(t)
                yield spikes[byte] >> shift & most
            else:
                yield spikes[t]

    def decoded(self, part: slice, *, first: int, count: int) -> Array:
        """Spikes times threshold, (count, batch, *shape), from step ``first`` on."""
        shape = self._of(part).shape[1:]
        out = np.empty((count, *shape), np.float32)
        # Not repeated along the last axes, and in two passes, neither of which changes types while
        # it multiplies: half the time.
        whole = np.ascontiguousarray(np.broadcast_to(self.threshold, shape[1:]))
        for at, step in enumerate(self.steps_of(part, first=first, count=count)):
            np.copyto(out[at], step)
            out[at] *= whole
        return out

    def mean(self, part: slice) -> Array:
        """What is decoded after all steps, (batch, *shape): sum of threshold worth(t) k(t)."""
        spikes = self._of(part)
        if self.windowed:
            return np.asarray(spikes[0])
        worth = self.worth
        if (worth == worth[0]).all():
            total = self._count(spikes).astype(np.float32)
            return np.asarray(total * (self.threshold * worth[0]))
        total = np.zeros(spikes.shape[1:], np.float32)
        for weight, step in zip(worth, self.steps_of(part, first=0, count=self.steps), strict=True):
            total += weight * step.astype(np.float32)
        return np.asarray(total * self.threshold)

    def _count(self, spikes: Array) -> Array:
        """Their sum over the steps, (batch, *shape)."""
        if not self.bits:
            return np.asarray(spikes.sum(axis=0, dtype=np.float32))
        kind = np.min_scalar_type(3 * self.steps)
        if self.bits == 1:
            return np.asarray(_ones(spikes).sum(axis=0, dtype=kind))
        low, high = (_ones(spikes & places).sum(axis=0, dtype=kind) for places in (0x55, 0xAA))
        return np.asarray(low + 2 * high)


def _ones(bits: Array) -> Array:
    """How many bits are set in every byte: of pairs, of fours, of all."""
    pairs = bits - (bits >> 1 & 0x55)
    fours = (pairs & 0x33) + (pairs >> 2 & 0x33)
    return np.asarray(fours + (fours >> 4) & 0x0F)
