"""Constants of a chip that energy and latency take, and how far they may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..target import Known, Limit

# What ``energy_of`` and ``latency_of`` read; where no uncertainty is stated, half of it.
ENERGY: Mapping[str, Known] = {
    "synop": Known(help="one spike over one synapse", unit="pJ", uncertainty=0.5),
    "neuron_update": Known(help="one neuron in one step", unit="pJ", uncertainty=0.5),
    "hop": Known(help="one spike from router to router", unit="pJ", uncertainty=0.5),
    "step": Known(help="one time step", unit="s", uncertainty=0.5),
    "static_per_chip": Known(help="a chip that is on", unit="W", uncertainty=0.5),
}


@dataclass(frozen=True, kw_only=True)
class Span:
    """An estimate, and what it is with all its constants at the ends of their ranges."""

    value: float
    low: float
    high: float


def spread(limit: Limit, known: Mapping[str, Known] = ENERGY) -> float:
    """The relative uncertainty of a constant, where its file states none that of the table."""
    stated = known[limit.name].uncertainty if limit.uncertainty is None else limit.uncertainty
    if stated is None:
        raise KeyError(f"the table of '{limit.name}' has no uncertainty for where none is stated")
    return stated


def source_of(limit: Limit) -> str:
    """Value, unit and source in words, marked where nobody verified it."""
    mark = "" if limit.verified else " [not verified]"
    return f"{limit.value:g} {limit.unit}: {limit.source}{mark}"
