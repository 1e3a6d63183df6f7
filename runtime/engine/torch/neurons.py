"""Every neuron model in PyTorch: the class in ``parts`` and what it is made with. A new model has a
line here and a class there; without them a network is refused by the model's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from ...neurons import FewSpikeParams, Neuron, NeuronParams, PacedParams, TtfsParams
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


Emitter: TypeAlias = Callable[[Any], NeuronCode]
NEURONS: Mapping[type[Neuron], Emitter] = {
    NeuronParams: _integrate_and_fire,
    PacedParams: _plain("Paced"),
    FewSpikeParams: _plain("FewSpike"),
    TtfsParams: _plain("TimeToFirstSpike"),
    DifferentialParams: _differential,
}
