"""What long work tells while it runs, to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # (done, total)


class Watcher(Protocol):
    """Told of a sweep in the order in which things happen."""

    def say(self, text: str) -> None:
        """A sentence that matters beyond the moment."""

    def stage(self, text: str, *, samples: bool = False) -> Progress:
        """Work begins that takes long; ``samples``: its progress counts samples."""

    def planned(self, steps: Sequence[int]) -> None:
        """So many more configurations are to be done, by their T."""

    def finished(self, label: str, *, steps: int, score: float) -> None:
        """One of them is done: its accuracy (without labels agreement, or 1 - error) after its last
        step, a fraction."""


class Unwatched:
    """Nobody watches. To be derived from by who wants to see some of it."""

    def say(self, text: str) -> None:
        """See ``Watcher``."""

    def stage(self, text: str, *, samples: bool = False) -> Progress:
        """See ``Watcher``."""
        return lambda done, total: None

    def planned(self, steps: Sequence[int]) -> None:
        """See ``Watcher``."""

    def finished(self, label: str, *, steps: int, score: float) -> None:
        """See ``Watcher``."""
