"""From a mapping to the report: mesh, accuracy on the chip's integers, energy, what would fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...display import counted
from ...runtime.engine import SimulationResult, simulate
from ...runtime.graph import Input, MaxPool, Node, Readout
from ...runtime.ops import Array, Shape
from ...runtime.semantics import labels as reader
from ...runtime.semantics.analog import run_analog
from ...runtime.semantics.decision import decisions
from ..energy import Energy, activity, energy_of
from ..energy.bounds import StepBound
from ..energy.latency import latency_of
from ..mapping import ChipRun, Mapped, Request
from ..target import HardwareTarget, Violation
from ..view.network import ChipNetwork, Projection
from . import hops, mesh
from .analog import analog_work
from .busiest import bound_of, busiest
from .report import FloorPlan, LayerRow, PlacementReport, ResourceRow
from .scores import no_scores, score_of_values
from .search import place_on_mesh


@dataclass(frozen=True, eq=False, kw_only=True)
class PlaceData:
    """Samples to run on the chip's integers.

    Attributes:
        x: (n, *input shape), as the network takes them, or None: nothing is run, rates are
            assumed; y: labels of any form that ``runtime.semantics.labels`` reads, or None.
        calib: calibration samples, for mapping steps that tune in the chip's integers.
        ann: accuracy of the original model on x, y; None: the graph in analog mode is used.
        float_snn: accuracy of the floating-point network at ``steps``; None: it is simulated.
        floating: what that network does on x in ``steps`` steps; None: it is simulated.
        regression: the outputs are values, whatever they look like.
    """

    x: Array | None = None
    y: Array | None = None
    calib: Array | None = None
    ann: float | None = None
    float_snn: float | None = None
    floating: SimulationResult | None = None
    regression: bool = False


@dataclass(frozen=True, eq=False)
class Assembly:
    """Everything the report is made of. ``available``: chips that there are, of ``board``, in
    words."""

    network: ChipNetwork
    target: HardwareTarget
    request: Request[Any]
    mapped: Mapped
    available: int
    data: PlaceData | None
    board: str = ""

    def report(self) -> PlacementReport:
        mapped, target, count = self.mapped, self.target, self.mapped.cores.count
        run = self._run()
        grid = self._mesh()
        xy = self._positions(grid)
        flows = hops.metrics(xy, mapped.traffic, grid)
        chips = int(grid.chip_of(xy).max()) + 1 if count else 0
        files, late = mapped.placed(grid.chip_of(xy), xy) if mapped.placed else ({}, ())
        violations = (*mapped.violations, *self._too_many(chips), *late)
        fits = not violations
        resources = self._resources(chips)
        analog = analog_work(self.network, input_mode=mapped.input_mode, steps=self.request.steps)
        floating = self._floating(run)
        bound = bound_of(
            self.network, target, mapped, packets=flows.get("busiest_link", 0.0), chips=chips,
            steps=self.request.steps, lag=self._lag,
        )  # fmt: skip
        return PlacementReport(
            target=target.name,
            title=target.title,
            fits=fits,
            cores=count,
            chips=chips,
            layers=self._layers(analog.by_layer),
            resources=resources,
            binding=self._binding(resources),
            violations=violations,
            traffic=flows,
            accuracy=self._accuracy(run, floating),
            otherwise=() if mapped.otherwise is None else mapped.otherwise(self.available),
            work={} if mapped.work is None else busiest(mapped.work, mapped.cores),
            energy=self._energy(flows["spike_hops"], chips, run, bound),
            latency=latency_of(target, steps=self.request.steps, lag=self._lag, bound=bound)
            if mapped.latency is None
            else mapped.latency,
            input_mode=mapped.input_mode,
            analog=analog.document(),
            would_fit=() if fits or mapped.would_fit is None else mapped.would_fit(self.available),
            unverified=tuple(
                {"name": n.name, "value": n.value, "source": n.source} for n in target.unverified
            ),
            facts={
                **_typed(mapped),
                **mapped.facts,
                "boards": {
                    "known": dict(target.boards),
                    "smallest_that_holds_it": target.smallest_board(chips),
                },
                "steps": self.request.steps,
            },
            notes=(*target.notes, *mapped.notes, *_saturations(run)),
            files={**mapped.files, **files},
            plan=self._plan(grid, xy),
            floating=floating,
        )

    def _floating(self, run: ChipRun | None) -> SimulationResult | None:
        """The floating-point network on the samples; None where nothing asks for it."""
        data, x = self.data, self.request.x
        if data is None or x is None or data.floating is not None:
            return None if data is None else data.floating
        if run is None and self.request.y is not None and None not in (data.ann, data.float_snn):
            return None
        steps = self.request.steps
        return simulate(self.network.graph, x, steps, at=[steps])

    def _run(self) -> ChipRun | None:
        if self.mapped.run is None or self.request.x is None or self.mapped.violations:
            return None
        return self.mapped.run(self.request.x, self.request.steps)

    def _mesh(self) -> mesh.Mesh:
        limit = self.target.limit
        width, height = int(limit("mesh_width")), int(limit("mesh_height"))
        per_chip = int(limit("cores_per_chip"))
        return mesh.mesh_for(
            self.mapped.cores.count, cores_per_chip=per_chip, width=width, height=height,
            router=(int(limit("router_width")), int(limit("router_height"))),
        )  # fmt: skip

    def _positions(self, grid: mesh.Mesh) -> Array:
        request = self.request
        return place_on_mesh(
            self.mapped.cores.count, self.mapped.traffic, grid, request.seconds, seed=request.seed
        )

    def _too_many(self, chips: int) -> tuple[Violation, ...]:
        if chips <= self.available:
            return ()
        per_chip = int(self.target.limit("cores_per_chip"))
        needs = self.mapped.cores.count
        largest = max(self._layers({}), key=lambda row: row.cores)
        board = "chip" if self.available == 1 else f"board of {counted(self.available, 'chip')}"
        return (
            Violation(
                node=largest.name,
                rule="cores",
                used=needs,
                limit=per_chip * self.available,
                remedy=f"The network needs {counted(chips, 'chip')} and the {board} has "
                f"{self.available}; "
                f"'{largest.name}' alone takes {counted(largest.cores, 'core')}. See would_fit.",
            ),
        )

    def _layers(self, analog: Mapping[str, int]) -> tuple[LayerRow, ...]:
        return tuple(self._row(name, analog.get(name, 0)) for name in self.mapped.cores.layers)

    def _row(self, name: str, analog_macs: int) -> LayerRow:
        cores = self.mapped.cores
        index = cores.layers.index(name)
        own = np.flatnonzero(cores.layer == index)
        if self.mapped.core_of is not None and not len(own):
            own = np.unique(self.mapped.core_of(name))
            own = own[own >= 0]
        layer = self.network.find(name)
        shape = layer.shape if layer else self.network.graph[name].shape
        projections = layer.projections if layer else ()
        limits = self.target.limits
        share = {
            key: float(np.mean(used[own] / limits[key].value))
            for key, used in cores.used.items()
            if key in limits and limits[key].value and len(own)
        }
        if cores.count == 1 < len(cores.layers):
            share = {}  # of one core that holds them all, no layer has a share of its own
        return LayerRow(
            name=name,
            cores=len(own),
            neurons=int(np.prod(shape, dtype=np.int64)),
            kind=_kind(self.network.graph[name], projections),
            shape=shape,
            fan_in=layer.fan_in if layer else 0,
            synapses=sum(p.synapses for p in projections),
            weights=sum(p.weights for p in projections),
            tile=self.mapped.tiles.get(name, ()),
            binding=max(share, key=lambda k: share[k]) if share else "",
            utilization=share,
            analog_macs=analog_macs,
        )

    def _resources(self, chips: int) -> tuple[ResourceRow, ...]:
        rows = []
        for name, used in self.mapped.cores.used.items():
            if name in self.target.limits and len(used):
                rows.append(_resource(self.target, name, float(used.max())))
        taken = min(max(chips, 1), self.available)  # beside N chips, what N chips have
        cores = _resource(self.target, "cores_per_chip", float(self.mapped.cores.count))
        return (
            *rows,
            replace(cores, name="cores", limit=cores.limit * taken, unit=""),
            ResourceRow(
                name="chips", used=float(chips), limit=float(self.available), source=self.board
            ),
        )

    def _binding(self, resources: tuple[ResourceRow, ...]) -> dict[str, Any]:
        """The resource closest to its limit. Of cores all chips that there are count, of which
        those in use are a part. A limit of one (one core, one chip) that is kept says nothing, and
        counts only where there is no other."""
        limit = self.target.limit("cores_per_chip") * self.available
        rows = [
            replace(r, limit=limit) if r.name == "cores" else r
            for r in resources
            if r.limit and r.name != "chips"
        ]
        telling = [r for r in rows if r.limit > 1 or r.used > r.limit]
        found = max(telling or rows, key=lambda r: r.share)
        return {
            "name": found.name,
            "used": found.used,
            "limit": found.limit,
            "margin": 1 - found.share,
            "verified": found.verified,
        }

    def _energy(
        self, spike_hops: float, chips: int, run: ChipRun | None, bound: StepBound | None
    ) -> Energy:
        if self.mapped.energy is not None:
            return self.mapped.energy
        rates = run.rates if run else None
        rate, mapped = self.request.rate, self.mapped
        found = activity(
            self.network.with_host() if mapped.hosted else self.network,
            rates,
            rate=rate,
            sent=mapped.sent,
            encoders=mapped.encoders,
            on_host=mapped.input_mode == "bias",
        )
        return energy_of(
            self.target,
            found,
            spike_hops=spike_hops,
            steps=self.request.steps,
            lag=self._lag,
            chips=chips,
            bound=bound,
            rates=f"an assumed rate of {rate:g} spikes per neuron and step"
            if rates is None
            else "firing rates measured on the samples",
        )

    @property
    def _lag(self) -> int:
        """Steps until the last node begins: the sum of the start lags, without those that a host
        which codes the inputs need not wait."""
        begins = self.network.with_host().begins if self.mapped.hosted else 0
        return max(self.network.facts.onsets.values(), default=0) - begins

    def _accuracy(self, run: ChipRun | None, result: SimulationResult | None) -> dict[str, Any]:
        data, x, y = self.data, self.request.x, self.request.y
        out = no_scores(self.request.steps, samples=0 if data is None or x is None else len(x))
        if data is None or x is None:
            return out
        if result is None:
            return out | {"ann": data.ann, "float_snn": data.float_snn}
        name = next(iter(la.name for la in self.network.layers if la.name in _readouts(self)))
        floating = result.readouts[name][-1]
        shape = floating.shape[1:]
        found = reader.read(self.network.graph, y, regression=data.regression)
        y = found.numbers
        if not found.classes:  # values, which no share of equal answers says anything of
            return out | {
                "values": score_of_values(self.network.graph, x, name, spiking=floating, targets=y)
            }
        answer = decisions(floating, shape)
        if run is not None:
            chip = _said(run, shape)
            out["agreement"] = float((chip == answer).mean())
            out["chip"] = None if y is None else float((chip == y).mean())
        if y is not None:
            known = data.float_snn
            out["float_snn"] = float((answer == y).mean()) if known is None else known
            out["ann"] = data.ann
            if data.ann is None:
                analog = run_analog(self.network.graph, x)[name]
                out["ann"] = float((decisions(analog, shape) == y).mean())
            if out["chip"] is not None:
                ideal = self._ideal_accuracy(out["chip"], y, shape)
                out["quantization_loss"] = out["float_snn"] - ideal
                out["mapping_loss"] = ideal - out["chip"]
                out["total_loss"] = out["ann"] - out["chip"]
        return out

    def _ideal_accuracy(self, chip: float, y: Array, shape: Shape) -> float:
        """Accuracy with quantization alone; the chip's own where the step cannot separate it."""
        x = self.request.x
        if self.mapped.ideal is None or x is None:
            return chip
        return float((_said(self.mapped.ideal(x, self.request.steps), shape) == y).mean())

    def _plan(self, grid: mesh.Mesh, xy: Array) -> FloorPlan | None:
        cores = self.mapped.cores
        if not cores.count:
            return None
        load = np.zeros(cores.count)
        for name, used in cores.used.items():
            if name in self.target.limits and self.target.limits[name].value:
                load = np.maximum(load, used / self.target.limits[name].value)
        flows = self.mapped.traffic
        return FloorPlan(
            width=grid.width,
            height=grid.height,
            layers=cores.layers,
            chip=grid.chip_of(xy),
            x=xy[:, 0] % grid.width,
            y=xy[:, 1] % grid.height,
            layer=cores.layer,
            neurons=cores.neurons,
            load=load,
            sent=np.bincount(flows.source, weights=flows.weight, minlength=cores.count),
            received=np.bincount(flows.destination, weights=flows.weight, minlength=cores.count),
            links=hops.link_loads(grid.routers(xy), flows, grid.router_grid),
            router=grid.router,
        )


