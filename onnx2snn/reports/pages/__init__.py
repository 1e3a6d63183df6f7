"""One frame for every HTML page (``page.html.j2``): head, style sheet, the answer at the top, the
command that made it at the end, tooltips.

A page is one self-contained file: nothing from the network; what matters reads without its script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader

from ...results.marks import GENERATOR

NONE: Mapping[str, Callable[..., str]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One of the few numbers that a page begins with; ``note``: what belongs to it, in small."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a page begins with: sentences, the first in bold; whether that is good news, None:
    neither; and figures."""

    said: tuple[str, ...]
    good: bool | None = None
    figures: tuple[Figure, ...] = ()


def page(
    template: str,
    *,
    kind: str,
    title: str,
    answer: Answer,
    command: str = "",
    filters: Mapping[str, Callable[..., str]] = NONE,
    **values: Any,
) -> str:
    """``template``, which fills the frame, with these values.

    Parameters:
        kind: of page, one word. command: what made it, as it was typed. filters: by name.
    """
    return (
        _environment(tuple(filters.items()))
        .get_template(template)
        .render(
            kind=kind,
            title=title,
            answer=answer,
            command=command,
            generator=GENERATOR,
            version=_version(),
            **values,
        )
    )


def _version() -> str:
    try:
        return version(GENERATOR)
    except PackageNotFoundError:  # a source tree that never was installed
        return ""


@lru_cache(maxsize=4)
def _environment(filters: tuple[tuple[str, Callable[..., str]], ...]) -> Environment:
    """Keeps the templates that it has compiled."""
    made = Environment(
        loader=PackageLoader("onnx2snn.reports.pages", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters)
    return made
