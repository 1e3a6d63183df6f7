"""run: converted networks, or one model under several recipes, on the same samples; compare: two
runs or sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from .. import api
from ..converter.frontend import load_onnx
from ..data import Preprocessing, Samples
from ..display import json_text
from ..errors import UsageError
from ..evaluation.ann import Ann
from ..evaluation.evaluate import evaluate
from ..evaluation.spread import judged
from ..evaluation.sweep import Sweep, SweepRun, early_notes
from ..exchange.neurobench import Metrics
from ..experiments import comparison as comparing
from ..experiments.comparison import text as comparison_text
from ..experiments.comparison.finished import finished
from ..experiments.saving import chart_kinds, write_chart
from ..provenance import Provenance
from ..provenance.converted import convert
from ..reports import comparison, documents
from ..reports import text as render
from ..reports.pages.compare import compare_html
from ..reports.spiking import answers_text
from ..results.marks import Kind
from ..runtime.engine import LayerProfile, simulate
from ..runtime.graph import SpikingGraph
from . import files, terminal
from . import options as opt
from .help import Verb
from .progress import lines_option, watch
from .reading import DataReader, data_options

PATH = click.Path(path_type=Path)
PROFILED = 100  # samples


@click.command(cls=Verb)
@click.argument("networks", type=PATH, nargs=-1, required=True, metavar="NET.snn.onnx...")
@click.option("--data", required=True, metavar="DATA", help="Samples, and labels to score on.")
@click.option(
    "-T",
    "--steps",
    help="Time steps: N, A,B,C or FIRST:LAST [what the network was converted for; with --recipe: "
    "32].",
)
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples.")
@opt.recipes_option
@click.option("--calib", metavar="DATA", help="With --recipe: calibration samples, or `none`.")
@click.option("--calib-samples", type=click.IntRange(min=1), help="Use N of them, spread over all.")
@click.option(
    "-o", "--output", type=files.OUTPUT, help="Folder for one chart of all (PNG, HTML), CSV."
)
@files.force_option
@click.option("--profile", is_flag=True, help="Also say where the time goes, per layer.")
@click.option(
    "--neurobench", is_flag=True, help="Also write neurobench.json: NeuroBench's metrics (slower)."
)
@opt.conversion_options
@opt.engine_options
@opt.regression_option
@opt.allow_analog_option
@opt.preprocessing_options
@data_options
@opt.shape_option
@opt.json_option
@lines_option
def run(
    *,
    networks: tuple[Path, ...],
    data: str,
    steps: str | None,
    samples: int | None,
    recipes: tuple[str, ...],
    calib: str | None,
    calib_samples: int | None,
    output: Path | None,
    force: bool,
    profile: bool,
    neurobench: bool,
    allow_analog: bool,
    preprocessing: Preprocessing | None,
    reader: DataReader,
    input_shapes: tuple[str, ...],
    as_json: bool,
    **choices: Any,
) -> None:
    """Simulate converted networks: accuracy, spikes, synaptic operations, time.

    Several files give one table and, with -o, one chart. MODEL.onnx with --recipe (repeat it, or
    a,b) and --calib is converted with each recipe first; nothing of that is kept.
    """
    asked = None if steps is None else opt.parse_sweep(steps).answers
    engine = {k: choices.pop(k) for k in opt.ENGINE}
    arguments = opt.engine_arguments(engine, profile=profile)
    arguments["regression"] = choices.pop("regression")
    if profile and max(len(networks), len(recipes)) > 1:
        raise UsageError("--profile takes one network", remedy="Leave it out, or name one.")
    if neurobench and (output is None or max(len(networks), len(recipes)) > 1):
        raise UsageError(
            "--neurobench takes one network and writes neurobench.json to -o",
            remedy="Name one network and a folder.",
        )
    inputs = files.read_by(networks, data, calib)
    more = {NEUROBENCH: Kind.METRICS} if neurobench else {}
    results = files.claimed(output, chart_kinds("run") | more, inputs, force)
    given = opt.chosen(**choices)
    if recipes:
        asked = asked or (32,)
        made = converted(
            networks,
            recipes=recipes,
            calib=calib,
            limit=calib_samples,
            steps=asked[-1],
            preprocessing=preprocessing,
            shapes=opt.parse_shapes(input_shapes),
            options=given | {k: v for k, v in arguments.items() if k == "mem_limit"},
            reader=reader,
        )
    else:
        _no_conversion_asked_for(calib, given)
        made = {label: api.load(path) for label, path in _labels(networks).items()}
    loaded = {
        label: reader.samples(data, g, preprocessing, limit=samples) for label, g in made.items()
    }
    for label, g in made.items():
        reader.labels(g, loaded[label], regression=arguments["regression"])
        reader.made(g, loaded[label])
    found = [
        run_one(label, g, loaded[label], at=asked or own_span(g)[1:], engine=arguments)
        for label, g in made.items()
    ]
    runs, parts = [one for one, _ in found], [document for _, document in found]
    for one in runs:
        reader.judged(one.evaluation, data)
    layers = _profiled(runs[0], loaded[runs[0].recipe], engine, parts[0]) if profile else None
    document, written = reader.told(documents.runs(parts, data)), list[str]()
    if results is not None:
        drawn, command = _as_sweep(networks, data, runs), terminal.typed()
        written = write_chart(drawn, document, results, "run", command=command)
        if neurobench:
            (label,) = made
            metrics = Metrics(made[label], runs[0].steps)
            metrics.measure(loaded[label], regression=arguments["regression"])
            results.write(NEUROBENCH, json_text(metrics.document()) + "\n")
            written.append(f"wrote {NEUROBENCH} to {output}")
    seconds = sum(d["seconds"] for d in parts)
    then: tuple[object, ...] = ("place", networks[0], "--target", "all", "--data", data)
    if recipes:
        best = max(runs, key=lambda one: judged(one.evaluation, one.evaluation.points[-1]))
        kept = f"{networks[0].stem}.snn.onnx"
        chosen = ("--recipe", best.recipe, "-T", best.steps, "-o", kept)
        then = ("convert", networks[0], "--calib", calib, *chosen)
    opt.emit(document, as_json, _text, runs, layers, seconds, written, then=then)
    opt.refuse_analog([one.evaluation.spiking for one in runs], allow_analog)


NEUROBENCH = "neurobench.json"


def _no_conversion_asked_for(calib: str | None, options: Mapping[str, Any]) -> None:
    if calib is not None or options:
        raise UsageError(
            "a converted network is run as it is: conversion options need --recipe",
            remedy="Give MODEL.onnx with --recipe, or leave them out.",
        )


def _as_sweep(networks: tuple[Path, ...], data: str, runs: list[SweepRun]) -> Sweep:
    """The runs as what charts are made of."""
    title = ", ".join(dict.fromkeys(path.name for path in networks))
    return Sweep(model=title, data=data, samples=runs[0].evaluation.samples, runs=tuple(runs))


def _labels(paths: tuple[Path, ...]) -> dict[str, Path]:
    """The files by name without suffix; by path where two have the same name."""
    names = [path.name.removesuffix(".onnx").removesuffix(".snn") for path in paths]
    return {
        name if names.count(name) == 1 else str(path): path
        for name, path in zip(names, paths, strict=True)
    }


def converted(
    networks: tuple[Path, ...],
    *,
    recipes: tuple[str, ...],
    calib: str | None,
    limit: int | None,
    steps: int,
    preprocessing: Preprocessing | None,
    shapes: Any,
    options: dict[str, Any],
    reader: DataReader,
) -> dict[str, SpikingGraph]:
    """One network per recipe, by recipe name."""
    if len(networks) != 1 or calib is None:
        raise UsageError(
            "--recipe converts one MODEL.onnx and needs --calib",
            remedy="Give one model and --calib DATA or none; converted files need no --recipe.",
        )
    loaded = load_onnx(networks[0], input_shapes=shapes)
    samples = reader.calibration(calib, loaded, preprocessing, limit)
    out = {}
    for recipe in recipes:
        progress = watch().stage(f"converting ({recipe}, T={steps})")
        given = {**options, "recipe": recipe, "steps": steps}
        out[recipe] = convert(
            loaded, samples, preprocessing=preprocessing, progress=progress, **given
        )
    return out


def own_span(graph: SpikingGraph) -> tuple[int, int]:
    """The T that a network was converted for. Raises UsageError where its file does not say."""
    steps = api.own_steps(graph)
    return steps, steps


def run_one(
    label: str,
    graph: SpikingGraph,
    samples: Samples,
    *,
    at: Sequence[int],
    engine: Mapping[str, Any],
    ann: Ann | None = None,
) -> tuple[SweepRun, dict[str, Any]]:
    """One network's curve at these T, ascending, and its JSON document."""
    began = perf_counter()
    progress = watch().stage(f"simulating ({label})", samples=True)
    last = at[-1]
    evaluation = evaluate(graph, samples, last, ann, first=at[0], progress=progress, **engine)
    kept = tuple(point for point in evaluation.points if point.T in {*at})
    evaluation = replace(evaluation, points=kept)
    seconds = perf_counter() - began
    notes = Provenance.of(graph).notes
    notes += early_notes(graph, [point.T for point in evaluation.points], sweeps=False)
    one = SweepRun(recipe=label, steps=last, evaluation=evaluation, notes=notes, network=graph)
    return one, documents.run(one, seconds=seconds)


