"""Whether a value is of the type that a record's field declares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def check_fields(record: type, values: Mapping[str, Any]) -> None:
    """Raise TypeError for the first of ``values`` that the ``record``'s field cannot hold: a file
    that was edited by hand has any."""
    hints = _hints(record)
    for name, value in values.items():
        if name in hints and not fits(value, hints[name]):
            raise TypeError(f"'{name}' of a {record.__name__} is a {type(value).__name__}")


@cache
def _hints(record: type) -> dict[str, Any]:
    return get_type_hints(record)


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the type ``hint``; what is no plain type, union, tuple or Literal is
    not judged."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, str | int) and value in inner
    if origin is tuple and isinstance(value, tuple):
        if len(inner) == 2 and inner[1] is Ellipsis:
            return all(fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(fits, value, inner))
    kind = origin or hint
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float)
    try:
        return not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:  # a protocol
        return True
