"""The placement report as a record of plain values, and as JSON.

The JSON has a published schema (docs/placement.md, ``onnx2snn-placement/1``): keys are never
renamed, more may be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...display import json_text
from ...runtime.engine import SimulationResult
from ...runtime.ops import Array
from ..energy import Energy
from ..energy.latency import Latency
from ..target import Violation

SCHEMA = "onnx2snn-placement/1"


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer: what it takes. ``utilization``: per resource, mean share of the cores' limit;
    ``analog_macs``: multiply-accumulates on analog values in front of it, per inference."""

    name: str
    cores: int
    neurons: int
    kind: str = ""
    shape: tuple[int, ...] = ()
    fan_in: int = 0
    synapses: int = 0
    weights: int = 0
    tile: tuple[int, ...] = ()
    binding: str = ""
    utilization: Mapping[str, float] = field(default_factory=dict)
    analog_macs: int = 0


@dataclass(frozen=True, kw_only=True)
class ResourceRow:
    """One resource: the largest use in any one core (or chip) against its limit."""

    name: str
    used: float
    limit: float
    unit: str = ""
    verified: bool = True
    source: str = ""

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit else 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class FloorPlan:
    """Where cores are. Arrays have one entry per core: chip, x, y, layer index, load (share of the
    core's binding resource). ``sent``, ``received``: spikes per step over the core's router;
    ``links``: of the grid of routers (width, height, 4) spikes per step east, west, north, south;
    ``router``: columns and rows of cores that share one."""

    width: int
    height: int
    layers: tuple[str, ...]
    chip: Array
    x: Array
    y: Array
    layer: Array
    neurons: Array
    load: Array
    sent: Array
    received: Array
    links: Array
    router: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacementReport:
    """See docs/placement.md for every key. ``binding`` is {name, used, limit, margin};
    ``traffic`` has spike_hops, avg_hops, max_hops, max_link, energy, chip_crossings, packets;
    ``accuracy`` has ann, float_snn, chip, quantization_loss, total_loss, T, samples (None where
    no data was given); ``energy`` and ``latency`` are records; ``input_mode`` is how the input
    enters the chip ("" where nothing was mapped); ``work`` has the busiest core of each kind of
    work (``busiest``), ``otherwise`` what other numbers that are stated of the chip come to;
    ``analog`` has macs_per_sample and macs_to_ann: multiply-accumulates on analog values, also
    relative to the ANN's; ``floating``: what the network does on the samples in floating point
    (None without samples)."""

    target: str
    title: str
    fits: bool
    cores: int
    chips: int
    layers: tuple[LayerRow, ...]
    resources: tuple[ResourceRow, ...]
    binding: Mapping[str, Any]
    violations: tuple[Violation, ...]
    traffic: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    energy: Energy
    latency: Latency
    input_mode: str = ""
    work: Mapping[str, Any] = field(default_factory=dict)
    otherwise: tuple[Mapping[str, Any], ...] = ()
    analog: Mapping[str, Any] = field(default_factory=dict)
    would_fit: tuple[Mapping[str, Any], ...] = ()
    unverified: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    plan: FloorPlan | None = None
    floating: SimulationResult | None = None


def to_json(report: PlacementReport, *, indent: int | None = 2) -> str:
    """The report as JSON; emitted files are listed by name and size, infinities become null."""
    fields = {
        name: getattr(report, name)
        for name in PlacementReport.__dataclass_fields__
        if name not in ("files", "plan", "floating")
    }
    fields = {"schema": SCHEMA, **fields}
    fields["layers"] = [asdict(row) for row in report.layers]
    fields["resources"] = [asdict(row) | {"share": row.share} for row in report.resources]
    fields["violations"] = [asdict(v) for v in report.violations]
    fields |= {"energy": report.energy.document(), "latency": report.latency.document()}
    fields["files"] = {name: len(data) for name, data in report.files.items()}
    fields["floor_plan"] = _plan(report.plan)
    return json_text(plain(fields), indent=indent)


def _plan(plan: FloorPlan | None) -> dict[str, Any] | None:
    if plan is None:
        return None
    columns = ("chip", "x", "y", "layer", "neurons", "load", "sent", "received")
    arrays = {name: getattr(plan, name) for name in columns}
    sizes = {"width": plan.width, "height": plan.height, "router": plan.router}
    return {**sizes, "layers": plan.layers, **arrays}


def plain(value: Any) -> Any:
    """Only what JSON knows: arrays become lists, non-finite numbers null. Twelve digits, not
    decimals, of which an energy in joules may need more."""
    match value:
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case np.ndarray():
            return plain(value.tolist())
        case np.generic():
            return plain(value.item())
        case float():
            return float(f"{value:.12g}") if np.isfinite(value) else None
    return value
