"""The mapping ``truenorth``: a spiking graph as 256 x 256 binary crossbars.

Options: see ``compile.options.TrueNorthOptions``.

The steps are modules of their own, called in ``compile``: ``compile.lower`` (what must
change to be spikes only), ``compile.fit`` with ``compile.coding`` (integers),
``compile.tiles`` and ``compile.route`` (cores, copies, splitters, ticks), ``compile.emit``
and ``file`` (bits), ``run`` (the integers executed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...errors import TargetError, UsageError
from ...runtime import graph as g
from ...runtime.ops import Array
from ...runtime.parallel.stages import stage
from .. import rules
from ..energy.constants import ENERGY
from ..fitting.samples import fitting_samples
from ..mapping import PLACEMENT, ChipMapping, ChipRun, Mapped, Request, Traffic, refused
from ..target import HardwareTarget, Known, Violation
from ..view.network import ChipNetwork
from .compile import TrueNorthNetwork, compile_network
from .compile.coding import coding_of
from .compile.copies import Count, count_chosen
from .compile.draft import Widths
from .compile.fit import fit
from .compile.options import TrueNorthOptions
from .compile.route import summary
from .compile.tiles import Room
from .facts import (
    core_of,
    cores_of,
    latency_in_ticks,
    measured_energy,
    notes_of,
    schedule_of,
    traffic_of,
)
from .file import Crossbars, dump, placed, too_far, violations
from .least import least
from .variants import would_fit

SYNTHETIC = 64  # random samples to fit on where there are no data
MEASURED = 32  # samples that firing rates are measured on
MEMORY = 1 << 30  # bytes of spike trains held while fitting or running


def map_truenorth(
    network: ChipNetwork, target: HardwareTarget, request: Request[TrueNorthOptions]
) -> Mapped:
    """Check, fit, cut into cores, route and emit; see ``mapping``.

    What is fitted on are ``samples.fitting_samples``; the notes say which.

    Raises:
        UsageError: E124 no step to run.
    """
    found = kinds(network, target)
    if found:
        return refused(network, found)
    if request.steps < 1:
        raise UsageError(f"T must be at least 1, got {request.steps}", code="E124")
    choice = request.options
    x, origin = _samples(network, request)
    samples = {network.inputs[0].name: x}
    try:
        net = compile_network(
            network.graph,
            target,
            samples,
            steps=request.steps,
            coding=choice.coding,
            copies=choice.copies,
            output_copies=choice.output_copies,
            tune=choice.tune,
            fit_steps=choice.fit_steps,
            emit_cores=choice.emit,
        )
    except TargetError as error:
        nothing = refused(network, [_violation(error)])
        why = [error.code]
        return replace(
            nothing, would_fit=partial(would_fit, network, target, request, {}, broken=why)
        )
    return _mapped(network, target, request, net, samples, origin=origin)


def kinds(network: ChipNetwork, target: HardwareTarget) -> tuple[Violation, ...]:
    """Neurons and structures that the chip does not have, whatever their size."""
    return (*_checked(network, target), *_unsupported(network))


def _checked(network: ChipNetwork, target: HardwareTarget) -> Iterator[Violation]:
    """The common rules; max pools are replaced, so they break none."""
    pools = {node.name for node in network.graph.of(g.MaxPool)}
    for found in rules.violations(network, target):
        if found.node not in pools:
            yield found


def _unsupported(network: ChipNetwork) -> Iterator[Violation]:
    if len(network.inputs) != 1:
        yield Violation(
            node=", ".join(node.name for node in network.inputs),
            rule="inputs",
            used=len(network.inputs),
            limit=1,
            remedy="Join the inputs into one tensor in the model.",
        )
    for layer in network.layers:
        if layer.shape != network.graph[layer.name].shape:
            yield Violation(
                node=layer.name,
                rule="weights to be coded",
                used="a narrower variant",
                limit="the network itself",
                remedy="Convert and train the narrower network, then place it.",
            )
            return


def _violation(error: TargetError) -> Violation:
    return Violation(
        node=error.where.removeprefix("node ").strip("'"),
        rule=error.code,
        used=error.what,
        limit="a TrueNorth form",
        remedy=error.remedy,
    )


def _samples(network: ChipNetwork, request: Request[TrueNorthOptions]) -> tuple[Array, str]:
    """Samples to fit on, as many as memory holds the spikes of, and where they come from."""
    neurons = sum(layer.neurons for layer in network.layers)
    steps = min(request.steps, request.options.fit_steps)
    count = min(request.options.calibration, max(2 * MEMORY // max(neurons * steps, 1), 8))
    return fitting_samples(
        request, network.inputs[0].shape, most=count, drawn=min(SYNTHETIC, count), dtype=np.float32
    )


def _mapped(
    network: ChipNetwork,
    target: HardwareTarget,
    request: Request[TrueNorthOptions],
    net: TrueNorthNetwork,
    samples: dict[str, Array],
    *,
    origin: str,
) -> Mapped:
    choice = request.options
    name = network.inputs[0].name
    x = request.x if request.x is not None else samples[name]
    measured = net.run({name: np.asarray(x[:MEASURED], np.float32)}, request.steps)
    rates = f"firing rates measured on {origin if request.x is None else 'the samples'}"
    cores = cores_of(net)
    sizes = {u.name: u.size // u.copies for u in net.lowered.units if u.role != "max"}
    facts: dict[str, Any] = {
        **summary(net.routed, sizes),
        "coding": choice.coding,
        "partial_sum_copies": net.copies.facts,
        "tuned": choice.tune,
        "split": dict(net.fitted.split),
        "schedule": schedule_of(net),
        "input": {"mode": "spikes", "axons": len(net.routed.pins)},
        "calibrated_on": origin,
        "highest_potential": measured.highest,
    }
    counted = _counted(target, choice, net)
    facts["codings"] = [_coding_facts(name, c) for name, c in counted.items() if len(counted) > 1]
    box, flows = net.crossbars, traffic_of(net, measured.rates, request.x is not None)
    broken = tuple(violations(box, target)) if box is not None else ()
    return Mapped(
        cores=cores,
        traffic=flows,
        violations=broken,
        run=_Runner(net, name),
        ideal=_Unsplit(
            target,
            samples,
            net,
            coding=choice.coding,
            fit_steps=min(request.steps, choice.fit_steps),
            tune=choice.tune,
        )
        if net.fitted.split
        else None,
        core_of=lambda layer: core_of(net, network, layer),
        placed=partial(_placed, box, flows, target),
        energy=measured_energy(network, target, request, net, measured, rates=rates),
        latency=latency_in_ticks(target, steps=request.steps, lag=int(net.routed.start.max())),
        input_mode="spikes",
        hosted=network.coders,
        facts=facts,
        notes=notes_of(net, origin, facts),
        would_fit=partial(
            would_fit, network, target, request, counted, broken=[v.rule for v in broken]
        ),
    )


def _placed(
    box: Crossbars | None, flows: Traffic, target: HardwareTarget, chip: Array, xy: Array
) -> tuple[dict[str, bytes], tuple[Violation, ...]]:
    """The file with the places of its cores, and packets that cannot reach; ``mapping.Placed``."""
    files = {} if box is None else {f"{target.name}.npz": dump(placed(box, chip, xy=xy))}
    return files, tuple(too_far(flows.source, destination=flows.destination, xy=xy, target=target))


def _counted(
    target: HardwareTarget, choice: TrueNorthOptions, net: TrueNorthNetwork
) -> dict[str, Count]:
    """Cores by coding: of this one, and of others where that is cheap or where this one does not
    fit a chip; each with as many neurons per partial sum as it would get."""
    own = Count(
        cores=net.routed.core_count,
        per_chip=int(target.limit("cores_per_chip")),
        copies=net.copies.number,
        split=bool(net.fitted.split),
    )
    useful = net.routed.core_count <= 300 or own.chips > 1
    if not (useful if choice.compare is None else choice.compare):
        return {choice.coding: own}
    others = {
        name: count_chosen(net.lowered, target, name, choice.copies)
        for name in ("ternary", "axons4")
        if name != choice.coding
    }
    return dict(sorted({choice.coding: own, **others}.items(), key=lambda c: coding_of(c[0]).axons))


def _coding_facts(name: str, found: Count) -> dict[str, Any]:
    return {
        "coding": name,
        "axons_per_input": coding_of(name).axons,
        "copies": found.copies,
        "cores": found.cores,
        "chips": found.chips,
    }


@dataclass(frozen=True, eq=False)
class _Runner:
    """Runs samples on the integers, a few at a time; see ``mapping.Runner``."""

    net: TrueNorthNetwork
    name: str

    def __call__(self, x: Array, steps: int) -> ChipRun:
        units = self.net.routed.units
        lines = sum(u.size for u in units)
        chunk = int(np.clip(MEMORY // max(lines * steps, 1), 1, 64))
        outs, rates = [], np.zeros(max(u.first + u.size for u in units))
        floored: dict[str, int] = {}
        show = stage("running on the chip's integers")
        for first in range(0, len(x), chunk):
            part = np.asarray(x[first : first + chunk], np.float32)
            run = self.net.run({self.name: part}, steps)
            outs.append(next(iter(run.readouts.values())))
            rates += run.rates * (len(part) / len(x))
            for name, count in run.floored.items():
                floored[name] = floored.get(name, 0) + count
            show(first + len(part), len(x))
        by_layer = {u.name: rates[u.first : u.first + u.size] for u in units if u.name == u.layer}
        total = len(x) * steps
        return ChipRun(
            readout=np.concatenate(outs, axis=1),
            spikes={name: float(r.sum() * total) for name, r in by_layer.items()},
            saturations=floored,
            rates=by_layer,
        )


@dataclass(frozen=True, eq=False)
class _Unsplit:
    """The same coding on a core without bounds: what is left of the loss is the splitting's."""

    target: HardwareTarget
    samples: Mapping[str, Array]
    net: TrueNorthNetwork
    coding: str
    fit_steps: int
    tune: bool

    def __call__(self, x: Array, steps: int) -> ChipRun:
        fitted = fit(
            self.net.lowered,
            self.samples,
            coding_of(self.coding),
            Widths.of(self.target, steps),
            Room(axons=1 << 30, neurons=1 << 30),
            steps=min(steps, self.fit_steps),
            tune=self.tune,
        )
        routed = replace(self.net.routed, units=fitted.units)
        whole = replace(self.net, fitted=fitted, routed=routed, crossbars=None)
        return _Runner(whole, next(iter(self.samples)))(x, steps)


LIMITS: Mapping[str, Known] = {
    **PLACEMENT,
    **rules.LIMITS,
    "axons": Known(help="axons of a core", unit="axons per core"),
    "neurons": Known(help="neurons of a core", unit="neurons per core"),
    "axon_types": Known(help="types of axons, for each of which a neuron has a weight"),
    "weight_max": Known(help="largest magnitude of a weight"),
    "leak_max": Known(help="largest magnitude of a leak"),
    "threshold_max": Known(help="largest threshold, and magnitude of the negative one"),
    "potential_max": Known(help="largest magnitude of a potential"),
    "delay_max": Known(help="longest delay of a spike", unit="ticks"),
    "hop_max": Known(help="largest offset of a packet along either axis", unit="cores"),
    "targets_per_neuron": Known(help="axons that one neuron drives"),
}

TRUENORTH: ChipMapping[TrueNorthOptions] = ChipMapping(
    name="truenorth",
    options=TrueNorthOptions,
    limits=LIMITS,
    energy=ENERGY,
    inputs=("rate",),
    kinds=kinds,
    least=least,
    step=map_truenorth,
    emits=".npz",
)
