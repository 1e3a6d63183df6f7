"""place, targets: chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from .. import api
from ..display import json_text
from ..errors import TargetError, UsageError
from ..evaluation.energy.events import Events, simulated
from ..hwtargets import (
    HardwareTarget,
    PlaceData,
    PlacementReport,
    emitted,
    load_target,
    options_of,
    place,
)
from ..hwtargets import targets as known_targets
from ..hwtargets.kinds import suggested
from ..hwtargets.placement.inputs import alike as alike_ways
from ..reports import documents, inspection
from ..reports import text as render
from ..reports.chips import chips_csv
from ..reports.pages.chips import render_chips
from ..reports.pages.placement import render_html
from ..reports.placement import render_comparison, render_text
from ..results import Results, one_file
from ..results.marks import TEXT_MARK, Kind
from ..runtime.facts import GraphFacts
from ..runtime.graph import SpikingGraph
from ..runtime.parallel.stages import Begin, watched_by
from . import files, terminal
from . import options as opt
from .help import Verb
from .progress import lines_option, watch
from .reading import DataReader, data_options
from .running import own_span

PATH = click.Path(path_type=Path)


@click.command(cls=Verb)
@click.argument("name", required=False)
@opt.json_option
def targets(name: str | None, as_json: bool) -> None:
    """The chips that `place` knows; with NAME (or FILE.toml), its limits and their sources."""
    if name is not None:
        target = load_target(name)
        then: tuple[object, ...] = ("place", "--help")
        opt.emit(documents.target(target), as_json, inspection.target_text, target, then=then)
        return
    known = known_targets()
    rows = [[t.name, t.title, t.mapping, len(t.limits), len(t.unverified)] for t in known.values()]
    document = documents.targets(known.values())
    header = ["target", "chip", "mapping", "numbers", "unverified"]
    then = ("targets", next(iter(known)))
    opt.emit(document, as_json, render.table, header, rows, then=then)


@click.command("place", cls=Verb)
@click.argument("network", type=PATH, metavar="NET.snn.onnx")
@click.option("--target", required=True, metavar="CHIP", help="A name, FILE.toml, or `all`.")
@click.option(
    "--data", metavar="DATA", help="Samples and labels (FILE.npz:X,Y) for rates and accuracy."
)
@click.option(
    "--calib", metavar="DATA", help="Samples (FILE.npz:X) for tuning in the chip's integers."
)
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples of DATA.")
@click.option("-T", "--steps", help="Time steps per inference [the converted network's].")
@click.option("--chips", type=click.IntRange(min=1), help="How many chips there are.")
@click.option("--option", "pairs", multiple=True, metavar="KEY=VALUE", help="Of the mapping step.")
@click.option("--seed", type=int, default=0, help="Of the mesh placement [0].")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    help="Of work for the mesh placement, at most [10].",
)
@click.option(
    "-o", "--output", type=files.OUTPUT, help="Folder for the report and the chip's files."
)
@files.force_option
@opt.regression_option
@data_options
@opt.json_option
@lines_option
def place_command(
    *,
    network: Path,
    target: str,
    data: str | None,
    calib: str | None,
    samples: int | None,
    steps: str | None,
    chips: int | None,
    pairs: tuple[str, ...],
    seed: int,
    seconds: float,
    output: Path | None,
    force: bool,
    regression: bool,
    reader: DataReader,
    as_json: bool,
) -> None:
    """Place a converted network on a chip and report. Exit status 1 if it does not fit.

    With `--target all` one table compares all chips, their energies with the input entering all of
    them alike; status 1 if it fits none.
    """
    graph = api.load(network)
    count = _steps(graph, steps)
    names = list(known_targets()) if target == "all" else [target]
    given = _options(pairs, names)
    asked = [load_target(name) for name in names]
    below = {chip.name: f"{chip.name}/" if len(names) > 1 else "" for chip in asked}
    others = [Path(target)] if target.endswith(".toml") else []
    inputs = files.read_by([network], data, calib, others=others)
    results = files.claimed(output, {} if output is None else _kinds(below, asked), inputs, force)
    place_data = _place_data(
        graph, reader, data=data, calib=calib, limit=samples, regression=regression
    )
    reports: list[PlacementReport] = []
    alike: dict[str, PlacementReport] = {}
    done: Events | None = None
    ways = _same_input(asked, given) if len(names) > 1 else {}
    show = watch().stage("placing")
    for number, chip in enumerate(asked):
        show(number, len(names))
        own = given if len(names) == 1 else _own(given, chip)
        placing = partial(
            place,
            graph,
            chip,
            data=place_data,
            steps=count,
            chips=chips,
            seed=seed,
        )
        with watched_by(_begin(chip, number, len(names))):
            report = placing(options=own, seconds=seconds)
        reports.append(report)
        if place_data is not None:  # of the network, so the same for all chips
            known = {key: report.accuracy[key] for key in ("ann", "float_snn")}
            place_data = replace(place_data, **known, floating=report.floating)
        if chip.name in ways and report.fits:
            alike[chip.name] = _entering(placing, report, own, ways[chip.name])
        done = _done(graph, report) if done is None else done
        if results is not None:
            _write(report, done, results, below[chip.name])
    show(len(names), len(names))
    if results is not None and len(names) > 1:
        _write_comparison(reports, alike, done, results)
    document = reader.told(documents.placements(reports, alike, done))
    then = _onwards(network, reports, target=target, data=data, written=output is not None)
    opt.emit(document, as_json, _text, reports, alike, done, output, then=then)
    if not any(report.fits for report in reports):
        raise SystemExit(1)


def _onwards(
    network: Path,
    reports: Sequence[PlacementReport],
    *,
    target: str,
    data: str | None,
    written: bool,
) -> tuple[object, ...]:
    """Of several chips one is to be looked at, of one the report; a placed network is taken on to
    other tools, and where it does not fit the others are asked."""
    fits = [report.target for report in reports if report.fits]
    same = () if data is None else ("--data", data)
    if not fits:
        others = ("place", network, "--target", "all", *same)
        return others if len(reports) == 1 else ("targets", reports[0].target)
    if len(reports) > 1 or not written:
        chosen = fits[0] if len(reports) > 1 else target
        return ("place", network, "--target", chosen, *same, "-o", f"{fits[0]}/")
    return ("export", network, "--to", "onnx", "-o", f"{network.name.partition('.')[0]}.flat.onnx")


def _begin(chip: HardwareTarget, number: int, count: int) -> Begin:
    """Stages of placing on ``chip``, one of several, are called so."""
    which = chip.name if count == 1 else f"{chip.name}, {number + 1} of {count}"
    return lambda text: watch().stage(f"placing on {which}: {text}")


def _same_input(chips: Sequence[HardwareTarget], given: Mapping[str, Any]) -> dict[str, str]:
    """By chip with a choice, the way that makes the input enter all of them alike; none where the
    user has chosen one."""
    if "input" in given:
        return {}
    ways = alike_ways(chips)
    return {c.name: ways[c.name] for c in chips if c.name in ways and "input" in options_of(c)}


def _entering(
    placing: Callable[..., PlacementReport],
    report: PlacementReport,
    own: Mapping[str, Any],
    way: str,
) -> PlacementReport:
    """The same with the input entering in this way; a network that encodes it itself has none.
    Of its mesh only the energy of hops is taken, which needs no long search."""
    if report.input_mode in (way, "spikes"):
        return report
    return placing(options={**own, "input": way}, seconds=0.1)


def _done(graph: SpikingGraph, report: PlacementReport) -> Events | None:
    """What the network did on the samples in floating point; None without samples."""
    if report.floating is None:
        return None
    return simulated(GraphFacts(graph), report.floating, int(report.facts["steps"]))


def _text(
    reports: list[PlacementReport],
    alike: Mapping[str, PlacementReport],
    done: Events | None,
    folder: Path | None,
) -> str:
    if len(reports) == 1:
        text = render_text(reports[0], done)
    else:
        text = render_comparison(reports, alike, done)
    return text if folder is None else f"{text}\nwrote the report to {folder}"


def _steps(graph: SpikingGraph, text: str | None) -> int:
    if text is not None:
        return opt.parse_steps(text)[1]
    return own_span(graph)[1]


def _place_data(
    graph: SpikingGraph,
    reader: DataReader,
    *,
    data: str | None,
    calib: str | None,
    limit: int | None,
    regression: bool,
) -> PlaceData | None:
    if data is None and calib is None:
        return None
    tuning = None if calib is None else _only(reader.samples(calib, graph).whole(), "--calib")
    if data is None:
        return PlaceData(calib=tuning)
    samples = reader.samples(data, graph, limit=limit)
    reader.labels(graph, samples, regression=regression)
    reader.made(graph, samples)
    reader.answers(graph, samples, regression=regression)
    x = _only(samples.whole(), "--data")
    return PlaceData(x=x, y=samples.labels, calib=tuning, regression=regression)


def _only(inputs: Mapping[str, Any], option: str) -> Any:
    """The samples of the one input."""
    if len(inputs) != 1:
        raise TargetError(
            f"placement with data needs one input, the network has {list(inputs)}",
            remedy=f"Leave {option} out: rates are then assumed.",
        )
    return next(iter(inputs.values()))


def _own(given: Mapping[str, Any], chip: HardwareTarget) -> dict[str, Any]:
    """Those of the options that a chip has."""
    return {key: value for key, value in given.items() if key in options_of(chip)}


def _options(pairs: tuple[str, ...], names: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs, each known to one of the chips at least; the mappings read the text."""
    out: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--option takes KEY=VALUE, got '{pair}'")
        out[key] = value
    known = {key for name in names for key in options_of(load_target(name))}
    unknown = [key for key in out if key not in known]
    if unknown:
        raise UsageError(
            f"no such option of {' or '.join(names)}: {', '.join(unknown)}",
            remedy=f"{suggested(unknown[0], sorted(known))}; see docs/placement.md.",
            code="E514",
        )
    return out


