"""Neuromorphic chips as data, and the placement of spiking networks on them."""

from . import rules
from .mapping import ChipMapping, ChipRun, Cores, Mapped, Request, Traffic
from .mappings import MAPPINGS, targets
from .placement import (
    emitted,
    load_target,
    mapped,
    mapping_of,
    missing_kinds,
    options_of,
    place,
    screened,
)
from .placement.assembly import PlaceData
from .placement.report import PlacementReport, to_json
from .placement.screen import Screening
from .target import DesignRule, HardwareTarget, Known, Limit, Violation
from .view.network import ChipLayer, ChipNetwork, Projection, chip_view

__all__ = [
    "MAPPINGS",
    "ChipLayer",
    "ChipMapping",
    "ChipNetwork",
    "ChipRun",
    "Cores",
    "DesignRule",
    "HardwareTarget",
    "Known",
    "Limit",
    "Mapped",
    "PlaceData",
    "PlacementReport",
    "Projection",
    "Request",
    "Screening",
    "Traffic",
    "Violation",
    "chip_view",
    "emitted",
    "load_target",
    "mapped",
    "mapping_of",
    "missing_kinds",
    "options_of",
    "place",
    "rules",
    "screened",
    "targets",
    "to_json",
]
