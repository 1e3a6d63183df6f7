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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from html import escape
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


def counted(number: int, noun: str) -> str:
    """``1 core``, ``2,000 cores``: of nouns whose plural ends in s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned: text to the left, numbers to the right."""
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(header), *cells]) for i in range(len(header))]
    numeric = [all(_is_number(r[i]) for r in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = (
            c.rjust(w) if right else c.ljust(w)
            for c, w, right in zip(row, widths, numeric, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, cells)])


def _is_number(text: str) -> bool:
    return text.strip("-+.%,kMGe0123456789 ") in ("", "n/a")


ROWS = 24  # of a table in a notebook; what is left out is said


def html_table(title: str, *, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A small table under its title, for a notebook: names escaped, at most ``ROWS`` rows, half of
    them the last ones."""
    first, last = ROWS - ROWS // 2, ROWS // 2
    left_out = len(rows) - ROWS

    def line(cells: Sequence[Any], tag: str) -> str:
        return "".join(f"<{tag}>{escape(shown(str(c)))}</{tag}>" for c in cells)

    body = [f"<tr>{line(row, 'td')}</tr>" for row in rows]
    if left_out > 0:
        between = f'<tr><td colspan="{len(header)}">... {left_out} more ...</td></tr>'
        body = [*body[:first], between, *body[-last:]]
    return (
        f"<p>{escape(shown(title))}</p><table><thead><tr>{line(header, 'th')}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )
