"""Every neuron model in PyTorch: the class in ``parts`` and what it is made with. A new model has a
line here and a class there; without them a network is refused by the model's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from ...graph import Population, Readout, SpikingGraph
from ...neurons import (
    FewSpikeParams,
    Neuron,
    NeuronParams,
    PacedParams,
    TtfsParams,
    WinnerTakeAllParams,
)
from ...neurons.differential import DifferentialParams
from .places import Held


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronCode:
    """``kind``: the class in ``parts``; ``arrays``: its numbers besides the population's bias, by
    their names in it; ``options``: its further arguments."""

    kind: str
    arrays: Mapping[str, Held]
    options: Mapping[str, Any]


def _held(neuron: Neuron, **fields: str) -> Mapping[str, Held]:
    """Arrays of ``neuron``: the layer's name for each, and its field."""
    return {name: Held(getattr(neuron, f), f"neuron.{f}") for name, f in fields.items()}


def _plain(kind: str) -> Callable[[Any], NeuronCode]:
    def made(neuron: Any) -> NeuronCode:
        arrays = _held(neuron, threshold="v_threshold", v_init="v_init")
        return NeuronCode(kind=kind, arrays=arrays, options={})

    return made


def _integrate_and_fire(neuron: NeuronParams) -> NeuronCode:
    names = ("reset", "v_reset", "leak", "refractory", "levels", "signed", "v_min")
    usual = {f.name: f.default for f in fields(NeuronParams)}
    options = {k: getattr(neuron, k) for k in names if getattr(neuron, k) != usual[k]}
    return NeuronCode(kind="IF", arrays=_plain("IF")(neuron).arrays, options=options)


def _differential(neuron: DifferentialParams) -> NeuronCode:
    options: dict[str, Any] = {"levels": neuron.levels}
    if neuron.ceiling is not None:
        options["ceiling"] = neuron.ceiling
    if neuron.source == "rate":
        options["decoded"] = False
    arrays = _held(neuron, threshold="v_threshold", bias="bias")
    return NeuronCode(kind="Differential", arrays=arrays, options=options)


def _winner_take_all(neuron: WinnerTakeAllParams) -> NeuronCode:
    options = {"reset": neuron.reset, "leak": neuron.leak, "inhibition": neuron.inhibition}
    arrays = _held(neuron, threshold="v_threshold")
    return NeuronCode(kind="WinnerTakeAll", arrays=arrays, options=options)


Emitter: TypeAlias = Callable[[Any], NeuronCode]
NEURONS: Mapping[type[Neuron], Emitter] = {
    NeuronParams: _integrate_and_fire,
    PacedParams: _plain("Paced"),
    FewSpikeParams: _plain("FewSpike"),
    TtfsParams: _plain("TimeToFirstSpike"),
    DifferentialParams: _differential,
    WinnerTakeAllParams: _winner_take_all,
}


def unknown(network: SpikingGraph) -> list[tuple[str, str]]:
    """Nodes with neurons that have no entry in ``NEURONS``, and what these are."""
    nodes: list[Population | Readout] = [*network.of(Population), *network.of(Readout)]
    return [
        (node.name, f"neurons of the model '{node.neuron.name}'")
        for node in nodes
        if node.neuron is not None and type(node.neuron) not in NEURONS
    ]
