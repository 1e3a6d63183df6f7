"""``place``: check -> quantize and partition (the target's mapping step) -> mesh -> report."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from ..errors import TargetError
from .mapping import Step
from .target import HardwareTarget, load

# Mapping step -> module of this package and function; imported on use.
MAPPINGS: Mapping[str, tuple[str, str]] = {
    "cores": ("cores", "map_cores"),
    "crossbar": ("crossbar", "map_crossbar"),
    "truenorth": ("truenorth", "map_truenorth"),
    "xylo": ("xylo", "map_xylo"),
}


def targets() -> dict[str, HardwareTarget]:
    """Every target that comes with onnx2snn, by name."""
    found = (load(path) for path in sorted(Path(__file__).parent.glob("*.toml")))
    return {target.name: target for target in found}


def load_target(name_or_path: str | Path) -> HardwareTarget:
    """A bundled target by name, or a user's TOML file by path.

    Raises:
        TargetError: E500 unknown name, E501 bad file, E504 unknown mapping step.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        target = load(text)
    else:
        known = targets()
        if text not in known:
            raise TargetError(
                f"unknown target '{text}'",
                remedy=f"Choose one of {', '.join(known)}, or give a .toml file.",
                code="E500",
            )
        target = known[text]
    step_of(target)
    return target


def step_of(target: HardwareTarget) -> Step:
    """The mapping step that a target names."""
    if target.mapping not in MAPPINGS:
        raise TargetError(
            f"target '{target.name}' names an unknown mapping step '{target.mapping}'",
            where=target.path,
            remedy=f"Use one of {', '.join(MAPPINGS)}.",
            code="E504",
        )
    module, function = MAPPINGS[target.mapping]
    return cast(Step, getattr(import_module(f".{module}", __package__), function))
