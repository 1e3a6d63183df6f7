"""How an analog input enters, alike on several chips.

Chips that are compared have to be given the same: what the first layer costs depends on it (nothing
on the chip where a host computes its currents, every value in every step where values are graded).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..target import HardwareTarget

# A target's ways in (``target.ENTRIES``), and what each is to the layer that reads the input: a
# population of encoding neurons sends it the same spikes as a host that codes values by rates.
KINDS: Mapping[str, str] = {
    "graded": "graded",
    "bias": "bias",
    "population": "spikes",
    "rate": "spikes",
}


def alike(targets: Iterable[HardwareTarget]) -> Mapping[str, str]:
    """By name of the target the way in, of the first kind of the first target that all have;
    empty where there is none."""
    chips = list(targets)
    ways = [{KINDS[way]: way for way in chip.can("input")} for chip in chips]
    for kind in ways[0] if ways else ():
        if all(kind in own for own in ways):
            return {chip.name: own[kind] for chip, own in zip(chips, ways, strict=True)}
    return {}
