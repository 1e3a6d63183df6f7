"""Neuromorphic chips as data, and the placement of spiking networks on them."""

from .mapping import ChipRun, Cores, Mapped, Request, Traffic, chip_files
from .options import known_options
from .placement import load_target, missing_kinds, place
from .placement.assembly import PlaceData
from .placement.report import PlacementReport, to_json
from .target import DesignRule, HardwareTarget, Limit, Violation, targets
from .view.network import ChipLayer, ChipNetwork, Projection, chip_view

__all__ = [
    "ChipLayer",
    "ChipNetwork",
    "ChipRun",
    "Cores",
    "DesignRule",
    "HardwareTarget",
    "Limit",
    "Mapped",
    "PlaceData",
    "PlacementReport",
    "Projection",
    "Request",
    "Traffic",
    "Violation",
    "chip_files",
    "chip_view",
    "known_options",
    "load_target",
    "missing_kinds",
    "place",
    "targets",
    "to_json",
]
