"""The mapping step ``truenorth``: a spiking graph as 256 x 256 binary crossbars.

Options (of the target file's ``[options]`` or the request):

* ``coding``: "ternary" (2 axons per input), "axons2", "axons3", "axons4" (k axons, k-bit weights);
* ``copies``: staggered neurons per partial sum (1), ``output_copies``: per output (4);
* ``tune``: fit codes, scales and biases to measured rates (true); false is plain rounding;
* ``calibration``: how many samples to fit on (256), ``fit_steps``: steps of the measuring runs;
* ``emit``: write the crossbars up to this many cores (16384).

The steps are modules of their own: ``truenorth_lower`` (what must change to be spikes only),
``truenorth_fit`` with ``truenorth_coding`` (integers), ``truenorth_tiles`` and ``truenorth_route``
(cores, copies, splitters, ticks), ``truenorth_emit`` and ``truenorth_file`` (bits),
``truenorth_run`` (the integers executed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import TargetError, UsageError
from ..runtime import graph as g
from ..runtime.ops import Array
from . import rules
from .energy import Activity, activity, energy_of
from .layers import ChipNetwork
from .mapping import ChipRun, Cores, Mapped, Request, Traffic, no_traffic
from .target import HardwareTarget, Violation
from .truenorth_coding import coding_of
from .truenorth_emit import at_window, emit
from .truenorth_file import Crossbars, dump, violations
from .truenorth_fit import Fitted, Widths, fit
from .truenorth_lower import Lowered, lower
from .truenorth_route import Routed, route, summary
from .truenorth_run import NetworkRun, run_network
from .truenorth_tiles import Room

SYNTHETIC = 64  # random samples to fit on where there are no data
MEASURED = 32  # samples that firing rates are measured on
MEMORY = 1 << 30  # bytes of spike trains held while fitting


@dataclass(frozen=True, eq=False, kw_only=True)
class TrueNorthNetwork:
    """A mapped network: float units, integer units (in ``routed.units``), cores, and the room of a
    core. ``crossbars``: the bits; None where they were not asked for."""

    lowered: Lowered
    fitted: Fitted
    routed: Routed
    crossbars: Crossbars | None
    steps: int

    def run(self, x: Mapping[str, Array], steps: int, keep: tuple[str, ...] = ()) -> NetworkRun:
        """The integers executed; see ``truenorth_run``."""
        lowered = self.lowered
        return run_network(self.routed.units, lowered.sources, lowered.readings, x, steps, keep)


def compile_network(
    graph: g.SpikingGraph,
    target: HardwareTarget,
    samples: Mapping[str, Array],
    *,
    steps: int,
    coding: str = "axons4",
    copies: int = 1,
    output_copies: int = 4,
    tune: bool = True,
    fit_steps: int | None = None,
    emit_cores: int = 1 << 14,
) -> TrueNorthNetwork:
    """All of it: lower, fit, cut, route, and emit if there are at most ``emit_cores`` cores.

    Parameters:
        samples: to fit on, by input name, (n, *shape); no labels are used.
        steps: the longest window T for which no potential may overflow.

    Raises:
        TargetError: a node without a TrueNorth form. UsageError: an unknown coding.
    """
    room = Room(axons=int(target.limit("axons")), neurons=int(target.limit("neurons")))
    lowered = lower(graph, samples, output_copies=output_copies)
    fitted = fit(
        lowered,
        samples,
        coding_of(coding),
        Widths.of(target, steps),
        room,
        steps=min(steps, fit_steps or 64),
        copies=copies,
        tune=tune,
    )
    routed = route(fitted.units, lowered.sources, room)
    routed = replace(routed, units=tuple(at_window(routed.units, routed.start)))
    small = routed.core_count <= emit_cores
    return TrueNorthNetwork(
        lowered=lowered,
        fitted=fitted,
        routed=routed,
        crossbars=emit(routed, lowered, room, steps) if small else None,
        steps=steps,
    )


def map_truenorth(network: ChipNetwork, target: HardwareTarget, request: Request) -> Mapped:
    """Check, fit, cut into cores, route and emit; see ``mapping.Step``.

    The fit uses ``request.calib``; without it the request's samples (labels are never used),
    without those uniform ones in [0, 1]; the notes say which.

    Raises:
        UsageError: E123 an unknown coding, E124 an option out of range.
    """
    found = [*_checked(network, target), *_unsupported(network)]
    if found:
        return _refused(network, found)
    samples, origin = _samples(network, target, request)
    copies = int(request.option(target, "copies", 1))
    output_copies = int(request.option(target, "output_copies", 4))
    if min(copies, output_copies) < 1 or request.steps < 1:
        raise UsageError("copies, output_copies and steps must be at least 1", code="E124")
    coding = str(request.option(target, "coding", "axons4"))
    try:
        net = compile_network(
            network.graph,
            target,
            samples,
            steps=request.steps,
            coding=coding,
            copies=copies,
            output_copies=output_copies,
            tune=bool(request.option(target, "tune", True)),
            fit_steps=int(request.option(target, "fit_steps", 64)),
            emit_cores=int(request.option(target, "emit", 1 << 14)),
        )
    except TargetError as error:
        return _refused(network, [_violation(error)])
    return _mapped(network, target, request, net, samples, origin)


def _checked(network: ChipNetwork, target: HardwareTarget) -> Iterator[Violation]:
    """The common rules; max pools are replaced, so they break none."""
    pools = {node.name for node in network.graph.of(g.MaxPool)}
    for found in rules.check(network, target):
        if found.node not in pools:
            yield found


def _unsupported(network: ChipNetwork) -> Iterator[Violation]:
    if len(network.inputs) != 1:
        yield Violation(
            node=", ".join(node.name for node in network.inputs),
            rule="one input",
            used=len(network.inputs),
            limit=1,
            remedy="Join the inputs into one tensor in the model.",
        )
    for layer in network.layers:
        if layer.shape != network.graph[layer.name].shape:
            yield Violation(
                node=layer.name,
                rule="the weights to be coded are there",
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


def _refused(network: ChipNetwork, found: list[Violation]) -> Mapped:
    nothing = np.zeros(0, np.int64)
    layers = tuple(layer.name for layer in network.layers)
    cores = Cores(layer=nothing, layers=layers, neurons=nothing, used={})
    return Mapped(cores=cores, traffic=no_traffic(), violations=tuple(found))


def _samples(
    network: ChipNetwork, target: HardwareTarget, request: Request
) -> tuple[dict[str, Array], str]:
    """Samples to fit on by input name, and where they come from."""
    count = int(request.option(target, "calibration", 256))
    neurons = sum(layer.neurons for layer in network.layers)
    steps = min(request.steps, int(request.option(target, "fit_steps", 64)))
    count = max(min(count, MEMORY // max(neurons * steps, 1)), 8)
    name, shape = network.inputs[0].name, network.inputs[0].shape
    for x, origin in (
        (request.calib, "calibration data"),
        (request.x, "the evaluation samples, without labels"),
    ):
        if x is not None:
            return {name: np.asarray(x[:count], np.float32)}, origin
    rng = np.random.default_rng(request.seed)
    drawn = rng.random((min(SYNTHETIC, count), *shape), dtype=np.float32)
    return {name: drawn}, "uniform random samples in [0, 1] (no data given)"


def _mapped(
    network: ChipNetwork,
    target: HardwareTarget,
    request: Request,
    net: TrueNorthNetwork,
    samples: dict[str, Array],
    origin: str,
) -> Mapped:
    name = network.inputs[0].name
    x = request.x if request.x is not None else samples[name]
    measured = net.run({name: np.asarray(x[:MEASURED], np.float32)}, request.steps)
    cores = _cores(net)
    sizes = {u.name: u.size // u.copies for u in net.lowered.units if u.role != "max"}
    facts: dict[str, Any] = {
        **summary(net.routed, sizes),
        "coding": str(request.option(target, "coding", "axons4")),
        "split": dict(net.fitted.split),
        "schedule": _schedule(net),
        "input": {"mode": "spikes", "axons": len(net.routed.pins)},
        "calibrated_on": origin,
        "highest_potential": measured.highest,
    }
    facts["energy"] = _energy(network, target, request, net, measured)
    facts["latency"] = _latency(target, request.steps, int(net.routed.start.max()))
    box = net.crossbars
    return Mapped(
        cores=cores,
        traffic=_traffic(net, measured.rates, request.x is not None),
        violations=tuple(violations(box, target)) if box is not None else (),
        run=_Runner(net, name),
        core_of=lambda layer: _core_of(net, network, layer),
        files={f"{target.name}.npz": dump(box)} if box is not None else {},
        facts=facts,
        notes=_notes(net, origin),
    )


def _cores(net: TrueNorthNetwork) -> Cores:
    routed = net.routed
    layers = tuple(dict.fromkeys(unit.layer for unit in routed.units))
    index = {name: i for i, name in enumerate(layers)}
    of_unit = np.array([index[unit.layer] for unit in routed.units])
    unit = np.r_[np.array([c.unit for c in routed.cores], np.int64), routed.relay_of]
    count = routed.core_count
    neurons = np.bincount(np.r_[routed.neurons[:, 0], routed.relays[:, 0]], minlength=count)
    axons = np.zeros(count)
    axons[: len(routed.cores)] = [len(core.keys) for core in routed.cores]
    nodes = np.unique(routed.relays[:, :2], axis=0)
    axons += np.bincount(nodes[:, 0], minlength=count)
    return Cores(
        layer=of_unit[unit],
        layers=layers,
        neurons=neurons,
        used={"axons": axons, "neurons": neurons.astype(np.float64)},
    )


def _traffic(net: TrueNorthNetwork, rates: Array, measured: bool) -> Traffic:
    """Every neuron has one target, so its spikes are counted once; input pins come from outside."""
    rows = np.concatenate([net.routed.neurons[:, [0, 1, 2]], net.routed.relays[:, [0, 2, 3]]])
    rows = rows[rows[:, 2] >= 0]
    count = net.routed.core_count
    key, of = np.unique(rows[:, 0] * count + rows[:, 2], return_inverse=True)
    weight = np.bincount(of.reshape(-1), weights=rates[rows[:, 1]], minlength=len(key))
    return Traffic(source=key // count, destination=key % count, weight=weight, measured=measured)


def _core_of(net: TrueNorthNetwork, network: ChipNetwork, layer: str) -> Array:
    """Core of each neuron of a layer, (neurons, copies)."""
    size = network[layer].neurons
    unit = [u for u in net.routed.units if u.layer == layer and u.role != "partial"][-1]
    core = np.full(unit.size, -1)
    local = net.routed.neurons[:, 1] - unit.first
    mine = (local >= 0) & (local < unit.size)
    core[local[mine]] = net.routed.neurons[mine, 0]
    return core.reshape(-1, size).T


def _schedule(net: TrueNorthNetwork) -> list[dict[str, Any]]:
    """When each unit's step 0 is, and what it takes."""
    routed = net.routed
    own = np.bincount([c.unit for c in routed.cores], minlength=len(routed.units))
    splitters = np.bincount(routed.relay_of, minlength=len(routed.units))
    return [
        {
            "unit": unit.name,
            "layer": unit.layer,
            "role": unit.role,
            "neurons": unit.size,
            "tick": int(routed.start[i]),
            "cores": int(own[i]),
            "splitter_cores": int(splitters[i]),
        }
        for i, unit in enumerate(routed.units)
    ]


