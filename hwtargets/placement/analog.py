"""What is multiplied and accumulated on analog values in one inference: on the input's values,
where the host computes the first layers, and in analog islands and what they feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...runtime.cost import layer_costs
from ...runtime.file.macs import island_cost
from ...runtime.graph import islands
from ..view.network import ChipLayer, ChipNetwork

BY_HOST = ("bias",)  # ways of the input that leave the layers which read it to the host


@dataclass(frozen=True, eq=False, kw_only=True)
class AnalogWork:
    """Per inference. ``by_layer``: those in front of a layer, by its name, where there are any;
    ``macs``: all of them; ``ann``: the ANN's multiply-accumulates."""

    by_layer: Mapping[str, int]
    ann: int

    @property
    def macs(self) -> int:
        return sum(self.by_layer.values())

    def document(self) -> dict[str, float | int | None]:
        """As JSON has it."""
        share = self.macs / self.ann if self.ann else None
        return {"macs_per_sample": self.macs, "macs_to_ann": share}


def analog_work(network: ChipNetwork, *, input_mode: str, steps: int) -> AnalogWork:
    """Of ``steps`` steps; what reads the input's values is computed once."""
    costs = layer_costs(network.facts)
    times = {"spikes": 0, "input": int(input_mode in BY_HOST), "analog": steps}
    work = {name: times[cost.drive] * cost.macs for name, cost in costs.items()}
    inside: dict[str, int] = {}
    known = set()
    for node in islands(network.graph):  # one with several outputs is one model
        if (node.model, node.inputs) not in known:
            known.add((node.model, node.inputs))
            inside[node.name] = island_cost(node.model).macs
    told: set[str] = set()  # a layer that several read is computed once
    by_layer = {layer.name: _of(layer, work, told) for layer in network.layers}
    for name, macs in inside.items():
        by_layer[name] += steps * macs
    return AnalogWork(
        by_layer={name: macs for name, macs in by_layer.items() if macs},
        ann=sum(cost.macs for cost in costs.values()) + sum(inside.values()),
    )


def _of(layer: ChipLayer, work: Mapping[str, int], told: set[str]) -> int:
    names = {name for p in layer.projections for name in p.names} - told
    told |= names
    return sum(work.get(name, 0) for name in names)
