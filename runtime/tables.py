"""What is known is listed, and what is not in the list is an error that names it.

Tables say what a layer of the software knows of the kinds of records, by exact type or by name: a
subclass is another kind, and what holds for its parent need not hold for it. Fields of records that
take one of a few words have these words once, in the field's ``Literal``; what reads such a field
may then treat the last word as the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ..errors import GraphError

V = TypeVar("V")
_KNOWN: dict[type, Mapping[str, tuple[str, ...]]] = {}


def entry(table: Mapping[type[Any], V], record: object, name: str) -> V:
    """``table[type(record)]``. ``name``: what the table is called where it stands.

    Raises GraphError E420, which names the type and the table, where there is no such entry.
    """
    kind = type(record)
    if kind not in table:
        raise GraphError(
            f"{kind.__name__} has no entry in the table {name}",
            remedy=f"Add one: it knows {', '.join(sorted(k.__name__ for k in table))}.",
            code="E420",
        )
    return table[kind]


def entry_named(table: Mapping[str, V], word: str, *, name: str) -> V:
    """``table[word]``, of kinds that have names. Raises GraphError E420 as ``entry`` does."""
    if word not in table:
        raise GraphError(
            f"'{word}' has no entry in the table {name}",
            remedy=f"Add one: it knows {', '.join(sorted(table))}.",
            code="E420",
        )
    return table[word]


def choices(kind: type) -> Mapping[str, tuple[str, ...]]:
    """Field -> the words it takes, of the fields of ``kind`` that are a ``Literal``."""
    if kind not in _KNOWN:
        hints = get_type_hints(kind).items()
        _KNOWN[kind] = {n: get_args(hint) for n, hint in hints if get_origin(hint) is Literal}
    return _KNOWN[kind]


def wrong_choices(record: Any) -> Iterator[tuple[str, object, tuple[str, ...]]]:
    """Field, value and the words it takes, for every field of ``record`` with another value."""
    for name, words in choices(type(record)).items():
        value = getattr(record, name)
        if value not in words:
            yield name, value, words
