"""A chip as data: limits with their sources, capabilities, and named design rules.

A target is a TOML file (schema ``onnx2snn-target/1``, see docs/placement.md). It names its mapping
step (``mapping = "cores"``, ``"crossbar"``, ...), which is looked up in ``placement.MAPPINGS``. No
class per chip: a user's own file for a core-with-memory chip or a crossbar needs no code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import TargetError
from .view.network import ChipNetwork

SCHEMA = "onnx2snn-target/1"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A number of the chip: its value, unit, where it comes from, and whether that was verified.

    ``verified`` is False for a number remembered or fitted: every report that depends on it says
    so. ``uncertainty`` is a relative half-width (0.2 is +-20 %), None where unknown.
    """

    name: str
    value: float
    source: str
    verified: bool
    unit: str = ""
    uncertainty: float | None = None


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One rule broken by one node: ``used`` against ``limit``, and what the user can do."""

    node: str
    rule: str
    used: float | str
    limit: float | str
    remedy: str


@dataclass(frozen=True, eq=False, kw_only=True)
class HardwareTarget:
    """What a chip offers.

    Attributes:
        name, title: what ``--target`` takes; what reports print.
        mapping: name of the mapping step.
        limits: numbers with sources, by name; each mapping step documents the names it reads.
        capabilities: what neurons and spikes can do, e.g. ``reset = ["subtract"]``,
            ``levels = 1``, ``signed = false``, ``lag = true``; each with a default in
            ``CAPABILITIES``.
        energy: constants of the energy and latency model, as limits.
        boards: known boards, by name: number of chips.
        options: the mapping step's own table ``[options]``, uninterpreted here.
        notes: sentences that every report repeats.
    """

    name: str
    title: str
    mapping: str
    limits: Mapping[str, Limit]
    capabilities: Mapping[str, Any]
    energy: Mapping[str, Limit] = field(default_factory=dict)
    boards: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path: str = ""

    def limit(self, name: str) -> float:
        """The value of a limit; TargetError if the target does not state it."""
        if name not in self.limits:
            raise TargetError(
                f"target '{self.name}' (mapping '{self.mapping}') states no limit '{name}'",
                where=self.path,
                remedy=f"Add [limits.{name}] with value, source and verified.",
                code="E502",
            )
        return self.limits[name].value

    def bound(self, name: str) -> float:
        """The value of a limit, infinite where the target states none."""
        return self.limits[name].value if name in self.limits else float("inf")

    def can(self, name: str) -> Any:
        """A capability, or its default."""
        return self.capabilities.get(name, CAPABILITIES[name])

    @property
    def unverified(self) -> tuple[Limit, ...]:
        """The numbers a report has to mark."""
        return tuple(n for n in (*self.limits.values(), *self.energy.values()) if not n.verified)


Check: TypeAlias = Callable[[ChipNetwork, HardwareTarget], Iterable[Violation]]


@dataclass(frozen=True, kw_only=True)
class DesignRule:
    """A named predicate: ``statement`` says it in a sentence, ``check`` yields what breaks it."""

    name: str
    statement: str
    check: Check


CAPABILITIES: Mapping[str, Any] = {
    "reset": ["subtract"],  # how the neuron may reset: "subtract", "zero"
    "soft_reset_neurons": 1,  # hardware neurons that one neuron with subtracting reset takes
    "levels": 1,  # largest spike payload
    "signed": False,  # negative spikes
    "leak": True,  # multiplicative membrane leak
    "lag": False,  # integrating without firing for the first steps
    "paced": False,  # behind a lag: even spikes, read by when they come
    "refractory": False,
    "per_neuron_bias": True,
    "v_init": True,  # an initial membrane potential other than 0
    "threshold_per": "layer",  # "layer" or "neuron": how often a threshold may differ
    "input": ["population"],  # how an analog input may enter: graded, bias, population
    "v_min": False,  # a floor of the membrane
    "strict": False,  # fires at v > threshold instead of v >= threshold
}


def load(path: str | Path) -> HardwareTarget:
    """Read a target file.

    Raises:
        TargetError: with every problem of the file at once.
    """
    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise TargetError(
            f"cannot read the target file ({error.strerror})", where=str(path), code="E501"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"not a TOML file ({error})", where=str(path), code="E501") from error
    problems = list(_problems(raw))
    if problems:
        raise TargetError(
            f"{len(problems)} problem(s): " + "; ".join(problems),
            where=str(path),
            remedy="See docs/placement.md for the format of a target file.",
            code="E501",
        )
    return HardwareTarget(
        name=raw["name"],
        title=raw.get("title", raw["name"]),
        mapping=raw["mapping"],
        limits=_numbers(raw.get("limits", {})),
        capabilities=raw.get("capabilities", {}),
        energy=_numbers(raw.get("energy", {})),
        boards=raw.get("boards", {}),
        options=raw.get("options", {}),
        notes=tuple(raw.get("notes", ())),
        path=Path(path).name,
    )


def targets() -> dict[str, HardwareTarget]:
    """Every target that comes with onnx2snn, by name."""
    found = (load(path) for path in sorted(Path(__file__).parent.glob("*/*.toml")))
    return {target.name: target for target in found}


def _numbers(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Limit]:
    return {name: Limit(name=name, **entry) for name, entry in table.items()}


_TOP = {
    "schema": str,
    "name": str,
    "title": str,
    "mapping": str,
    "limits": dict,
    "capabilities": dict,
    "energy": dict,
    "boards": dict,
    "options": dict,
    "notes": list,
}
_LIMIT: Mapping[str, tuple[type, ...]] = {
    "value": (int, float),
    "source": (str,),
    "verified": (bool,),
    "unit": (str,),
    "uncertainty": (int, float),
}


def _problems(raw: Mapping[str, Any]) -> Iterable[str]:
    """Everything wrong with the file's form; what numbers mean is the mapping step's to check."""
    if raw.get("schema") != SCHEMA:
        yield f"schema must be '{SCHEMA}', is {raw.get('schema')!r}"
    for key in ("name", "mapping"):
        if not isinstance(raw.get(key), str) or not raw.get(key):
            yield f"'{key}' must be a non-empty string"
    if any(c in str(raw.get("name")) for c in "/\\\0"):
        yield "'name' must have no / and no \\: files for the chip's tools are named so"
    for key, value in raw.items():
        if key not in _TOP:
            yield f"unknown key '{key}' (known: {', '.join(_TOP)})"
        elif not isinstance(value, _TOP[key]):
            yield f"'{key}' must be a {_TOP[key].__name__}, is {value!r}"
    for section in ("limits", "energy"):
        table = raw.get(section, {})
        for name, entry in table.items() if isinstance(table, dict) else ():
            yield from _limit_problems(f"{section}.{name}", entry)
    for name in raw.get("capabilities", {}) if isinstance(raw.get("capabilities"), dict) else ():
        if name not in CAPABILITIES:
            yield f"unknown capability '{name}' (known: {', '.join(CAPABILITIES)})"


def _limit_problems(where: str, entry: Any) -> Iterable[str]:
    if not isinstance(entry, dict):
        yield f"[{where}] must be a table with value, source and verified"
        return
    for key in ("value", "source", "verified"):
        if key not in entry:
            yield f"[{where}] lacks '{key}'"
    for key, value in entry.items():
        kinds = _LIMIT.get(key)
        if kinds is None:
            yield f"[{where}] has an unknown key '{key}' (known: {', '.join(_LIMIT)})"
        elif not isinstance(value, kinds) or (bool not in kinds and isinstance(value, bool)):
            yield f"[{where}] '{key}' must be a {kinds[-1].__name__}, is {value!r}"
        elif key == "value" and isinstance(value, int | float) and value < 0:
            yield f"[{where}] value must not be negative, is {value}"
