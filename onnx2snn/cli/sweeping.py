"""sweep, demo: the accuracy curves of a network's conversions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import click

from .. import api
from ..converter.frontend import LoadedModel, load_onnx
from ..data import Preprocessing, data_path
from ..display import shown
from ..errors import DataError, UsageError
from ..evaluation.sweep import Sweep
from ..experiments import estimate
from ..experiments import file as experiment_file
from ..experiments import store as unfinished
from ..experiments.chips import check_targets
from ..experiments.plan import fitting, parse_grid, plan
from ..experiments.run import sweep as run_sweep
from ..experiments.saving import (
    chart_kinds,
    network_names,
    page_name,
    write_chart,
    write_networks,
    write_placements,
)
from ..experiments.shards import cluster
from ..experiments.shards.delivery import WAYS, By
from ..experiments.template import template
from ..experiments.work import work_on
from ..hwtargets import HardwareTarget, load_target
from ..reports import comparison, documents
from ..reports import text as render
from ..results import claim, claim_file, refuse_existing
from ..results.marks import Kind
from ..runtime.ops import Array
from . import files, progress, terminal
from . import options as opt
from .help import Verb
from .reading import DataReader, data_options
from .watching import watch

PATH = click.Path(path_type=Path)
WATCHED = "watch.html"
# Of a context: the file that its options come from, and those of the user's chips.
EXPERIMENT, CHIP_FILES = "onnx2snn.experiment", "onnx2snn.chips"


def _experiment(context: click.Context, parameter: click.Parameter, given: Path) -> Path:
    """The model; of an experiment file the one it names, and the rest of it as defaults."""
    if given.suffix != ".toml":
        return given
    options = experiment_file.read(given)
    context.meta[EXPERIMENT] = given
    context.default_map = {**(context.default_map or {}), **options}
    if "model" not in options:
        raise UsageError(
            "does not name the model",
            where=str(given),
            remedy='Add model = "MODEL.onnx" at the top.',
            code=experiment_file.CODE,
        )
    return Path(options["model"])


def _needed(context: click.Context, parameter: click.Parameter, given: Any) -> Any:
    """What a sweep needs, from the command line or the experiment file."""
    if given is not None:
        return given
    name, flag = str(parameter.name), parameter.opts[-1]
    file = context.meta.get(EXPERIMENT)
    key = next(key for key in experiment_file.KEYS if key.option == name)
    written = f'{key.name} = "..." under [{key.section}] in {file}'
    raise UsageError(
        f"{'' if file is None else f'neither {file} nor '}the command line names {key.help}",
        remedy=f"Add {flag}." if file is None else f"Write {written}, or add {flag}.",
    )


def _targets(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[HardwareTarget, ...]:
    """The chips named in a,b or one by one, each once."""
    names = dict.fromkeys(name.strip() for text in given for name in text.split(","))
    context.meta[CHIP_FILES] = [Path(name) for name in names if name.endswith(".toml")]
    return tuple(load_target(name) for name in names)


@click.command(cls=Verb)
@click.argument(
    "model", type=PATH, is_eager=True, callback=_experiment, metavar="MODEL.onnx|EXPERIMENT.toml"
)
@click.option(
    "--data", callback=_needed, metavar="DATA", help="Samples and labels to score on. [required]"
)
@click.option(
    "--calib", callback=_needed, metavar="DATA", help="Calibration samples, or `none`. [required]"
)
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
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    help="Convert and run with so many seeds: mean and spread of every curve [1].",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="CHIP[,CHIP]",
    callback=_targets,
    help="Also the accuracy in this chip's integers, on the same chart; a name or FILE.toml.",
)
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples.")
@click.option(
    "-o",
    "--output",
    callback=_needed,
    type=files.OUTPUT,
    help="Folder for JSON, CSV, PNG, HTML. [required]",
)
@files.force_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show what would be converted and run, what is done already, and about how long the "
    "rest takes.",
)
@click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    help="Run on the Dask cluster of this scheduler (docs/scaling.md) [this machine].",
)
@click.option(
    "--data-by",
    type=click.Choice(WAYS),
    help="How its workers get samples: they read the same path [where DATA is a file], or are sent "
    "their values.",
)
@opt.conversion_options
@opt.engine_options
@opt.regression_option
@opt.allow_analog_option
@opt.preprocessing_options
@data_options
@opt.shape_option
@opt.json_option
@progress.lines_option
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
    seeds: int,
    targets: tuple[HardwareTarget, ...] = (),
    output: Path,
    force: bool,
    dry_run: bool,
    scheduler: str | None = None,
    data_by: By | None = None,
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
    many steps are needed. EXPERIMENT.toml (docs/experiments.md; `onnx2snn init` writes one) names
    the model and options; those of the command line are stronger.
    """
    engine = opt.engine_arguments({k: choices.pop(k) for k in opt.ENGINE})
    engine["regression"] = choices.pop("regression")
    planned = plan(
        recipes or ("binary",),
        opt.chosen(**choices),
        grid=parse_grid(grid),
        steps=opt.parse_sweep(steps),
        each=convert_each,
    )
    series, left_out = fitting(planned)
    for line in left_out:
        terminal.notice(f"note: {line}")
    names = network_names(model, series)
    results = claim(
        output,
        chart_kinds("sweep")
        | dict.fromkeys(names.values(), Kind.NETWORK)
        | {page_name(n, chip=chip.name): Kind.HTML for n in names.values() for chip in targets}
        | {unfinished.NAME: Kind.STATE},
        inputs=files.read_by([model], data, calib, others=_read_too()),
        force=force,
    )
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    test = reader.samples(data, loaded, preprocessing, limit=samples)
    lowered = api.lowered(loaded)
    reader.labels(lowered, test, regression=engine["regression"])
    if targets:
        check_targets(lowered, test, regression=engine["regression"])
    calibration = reader.calibration(calib, loaded, preprocessing, calib_samples)
    with unfinished.opened(output, say=terminal.notice, dry=dry_run) as store:
        work = work_on(
            loaded,
            test,
            calibration=calibration,
            store=store,
            engine=engine,
            watch=progress.watch(),
            targets=targets,
        )
        if dry_run:
            expected = estimate.estimated(work, series, seeds=seeds)
            document = reader.told(estimate.document(expected))
            again = [word for word in terminal.words() if word != "--dry-run"]
            opt.emit(document, as_json, _plan_text, expected, bool(targets), then=again)
            return
        with cluster.executor(scheduler, loaded, test, calibration, by=data_by) as executor:
            result = run_sweep(work, series, seeds=seeds, executor=executor, left_out=left_out)
        for made in result.runs:
            reader.made(made.network, test)
            reader.judged(made.evaluation, data)
        document = reader.told(documents.sweep(result))
        command, files_of = terminal.typed(), list(names.values())
        linked = write_placements(work, result, files_of, results, command=command)
        written = write_chart(
            result, document, results, "sweep", command=command, placements=linked
        )
        written += [f"wrote {output / file}: its placement" for file in linked.values()]
        written += write_networks(result, files_of, results, test)
        store.finish()
    then = ("diagnose", model, output / next(iter(names.values())), "--data", data)
    opt.emit(document, as_json, _sweep_text, result, written, then=then)
    opt.refuse_analog([made.evaluation.spiking for made in result.runs], allow_analog)


