"""The busiest core, of each kind of work: who it is, how far above the others, and what a step
takes at the least for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..energy.bounds import StepBound, Work, step_bound
from ..mapping import Cores, Mapped
from ..target import HardwareTarget
from ..view.network import ChipNetwork


def busiest(work: Work, cores: Cores) -> dict[str, dict[str, Any]]:
    """Per kind of work: ``most`` per step of one core, ``mean`` of all cores, and which ``core``
    of which ``layer`` it is. Empty where there are no cores."""
    if not cores.count:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for kind, values in vars(work).items():
        core = int(np.argmax(values))
        found[kind] = {
            "most": float(values[core]),
            "mean": float(np.mean(values)),
            "core": core,
            "layer": cores.layers[int(cores.layer[core])],
        }
    return found


def bound_of(
    network: ChipNetwork,
    target: HardwareTarget,
    mapped: Mapped,
    *,
    packets: float,
    chips: int,
    steps: int,
    lag: int,
) -> StepBound | None:
    """What a step takes at the least, where the mapping tells the work of cores. ``packets``: per
    step on the busiest link."""
    if mapped.work is None or not mapped.cores.count:
        return None
    bits = packets * _packet_bits(network, target)
    return step_bound(target, mapped.work, link_bits=bits, chips=chips, steps=steps, lag=lag)


def _packet_bits(network: ChipNetwork, target: HardwareTarget) -> float:
    """Bits of a packet, with a payload where all neurons send graded spikes."""
    neurons = [layer.neuron for layer in network.layers if layer.neuron is not None]
    graded = bool(neurons) and all(neuron.levels > 1 for neuron in neurons)
    payload = target.limits.get("payload_bits")
    return target.limit("packet_bits") + (payload.value if graded and payload is not None else 0)
