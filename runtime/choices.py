"""Fields of records that take one of a few words: which words, and a check that they are kept to.

The words stand once, in the field's ``Literal``. What reads such a field may then treat the last
word as the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

_KNOWN: dict[type, Mapping[str, tuple[str, ...]]] = {}


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
