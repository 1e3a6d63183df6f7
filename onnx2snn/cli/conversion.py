"""convert, verify, sweep, demo: from the trained network to its accuracy curve."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import click

from .. import api
from ..converter.frontend import check, load_onnx
from ..converter.recipes import RECIPES
from ..data import Preprocessing, Samples
from ..display import shown
from ..errors import UsageError
from ..evaluation.evaluate import Evaluation, evaluate
from ..evaluation.held_back import MOST, check_import, split, with_held_back
from ..evaluation.plan import parse_grid, plan
from ..evaluation.spiking import spiking_share
from ..evaluation.sweep import Sweep, state_names
from ..evaluation.sweep import sweep as run_sweep
from ..evaluation.verify import verify as run_verify
from ..evaluation.written import checked_bytes
from ..provenance.converted import convert as run_convert
from ..reports import conversion, documents
from ..reports import text as render
from ..results import claim, claim_file
from ..results.marks import Kind
from ..runtime.graph import Analog, SpikingGraph
from ..runtime.semantics.samples import spread_over
from . import files, terminal
from . import options as opt
from .help import Verb
from .reading import DataReader, data_options
from .running import chart_kinds, own_span, write_chart
from .watching import watch

PATH = click.Path(path_type=Path)


@click.command(cls=Verb)
@click.argument("model", type=PATH)
@click.option(
    "--calib",
    required=True,
    metavar="DATA",
    help="Calibration samples, or `none`. Labels (FILE.npz:X_KEY,Y_KEY) only judge the candidates "
    "of --recipe auto.",
)
@click.option("--calib-samples", type=click.IntRange(min=1), help="Use N of them, spread over all.")
@click.option(
    "-o", "--output", required=True, type=files.OUTPUT, help="The converted file (.snn.onnx)."
)
@files.force_option
@click.option(
    "-T",
    "--steps",
    default="32",
    help="Time steps to convert for; the most that --recipe auto may take [32].",
)
@click.option("--recipe", default="binary", type=click.Choice([*RECIPES, "auto"]))
@opt.auto_options
@opt.regression_option
@data_options
@click.option("--spiking-only", is_flag=True, help="Refuse networks with analog islands.")
@opt.allow_analog_option
@click.option(
    "--hold-back",
    type=click.IntRange(min=0),
    help="Calibration samples to measure the agreement on that nothing is fitted to [a tenth, at "
    "most 200; none of fewer than 100].",
)
@opt.conversion_options
@opt.preprocessing_options
@opt.shape_option
@opt.json_option
def convert(
    *,
    model: Path,
    calib: str,
    calib_samples: int | None,
    output: Path,
    force: bool,
    steps: str,
    recipe: str,
    regression: bool,
    spiking_only: bool,
    allow_analog: bool,
    hold_back: int | None,
    reader: DataReader,
    preprocessing: Preprocessing | None,
    input_shapes: tuple[str, ...],
    as_json: bool,
    **choices: Any,
) -> None:
    """Convert MODEL.onnx to a spiking network in one file.

    The file is an ONNX model that stock ONNX Runtime runs, and that `onnx2snn run` reads.
    """
    _refuse_options_of_auto(recipe, choices)
    inputs = files.read_by([model], calib)
    results = claim_file(output, Kind.NETWORK, inputs=inputs, force=force)
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    samples = reader.calibration(calib, loaded, preprocessing, calib_samples)
    last = opt.parse_steps(steps)[1]
    reader.ask(check_import(loaded, samples))
    if samples is not None and samples.labels is not None:
        samples = reader.guessed_labels(api.lowered(loaded), samples, regression=regression)
    fitted, held = split(samples, hold_back)
    network = run_convert(
        loaded,
        fitted,
        steps=last,
        recipe=recipe,
        regression=regression,
        preprocessing=preprocessing,
        progress=opt.stage("converting"),
        **opt.chosen(**choices),
    )
    network = with_held_back(network, held)
    reader.made(network)
    if spiking_only:
        opt.refuse_islands(network)
    few = None if samples is None else samples.section(0, 2).whole()
    results.write(output.name, checked_bytes(network, few))
    judged = held or fitted
    checked = None if judged is None else _calibration_check(network, judged, regression)
    if checked is not None and judged is not None:
        reader.judged(checked, judged.source)
    totals = check(loaded).totals if network.of(Analog) else None
    share = spiking_share(network)
    document = conversion.document(
        network,
        output=str(output),
        checked=checked,
        totals=totals,
        spiking=share,
        unseen=held is not None,
    )
    document = reader.told(document)
    then = ("run", output, "--data", "DATA")
    opt.emit(document, as_json, conversion.text, document, share, then=then)
    if document["auto"] is not None and not document["auto"]["within"]:
        raise SystemExit(1)
    opt.refuse_analog([share], allow_analog)


def _refuse_options_of_auto(recipe: str, choices: Mapping[str, Any]) -> None:
    if recipe != "auto" and (choices["max_drop"], choices["prefer"]) != (None, None):
        raise UsageError(
            "--max-drop and --prefer are for --recipe auto",
            remedy="Add --recipe auto, or leave them out.",
        )


def _calibration_check(network: SpikingGraph, samples: Samples, regression: bool) -> Evaluation:
    """What the network does on (at most 200 of) these samples after its T steps."""
    steps = own_span(network)[1]
    part = samples.at(spread_over(len(samples), MOST))
    return evaluate(network, part, steps, first=steps, regression=regression)


@click.command(cls=Verb)
@click.argument("model", type=PATH)
@click.option("--data", metavar="DATA", help="Samples to compare on [random].")
@click.option("--samples", type=click.IntRange(min=1), default=4, help="How many [4].")
@opt.preprocessing_options
@data_options
@opt.shape_option
@opt.verbose_option
@opt.json_option
def verify(
    *,
    model: Path,
    data: str | None,
    samples: int,
    preprocessing: Preprocessing | None,
    reader: DataReader,
    input_shapes: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> None:
    """Does onnx2snn understand MODEL.onnx? Analog mode against ONNX Runtime, layer by layer.

    Exit status 1 where they differ by more than 1e-4 of the output range.
    """
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    inputs = None
    if data is not None:
        inputs = reader.samples(data, loaded, preprocessing, limit=samples).whole()
    result = run_verify(loaded, inputs, samples=samples)
    document = reader.told(documents.verification(result))
    then = opt.converts(model) if result.equal else ()
    opt.emit(document, as_json, render.verify_text, model.name, result, verbose, then=then)
    if not result.equal:
        raise SystemExit(1)


@click.command(cls=Verb)
@click.argument("model", type=PATH)
@click.option("--data", required=True, metavar="DATA", help="Samples and labels to score on.")
@click.option("--calib", required=True, metavar="DATA", help="Calibration samples, or `none`.")
@click.option("--calib-samples", type=click.IntRange(min=1), help="Use N of them, spread over all.")
@click.option("-T", "--steps", default="1:64", help="Time steps: N, A,B,C or FIRST:LAST [1:64].")
@opt.recipes_option
@click.option(
    "--convert-each",
    is_flag=True,
    help="Convert for every T (of FIRST:LAST a few per octave), beside the early answers of one "
    "network.",
)
@click.option(
    "--grid",
    multiple=True,
    metavar="NAME=VALUE,VALUE",
    help="A curve for each value of a conversion option, such as lag=0,2,4 (repeatable).",
)
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples.")
@click.option(
    "-o", "--output", required=True, type=files.OUTPUT, help="Folder for JSON, CSV, PNG, HTML."
)
@files.force_option
@opt.conversion_options
@opt.engine_options
@opt.regression_option
@opt.allow_analog_option
@opt.preprocessing_options
@data_options
@opt.shape_option
@opt.json_option
def sweep(
    *,
    model: Path,
    data: str,
    calib: str,
    calib_samples: int | None,
    steps: str,
    recipes: tuple[str, ...],
    samples: int | None,
    convert_each: bool,
    grid: tuple[str, ...],
    output: Path,
    force: bool,
    allow_analog: bool,
    preprocessing: Preprocessing | None,
    reader: DataReader,
    input_shapes: tuple[str, ...],
    as_json: bool,
    **choices: Any,
) -> None:
    """The accuracy curve of MODEL.onnx over time steps, from one simulation per recipe.

    The network is converted for the last step; the other points show how its answer builds up.
    With --convert-each every T has a network of its own, converted for it: the curve that says how
    many steps are needed.
    """
    engine = opt.engine_arguments({k: choices.pop(k) for k in opt.ENGINE})
    engine["regression"] = choices.pop("regression")
    series = plan(
        recipes or ("binary",),
        opt.chosen(**choices),
        grid=parse_grid(grid),
        steps=opt.parse_sweep(steps),
        each=convert_each,
    )
    names = {one.label: _network_name(model, one.label) for one in series}
    results = claim(
        output,
        chart_kinds("sweep")
        | dict.fromkeys(names.values(), Kind.NETWORK)
        | dict.fromkeys(state_names(series), Kind.STATE),
        inputs=files.read_by([model], data, calib),
        force=force,
    )
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    test = reader.samples(data, loaded, preprocessing, limit=samples)
    lowered = api.lowered(loaded)
    reader.labels(lowered, test, regression=engine["regression"])
    calibration = reader.calibration(calib, loaded, preprocessing, calib_samples)
    result = run_sweep(
        loaded,
        samples=test,
        calibration=calibration,
        series=series,
        folder=output,
        stage=opt.stage,
        say=terminal.notice,
        engine=engine,
    )
    for made in result.runs:
        reader.made(made.network, test)
        reader.judged(made.evaluation, data)
    document = reader.told(documents.sweep(result))
    written = write_chart(result, document, results, "sweep")
    for label, made in zip(names, result.networks, strict=True):
        name = names[label]
        results.write(name, checked_bytes(made.network, test.section(0, 2).whole()))
        written.append(f"wrote {output / name}: the converted network for T={made.steps}")
    first = output / next(iter(names.values()))
    then = ("diagnose", model, first, "--data", data)
    opt.emit(document, as_json, _sweep_text, result, written, then=then)
    opt.refuse_analog([made.evaluation.spiking for made in result.runs], allow_analog)


def _network_name(model: Path, label: str) -> str:
    """The file of a series' network: that of the last T."""
    return f"{model.stem}.{label.replace(' ', '.')}.snn.onnx"


