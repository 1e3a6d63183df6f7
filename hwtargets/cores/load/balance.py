"""Tiles that balance: as many cores as the fewest-cores partition takes, and the busiest of them
with as few synaptic operations per step as can be.

For every layer and number of cores the tile with the fewest synaptic operations in its busiest core
is found; then the smallest threshold that all layers can keep with no more cores than there are. A
layer with many synapses per neuron gets cores that one with few can do without. Tiles are tried
that are cut along each spatial axis into any number of equal parts, not powers of two alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import ceil, prod

import numpy as np

from ....runtime.ops import Array, Shape
from ...target import HardwareTarget
from ...view.network import ChipLayer, ChipNetwork
from ..memory import MemoryModel, TileCost, tile_cost
from ..partition import PREFERRED, Tiling, allocated, core_limits, fits, halves, hardware_neurons
from .work import of_projection

PARTS = 16  # along one axis, at most
MORE = 4  # times the cores of the fewest, at most


def balanced(
    network: ChipNetwork,
    target: HardwareTarget,
    model: MemoryModel,
    tilings: Sequence[Tiling],
    rates: Mapping[str, Array] | None,
    *,
    rate: float,
    sent: float,
) -> tuple[Tiling, ...]:
    """``tilings`` cut anew, on no more cores; rates as for ``work.work``."""
    inputs = {node.name for node in network.inputs}
    found: list[dict[int, tuple[float, Tiling]]] = []
    for tiling in tilings:
        layer = network.find(tiling.name)
        own: dict[int, tuple[tuple[float, tuple[int, int]], Tiling]] = {}
        for option in _options(tiling, layer, target, model):
            load = _busiest(option, layer, model, rates, inputs, rate=rate, sent=sent)
            key = (load, _surface(option))
            if option.cores not in own or key < own[option.cores][0]:
                own[option.cores] = (key, option)
        found.append({cores: (key[0], option) for cores, (key, option) in own.items()})
    chosen = _chosen(found, sum(t.cores for t in tilings))
    out, first = [], 0
    for tiling in chosen:
        out.append(replace(tiling, first=first))
        first += tiling.cores
    return tuple(out)


def _chosen(found: Sequence[Mapping[int, tuple[float, Tiling]]], most: int) -> list[Tiling]:
    """The fewest cores of every layer under the smallest threshold for which they suffice."""
    loads = sorted({load for own in found for load, _ in own.values()})
    low, high = 0, len(loads) - 1
    while low < high:
        middle = (low + high) // 2
        under = _under(found, loads[middle])
        if under is not None and sum(t.cores for t in under) <= most:
            high = middle
        else:
            low = middle + 1
    return _under(found, loads[low]) or []


def _under(
    found: Sequence[Mapping[int, tuple[float, Tiling]]], threshold: float
) -> list[Tiling] | None:
    out = []
    for own in found:
        cores = [n for n, (load, _) in own.items() if load <= threshold]
        if not cores:
            return None
        out.append(own[min(cores)][1])
    return out


def _options(
    tiling: Tiling, layer: ChipLayer | None, target: HardwareTarget, model: MemoryModel
) -> Iterator[Tiling]:
    """The tiling itself, and others that a core holds."""
    yield tiling
    shape, cells = tiling.shape, hardware_neurons(layer, target)
    limits = dict(core_limits(target))
    if not fits(tiling.cost, {k: v for k, v in limits.items() if k in PREFERRED}):
        limits = {k: v for k, v in limits.items() if k not in PREFERRED}
    for tile in _tiles(shape):
        cores = prod(ceil(n / t) for n, t in zip(shape, tile, strict=True))
        if cores > MORE * tiling.cores + 1:
            continue
        padded = allocated(tile, shape=shape) * cells
        cost: TileCost = tile_cost(layer, model, tile, padded)
        if fits(cost, limits):
            used = tile_cost(layer, model, tile, prod(tile) * cells)
            share = {k: cost.used()[k] / v for k, v in limits.items() if v and k not in PREFERRED}
            binding = max(share, key=lambda k: share[k]) if share else ""
            yield replace(tiling, tile=tile, cost=used, binding=binding)


def _tiles(shape: Shape) -> Iterator[Shape]:
    """All channels, half of them, ...; spatial axes in 1, 2, 3, ... parts."""
    parts = [sorted({ceil(n / k) for k in range(1, min(n, PARTS) + 1)}) for n in shape]
    yield from product(parts[0] if len(shape) == 1 else halves(shape[0]), *parts[1:])


def _busiest(
    tiling: Tiling,
    layer: ChipLayer | None,
    model: MemoryModel,
    rates: Mapping[str, Array] | None,
    inputs: set[str],
    *,
    rate: float,
    sent: float,
) -> float:
    """Synaptic operations per step of the busiest core."""
    synops = np.zeros(tiling.cores)
    for p in () if layer is None or layer.analog else layer.projections:
        assumed = sent if p.source in inputs else rate
        synops += of_projection(p, model, tiling, (rates or {}).get(p.source), assumed)[0]
    return float(synops.max(initial=0.0))


def _surface(tiling: Tiling) -> tuple[int, int]:
    """How often channels are cut, which sends the whole input to more cores; the halo."""
    return tiling.grid[0] if len(tiling.shape) > 1 else 1, prod(t + 2 for t in tiling.tile[1:])
