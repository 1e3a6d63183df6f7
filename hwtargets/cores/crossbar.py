"""The mapping of crossbars: rows (input axons) by columns (neurons), every crossing a weight.

Nothing is shared: a convolution is unrolled, each position has its own columns, and each source
neuron that a core reads takes a row. Limits read: in_axons_per_core (rows), neurons_per_core
(columns), cores_per_chip, and those of ``quantize``. A layer that reads more than the rows of one
core is refused; the remedy says what partial sums would cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import ceil

from ..energy.bounds import TIMES
from ..energy.constants import ENERGY
from ..mapping import ChipMapping, Least, Mapped, Request
from ..target import HardwareTarget, Known, Violation
from ..view.network import ChipNetwork
from .least import least_cores
from .mapping import LIMITS, WAYS, CoresOptions, CrossbarOptions, kinds, map_cores
from .memory import MemoryModel
from .variants import would_fit

UNROLLED = MemoryModel(shared=False, axons="neuron", weight_bits=0)
NEEDED = ("in_axons_per_core", "neurons_per_core")  # rows and columns


def map_crossbar(
    network: ChipNetwork, target: HardwareTarget, request: Request[CrossbarOptions]
) -> Mapped:
    """Like ``cores.map_cores``, with the memory of a crossbar."""
    rows, _ = (target.limit(name) for name in NEEDED)
    chosen = CoresOptions(
        input=request.options.input,
        maxpool=request.options.maxpool,
        tune=request.options.tune,
        emit=request.options.emit,
        memory=UNROLLED,
    )
    mapped = map_cores(network, target, request.choosing(chosen))
    violations = tuple(_with_cost(v, network, rows) for v in mapped.violations)
    note = "Every synapse takes a crossing: convolutions are unrolled, weights are not shared."
    return replace(
        mapped,
        violations=violations,
        notes=(*mapped.notes, note),
        would_fit=partial(would_fit, network, target, request, map_crossbar),
    )


def least(network: ChipNetwork, target: HardwareTarget, options: CrossbarOptions) -> Least:
    """See ``least.least_cores``."""
    return least_cores(network, target, UNROLLED)


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


CROSSBAR_LIMITS: Mapping[str, Known] = {
    **LIMITS,
    **{name: replace(LIMITS[name], unstated=None) for name in NEEDED},
}

CROSSBAR: ChipMapping[CrossbarOptions] = ChipMapping(
    name="crossbar",
    options=CrossbarOptions,
    limits=CROSSBAR_LIMITS,
    energy=ENERGY,
    inputs=WAYS,
    kinds=kinds,
    least=least,
    step=map_crossbar,
    times=TIMES,
    emits=".npz",
)
