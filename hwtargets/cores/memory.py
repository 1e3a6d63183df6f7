"""What synapses cost in a core's memory: one parametrized formula, as data in a target's file.

A core stores, for every input row, the list of weights to its own neurons:

    units = rows * ceil((bits * n / interleave + header) / word)

dense: rows are the input axons and n the neurons on the core. Convolution with shared weights:
rows = input channels x kernel positions, n the output channels of the tile, which ``interleave``
word banks hold side by side. Lists longer than ``block`` weights are split, each with a header.
Where input axons stand for positions (``axons = "position"``, Loihi 1) a list serves all positions
that see the same taps of the kernel: those at the border of a tile, and those between strides, have
lists of their own, and so has every run of ``axon_offset`` neurons that such positions begin at.
Without sharing, every synapse is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from typing import Literal

import numpy as np

from ...runtime.ops import Array, Shape
from ..kinds import Choice, Flag, Real, Whole
from ..options import Options, option
from ..view.network import ChipLayer, Projection


@dataclass(frozen=True, kw_only=True)
class MemoryModel(Options):
    """``[options.memory]`` of a target with cores."""

    weight_bits: float = option(
        8.0, Real(), "bits of a stored weight, with what is stored beside it", code="E501"
    )
    header_bits: float = option(0.0, Real(), "bits per list", code="E501")
    word_bits: int = option(
        1, Whole(), "lists are rounded up to this; the unit that limits are counted in", code="E501"
    )
    block: int = option(
        0, Whole(least=0), "largest number of weights in one list; 0 is no limit", code="E501"
    )
    shared: bool = option(
        False, Flag(), "convolution kernels are stored once per core", code="E501"
    )
    interleave: int = option(
        1, Whole(), "output channels that share a word bank (shared convolutions)", code="E501"
    )
    index_bits: float = option(
        0.0, Real(), "added to each weight of an irregular (sparse) list; lists of positions have "
        "as many as their largest index needs", code="E501",
    )  # fmt: skip
    axons: Literal["neuron", "position", "projection"] = option(
        "neuron", Choice(("neuron", "position", "projection")),
        "what a convolution's input axon stands for: a neuron, a position (all channels of a "
        "pixel), or the projection", code="E501",
    )  # fmt: skip
    axon_offset: int = option(
        0, Whole(least=0), "neurons of a core that an axon of a position can begin at; a list is "
        "copied for every so many; 0 is no limit", code="E501",
    )  # fmt: skip
    merge: bool = option(
        False, Flag(), "source neurons with equal weights (pooled before a dense layer) share an "
        "input axon", code="E501",
    )  # fmt: skip

    def row(self, n: float, *, extra: float = 0) -> int:
        """Words of one list of n weights."""
        if self.block and n > self.block:
            full, rest = divmod(n, self.block)
            return int(full) * self.row(self.block, extra=extra) + (
                self.row(rest, extra=extra) if rest else 0
            )
        return ceil((n * (self.weight_bits + extra) + self.header_bits) / self.word_bits)


@dataclass(frozen=True, kw_only=True)
class TileCost:
    """What one tile of a layer uses. ``synapses``: memory of convolutions and sparse lists, in
    units of the target's word; ``dense``: memory of dense projections plus their input axons
    (both in the same pool); ``row``: words of the longest dense list."""

    neurons: int
    in_axons: int
    synapses: int
    dense: int
    row: int
    out_axons: int

    def used(self) -> dict[str, int]:
        """By the name of the limit that each is held against."""
        memory = self.synapses + (self.dense - self.in_axons if self.dense else 0)
        return {
            "neurons_per_core": self.neurons,
            "in_axons_per_core": self.in_axons,
            "synapse_memory": memory,
            "dense_memory": self.dense,
            "dense_row_words": self.row,
            "core_memory": memory + self.in_axons + self.neurons + self.out_axons,
        }


def tile_cost(
    layer: ChipLayer | None, model: MemoryModel, tile: Sequence[int], padded: int
) -> TileCost:
    """The cost of the largest tile of a layer: ``tile`` is its size along (channel, *spatial),
    ``padded`` its number of neurons as the chip allocates them. An input has no ``layer``."""
    axons = words = dense = row = 0
    for p, count in layer.forms if layer else ():
        a, w, r = _projection_cost(p, model, tile)
        axons += a * count
        if p.kind == "dense":
            dense, row = dense + (w + a) * count, max(row, r)
        else:
            words += w * count
    positions = prod(tile[1:]) if model.shared and len(tile) > 1 else prod(tile)
    return TileCost(
        neurons=padded, in_axons=axons, synapses=words, dense=dense, row=row, out_axons=positions
    )


def _projection_cost(
    p: Projection, model: MemoryModel, tile: Sequence[int]
) -> tuple[int, int, int]:
    """Input axons, words, longest list."""
    if p.geometry is None:
        return _sparse_cost(p, model, tile)
    channels = _source_channels(p, tile[0])
    reach = _reach(p, tile)
    if p.kind == "dense":
        row = model.row(tile[0])
        axons = min(channels * reach, p.geometry.rows) if model.merge else channels * reach
        return axons, axons * row, row
    outs = max(1, min(tile[0], p.target_shape[0] // p.geometry.groups))
    positions = prod(tile[1:])
    if model.shared and model.axons == "position":
        words, row = _by_position(p, model, tile, channels * outs), 0
    elif model.shared:
        row = model.row(outs / model.interleave)
        words = channels * p.geometry.taps * row
    else:
        row = model.row(1, extra=model.index_bits)
        words = channels * p.geometry.taps * outs * positions * row
    axons = {"neuron": channels * reach, "position": reach, "projection": 1}[model.axons]
    return axons, words, row


def _by_position(p: Projection, model: MemoryModel, tile: Sequence[int], pairs: int) -> int:
    """Words of the lists of all kinds of positions; ``pairs``: source channels x outputs."""
    assert p.geometry is not None
    taps, first, span = np.ones(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    kind = np.zeros(1, np.int64)
    stride = tile[0]
    for axis in reversed(p.geometry.axes):
        n = 1 if axis.target is None else tile[1 + axis.target]
        own = _positions(axis.stride, axis.offsets, n=n)
        taps = np.multiply.outer(own[1], taps).reshape(-1)
        first = np.add.outer(own[2] * stride, first).reshape(-1)
        span = np.add.outer((own[1] - 1) * stride, span).reshape(-1)
        kind = np.add.outer(own[0] * (kind.max() + 1), kind).reshape(-1)
        stride *= n
    inside = model.axon_offset or int(first.max()) + 1
    begins = first // inside * inside  # what the axon cannot say stands in the list's indices
    key = kind * (int(begins.max()) + 1) + begins
    _, lists = np.unique(key, return_index=True)
    bits = (int((begins + span).max()) + tile[0] - 1).bit_length()
    bits = 0 if bits == 0 else max(bits, 6)  # index fields have 0 or 6..12 bits
    sizes, counts = np.unique(taps[lists], return_counts=True)
    rows = (model.row(int(n) * pairs, extra=bits) for n in sizes)
    return sum(int(c) * row for c, row in zip(counts, rows, strict=True))


@cache
def _positions(stride: int, offsets: tuple[int, ...], *, n: int) -> Array:
    """Of every source position along an axis that n targets read, (3, positions): its kind (which
    taps it sees), how many taps these are, and the first target."""
    seen: dict[int, list[tuple[int, int]]] = {}
    for k, offset in enumerate(offsets):
        for o in range(n):
            seen.setdefault(o * stride + offset, []).append((k, o))
    numbers: dict[tuple[int, ...], int] = {}
    rows = [
        (numbers.setdefault(tuple(k for k, _ in at), len(numbers)), len(at), min(o for _, o in at))
        for at in seen.values()
    ]
    return np.array(rows, np.int64).T


def _source_channels(p: Projection, n: int) -> int:
    """The most source channels that a run of n aligned target channels reads."""
    assert p.geometry is not None
    source, target, groups = p.source_shape[0], p.target_shape[0], p.geometry.groups
    if groups == 1:
        return source
    per_group = target // groups
    touched = min(groups, ceil(n / per_group) + (1 if n % per_group else 0))
    return touched * (source // groups)


def _reach(p: Projection, tile: Sequence[int]) -> int:
    """Source positions that a tile in the middle of the map reads."""
    assert p.geometry is not None
    out = 1
    for axis, size in zip(p.geometry.axes, p.source_shape[1:], strict=True):
        n = 1 if axis.target is None else tile[1 + axis.target]
        found = np.unique(np.arange(n)[:, None] * axis.stride + np.array(axis.offsets))
        out *= min(len(found), size)
    return out


def _sparse_cost(p: Projection, model: MemoryModel, tile: Sequence[int]) -> tuple[int, int, int]:
    """By counting: the worst tile's axons and list words."""
    matrix = p.matrix
    core = tile_of(p.target_shape, tile)[matrix.rows]
    pair, lengths = np.unique(core * matrix.shape[1] + matrix.cols, return_counts=True)
    if not len(pair):
        return 0, 0, 0
    rows = np.array([model.row(int(n), extra=model.index_bits) for n in range(lengths.max() + 1)])
    cores = pair // matrix.shape[1]
    words = np.bincount(cores, weights=rows[lengths])
    return int(np.bincount(cores).max()), int(words.max()), int(rows[lengths].max())


def tile_of(shape: Shape, tile: Sequence[int]) -> np.ndarray:
    """The number of the tile (C order over the grid of tiles) of every neuron: (neurons,)."""
    at = np.zeros(shape, np.int64)
    for axis, (n, t) in enumerate(zip(shape, tile, strict=True)):
        index = np.arange(n) // t
        at = at * ceil(n / t) + index.reshape(*(-1 if i == axis else 1 for i in range(len(shape))))
    return at.reshape(-1)
