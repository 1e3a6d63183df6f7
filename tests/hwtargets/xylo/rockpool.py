"""The vendor's own tools (rockpool 3.1.0), without the closed package that they import.

rockpool's device modules need ``samna`` for what it does on hardware, and its public package is
empty. ``device`` gives one of their modules with an inert stand-in for it (and for ``bitstruct``,
which only talks to boards): what they check and write into a configuration can then be looked at,
what the closed package would validate cannot.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

DEVICES = {"xylo-audio2": "syns61201", "xylo-audio3": "syns65302", "xylo-imu": "syns63300"}
CYCLES = {**DEVICES, "xylo-audio3": "syns63300"}  # where the cycle model of a chip is


class Inert:
    """Anything: attributes appear when they are asked for, calls give a new one."""

    alias_target = None  # of a neuron: none
    synapse2_enable = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, type(name, (Inert,), {}) if name[0].isupper() else Inert())
        return getattr(self, name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Inert()

    def __iter__(self) -> Iterator[Any]:
        """As the answer of a validation: (valid, message)."""
        return iter((True, ""))


class _Samna(MetaPathFinder, Loader):
    """Finds the packages that are stood in for, and whatever is below them: inert modules."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name.split(".")[0] not in ("samna", "bitstruct"):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        inert = Inert()
        module.__getattr__ = lambda name: getattr(inert, name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def device(name: str, module: str) -> Any:
    """A module of one of rockpool's devices, e.g. ("syns61201", "xylo_sim")."""
    import rockpool

    folder = Path(rockpool.__path__[0]) / "devices" / "xylo"
    importlib.import_module("rockpool.devices")
    for package, path in (("rockpool.devices.xylo", folder), (name, folder / name)):
        full = package if package.startswith("rockpool") else f"rockpool.devices.xylo.{package}"
        if full not in sys.modules:  # their __init__ modules import everything there is
            bare = types.ModuleType(full)
            bare.__path__ = [str(path)]
            sys.modules[full] = bare
    finder = _Samna()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(f"rockpool.devices.xylo.{name}.{module}")
    finally:
        sys.meta_path.remove(finder)


def hardware_configuration(chip: str, arguments: dict[str, Any]) -> Any:
    """What the vendor's ``config_from_specification`` makes of ``arguments``."""
    samna = device(DEVICES[chip], "xylo_samna")
    configuration, valid, _ = samna.config_from_specification(**arguments)
    assert valid
    return configuration
