"""Target files: TOML, schema ``onnx2snn-target/1``, see docs/placement.md.

A file is checked against the tables of the mapping that it names: a limit, constant, capability,
option or key that is not known there would say nothing, so it is refused, with all other problems
of the file at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..display import counted
from ..errors import TargetError, UsageError
from ..runtime.storage.reading import read_whole
from .kinds import meant, suggested
from .mapping import ChipMapping
from .options import read_options
from .target import BASES, CAPABILITIES, COVERS, WHOLE, HardwareTarget, Known, Limit, Range

SCHEMA = "onnx2snn-target/1"
LARGEST = 2**20  # bytes of a target file
Mappings = Mapping[str, ChipMapping[Any]]

_TOP = {
    "schema": str,
    "name": str,
    "title": str,
    "mapping": str,
    "limits": dict,
    "capabilities": dict,
    "energy": dict,
    "time": dict,
    "boards": dict,
    "options": dict,
    "notes": list,
}
_ENTRY = {"limits": "limit", "energy": "energy constant", "time": "time"}
_LIMIT: Mapping[str, tuple[type, ...]] = {
    "value": (int, float),
    "source": (str,),
    "verified": (bool,),
    "unit": (str,),
    "uncertainty": (int, float),
    "covers": (str,),
    "basis": (str,),
    "others": (list,),
}
_NEEDED = ("value", "source", "verified")
_OTHER: Mapping[str, tuple[type, ...]] = {
    **{key: kinds for key, kinds in _LIMIT.items() if key not in ("others", "covers")},
    "by": (str,),
}
_TIME: Mapping[str, tuple[type, ...]] = {
    "low": (int, float),
    "high": (int, float),
    "source": (str,),
    "verified": (bool,),
    "unit": (str,),
    "basis": (str,),
}


def read_target(path: str | Path, mappings: Mappings) -> HardwareTarget:
    """Read a target file.

    Raises:
        TargetError: E501 with every problem of the file at once, E504 an unknown mapping.
    """
    try:
        raw = tomllib.loads(read_whole(Path(path), most=LARGEST).decode())
    except OSError as error:
        raise TargetError(
            f"cannot read the target file ({error.strerror})", where=str(path), code="E501"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"not a TOML file ({error})", where=str(path), code="E501") from error
    name = raw.get("mapping")
    mapping = mappings.get(name) if isinstance(name, str) else None
    problems = list(_problems(raw, mapping))
    if problems:
        raise TargetError(
            f"{counted(len(problems), 'problem')}: " + "; ".join(problems),
            where=str(path),
            remedy="See docs/placement.md for the format of a target file.",
            code="E501",
        )
    if mapping is None:
        raise TargetError(
            f"target '{raw['name']}' names an unknown mapping '{name}'",
            where=str(path),
            remedy=f"{suggested(str(name), mappings)}.",
            code="E504",
        )
    return HardwareTarget(
        name=raw["name"],
        title=raw.get("title", raw["name"]),
        mapping=raw["mapping"],
        limits=_numbers(raw.get("limits", {})),
        known=mapping.limits,
        capabilities=raw.get("capabilities", {}),
        energy=_numbers(raw.get("energy", {})),
        times={name: Range(name=name, **entry) for name, entry in raw.get("time", {}).items()},
        boards=raw.get("boards", {}),
        options=raw.get("options", {}),
        notes=tuple(raw.get("notes", ())),
        path=Path(path).name,
    )


def load_folder(folder: Path, mappings: Mappings) -> dict[str, HardwareTarget]:
    """The targets of a folder, by name."""
    found = (read_target(path, mappings) for path in sorted(folder.glob("*.toml")))
    return {target.name: target for target in found}


def _numbers(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Limit]:
    return {name: _number(name, entry) for name, entry in table.items()}


def _number(name: str, entry: Mapping[str, Any]) -> Limit:
    others = tuple(_number(name, other) for other in entry.get("others", ()))
    return Limit(name=name, **{**entry, "others": others})


def _problems(raw: Mapping[str, Any], mapping: ChipMapping[Any] | None) -> Iterator[str]:
    """Everything wrong with the file; what depends on the mapping only where that is known."""
    if raw.get("schema") != SCHEMA:
        yield f"schema must be '{SCHEMA}', is {raw.get('schema')!r}"
    for key in ("name", "mapping"):
        if not isinstance(raw.get(key), str) or not raw.get(key):
            yield f"'{key}' must be a non-empty string"
    if any(c in str(raw.get("name")) for c in "/\\\0"):
        yield "'name' must have no / and no \\: files for the chip's tools are named so"
    tables: dict[str, Mapping[str, Any]] = {}
    for key, value in raw.items():
        if key not in _TOP:
            yield _unknown("key", name=key, known=_TOP)
        elif not isinstance(value, _TOP[key]):
            yield f"'{key}' must be a {_TOP[key].__name__}, is {value!r}"
        elif isinstance(value, dict):
            tables[key] = value
    for section in ("limits", "energy"):
        known = None if mapping is None else getattr(mapping, section)
        yield from _section_problems(section, tables.get(section, {}), known)
    yield from _time_problems(tables.get("time", {}), None if mapping is None else mapping.times)
    yield from _capability_problems(tables.get("capabilities", {}), mapping)
    for board, chips in tables.get("boards", {}).items():
        if not isinstance(chips, int) or isinstance(chips, bool) or chips < 1:
            yield f"[boards] '{board}' must be a number of chips, is {chips!r}"
    for note in raw["notes"] if isinstance(raw.get("notes"), list) else ():
        if not isinstance(note, str):
            yield f"'notes' must be strings, has {note!r}"
    if mapping is not None:
        yield from _option_problems(tables.get("options", {}), mapping)


def _unknown(what: str, *, name: str, known: Iterable[str]) -> str:
    return f"unknown {what} '{name}' ({suggested(name, known)})"


def _section_problems(
    section: str, table: Mapping[str, Any], known: Mapping[str, Known] | None
) -> Iterator[str]:
    for name, entry in table.items():
        if known is not None and name not in known:
            yield _unknown(_ENTRY[section], name=name, known=known)
        yield from _limit_problems(f"{section}.{name}", entry)
        only = None if known is None or name not in known else known[name].only
        value = entry.get("value") if isinstance(entry, dict) else None
        if only is not None and value != only:
            yield f"[{section}.{name}] value must be {only:g}, which the mapping is built on"
    if section == "energy" and "static_per_chip" in table:
        for name, entry in table.items():
            if isinstance(entry, dict) and entry.get("covers") == WHOLE:
                yield f"[energy.static_per_chip] would count twice what [energy.{name}] covers"


def _limit_problems(where: str, entry: Any) -> Iterator[str]:
    yield from _entry_problems(where, entry, _LIMIT, _NEEDED)
    if not isinstance(entry, dict):
        return
    covers, others = entry.get("covers"), entry.get("others")
    if isinstance(covers, str) and (covers not in COVERS or not where.startswith("energy.")):
        said = f"be {' or '.join(map(repr, COVERS))}, of an energy constant"
        yield f"[{where}] 'covers' must {said}, is {covers!r}"
    if others is not None and not where.startswith("limits."):
        yield f"[{where}] 'others' is of limits only"
    for other in others if isinstance(others, list) else ():
        yield from _entry_problems(f"{where}.others", other, _OTHER, ("by", *_NEEDED))


def _time_problems(table: Mapping[str, Any], known: Mapping[str, Known] | None) -> Iterator[str]:
    for name, entry in table.items():
        if known is not None and name not in known:
            yield _unknown("time", name=name, known=known)
        yield from _entry_problems(
            f"time.{name}", entry, _TIME, ("low", "high", "source", "verified")
        )
        if isinstance(entry, dict):
            low, high = entry.get("low"), entry.get("high")
            if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
                yield f"[time.{name}] low must not be above high"


def _entry_problems(
    where: str, entry: Any, keys: Mapping[str, tuple[type, ...]], needed: tuple[str, ...]
) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"[{where}] must be a table with {', '.join(needed[:-1])} and {needed[-1]}"
        return
    for key in needed:
        if key not in entry:
            yield f"[{where}] lacks '{key}'"
    for key, value in entry.items():
        kinds = keys.get(key)
        if kinds is None:
            yield f"[{where}] has an {_unknown('key', name=key, known=keys)}"
        elif not isinstance(value, kinds) or (bool not in kinds and isinstance(value, bool)):
            yield f"[{where}] '{key}' must be a {kinds[-1].__name__}, is {value!r}"
        elif isinstance(value, int | float) and not value >= 0:
            yield f"[{where}] {key} must not be negative, is {value}"
        elif key == "basis" and value not in BASES:
            yield f"[{where}] 'basis' must be one of {', '.join(BASES)}, is {value!r}"


def _capability_problems(
    table: Mapping[str, Any], mapping: ChipMapping[Any] | None
) -> Iterator[str]:
    for name, value in table.items():
        if name not in CAPABILITIES:
            yield _unknown("capability", name=name, known=CAPABILITIES)
            continue
        kind = CAPABILITIES[name].kind
        try:
            read = kind.read(value)
        except (TypeError, ValueError):
            given = value if isinstance(value, list | tuple) else [value]
            wrong = [str(word) for word in given if word not in kind.names]
            hints = {meant(word, kind.names).strip() for word in wrong} - {""}
            hint = f" ({' '.join(sorted(hints))})" if hints else ""
            yield f"[capabilities] '{name}' must be {kind.says}, is {value!r}{hint}"
            continue
        if name == "input" and mapping is not None:
            for way in read:
                if way not in mapping.inputs:
                    yield _unknown(
                        f"way of input of '{mapping.name}'", name=way, known=mapping.inputs
                    )


def _option_problems(table: Mapping[str, Any], mapping: ChipMapping[Any]) -> Iterator[str]:
    for name, value in table.items():
        try:
            read_options(mapping.options, {}, of=mapping.name, stated={name: value})
        except UsageError as error:
            yield f"[options] {error}"
