"""The files that show curves, and the converted networks beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import Samples
from ..display import json_text
from ..evaluation import answers
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
    kinds[answers_name(stem)] = Kind.ANSWERS
    return {**kinds, f"{stem}.png": Kind.PNG} if plot.available() else kinds


def answers_name(stem: str) -> str:
    """What every sample was answered, beside STEM.json."""
    return f"{stem}.answers.npz"


def write_chart(
    result: Sweep, document: dict[str, Any], results: Results, stem: str, *, command: str = ""
) -> list[str]:
    """STEM.json, .csv, .html, (where outputs are classes) .answers.npz and (with matplotlib) .png;
    what was written, line by line. ``command``: what made it, as it was typed."""
    if kept := _answers(result):
        results.write(answers_name(stem), answers.written(kept))
    results.write(f"{stem}.json", json_text(document) + "\n")
    results.write(f"{stem}.csv", comparison.sweep_csv(result))
    results.write(f"{stem}.html", page.sweep_html(result, command=command, kind=stem))
    names = f"{stem}.json, {stem}.csv, {stem}.html"
    if not plot.available():
        return [f"wrote {names} to {results.folder}; no PNG: pip install 'onnx2snn[plot]'"]
    results.write(f"{stem}.png", plot.sweep_png(result))
    return [f"wrote {names}, {stem}.png to {results.folder}"]


def _answers(result: Sweep) -> dict[str, answers.Answers]:
    """By curve, after the T of its points."""
    return {
        run.recipe: replace(found, said={p.T: found.said[p.T] for p in run.evaluation.points})
        for run in result.runs
        if (found := run.evaluation.answers) is not None
    }


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
