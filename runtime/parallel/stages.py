"""Long work says how far it is to whoever watches, from wherever it is called.

``stage`` is for loops that may take minutes deep inside other work (a search, a run over samples);
whoever speaks to the user says once, with ``watched_by``, where that goes. Nobody watches
otherwise, as in other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # (done, total)
Begin: TypeAlias = Callable[[str], Progress]


def _unwatched(text: str) -> Progress:
    return lambda done, total: None


_begin: Begin = _unwatched


def stage(text: str) -> Progress:
    """Work called ``text`` begins; to be told after each of its parts."""
    return _begin(text)


@contextmanager
def watched_by(begin: Begin) -> Iterator[None]:
    """Within, ``begin`` is told of every stage."""
    global _begin
    before, _begin = _begin, begin
    try:
        yield
    finally:
        _begin = before