def _sweep_text(result: Sweep, written: list[str]) -> str:
    return "\n".join([render.sweep_text(result), "", *written])


@click.command(cls=Verb)
@click.option(
    "-o", "--output", default="demo", type=files.OUTPUT, help="Folder for the results [demo]."
)
@files.force_option
@click.option("-T", "--steps", default="1:32", help="Time steps: FIRST:LAST [1:32].")
@click.pass_context
def demo(context: click.Context, output: Path, force: bool, steps: str) -> None:
    """The main job on a bundled network (a small CNN on handwritten digits), in under a minute."""
    bundled = resources("onnx2snn.models")
    with as_file(bundled / "digits_cnn.onnx") as model, as_file(bundled / "digits.npz") as data:
        for path in (model, data):
            terminal.out(f"{path.name}: {shown(str(path))}")
        terminal.out("")
        context.invoke(
            sweep,
            model=model,
            data=f"{data}:x_test,y_test",
            calib=f"{data}:x_calib",
            steps=steps,
            output=output,
            force=force,
            scale=16.0,
            layout="NHWC",
        )
        terminal.out("")
        context.invoke(
            watch,
            network=output / "digits_cnn.binary.snn.onnx",
            data=f"{data}:x_test,y_test",
            output=output / "watch.html",
            force=force,
        )


COMMANDS = (convert, verify, sweep, demo)
