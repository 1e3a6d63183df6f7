"""Names that come from files, as text for people: on one line, with nothing hidden in them.

A name can hold line breaks, terminal commands and characters that reverse the order of others; as
they are, they would fake lines of a report or an error. Text is made from records whose strings
are single lines: ``displayed`` makes them so, in one place per way out (``cli.options.emit``, the
errors' ``str``, the HTML pages, the pictures), so that what makes sentences need not think of it.
JSON has the true names.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, TypeVar

T = TypeVar("T")

# Control characters, format characters (order of writing, zero width), lone surrogates, line and
# paragraph separators.
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def shown(text: str, *, keep: str = "") -> str:
    """``text`` with every hidden character but those in ``keep`` as \\xNN, \\uNNNN or \\UNNNNNNNN.

    A text without such characters is returned as it is, so that it may be shown twice.
    """
    if text.isprintable():
        return text
    return "".join(
        _escaped(ord(c)) if unicodedata.category(c) in HIDDEN and c not in keep else c for c in text
    )


def _escaped(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def displayed(record: T, form: Callable[[str], str] = shown) -> T:
    """``record`` with ``form`` of every string in it: of dataclasses, mappings (their keys too),
    lists, tuples and paths. What has nothing to change is the same object."""
    return _displayed(record, form, {})


def _displayed(value: Any, form: Callable[[str], str], seen: dict[int, Any]) -> Any:
    if isinstance(value, str):
        return form(value)
    if isinstance(value, PurePath):
        return value if form(str(value)) == str(value) else type(value)(form(str(value)))
    if id(value) not in seen:  # records that are in two places stay one
        seen[id(value)] = _copied(value, form, seen)
    return seen[id(value)]


def _copied(value: Any, form: Callable[[str], str], seen: dict[int, Any]) -> Any:
    match value:
        case Mapping():
            old = [part for item in value.items() for part in item]
            new = [_displayed(part, form, seen) for part in old]
            return value if _same(old, new) else dict(zip(new[::2], new[1::2], strict=True))
        case list() | tuple():
            new = [_displayed(item, form, seen) for item in value]
            return value if _same(value, new) else type(value)(new)
        case _ if is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in fields(value)]
            old = [getattr(value, name) for name in names]
            new = [_displayed(item, form, seen) for item in old]
            if _same(old, new):
                return value
            made = object.__new__(type(value))  # not checked again: only names are others
            made.__dict__.update(zip(names, new, strict=True))
            return made
    return value


def _same(old: Any, new: Any) -> bool:
    return all(a is b for a, b in zip(old, new, strict=True))


def json_text(document: Any, *, indent: int | None = 2) -> str:
    """JSON with the true names and nothing hidden: all but ASCII is escaped, and DEL, which the
    standard lets through."""
    return json.dumps(document, indent=indent, allow_nan=False).replace("\x7f", "\\u007f")
