"""Populations cut into cores: the smallest number of equal tiles under every limit.

Candidates for a map (channels, height, width): along the longer spatial axis tiles of a power of
two (what the vendor's Loihi 2 compiler does, counted as allocated even where the map ends
earlier), along the other the axis cut into halves, quarters, ...; all channels together where
memory allows. The candidate with the fewest cores wins, among equals the one with the smallest
halo. A layer without spatial
axes is cut into equal runs of neurons. Cores are never shared between layers. Checked against the
partitions that the vendor's compiler printed (tests/hwtargets/cores/test_partition.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil, log2, prod

import numpy as np

from ...runtime.ops import Array, Shape
from ..target import HardwareTarget, Violation
from ..view.network import ChipLayer, ChipNetwork
from .memory import MemoryModel, TileCost, tile_cost, tile_of

CUT_PRICE = 0.2  # more cores that are accepted to save one doubling of the input's copies
# Sizes that the vendor's partitioner keeps to where it can; exceeded only where a layer has no
# smaller tile (a neuron with a very large fan-in).
PREFERRED = ("dense_memory", "dense_row_words")


@dataclass(frozen=True, eq=False, kw_only=True)
class Tiling:
    """A layer on cores first .. first + cores - 1, in C order over the grid of tiles.

    Attributes:
        name, shape: of the layer; tile: neurons along each axis of a full tile.
        cost: of a full tile. binding: the limit that it comes closest to.
    """

    name: str
    shape: Shape
    tile: Shape
    first: int
    cost: TileCost
    binding: str = ""

    @property
    def grid(self) -> Shape:
        return tuple(ceil(n / t) for n, t in zip(self.shape, self.tile, strict=True))

    @property
    def cores(self) -> int:
        return prod(self.grid)

    def core_of(self) -> Array:
        """The core of every neuron, (neurons,)."""
        return self.first + tile_of(self.shape, self.tile)

    def neurons(self) -> Array:
        """Neurons on each core, (cores,)."""
        sizes = np.ones((), np.int64)
        for n, t, k in zip(self.shape, self.tile, self.grid, strict=True):
            sizes = np.multiply.outer(sizes, np.minimum(t, n - t * np.arange(k)))
        return sizes.reshape(-1)


def partition(
    network: ChipNetwork,
    target: HardwareTarget,
    model: MemoryModel,
    inputs: bool,
    caps: Mapping[str, int] | None = None,
) -> tuple[tuple[Tiling, ...], tuple[Violation, ...]]:
    """Tilings of every layer in execution order, and what does not fit on any core.

    ``inputs``: the network's inputs occupy cores too (as populations that encode them).
    ``caps``: at most so many neurons of a layer on one core.
    """
    tilings: list[Tiling] = []
    violations: list[Violation] = []
    first = 0
    for name, shape, layer in to_place(network, inputs):
        cells = hardware_neurons(layer, target)
        limits = dict(core_limits(target))
        if caps and name in caps:
            most = limits.get("neurons_per_core", float("inf"))
            limits["neurons_per_core"] = min(most, caps[name] * cells)
        tiling, broken = tile_layer(name, shape, layer, limits, model, first=first, cells=cells)
        violations.extend(broken)
        if tiling is not None:
            tilings.append(tiling)
            first += tiling.cores
    return tuple(tilings), tuple(violations)


def to_place(network: ChipNetwork, inputs: bool) -> Iterator[tuple[str, Shape, ChipLayer | None]]:
    """Name, shape and layer of what takes cores, in order; an input has no layer."""
    if inputs:
        for node in network.inputs:
            yield node.name, node.shape or (1,), None
    for layer in network.layers:
        yield layer.name, layer.shape or (1,), layer


def hardware_neurons(layer: ChipLayer | None, target: HardwareTarget) -> int:
    """How many of the chip's neurons one neuron of the layer takes."""
    neuron = layer.neuron if layer else None
    soft = neuron is not None and "subtract" in neuron.traits
    return int(target.can("soft_reset_neurons")) if soft else 1


def tile_layer(
    name: str,
    shape: Shape,
    layer: ChipLayer | None,
    limits: Mapping[str, float],
    model: MemoryModel,
    *,
    first: int,
    cells: int = 1,
) -> tuple[Tiling | None, list[Violation]]:
    """The best tiling of one layer; ``cells`` hardware neurons per neuron."""

    def cost(tile: Shape, padded: int) -> TileCost:
        return tile_cost(layer, model, tile, padded * cells)

    found = _tile(shape, cost, limits)
    if found is None:
        limits = {k: v for k, v in limits.items() if k not in PREFERRED}
        found = _tile(shape, cost, limits)
    if found is None:
        smallest = cost((1,) * len(shape), 1)
        return None, list(_over(name, smallest, limits))
    used = cost(found, prod(found))
    padded = cost(found, allocated(found, shape=shape))
    share = {k: padded.used()[k] / v for k, v in limits.items() if v and k not in PREFERRED}
    binding = max(share, key=lambda k: share[k]) if share else ""
    best = Tiling(name=name, shape=shape, tile=found, first=first, cost=used, binding=binding)
    return best, []


