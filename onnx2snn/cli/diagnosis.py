"""diagnose: where a converted network loses accuracy, and what to try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .. import api, diagnosis, diagnosis_plots, plot
from ..converter.frontend import load_onnx
from ..converter.onnxfile import write_atomically
from . import options as opt

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("model", type=PATH, metavar="MODEL.onnx")
@click.argument("network", type=PATH, metavar="NET.snn.onnx")
@click.option("--data", required=True, metavar="DATA", help="Samples; labels are not needed.")
@click.option("-T", "--steps", default="32", help="Time steps [32].")
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples.")
@click.option("-o", "--output", type=PATH, help="Folder for JSON, HTML and pictures.")
@click.option("--seed", type=int, default=0, help="For stochastic input encodings [0].")
@opt.preprocessing_options
@opt.shape_option
@opt.json_option
def diagnose(
    model: Path,
    network: Path,
    data: str,
    steps: str,
    samples: int | None,
    output: Path | None,
    seed: int,
    scale: float | None,
    mean: str | None,
    std: str | None,
    layout: str | None,
    input_shapes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Why is NET.snn.onnx worse than MODEL.onnx? Layer by layer: clipping, quantization,
    unevenness, what is inherited; the first layer where the error jumps; what to try."""
    folder = None if output is None else opt.output_folder(output)
    last = api.parse_steps(steps)[1]
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    graph = api.load(network)
    pre = opt.preprocessing(scale, mean, std, layout)
    found = diagnosis.diagnose(
        loaded,
        graph,
        api.load_samples(data, graph, pre, limit=samples),
        last,
        name=network.name,
        seed=seed,
        progress=opt.stage("diagnosing"),
    )
    document = diagnosis.document(found)
    written = "" if folder is None else f"\n\n{write(found, document, folder)}"
    opt.emit(document, diagnosis.text(found) + written, as_json)


def write(found: diagnosis.Diagnosis, document: dict[str, Any], folder: Path) -> str:
    """diagnosis.json, .html and (with matplotlib) errors.png, rates.png; what, in words."""
    pictures: dict[str, bytes] = {}
    if plot.available():
        pictures["errors.png"] = diagnosis_plots.errors_png(found)
        pictures["rates.png"] = diagnosis_plots.rates_png(found)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    opt.write_text(folder / "diagnosis.json", text)
    opt.write_text(folder / "diagnosis.html", diagnosis.html(found, pictures))
    for name, picture in pictures.items():
        write_atomically(folder / name, picture)
    names = ", ".join(["diagnosis.json", "diagnosis.html", *pictures])
    missing = "" if pictures else "; no pictures: pip install 'onnx2snn[plot]'"
    return f"wrote {names} to {folder}{missing}"


COMMANDS = (diagnose,)
