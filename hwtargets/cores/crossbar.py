"""The mapping step of crossbars: rows (input axons) by columns (neurons), every crossing a weight.

Nothing is shared: a convolution is unrolled, each position has its own columns, and each source
neuron that a core reads takes a row. Limits read: in_axons_per_core (rows), neurons_per_core
(columns), cores_per_chip, and those of ``quantize``. A layer that reads more than the rows of one
core is refused; the remedy says what partial sums would cost.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from ..mapping import Mapped, Request
from ..target import HardwareTarget, Violation
from ..view.network import ChipNetwork
from .mapping import map_cores

_UNROLLED = {"shared": False, "axons": "neuron", "weight_bits": 0}


def map_crossbar(network: ChipNetwork, target: HardwareTarget, request: Request) -> Mapped:
    """Like ``cores.map_cores``, with the memory of a crossbar."""
    rows = target.limit("in_axons_per_core")
    target.limit("neurons_per_core")
    crossbar = replace(target, options={**target.options, "memory": _UNROLLED})
    mapped = map_cores(network, crossbar, request)
    violations = tuple(_with_cost(v, network, rows) for v in mapped.violations)
    note = "Every synapse takes a crossing: convolutions are unrolled, weights are not shared."
    return replace(mapped, violations=violations, notes=(*mapped.notes, note))


def _with_cost(violation: Violation, network: ChipNetwork, rows: float) -> Violation:
    if violation.rule != "in_axons_per_core":
        return violation
    layer = network[violation.node]
    parts = ceil(layer.fan_in / rows)
    relays = parts * layer.neurons
    return replace(
        violation,
        remedy=f"Cut the layer into {parts} partial sums of at most {rows:g} inputs, each with its "
        f"own population: {relays:,} more neurons and one more step; or prune to {rows:g} inputs.",
    )