def _tile(shape: Shape, cost, limits: Mapping[str, float]) -> Shape | None:  # type: ignore[no-untyped-def]
    return _flat(shape[0], cost, limits) if len(shape) == 1 else _spatial(shape, cost, limits)


def hard_limits(target: HardwareTarget) -> Mapping[str, float]:
    """What a core must not exceed: ``core_limits`` without the preferred sizes."""
    return {k: v for k, v in core_limits(target).items() if k not in PREFERRED}


def core_limits(target: HardwareTarget) -> Mapping[str, float]:
    """The target's limits per core, by the names of ``TileCost.used``."""
    names = TileCost(neurons=0, in_axons=0, synapses=0, dense=0, row=0, out_axons=0).used()
    return {name: target.limits[name].value for name in names if name in target.limits}


def fits(cost: TileCost, limits: Mapping[str, float]) -> bool:
    used = cost.used()
    return all(used[name] <= limit for name, limit in limits.items())


def _over(name: str, cost: TileCost, limits: Mapping[str, float]) -> Iterable[Violation]:
    used = cost.used()
    for rule, limit in limits.items():
        if used[rule] > limit:
            yield Violation(
                node=name,
                rule=rule,
                used=used[rule],
                limit=limit,
                remedy=_REMEDIES[rule],
            )


_FEWER = "Use fewer channels or a chip with larger cores."
_REMEDIES = {  # by the names of ``TileCost.used``
    "neurons_per_core": _FEWER,
    "dense_memory": _FEWER,
    "dense_row_words": _FEWER,
    "in_axons_per_core": "One neuron alone reads more than a core takes: prune inputs, or cut the "
    "layer into partial sums with a population between.",
    "synapse_memory": "One neuron's weights alone exceed a core's memory: fewer input channels or "
    "a smaller kernel.",
    "core_memory": "One neuron's weights and axons alone exceed a core: pool before the dense "
    "layer, or cut it into partial sums.",
}


def _flat(n: int, cost, limits: Mapping[str, float]) -> Shape | None:  # type: ignore[no-untyped-def]
    """Equal runs: the fewest cores k for which ceil(n / k) neurons fit (cost is monotonic)."""
    if not fits(cost((1,), 1), limits):
        return None
    low, high = 1, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(cost((middle,), middle), limits) else (low, middle - 1)
    return (ceil(n / ceil(n / low)),)


def _spatial(shape: Shape, cost, limits: Mapping[str, float]) -> Shape | None:  # type: ignore[no-untyped-def]
    """Fewest cores, then the smallest halo. Every cut of the channels sends the whole input to
    more cores: each doubling has to save a fifth of the cores."""
    found: list[tuple[float, Shape]] = []
    for channels in reversed(halves(shape[0])):
        best = _best_cut(shape, channels, cost, limits)
        if best is not None:
            price = best[0][0] * (1 + CUT_PRICE * log2(ceil(shape[0] / channels)))
            found.append((price, best[1]))
    return min(found, key=lambda option: option[0])[1] if found else None


def _best_cut(  # type: ignore[no-untyped-def]
    shape: Shape, channels: int, cost, limits: Mapping[str, float]
) -> tuple[tuple[int, int], Shape] | None:
    """The best tile with that many channels: ((cores, halo), tile)."""
    best: tuple[tuple[int, int], Shape] | None = None
    for tile in candidates(shape, channels):
        cores = prod(ceil(n / t) for n, t in zip(shape, tile, strict=True))
        clipped = tuple(min(t, n) for t, n in zip(tile, shape, strict=True))
        key = (cores, prod(t + 2 for t in clipped[1:]))
        if (best is None or key < best[0]) and fits(cost(clipped, prod(tile)), limits):
            best = (key, clipped)
    return best


def candidates(shape: Shape, channels: int) -> Iterator[Shape]:
    """Tile sizes worth trying, see the module's text. Sizes along the longer axis may exceed it:
    that is what is allocated."""
    long = _long(shape)
    spatial = (powers(n) if a == long else halves(n) for a, n in enumerate(shape) if a)
    yield from product([channels], *spatial)


def _long(shape: Shape) -> int:
    """The longer spatial axis, the last one of equals."""
    return max(range(1, len(shape)), key=lambda axis: (shape[axis], axis))


def powers(n: int) -> list[int]:
    """1, 2, 4, ... up to the first that is at least n."""
    return [1 << k for k in range((n - 1).bit_length() + 1)]


def halves(n: int) -> list[int]:
    """n, n/2, n/4, ... rounded up."""
    return sorted({ceil(n / (1 << k)) for k in range((n - 1).bit_length() + 1)})


def allocated(tile: Shape, *, shape: Shape) -> int:
    """Neurons that the chip sets aside for a tile: a power of two along the longer axis."""
    if len(shape) == 1:
        return tile[0]
    long = _long(shape)
    return prod(1 << (t - 1).bit_length() if a == long else t for a, t in enumerate(tile))
