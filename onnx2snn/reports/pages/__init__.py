"""One frame for every HTML page: head, style sheet, title (``page.html.j2``).

A page is one self-contained file: nothing from the network; where it has a script (``sweep``,
``watch``), what matters reads without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader

from ...results.marks import GENERATOR

NONE: Mapping[str, Callable[..., str]] = MappingProxyType({})


def page(
    template: str, *, title: str, filters: Mapping[str, Callable[..., str]] = NONE, **values: Any
) -> str:
    """``template``, which fills the frame, with these values; ``filters`` by name."""
    environment = Environment(
        loader=PackageLoader("onnx2snn.reports.pages", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(title=title, generator=GENERATOR, **values)
