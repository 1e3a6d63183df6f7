"""The files that show curves, and the converted networks beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data import Samples
from ..display import json_text
from ..evaluation.sweep import Sweep
from ..evaluation.written import checked_bytes
from ..reports import comparison
from ..reports.pages import sweep as page
from ..reports.pictures import sweep as plot
from ..results import Results
from ..results.marks import Kind
from .plan import Series


def chart_kinds(stem: str) -> dict[str, Kind]:
    """The files of ``write_chart``."""
    kinds = {f"{stem}.json": Kind.JSON, f"{stem}.csv": Kind.CSV, f"{stem}.html": Kind.HTML}
    return {**kinds, f"{stem}.png": Kind.PNG} if plot.available() else kinds


def write_chart(
    result: Sweep, document: dict[str, Any], results: Results, stem: str, *, command: str = ""
) -> list[str]:
    """STEM.json, .csv, .html and (with matplotlib) .png; what was written, line by line.
    ``command``: what made it, as it was typed."""
    results.write(f"{stem}.json", json_text(document) + "\n")
    results.write(f"{stem}.csv", comparison.sweep_csv(result))
    results.write(f"{stem}.html", page.sweep_html(result, command=command))
    names = f"{stem}.json, {stem}.csv, {stem}.html"
    if not plot.available():
        return [f"wrote {names} to {results.folder}; no PNG: pip install 'onnx2snn[plot]'"]
    results.write(f"{stem}.png", plot.sweep_png(result))
    return [f"wrote {names}, {stem}.png to {results.folder}"]


def network_names(model: str | Path, series: Sequence[Series]) -> dict[str, str]:
    """The file of every series' network, that of the last T, by label."""
    stem = Path(model).stem
    return {s.label: f"{stem}.{s.label.replace(' ', '.')}.snn.onnx" for s in series}


def write_networks(
    result: Sweep, names: Sequence[str], results: Results, test: Samples
) -> list[str]:
    """The networks of a sweep, in the order of its series; what was written, line by line."""
    few, said = test.section(0, 2).whole(), []
    for name, made in zip(names, result.networks, strict=True):
        results.write(name, checked_bytes(made.network, few))
        place = results.folder / name
        said.append(f"wrote {place}: the converted network for T={made.steps}")
    return said
