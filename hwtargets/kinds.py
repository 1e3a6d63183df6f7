"""Kinds of values that a file or a command line may give: whole numbers, flags, choices, ...

Each kind reads a value, which may be text, and says in words what it takes. Options and
capabilities are declared with them; nothing else parses such values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any, Protocol


class Kind(Protocol):
    """``says``: what the kind takes, to follow "must be"; ``names``: the words among it; ``read``:
    a value in its own type, or ValueError."""

    @property
    def says(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def read(self, value: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole number from ``least`` to ``most``, or one of some names."""

    least: int = 1
    most: int | None = None
    names: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        span = f"of at least {self.least}" if self.most is None else f"from {self.least} to "
        span = span if self.most is None else f"{span}{self.most}"
        return " or ".join([*self.names, f"a whole number {span}"])

    def read(self, value: Any) -> int | str:
        if str(value) in self.names:
            return str(value)
        whole = isinstance(value, float) and value.is_integer()
        number = int(value) if whole else int(str(value))
        if number < self.least or (self.most is not None and number > self.most):
            raise ValueError(value)
        return number


@dataclass(frozen=True, kw_only=True)
class Real:
    """A finite number from ``least`` to ``most``; ``positive``: above 0 instead."""

    least: float = 0.0
    most: float = inf
    positive: bool = False
    names: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        if self.positive:
            return "a positive number"
        if isfinite(self.most):
            return f"a number from {self.least:g} to {self.most:g}"
        return f"a number of at least {self.least:g}"

    def read(self, value: Any) -> float:
        number = float(str(value))
        inside = self.least <= number <= self.most and isfinite(number)
        if not inside or (self.positive and number <= 0):
            raise ValueError(value)
        return number


@dataclass(frozen=True, kw_only=True)
class Flag:
    """True or false."""

    says: str = "true or false"
    names: tuple[str, ...] = ("true", "false")

    def read(self, value: Any) -> bool:
        text = str(value).lower()
        if text not in ("true", "false"):
            raise ValueError(value)
        return text == "true"


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]

    @property
    def says(self) -> str:
        return _listed(self.names)

    def read(self, value: Any) -> str:
        if str(value) not in self.names:
            raise ValueError(value)
        return str(value)


@dataclass(frozen=True)
class Choices:
    """A list of some of the names, at least one."""

    names: tuple[str, ...]

    @property
    def says(self) -> str:
        return f"a list of {_listed(self.names)}"

    def read(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(value)
        if any(name not in self.names for name in value):
            raise ValueError(value)
        return tuple(value)


def _listed(names: tuple[str, ...]) -> str:
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def meant(name: str, known: Iterable[str]) -> str:
    """What was probably meant by a name that is not known; "" where nothing is like it."""
    close = get_close_matches(name, list(known), n=1)
    return f"Did you mean '{close[0]}'? " if close else ""


def suggested(name: str, known: Iterable[str]) -> str:
    """``meant``, and all that is known."""
    names = list(known)
    return f"{meant(name, names)}Known: {', '.join(names) or 'none'}"