REPORTS = {
    "placement.json": Kind.JSON,
    "placement.txt": Kind.TEXT,
    "placement.html": Kind.HTML,
}
COMPARISON = {
    "comparison.csv": Kind.CSV,
    "comparison.html": Kind.HTML,
    "comparison.txt": Kind.TEXT,
}
CHIP_FILES = {".npz": Kind.CROSSBARS, ".json": Kind.JSON}  # kinds of files for a chip's tools


def _kinds(below: Mapping[str, str], chips: Sequence[HardwareTarget]) -> dict[str, Kind]:
    """The files of ``_write`` for all chips, each in its folder ``below``."""
    kinds: dict[str, Kind] = {} if len(chips) == 1 else dict(COMPARISON)
    for chip in chips:
        kinds |= {below[chip.name] + name: kind for name, kind in REPORTS.items()}
        for name in emitted(chip):
            if name in REPORTS:
                raise one_file(
                    f"target '{chip.name}'",
                    first=f"{name} of the report",
                    second="that of the chip",
                )
            kinds[below[chip.name] + name] = CHIP_FILES[Path(name).suffix]
    return kinds


def _write(report: PlacementReport, done: Events | None, results: Results, below: str) -> None:
    document, command = documents.placement(report, done), terminal.typed()
    results.write(f"{below}placement.json", json_text(document) + "\n")
    results.write(f"{below}placement.txt", f"{render_text(report, done)}\n{TEXT_MARK}\n")
    results.write(f"{below}placement.html", render_html(report, done, command=command))
    for name, content in report.files.items():
        results.write(below + name, content)


def _write_comparison(
    reports: list[PlacementReport],
    alike: Mapping[str, PlacementReport],
    done: Events | None,
    results: Results,
) -> None:
    results.write("comparison.csv", chips_csv(reports, alike))
    page = render_chips(reports, alike, done, command=terminal.typed())
    results.write("comparison.html", page)
    text = render_comparison(reports, alike, done)
    results.write("comparison.txt", f"{text}\n{TEXT_MARK}\n")


COMMANDS: tuple[click.Command, ...] = (place_command, targets)
