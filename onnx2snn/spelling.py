"""How texts for people name options: ``lag=4`` for callers of Python functions, ``--lag 4`` on the
command line.

Errors, questions, notes and reports name an option by its parameter, with ``spelled``. How that is
spelled is chosen once by what speaks to the user, as programs choose the language of their
messages: the command line does it around each of its commands, with ``spelled_by``. So a text is
made with ``spelled`` when it is needed, not when its module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

Spelling: TypeAlias = Callable[[str, Any], str]  # of a parameter and its value; None: of no value

PLACEHOLDERS = {"DATA"}  # words that stand for what the user has


def as_parameter(name: str, value: Any = None) -> str:
    """``lag``, ``lag=4``, ``recipe="binary"``, ``calibration=DATA``."""
    return name if value is None else f"{name}={_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return value if value in PLACEHOLDERS else f'"{value}"'
    if isinstance(value, Mapping):
        items = ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items())
        return f"{{{items}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' * (len(value) == 1)})"
    return f"{value:g}" if isinstance(value, float) else str(value)


_spelling: Spelling = as_parameter


def spelled(name: str, value: Any = None) -> str:
    """The parameter ``name`` of this package's functions, as the user of the moment gives it.

    Parameters:
        value: a word, number, tuple of numbers or mapping of names to such; True and False of a
            choice between two; None: the option is named without a value.
    """
    return _spelling(name, value)


@contextmanager
def spelled_by(spelling: Spelling) -> Iterator[None]:
    """Within, ``spelled`` spells so: in all threads, which work for one user."""
    global _spelling
    before, _spelling = _spelling, spelling
    try:
        yield
    finally:
        _spelling = before