def _energy(
    network: ChipNetwork,
    target: HardwareTarget,
    request: Request,
    net: TrueNorthNetwork,
    measured: NetworkRun,
) -> dict[str, Any]:
    """Of the synaptic events that really happen, splitters included."""
    events = 0.0
    for unit in net.routed.units:
        for conn in unit.conns:
            taps = conn.planes.sum(axis=(0, 1))
            rates = np.where(conn.fields >= 0, measured.rates[conn.fields], 0.0)
            events += float((rates @ taps).sum())
    relays = net.routed.relays
    events += float(measured.rates[relays[:, 2]].sum())
    macs = activity(network, None, request.rate).macs
    neurons = len(net.routed.neurons) + len(relays)
    found = Activity(synops=events, neurons=neurons, spikes=0.0, macs=macs)
    per_chip = int(target.limit("cores_per_chip"))
    return energy_of(target, found, 0.0, request.steps, -(-net.routed.core_count // per_chip))


def _latency(target: HardwareTarget, steps: int, lag: int) -> dict[str, Any]:
    out: dict[str, Any] = {"steps": steps, "lag_steps": lag, "ticks": steps + lag}
    if "step" in target.energy:
        step = target.energy["step"]
        value = (steps + lag) * step.value
        out |= {"value": value, "low": value / 10, "high": value, "unit": "s"}
        out["source"] = step.source
    return out


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
        for first in range(0, len(x), chunk):
            part = np.asarray(x[first : first + chunk], np.float32)
            run = self.net.run({self.name: part}, steps)
            outs.append(next(iter(run.readouts.values())))
            rates += run.rates * (len(part) / len(x))
            for name, count in run.floored.items():
                floored[name] = floored.get(name, 0) + count
        by_layer = {u.name: rates[u.first : u.first + u.size] for u in units if u.name == u.layer}
        total = len(x) * steps
        return ChipRun(
            readout=np.concatenate(outs, axis=1),
            spikes={name: float(r.sum() * total) for name, r in by_layer.items()},
            saturations=floored,
            rates=by_layer,
        )


def _notes(net: TrueNorthNetwork, origin: str) -> tuple[str, ...]:
    notes = [
        f"Codes, scales and biases were fitted on {origin}.",
        "The input is rate-coded: value x is (x - low) / (high - low) spikes per step, spread "
        f"evenly, on {len(net.routed.pins)} axons driven by the host.",
        *net.lowered.notes,
    ]
    if net.fitted.split:
        listed = ", ".join(f"'{k}' in {int(v['parts'])}" for k, v in net.fitted.split.items())
        notes.append(
            "Fan-in above one core is split into partial sums, forwarded as spike counts rounded "
            f"to whole spikes: {listed} parts."
        )
    if net.crossbars is None:
        notes.append(
            f"{net.routed.core_count} cores: the crossbars were counted and executed, not written "
            "(option emit raises the limit)."
        )
    clipped = [u.name for u in net.routed.units if u.note]
    if clipped:
        notes.append(f"Biases beyond the leak's range were clipped in: {', '.join(clipped)}.")
    return tuple(notes)
