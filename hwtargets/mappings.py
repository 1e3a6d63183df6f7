"""The mapping steps by name: what a target's ``mapping`` may say. A new kind of chip is a folder of
its own and its line here."""

from __future__ import annotations

from collections.abc import Mapping

from .cores.crossbar import map_crossbar
from .cores.mapping import map_cores
from .mapping import Step
from .truenorth.mapping import map_truenorth
from .xylo.mapping import map_xylo

MAPPINGS: Mapping[str, Step] = {
    "cores": map_cores,
    "crossbar": map_crossbar,
    "truenorth": map_truenorth,
    "xylo": map_xylo,
}