def _text(
    runs: list[SweepRun],
    layers: tuple[LayerProfile, ...] | None,
    seconds: float,
    written: list[str],
) -> str:
    """The curve of one network; of several first what comes of each, and all beside each other."""
    parts = []
    if len(runs) > 1:
        answers = [line for one in runs for line in render.answer_lines(one.recipe, one.evaluation)]
        parts = ["\n".join(answers), comparison.runs_text(runs, said=[r.recipe for r in runs])]
    for one in runs:
        evaluation = one.evaluation
        if len(runs) == 1 or len(evaluation.points) > 1:
            text = render.run_text(one.recipe, evaluation) + "\n"
        else:
            text = f"{one.recipe}: "
        text += answers_text(one) + render.notes_text(one.notes)
        if evaluation.stopped:
            text += "\n" + render.early_exit_text(evaluation.stopped)
        parts.append(text)
    if layers is not None:
        few = min(PROFILED, runs[0].evaluation.samples)
        parts.append(f"first {few} samples:\n{render.profile_text(layers)}")
    return "\n".join(["\n\n".join(parts), f"simulated in {seconds:.1f} s", *written])


def _profiled(
    run: SweepRun,
    samples: Samples,
    engine: Mapping[str, Any],
    document: dict[str, Any],
) -> tuple[LayerProfile, ...]:
    """Where the time goes, on the first few samples; into the document too."""
    graph, steps = run.network, run.steps
    part = samples.batch(0, min(PROFILED, len(samples)))
    options = {name: engine[name] for name in ("engine", "threads", "events")}
    layers = simulate(graph, part, steps, profile=True, **options).profile
    document["profile"] = [asdict(layer) for layer in layers]
    return layers


