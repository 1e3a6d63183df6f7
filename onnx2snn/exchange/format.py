"""What a format of other tools is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import UsageError
from ..results.marks import Kind
from ..runtime.graph import SpikingGraph
from ..spelling import spelled


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What one may ask of a format; False where it was not asked for."""

    inline: bool = False
    approximate: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Written:
    """The content of every file, by name, and what their user must know."""

    contents: Mapping[str, bytes]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Format:
    """A format.

    Attributes:
        name: as users call it.
        summary: what it is, for help.
        files: of the output's name, the names of all files with their kinds.
        write: of a network, the output's name and what was asked for.
        takes: the fields of ``Choices`` that it knows.
    """

    name: str
    summary: str
    files: Callable[[str], Mapping[str, Kind]]
    write: Callable[[SpikingGraph, str, Choices], Written]
    takes: frozenset[str] = frozenset()

    def check(self, choices: Choices) -> None:
        """Raise UsageError for what was asked for and this format does not know."""
        asked = {
            "inline": choices.inline and spelled("inline", True),
            "approximate": choices.approximate and spelled("approximate", True),
        }
        for name, typed in asked.items():
            if typed and name not in self.takes:
                raise UsageError(
                    f"{typed} means nothing with {spelled('to')} {self.name}",
                    remedy="Leave it out.",
                )
