"""Neuromorphic chips as data, and the placement of spiking networks on them."""

from .layers import ChipLayer, ChipNetwork, Projection, chip_view
from .mapping import ChipRun, Cores, Mapped, Request, Traffic
from .placement import load_target, targets
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
    "PlacementReport",
    "Projection",
    "Request",
    "Traffic",
    "Violation",
    "chip_view",
    "load_target",
    "targets",
    "to_json",
]