def _typed(mapped: Mapped) -> dict[str, Any]:
    """Fields of the mapping that version 1 of the JSON report lists among its facts too."""
    listed: dict[str, Any] = {} if not mapped.tiles else {"tiles": mapped.tiles}
    if mapped.energy is not None:
        listed["energy"] = mapped.energy.document()
    if mapped.latency is not None:
        listed["latency"] = mapped.latency.document()
    return listed


def _kind(node: Node, projections: Sequence[Projection]) -> str:
    """How a layer is connected; a pool or input that takes cores is no layer of weights."""
    if isinstance(node, MaxPool):
        return "max pool"
    if isinstance(node, Input):
        return "input"
    return ", ".join(dict.fromkeys(p.kind for p in projections)) or "pool"


def _readouts(assembly: Assembly) -> set[str]:
    return {r.name for r in assembly.network.graph.of(Readout)}


def _said(run: ChipRun, shape: Shape) -> Array:
    """The class that the chip's last answer says, for an output of this shape."""
    last = run.readout[-1]
    return decisions(last.reshape(len(last), *shape), shape)


def _resource(target: HardwareTarget, name: str, used: float) -> ResourceRow:
    limit = target.limits[name]
    return ResourceRow(
        name=name, used=used, limit=limit.value, unit=limit.unit, verified=limit.verified,
        source=limit.source,
    )  # fmt: skip


def _saturations(run: ChipRun | None) -> tuple[str, ...]:
    if run is None:
        return ()
    hit = {name: n for name, n in run.saturations.items() if n}
    if not hit:
        return ("No state saturated in the integer run.",)
    listed = ", ".join(f"'{name}' {n:,} times" for name, n in hit.items())
    return (f"States hit their bit width: {listed}.",)
