"""Neuromorphic chips as data, and the placement of spiking networks on them."""

from .assembly import PlaceData
from .layers import ChipLayer, ChipNetwork, Projection, chip_view
from .mapping import ChipRun, Cores, Mapped, Request, Traffic
from .placement import load_target, place, targets
from .report import PlacementReport, to_json
from .target import DesignRule, HardwareTarget, Limit, Violation

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
    "chip_view",
    "load_target",
    "place",
    "targets",
    "to_json",
]
