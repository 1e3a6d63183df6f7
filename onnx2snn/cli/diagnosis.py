"""diagnose: where a converted network loses accuracy, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .. import api, diagnosis
from ..converter.frontend import LoadedModel, load_onnx
from ..data import Preprocessing, Samples
from ..diagnosis.loss import Loss, loss_of
from ..display import json_text
from ..errors import UsageError
from ..evaluation.ann import onnx_ann
from ..evaluation.sweep import SweepRun
from ..reports import diagnosis as reports
from ..reports.pages.diagnosis import diagnosis_html
from ..reports.pictures import diagnosis as diagnosis_plots
from ..reports.pictures import sweep as plot
from ..results import Results
from ..results.marks import Kind
from ..runtime.graph import SpikingGraph
from . import files, terminal
from . import options as opt
from .help import Verb
from .progress import lines_option, watch
from .reading import DataReader, data_options
from .running import converted, own_span, run_one

PATH = click.Path(path_type=Path)
SAMPLES = 128  # tell a loss to a few points, in less than a minute for small networks


@click.command(cls=Verb)
@click.argument("model", type=PATH, metavar="MODEL.onnx")
@click.argument("network", type=PATH, metavar="NET.snn.onnx")
@click.option("--data", required=True, metavar="DATA", help="Samples, and labels if there are any.")
@opt.recipes_option
@click.option("--calib", metavar="DATA", help="With --recipe: calibration samples, or `none`.")
@click.option("--calib-samples", type=click.IntRange(min=1), help="Use N of them, spread over all.")
@click.option("-T", "--steps", help="Time steps [what the network was converted for].")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=SAMPLES,
    help=f"Use the first N samples [{SAMPLES}].",
)
@click.option("-o", "--output", type=files.OUTPUT, help="Folder for JSON, HTML and pictures.")
@files.force_option
@click.option("--seed", type=int, default=0, help="For stochastic input encodings [0].")
@opt.calibration_memory
@opt.regression_option
@opt.allow_analog_option
@opt.preprocessing_options
@data_options
@opt.shape_option
@opt.json_option
@lines_option
def diagnose(
    *,
    model: Path,
    network: Path,
    data: str,
    recipes: tuple[str, ...],
    calib: str | None,
    calib_samples: int | None,
    steps: str | None,
    samples: int,
    output: Path | None,
    force: bool,
    seed: int,
    mem_limit: str,
    regression: bool,
    allow_analog: bool,
    preprocessing: Preprocessing | None,
    reader: DataReader,
    input_shapes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Why is NET.snn.onnx worse than MODEL.onnx? Layer by layer: clipping, quantization,
    unevenness, what is inherited; the first layer where the error jumps; what to try.

    With --recipe (repeat it, or a,b) and --calib, the accuracy curves of MODEL.onnx under these
    recipes are drawn beside that of NET.snn.onnx.
    """
    if calib is not None and not recipes:
        raise UsageError("--calib is for --recipe", remedy="Name the recipes to draw as well.")
    inputs, memory = files.read_by([model, network], data, calib), opt.size(mem_limit)
    results = files.claimed(output, kinds(), inputs, force)
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    graph = api.load(network)
    last = own_span(graph)[1] if steps is None else opt.parse_steps(steps)[1]
    loaded_samples = reader.samples(data, graph, preprocessing, limit=samples)
    reader.labels(graph, loaded_samples, regression=regression)
    reader.made(graph, loaded_samples)
    networks = {"this network": graph}
    if recipes:
        networks |= converted(
            (model,),
            recipes=recipes,
            calib=calib,
            limit=calib_samples,
            steps=last,
            preprocessing=preprocessing or loaded_samples.preprocessing,
            shapes=opt.parse_shapes(input_shapes),
            options={"mem_limit": memory},
            reader=reader,
        )
    judged = {"seed": seed, "regression": regression}
    curves: list[SweepRun] = []

    def lost() -> Loss:
        curves.extend(_curves(networks, loaded, loaded_samples, last, judged))
        return loss_of(curves[0].evaluation)

    found = diagnosis.diagnose(
        loaded,
        graph,
        loaded_samples,
        last,
        name=network.name,
        seed=seed,
        lost=lost,
        progress=watch().stage("diagnosing"),
    )
    found = replace(found, curves=tuple(curves))
    reader.judged(found.curves[0].evaluation, data)
    document = reader.told(reports.document(found))
    written = None if results is None else write(found, document, results)
    then = ("place", network, "--target", "all", "--data", data)
    opt.emit(document, as_json, _text, found, written, then=then)
    opt.refuse_analog([found.curves[0].evaluation.spiking], allow_analog)


def _curves(
    networks: Mapping[str, SpikingGraph],
    model: LoadedModel,
    samples: Samples,
    last: int,
    judged: Mapping[str, Any],
) -> list[SweepRun]:
    """Every network's, the first of which was converted from ``model``, against that."""
    ann = onnx_ann(model, next(iter(networks.values())))
    return [
        run_one(label, net, samples, at=range(1, last + 1), engine=judged, ann=ann)[0]
        for label, net in networks.items()
    ]


def _text(found: diagnosis.Diagnosis, written: str | None) -> str:
    return reports.text(found) + ("" if written is None else f"\n\n{written}")


PICTURES = ("errors.png", "rates.png", "accuracy.png")


def kinds() -> dict[str, Kind]:
    """The files of ``write``."""
    reports = {"diagnosis.json": Kind.JSON, "diagnosis.html": Kind.HTML}
    return reports | dict.fromkeys(PICTURES if plot.available() else (), Kind.PNG)


def write(found: diagnosis.Diagnosis, document: dict[str, Any], results: Results) -> str:
    """diagnosis.json, .html and (with matplotlib) its pictures; what, in words."""
    pictures: dict[str, bytes] = {}
    if plot.available():
        drawn = (
            diagnosis_plots.errors_png(found),
            diagnosis_plots.rates_png(found),
            plot.sweep_png(found.sweep()),
        )
        pictures = dict(zip(PICTURES, drawn, strict=True))
    results.write("diagnosis.json", json_text(document) + "\n")
    results.write("diagnosis.html", diagnosis_html(found, pictures, command=terminal.typed()))
    for name, picture in pictures.items():
        results.write(name, picture)
    names = ", ".join(["diagnosis.json", "diagnosis.html", *pictures])
    missing = "" if pictures else "; no pictures: pip install 'onnx2snn[plot]'"
    return f"wrote {names} to {results.folder}{missing}"


COMMANDS = (diagnose,)