def _read_too() -> list[Path]:
    """The experiment file and those of chips, where there are any."""
    context = click.get_current_context(silent=True)
    meta = {} if context is None else context.meta
    return [*([meta[EXPERIMENT]] if EXPERIMENT in meta else []), *meta.get(CHIP_FILES, ())]


def _plan_text(expected: estimate.Estimate, chips: bool) -> str:
    header = ["configuration", "T", "conversion", "samples done", "of", "about", "timed on"]
    rows = [
        [
            one.label,
            one.steps,
            "stored" if one.converted else "to do",
            one.done,
            one.samples,
            render.duration(one.seconds),
            one.timed,
        ]
        for one in expected.configurations
    ]
    without = ", without the chips" if chips else ""
    about = f"about {render.duration(expected.seconds)} in all{without}; nothing was run or written"
    return f"{render.table(header, rows)}\n\n{about}"


def _sweep_text(result: Sweep, written: list[str]) -> str:
    return "\n".join([comparison.sweep_text(result), "", *written])


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
        claim(output, {WATCHED: Kind.HTML}, inputs=(), force=force)  # before the long work
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
        for path in (model, data):
            terminal.out(f"{path.name}: {shown(str(path))}")
        terminal.out("")
        context.invoke(
            watch,
            network=output / "digits_cnn.binary.snn.onnx",
            data=f"{data}:x_test,y_test",
            output=output / WATCHED,
            force=force,
        )


@click.command(cls=Verb)
@click.argument("model", type=PATH, metavar="MODEL.onnx")
@click.argument("output", type=files.OUTPUT, default="exp.toml", metavar="[FILE.toml]")
@click.option("--data", metavar="DATA", help="Test samples, which tell part of the preprocessing.")
@click.option("--calib", metavar="DATA", help="Calibration samples, or `none`.")
@opt.shape_option
@opt.json_option
def init(
    *,
    model: Path,
    output: Path,
    data: str | None,
    calib: str | None,
    input_shapes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a commented experiment file for MODEL.onnx, for `onnx2snn sweep` [exp.toml].

    It has the model's inputs and what DATA tell of the preprocessing; what nothing tells is asked.
    A file that exists is never replaced.
    """
    refuse_existing(output)
    results = claim_file(output, Kind.TEXT, inputs=files.read_by([model], data, calib), force=False)
    shapes = opt.parse_shapes(input_shapes)
    loaded = load_onnx(model, input_shapes=shapes)
    folder, none = output.parent, (calib or "").lower() == "none"
    samples = data or (None if none else calib)
    made = template(
        model=_from(folder, path=model),
        inputs=api.input_shapes(loaded),
        fixed=shapes or {},
        data=None if data is None else _data_from(folder, data),
        calibration=calib if not calib or none else _data_from(folder, calib),
        stored=None if samples is None else _stored(loaded, samples),
    )
    refuse_existing(output)
    results.write(output.name, made.text.encode("utf-8", "replace"))
    document = {"schema": "onnx2snn.init/1", "output": str(output), "asks": list(made.asks)}
    opt.emit(document, as_json, _init_text, document, then=("sweep", output))


def _init_text(document: Mapping[str, Any]) -> str:
    asks = document["asks"]
    return f"wrote {document['output']}; to fill in: {', '.join(asks)}"


def _from(folder: Path, *, path: Path) -> Path:
    """``path`` as a file in ``folder`` names it."""
    return Path(os.path.relpath(path, folder))


def _data_from(folder: Path, data: str) -> str:
    file, keys = data_path(data)
    return f"{_from(folder, path=file)}:{keys}" if keys else str(_from(folder, path=file))


def _stored(model: LoadedModel, data: str) -> Mapping[str, Array]:
    """The samples as they lie there, in whichever layout fits."""
    try:
        return api.load_samples(data, model).arrays
    except DataError as error:
        if error.code != "E212":
            raise
        return api.load_samples(data, model, Preprocessing(layout="NHWC")).arrays


COMMANDS = (sweep, demo, init)
