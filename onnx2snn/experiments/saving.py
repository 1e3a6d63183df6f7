"""The files that show curves, and the converted networks beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from ..reports.pages.placement import render_html
from ..reports.pictures import sweep as plot
from ..results import Results
from ..results.marks import Kind
from .chips import placed
from .plan import Series
from .work import Work


def chart_kinds(stem: str) -> dict[str, Kind]:
    """The files of ``write_chart``."""
    kinds = {f"{stem}.json": Kind.JSON, f"{stem}.csv": Kind.CSV, f"{stem}.html": Kind.HTML}
    kinds[answers_name(stem)] = Kind.ANSWERS
    return {**kinds, f"{stem}.png": Kind.PNG} if plot.available() else kinds


def answers_name(stem: str) -> str:
    """What every sample was answered, beside STEM.json."""
    return f"{stem}.answers.npz"


def write_chart(
    result: Sweep,
    document: dict[str, Any],
    results: Results,
    stem: str,
    *,
    command: str = "",
    placements: Mapping[tuple[int, str], str] = page.NO_PAGES,
) -> list[str]:
    """STEM.json, .csv, .html, (where outputs are classes) .answers.npz and (with matplotlib) .png;
    what was written, line by line. ``command``: what made it, as it was typed; ``placements``: what
    ``write_placements`` gave."""
    if kept := _answers(result):
        results.write(answers_name(stem), answers.written(kept))
    results.write(f"{stem}.json", json_text(document) + "\n")
    results.write(f"{stem}.csv", comparison.sweep_csv(result))
    results.write(
        f"{stem}.html", page.sweep_html(result, command=command, kind=stem, placements=placements)
    )
    names = f"{stem}.json, {stem}.csv, {stem}.html"
    if not plot.available():
        return [f"wrote {names} to {results.folder}; no PNG: pip install 'onnx2snn[plot]'"]
    results.write(f"{stem}.png", plot.sweep_png(result))
    return [f"wrote {names}, {stem}.png to {results.folder}"]


def _answers(result: Sweep) -> dict[str, answers.Answers]:
    """By curve, after the T of its points; a chip's beside that of the network."""
    out = {}
    for run in result.runs:
        found = run.evaluation.answers
        if found is not None:
            of_points = {p.T: found.said[p.T] for p in run.evaluation.points}
            out[run.recipe] = replace(found, said=of_points)
            for chip in run.chips:
                if chip.said:
                    out[answers.on_chip(run.recipe, chip=chip.target)] = replace(
                        found, said=chip.said
                    )
    return out


def network_names(model: str | Path, series: Sequence[Series]) -> dict[str, str]:
    """The file of every series' network, that of the last T, by label."""
    stem = Path(model).stem
    return {s.label: f"{stem}.{s.label.replace(' ', '.')}.snn.onnx" for s in series}


def page_name(network: str, *, chip: str) -> str:
    """Of a chip's placement page, beside the network's file."""
    return f"{network.removesuffix('.snn.onnx')}.{chip}.html"


def write_placements(
    work: Work, result: Sweep, names: Sequence[str], results: Results, *, command: str = ""
) -> dict[tuple[int, str], str]:
    """A placement page for every network, whose files are ``names``, and chip; the name of each, by
    the id of the network and the chip."""
    out: dict[tuple[int, str], str] = {}
    if not work.targets:
        return out
    show = work.watch.stage("placing")
    for name, made in zip(names, result.networks, strict=True):
        for chip in work.targets:
            show(len(out), len(names) * len(work.targets))
            report = placed(work, made.network, chip, made.steps)
            file = out[id(made.network), chip.name] = page_name(name, chip=chip.name)
            results.write(file, render_html(report, made.evaluation.events, command=command))
            show(len(out), len(names) * len(work.targets))
    return out


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
