"""Names that no other thing of the same kind has, whatever names a file brings."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """The names taken so far; ``new`` gives one that is free, and takes it."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def taken(self, name: str) -> bool:
        return name in self._taken

    def new(self, name: str) -> str:
        candidate, count = name, 2
        while candidate in self._taken:
            candidate, count = f"{name}_{count}", count + 1
        self._taken.add(candidate)
        return candidate
