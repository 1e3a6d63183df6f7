"""A network cut into tiles that keep every limit, output axons too, which need both ends cut."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....runtime.ops import Array
from ...target import HardwareTarget, Violation
from ...view.network import ChipNetwork
from ..memory import MemoryModel
from ..partition import Tiling, partition
from ..traffic import traffic
from .balance import balanced


def fitted(
    network: ChipNetwork, target: HardwareTarget, model: MemoryModel, inputs: bool
) -> tuple[tuple[Tiling, ...], tuple[Violation, ...]]:
    """The partition; where output axons (one per source neuron and destination core, known only
    when both ends are cut) exceed their limit, that layer is cut smaller and all is done again."""
    limit = target.limit("out_axons_per_core")
    caps: dict[str, int] = {}
    while True:
        tilings, over = partition(network, target, model, inputs, caps)
        fan = _out_axons(network, tilings) if np.isfinite(limit) else {}
        excess = {t: n for t, n in fan.items() if n > limit}
        if over or not excess:
            return tilings, over
        sizes = {t.name: int(t.neurons().max()) for t in tilings}
        stuck = [name for name in excess if sizes[name] == 1]
        if stuck:
            return tilings, tuple(_too_far(name, excess[name], limit) for name in stuck)
        for name, used in excess.items():
            caps[name] = max(1, min(sizes[name] - 1, int(sizes[name] * limit / used)))


def rebalanced(
    network: ChipNetwork,
    target: HardwareTarget,
    model: MemoryModel,
    tilings: tuple[Tiling, ...],
    rates: Mapping[str, Array] | None,
    *,
    rate: float,
    sent: float,
) -> tuple[Tiling, ...]:
    """Balanced tiles, where their output axons are within the limit; else those there are."""
    found = balanced(network, target, model, tilings, rates, rate=rate, sent=sent)
    limit = target.limit("out_axons_per_core")
    if np.isfinite(limit) and max(_out_axons(network, found).values(), default=0) > limit:
        return tilings
    return found


def _out_axons(network: ChipNetwork, tilings: tuple[Tiling, ...]) -> dict[str, int]:
    """Per layer, the most (source neuron, destination core) pairs of one of its cores."""
    flows = traffic(network, tilings, None, 1.0)
    total = sum(t.cores for t in tilings)
    fan = np.bincount(flows.source, weights=flows.weight, minlength=total)
    return {t.name: round(fan[t.first : t.first + t.cores].max(initial=0)) for t in tilings}


def _too_far(name: str, used: int, limit: float) -> Violation:
    return Violation(
        node=name,
        rule="out_axons_per_core",
        used=used,
        limit=limit,
        remedy="One neuron alone reaches more cores than a core has output axons: fewer output "
        "channels in the layers that read it.",
    )
