"""The kinds of chips: what a target's ``mapping`` may say. A new one is a folder of its own, with
its target files, and its line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .cores.crossbar import CROSSBAR
from .cores.mapping import CORES
from .mapping import ChipMapping
from .target import HardwareTarget
from .toml import Mappings, load_folder
from .truenorth.mapping import TRUENORTH
from .xylo.mapping import XYLO

MAPPINGS: Mapping[str, ChipMapping[Any]] = {
    mapping.name: mapping for mapping in (CORES, CROSSBAR, TRUENORTH, XYLO)
}


def targets(mappings: Mappings = MAPPINGS) -> dict[str, HardwareTarget]:
    """Every target that comes with onnx2snn, by name."""
    found: dict[str, HardwareTarget] = {}
    for folder in sorted(path for path in Path(__file__).parent.iterdir() if path.is_dir()):
        found |= load_folder(folder, mappings)
    return found
