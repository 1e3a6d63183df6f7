"""Options of the mapping steps, as the command line gives them: known names, whole numbers, flags.

A name that no step reads would change nothing without saying so; it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .target import HardwareTarget

_CORES = ("input", "maxpool")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "cores": _CORES,
    "crossbar": _CORES,
    "truenorth": (
        *("coding", "copies", "output_copies", "tune"),
        *("calibration", "fit_steps", "compare", "emit"),
    ),
    "xylo": (
        *("readout", "dt", "recode", "input_spikes", "spikes", "dash_syn", "dash_mem"),
        *("margin", "rounds", "window"),
    ),
}


def known_options(target: HardwareTarget) -> tuple[str, ...]:
    """The names that ``place`` takes as options for a target."""
    return OPTIONS.get(target.mapping, ())


def check_names(target: HardwareTarget, options: Mapping[str, Any]) -> None:
    """Refuse options that the target's mapping step does not read (UsageError E514)."""
    known = known_options(target)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise UsageError(
            f"'{target.name}' has no option {', '.join(unknown)}",
            remedy=f"It has {', '.join(known)}; see docs/placement.md.",
            code="E514",
        )


def whole(name: str, value: Any, code: str, least: int = 1, other: str = "") -> int:
    """A whole number of at least ``least``, or UsageError. ``other``: what else the caller takes,
    for the message."""
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if number < least:
        instead = f"{other} or " if other else ""
        raise UsageError(
            f"{name} must be {instead}a whole number of at least {least}, got {value!r}", code=code
        )
    return number


def flag(name: str, value: Any, code: str) -> bool:
    """True or false, or UsageError."""
    text = str(value).lower()
    if text not in ("true", "false"):
        raise UsageError(f"{name} must be true or false, got {value!r}", code=code)
    return text == "true"