@click.command(cls=Verb)
@click.argument("first", type=PATH, metavar="RUN_A")
@click.argument("second", type=PATH, metavar="RUN_B")
@click.option("-o", "--output", type=files.OUTPUT, help="Folder for JSON and HTML.")
@files.force_option
@opt.json_option
def compare(*, first: Path, second: Path, output: Path | None, force: bool, as_json: bool) -> None:
    """What changed between two runs or sweeps (folders, or JSON files), and what it did to
    accuracy, agreement, spikes, latency and energy.

    Differences are paired by sample where both ran the same ones, each with its 95 % interval.
    """
    runs = [finished(path) for path in (first, second)]
    read = [path for one in runs for path in one.files()]
    results = files.claimed(output, COMPARED, read, force)
    found = comparing.compare(*runs)
    document = {"schema": "onnx2snn.compare/1", **asdict(found)}
    if results is not None:
        results.write("compare.json", json_text(document) + "\n")
        results.write("compare.html", compare_html(found, command=terminal.typed()))
    then: tuple[object, ...] = ("compare", first, second, "-o", "compared/")
    then = then if output is None else ("explain", "agreement")
    opt.emit(document, as_json, _compared, found, output, then=then)


COMPARED = {"compare.json": Kind.JSON, "compare.html": Kind.HTML}


def _compared(found: comparing.Comparison, folder: Path | None) -> str:
    said = comparison_text.text(found)
    names = ", ".join(COMPARED)
    return said if folder is None else f"{said}\n\nwrote {names} to {folder}"


COMMANDS = (run, compare)
