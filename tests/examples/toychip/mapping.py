"""A toy chip: up to 64 integrate-and-fire neurons on one core, with signed weights of 4 bits.

Layers are laid on cores one after the other, as many as fit; membranes are integers without
bounds. It is the worked example of docs/adding.md: a chip is a folder with its target file and its
mapping, and one line in ``hwtargets/mappings.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx2snn.hwtargets import (
    ChipMapping,
    ChipNetwork,
    ChipRun,
    Cores,
    HardwareTarget,
    Known,
    Mapped,
    Request,
    Traffic,
    Violation,
    rules,
)
from onnx2snn.hwtargets.energy.constants import ENERGY
from onnx2snn.hwtargets.kinds import Whole
from onnx2snn.hwtargets.mapping import PLACEMENT, refused
from onnx2snn.hwtargets.options import Options, option
from onnx2snn.runtime.ops import Array

LIMITS: Mapping[str, Known] = {
    **PLACEMENT,
    **rules.LIMITS,
    "neurons": Known(help="neurons of a core"),
    "weight_bits": Known(help="a weight, sign included", unit="bits"),
}


@dataclass(frozen=True, kw_only=True)
class ToyOptions(Options):
    """What can be chosen: ``place --option scale=7``."""

    scale: int = option(15, Whole(most=255), "what the largest input value is sent as")


def kinds(network: ChipNetwork, target: HardwareTarget) -> tuple[Violation, ...]:
    """What the chip has no means for: the common rules, and anything but plain dense layers."""
    others = (
        Violation(
            node=layer.name,
            rule="dense layers",
            used="another structure",
            limit="one dense layer after the other",
            remedy="Use a multilayer perceptron.",
        )
        for layer in network.layers
        if len(layer.projections) != 1 or len(layer.shape) != 1
    )
    return (*rules.violations(network, target), *others)


def map_toy(network: ChipNetwork, target: HardwareTarget, request: Request[ToyOptions]) -> Mapped:
    """One layer after the other on as few cores as they need; the integers run as written here."""
    room = int(target.limit("neurons"))
    broken = (*kinds(network, target), *_too_wide(network, room))
    if broken:
        return refused(network, broken)
    core_of = _cores_of(network, room)
    count = 1 + max(int(core[-1]) for core in core_of.values())
    run = _Runner(network, int(target.limit("weight_bits")), request.options.scale)
    rates = None if request.x is None else run(request.x, request.steps).rates
    names = tuple(core_of)
    first = [int(core_of[name][0]) for name in names]
    neurons = np.bincount(np.concatenate(list(core_of.values())), minlength=count)
    return Mapped(
        cores=Cores(
            layer=np.searchsorted(first, np.arange(count), side="right") - 1,
            layers=names,
            neurons=neurons,
            used={"neurons": neurons.astype(float)},
        ),
        traffic=_traffic(network, core_of, rates, request.rate),
        run=run,
        core_of=lambda name: core_of[name],
        sent=1.0,
        facts={"scale": request.options.scale},
        notes=("Biases and thresholds are rounded to the unit of the weights.",),
    )


def _too_wide(network: ChipNetwork, room: int) -> list[Violation]:
    return [
        Violation(
            node=layer.name,
            rule="neurons",
            used=layer.neurons,
            limit=room,
            remedy=f"At most {room} neurons per layer.",
        )
        for layer in network.layers
        if layer.neurons > room
    ]


def _cores_of(network: ChipNetwork, room: int) -> dict[str, Array]:
    """The core of every neuron, by layer; no layer is cut."""
    found: dict[str, Array] = {}
    core, used = 0, 0
    for layer in network.layers:
        if used + layer.neurons > room:
            core, used = core + 1, 0
        found[layer.name] = np.full(layer.neurons, core)
        used += layer.neurons
    return found


def _traffic(
    network: ChipNetwork, core_of: Mapping[str, Array], rates: Any, assumed: float
) -> Traffic:
    """Spikes per step between the cores of two layers, each sent once."""
    edges = [
        (int(core_of[p.source][0]), int(core_of[p.target][0]), p.source)
        for p in network.projections
        if p.source in core_of and core_of[p.source][0] != core_of[p.target][0]
    ]
    weight = [
        float(np.full(len(core_of[name]), assumed).sum() if rates is None else rates[name].sum())
        for _, _, name in edges
    ]
    return Traffic(
        source=np.array([a for a, _, _ in edges], np.int64),
        destination=np.array([b for _, b, _ in edges], np.int64),
        weight=np.array(weight),
        measured=rates is not None,
    )


@dataclass(frozen=True, eq=False)
class _Runner:
    """The chip's integers: v <- v + W s + b; a spike, and v <- v - threshold, where v >= threshold.

    Each layer has a unit of its own, in which its largest weight is the largest integer.
    """

    network: ChipNetwork
    bits: int
    scale: int

    def __call__(self, x: Array, steps: int) -> ChipRun:
        unit = max(float(np.abs(x).max()), 1e-9) / self.scale  # of one step of a sent value
        sent: Array = np.broadcast_to(np.rint(x / unit).astype(np.int64), (steps, *x.shape))
        trains: dict[str, Array] = {}
        for layer in self.network.layers:
            (p,) = layer.projections
            dense = p.matrix.dense() * unit
            step = float(np.abs(dense).max()) / (2 ** (self.bits - 1) - 1)
            weights = np.rint(dense / step).astype(np.int64)
            bias = np.rint(np.broadcast_to(layer.bias, layer.shape) / step).astype(np.int64)
            drive = sent @ weights.T + bias
            neuron = getattr(layer.node, "neuron", None)
            if neuron is None:  # a readout: its membrane is the answer
                return ChipRun(
                    readout=np.cumsum(drive, axis=0).astype(float),
                    spikes={name: float(train.sum()) for name, train in trains.items()},
                    rates={name: train.mean(axis=(0, 1)) for name, train in trains.items()},
                )
            sent = _spikes(drive, neuron, step)
            trains[layer.name] = sent
            unit = 1.0
        raise AssertionError("a network without a readout")


def _spikes(drive: Array, neuron: Any, step: float) -> Array:
    shape = drive.shape[2:]
    threshold = np.rint(np.broadcast_to(neuron.v_threshold, shape) / step).astype(np.int64)
    v = np.zeros_like(drive[0]) + np.rint(np.broadcast_to(neuron.v_init, shape) / step).astype(int)
    out = np.zeros_like(drive)
    for t, current in enumerate(drive):
        v = v + current
        out[t] = v >= threshold
        v = v - out[t] * threshold
    return out


TOY: ChipMapping[ToyOptions] = ChipMapping(
    name="toy",
    options=ToyOptions,
    limits=LIMITS,
    energy=ENERGY,
    inputs=("graded",),
    kinds=kinds,
    step=map_toy,
)
