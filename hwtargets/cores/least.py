"""The fewest cores that a network takes, from its shapes: the partition's own tilings, layer by
layer. Layers without a geometry, whose synapses would have to be listed, and those behind the first
``LOOKED_AT`` different ones count by their neurons alone."""

from __future__ import annotations

from math import ceil, prod

from ...display import counted
from ..mapping import Least
from ..target import UNBOUNDED, HardwareTarget, Violation
from ..view.network import ChipLayer, ChipNetwork
from .memory import MemoryModel
from .partition import core_limits, hardware_neurons, tile_layer, to_place

LOOKED_AT = 100  # different layers that are cut; a second or less


def least_cores(network: ChipNetwork, target: HardwareTarget, model: MemoryModel) -> Least:
    """Cores without those that output axons or an input in a way of its own may add."""
    limits = core_limits(target)
    encoded = tuple(target.can("input")) == ("population",)
    known: dict[object, int | tuple[Violation, ...]] = {}
    cores, broken, uncut = 0, [], 0
    for name, shape, layer in to_place(network, encoded):
        cells = hardware_neurons(layer, target)
        key = _form(shape, layer, cells)
        if key is None or (key not in known and len(known) >= LOOKED_AT):
            cores += ceil(prod(shape) * cells / limits.get("neurons_per_core", UNBOUNDED)) or 1
            uncut += 1
            continue
        if key not in known:
            tiling, over = tile_layer(name, shape, layer, limits, model, first=0, cells=cells)
            known[key] = tuple(over) if tiling is None else tiling.cores
        found = known[key]
        if isinstance(found, int):
            cores += found
        else:
            broken += _of(name, found)
    alone = f"of {counted(uncut, 'layer')} the neurons alone are counted, not the synapses"
    return Least(cores=cores, violations=tuple(broken), conditions=(alone,) if uncut else ())


def _form(shape: tuple[int, ...], layer: ChipLayer | None, cells: int) -> object | None:
    """What the tiling of a layer depends on; None where its synapses have no geometry, or one that
    is not of its neurons (a maximum over whole maps)."""
    forms = layer.forms if layer else ()
    if any(p.geometry is None or len(p.target_shape) != len(shape) for p, _ in forms):
        return None
    read = tuple((p.geometry, p.source_shape, p.target_shape, count) for p, count in forms)
    return shape, cells, read


def _of(name: str, found: tuple[Violation, ...]) -> list[Violation]:
    """The same of a layer of this name."""
    return [Violation(**{**vars(v), "node": name}) for v in found]
