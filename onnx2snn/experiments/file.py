"""The file of an experiment: what `sweep` is asked for, as TOML (docs/experiments.md).

``KEYS`` is the one table of what may stand in it. A key means what the option of the command line
means, and its value is checked as that of the option is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..converter.recipes.options import Choosable, choosable
from ..errors import UsageError, did_you_mean

CODE = "E119"
FREE = ("grid", "inputs")  # sections whose keys are names of options and of the model's inputs


@dataclass(frozen=True, eq=False, kw_only=True)
class Kind:
    """What a value is, in words, as a test, and as JSON Schema."""

    title: str
    takes: Callable[[Any], bool]
    schema: Mapping[str, Any]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list_of(takes: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(takes, value))


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


TEXT = Kind(title="a text", takes=_text, schema={"type": "string", "minLength": 1})
PATH = Kind(title="a path", takes=_text, schema={"type": "string", "minLength": 1})
WHOLE = Kind(title="a whole number", takes=_whole, schema={"type": "integer"})
NUMBER = Kind(title="a number", takes=_number, schema={"type": "number"})
SWITCH = Kind(
    title="true or false", takes=lambda v: isinstance(v, bool), schema={"type": "boolean"}
)
NUMBERS = Kind(
    title="a list of numbers",
    takes=_list_of(_number),
    schema={"type": "array", "items": {"type": "number"}, "minItems": 1},
)
NAMES = Kind(
    title="a list of names",
    takes=_list_of(_text),
    schema={"type": "array", "items": {"type": "string"}, "minItems": 1},
)
CHIPS = Kind(title="a list of chips", takes=_list_of(_text), schema=NAMES.schema)
STEPS = Kind(
    title='a whole number, a list of them, or "FIRST:LAST"',
    takes=lambda v: _whole(v) or _text(v) or _list_of(_whole)(v),
    schema={
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string"},
            {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
        ]
    },
)
VALUES = Kind(
    title="a list of values",
    takes=_list_of(lambda v: _number(v) or isinstance(v, bool) or _text(v)),
    schema={"type": "array", "items": {"type": ["number", "boolean", "string"]}, "minItems": 1},
)
SHAPE = Kind(
    title="a list of whole numbers",
    takes=_list_of(_whole),
    schema={"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Key:
    """One key: the ``option`` is the parameter of the command line that it stands for."""

    section: str
    name: str
    option: str
    kind: Kind
    help: str


def _keys() -> tuple[Key, ...]:
    def key(place: str, option: str, kind: Kind, text: str) -> Key:
        section, _, name = place.rpartition(".")
        return Key(section=section, name=name, option=option, kind=kind, help=text)

    return (
        key("model", "model", PATH, "the trained network, an .onnx file"),
        key("data.test", "data", PATH, "samples and labels to score on: FILE.npz:X,Y"),
        key("data.calibration", "calib", PATH, 'calibration samples, or "none"'),
        key("data.samples", "samples", WHOLE, "use the first N test samples"),
        key("data.calibration-samples", "calib_samples", WHOLE, "use N of them, spread over all"),
        key("data.regression", "regression", SWITCH, "the outputs are values, not class scores"),
        key("data.skip-unreadable", "skip_unreadable", SWITCH, "leave such pictures out"),
        key("preprocessing.scale", "scale", NUMBER, "divide stored values by this"),
        key("preprocessing.mean", "mean", NUMBERS, "then subtract: one, or one per channel"),
        key("preprocessing.std", "std", NUMBERS, "then divide: one, or one per channel"),
        key("preprocessing.layout", "layout", TEXT, "axes of stored samples: NCHW or NHWC"),
        key("sweep.steps", "steps", STEPS, "time steps T"),
        key("sweep.recipes", "recipes", NAMES, "a curve for each"),
        key("sweep.convert-each", "convert_each", SWITCH, "a conversion for every T"),
        key("sweep.seeds", "seeds", WHOLE, "mean and spread over so many seeds"),
        key("sweep.targets", "targets", CHIPS, "also in the integers of these chips"),
        key("sweep.output", "output", PATH, "folder for the results"),
        key("sweep.allow-analog", "allow_analog", SWITCH, "exit status 0 where nothing spikes"),
        *(
            key(f"options.{(name := c.name.replace('_', '-'))}", c.name, _kind(c), _see(name))
            for c in choosable(auto=False)
        ),
        key("cluster.scheduler", "scheduler", TEXT, "run on the cluster of this Dask scheduler"),
        key("cluster.data-by", "data_by", TEXT, "its workers get samples by path or by value"),
        key("engine.engine", "engine", TEXT, "fast, numpy or torch"),
        key("engine.device", "device", TEXT, "cpu or cuda, of the engine torch"),
        key("engine.events", "events", TEXT, "auto, never or always"),
        key("engine.threads", "threads", WHOLE, "all cores where it is left out"),
        key("engine.mem-limit", "mem_limit", TEXT, "memory for buffers, such as 2G"),
        key("engine.seed", "seed", WHOLE, "for stochastic encodings"),
        key("engine.early-exit", "early_exit", NUMBER, "stop samples that lead by this share"),
    )


def _see(option: str) -> str:
    return f"--{option} of `convert`"


def _kind(choice: Choosable) -> Kind:
    return {bool: SWITCH, int: WHOLE, float: NUMBER}.get(choice.kind, TEXT)


KEYS = _keys()
SECTIONS = (*dict.fromkeys(key.section for key in KEYS if key.section), *FREE)


def read(path: Path) -> dict[str, Any]:
    """Values of command-line options by parameter name, as texts where the option takes text.

    Paths are relative to the file's folder. Raises UsageError (E119) for what is no TOML, an
    unknown key, and a value of another kind.
    """
    document, out = _document(path), dict[str, Any]()
    by_place = {(key.section, key.name): key for key in KEYS}
    for section, name, value in _entries(document, str(path)):
        if section in FREE:
            wanted = VALUES if section == "grid" else SHAPE
            _check(value, wanted, f"{section}.{name}", path)
            option = "grid" if section == "grid" else "input_shapes"
            text = f"{name}={_listed(value)}" if section == "grid" else f"{name}:{_listed(value)}"
            out[option] = [*out.get(option, ()), text]
            continue
        place = f"{section}.{name}" if section else name
        if (section, name) not in by_place:
            raise _unknown(section, name=name, path=path)
        key = by_place[section, name]
        _check(value, key.kind, place, path)
        out[key.option] = _given(value, key.kind, path.parent)
    return out


def _document(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot be read ({error.strerror})", where=str(path), code=CODE
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"not a TOML file ({error})",
            where=str(path),
            remedy="`onnx2snn init MODEL.onnx` writes one to begin with.",
            code=CODE,
        ) from error


def _entries(document: Mapping[str, Any], where: str) -> list[tuple[str, str, Any]]:
    """(section, key, value) of all there is."""
    out = []
    for name, value in document.items():
        if not isinstance(value, dict):
            if name in SECTIONS:
                raise UsageError(f"'{name}' is a section, [{name}]", where=where, code=CODE)
            out.append(("", name, value))
        elif name not in SECTIONS:
            raise UsageError(
                f"there is no section [{name}]",
                where=where,
                remedy=did_you_mean(name, SECTIONS),
                code=CODE,
            )
        else:
            out += [(name, key, inner) for key, inner in value.items()]
    return out


def _unknown(section: str, *, name: str, path: Path) -> UsageError:
    """With the key that was meant: of the section, else of the whole file."""
    here = [key.name for key in KEYS if key.section == section]
    elsewhere = next((key for key in KEYS if key.name == name), None)
    remedy = did_you_mean(name, here)
    if elsewhere is not None:
        at = f"[{elsewhere.section}]" if elsewhere.section else "the top of the file"
        remedy = f"It belongs to {at}."
    of = f" in [{section}]" if section else ""
    return UsageError(f"there is no key '{name}'{of}", where=str(path), remedy=remedy, code=CODE)


def _check(value: Any, kind: Kind, place: str, path: Path) -> None:
    if not kind.takes(value):
        shown = _listed(value) if isinstance(value, list) else str(value)
        raise UsageError(f"{place} is {kind.title}, got '{shown}'", where=str(path), code=CODE)


def _given(value: Any, kind: Kind, folder: Path) -> Any:
    if kind is PATH:
        return value if value.lower() == "none" else str(folder / value)
    if kind is CHIPS:
        return [str(folder / each) if each.endswith(".toml") else each for each in value]
    if kind is STEPS or kind is NUMBERS:
        return _listed(value) if isinstance(value, list) else str(value)
    return value


def _listed(values: Any) -> str:
    return ",".join(str(v).lower() if isinstance(v, bool) else str(v) for v in values)


def json_schema() -> dict[str, Any]:
    """The schema of the file, as JSON Schema."""
    sections: dict[str, Any] = {
        section: {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                key.name: {**key.kind.schema, "description": key.help}
                for key in KEYS
                if key.section == section
            },
        }
        for section in SECTIONS
        if section not in FREE
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An experiment of onnx2snn",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{
                key.name: {**key.kind.schema, "description": key.help}
                for key in KEYS
                if not key.section
            },
            **sections,
            "grid": {"type": "object", "additionalProperties": dict(VALUES.schema)},
            "inputs": {"type": "object", "additionalProperties": dict(SHAPE.schema)},
        },
    }
