"""Tables of what a layer of the software knows of the kinds of records, by exact type or by name.

A subclass is another kind: what holds for its parent need not hold for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import GraphError

V = TypeVar("V")


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
