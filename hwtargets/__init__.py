"""Neuromorphic chips as data, and the placement of spiking networks on them."""

from .assembly import PlaceData
from .layers import ChipLayer, ChipNetwork, Projection, chip_view
from .mapping import ChipRun, Cores, Mapped, Request, Traffic, chip_files
from .options import known_options
from .placement import load_target, missing_kinds, place, targets
from .report import PlacementReport, to_json
from .report_html import render_html
from .report_text import render_comparison, render_text
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
    "chip_files",
    "chip_view",
    "known_options",
    "load_target",
    "missing_kinds",
    "place",
    "render_comparison",
    "render_html",
    "render_text",
    "targets",
    "to_json",
]
