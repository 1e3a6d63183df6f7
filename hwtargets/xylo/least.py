"""What a network takes of a Xylo chip whatever its weights become: channels and neurons. How many
synapses it takes depends on how many weights are not 0 in 8 bits, so that these limits are
conditions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..mapping import Least
from ..target import HardwareTarget
from ..view.network import ChipNetwork
from .network import is_hidden
from .rules import FOREIGN, exceeded, kinds, over
from .usage import Usage, sizes_of, unwired

PLACE = "`onnx2snn place` computes what would fit."


def least(view: ChipNetwork, target: HardwareTarget, options: Any) -> Least:
    """The one core, with what it cannot hold."""
    usage = sizes_of(view)
    foreign = any(v.rule in FOREIGN for v in kinds(view, target))
    if not foreign and usage.hidden_neurons <= target.limit("hidden_neurons"):
        usage = unwired(view)
    broken = tuple(over(usage, target, view, remedy=lambda name: PLACE))
    wiring = () if foreign or broken else tuple(_wiring(view, usage, target))
    return Least(cores=1, violations=broken, conditions=wiring)


def _wiring(view: ChipNetwork, usage: Usage, target: HardwareTarget) -> Iterator[str]:
    """Limits on synapses that are exceeded unless enough weights are 0."""
    hidden = {layer.name for layer in view.layers if is_hidden(layer)}
    between = [p for p in view.projections if p.target in hidden and p.source in hidden]
    if any(p.geometry is None for p in between):
        yield "its irregular connections have to be counted"
        return
    fans: dict[str, int] = {}
    for p in between:
        fans[p.source] = fans.get(p.source, 0) + p.fan_out
    counted = replace(
        usage,
        fan_out=max(fans.values(), default=0),
        hidden_synapses=sum(p.synapses for p in between),
    )
    for name, used, limit in exceeded(counted, target):
        yield _unless(name, used, limit)


def _unless(name: str, used: int, limit: float) -> str:
    what = {
        "fan_out": "of the {used:,} hidden targets of a neuron at most {limit:,.0f} are not 0 in 8 "
        "bits, or there is room for copies of such neurons",
        "hidden_synapses": "of {used:,} synapses between hidden neurons at most {limit:,.0f} are "
        "not 0 in 8 bits",
    }
    return f"only if {what[name].format(used=used, limit=limit)}"
