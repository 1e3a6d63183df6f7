"""The fewest cores that a network takes on TrueNorth: each neuron is on one, and no core serves two
layers."""

from __future__ import annotations

from math import ceil
from typing import Any

from ..mapping import Least
from ..target import HardwareTarget
from ..view.network import ChipNetwork


def least(network: ChipNetwork, target: HardwareTarget, options: Any) -> Least:
    """Partial sums, copies and splitters depend on the weights, and are left out; so are max pools,
    which are replaced by neurons."""
    room = target.limit("neurons")
    cores = sum(ceil(layer.neurons / room) for layer in network.layers if not layer.analog)
    axons = int(target.limit("axons"))
    regular = (p for p in network.projections if p.geometry is not None)
    wide = max((p.fan_in for p in regular), default=0)
    split = f" and partial sums (up to {wide:,} inputs per neuron, {axons} axons per core)"
    more = f"copies of neurons{split if wide > axons else ''} come on top"
    return Least(cores=cores, conditions=(more,))
