"""How much of a network's work spikes do, and whether it is a spiking network at all.

A network whose layers are fed by analog values (SiLU, sigmoid, squeeze-and-excite: islands between
the layers) keeps the ANN's accuracy at any T, since it computes the ANN again in every step. Few or
no spikes are then no merit. What drives a layer is said in ``runtime.cost``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..runtime.cost import StaticCost, static_cost
from ..runtime.facts import GraphFacts
from ..runtime.graph import Input, SpikingGraph

LEAST = 0.05  # share of the work below which a network is not called spiking

# Whether it is a spiking network: "partly" where some of its work is on analog values.
Verdict: TypeAlias = Literal["yes", "partly", "no"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SpikingShare:
    """Of the ANN's work what spikes do.

    Attributes:
        layers_spikes, layers_input, layers_analog: weighted operations driven by spikes, by the
            constant input, by analog values.
        macs_spikes, macs_input, macs_analog: their MACs in the ANN; those of ``islands`` analog
            islands are in ``macs_analog``.
        emits: whether anything in the network sends spikes.
        uncounted: operations of islands whose MACs are not known.
    """

    layers_spikes: int
    layers_input: int
    layers_analog: int
    macs_spikes: int
    macs_input: int
    macs_analog: int
    islands: int
    emits: bool
    uncounted: tuple[str, ...]

    @property
    def layers(self) -> int:
        return self.layers_spikes + self.layers_input + self.layers_analog

    @property
    def share(self) -> float:
        """Of the MACs behind the input's layers, those in layers that spikes drive; where there is
        no such layer, 1 if there are neurons."""
        if not self.layers_spikes + self.layers_analog:
            return float(self.emits)
        return self.macs_spikes / max(self.macs_spikes + self.macs_analog, 1)

    def macs_to_ann(self, steps: int) -> float | None:
        """Multiply-accumulates on analog values over so many steps, relative to the ANN's; None
        where it has none."""
        whole = self.macs_spikes + self.macs_input + self.macs_analog
        return (self.macs_input + steps * self.macs_analog) / whole if whole else None

    @property
    def verdict(self) -> Verdict:
        if self.share < LEAST:
            return "no"
        return "partly" if self.layers_analog or self.islands else "yes"


def spiking_share(network: SpikingGraph) -> SpikingShare:
    """That of a spiking graph."""
    return share_of(network, static_cost(GraphFacts(network)))


def share_of(network: SpikingGraph, cost: StaticCost) -> SpikingShare:
    """As ``spiking_share``, of a graph whose cost is known."""

    def layers(drive: str) -> int:
        return sum(layer.drive == drive for layer in cost.layers.values())

    inputs = network.of(Input)
    behind = cost.macs_ann - cost.macs_once
    return SpikingShare(
        layers_spikes=layers("spikes"),
        layers_input=layers("input"),
        layers_analog=layers("analog"),
        macs_spikes=behind - cost.macs_per_step,
        macs_input=cost.macs_once,
        macs_analog=cost.macs_per_step,
        islands=cost.islands,
        emits=bool(cost.neurons) or any(node.encoding != "constant" for node in inputs),
        uncounted=cost.uncounted,
    )
