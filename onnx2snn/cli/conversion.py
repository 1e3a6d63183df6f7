"""convert, verify, sweep, demo: from the trained network to its accuracy curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import api
from ..converter.auto import PREFERENCES
from ..converter.frontend import LoadedModel, check, load_onnx
from ..converter.recipes import RECIPES
from ..data import Samples
from ..display import shown
from ..errors import UsageError
from ..evaluation.ann import evaluate
from ..evaluation.sweep import Sweep, state_names
from ..evaluation.sweep import sweep as run_sweep
from ..evaluation.verify import verify as run_verify
from ..evaluation.written import checked_bytes
from ..marks import Kind
from ..provenance import convert as run_convert
from ..reports import comparison
from ..reports import text as render
from ..results import claim, claim_file
from ..runtime.graph import Analog, Population, Readout, SpikingGraph, onsets
from . import files, terminal
from . import options as opt
from .running import chart_kinds, write_chart

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("model", type=PATH)
@click.option(
    "--calib",
    required=True,
    metavar="DATA",
    help="Calibration samples, or `none`. Labels (FILE.npz:X_KEY,Y_KEY) only judge the candidates "
    "of --recipe auto.",
)
@click.option("--calib-samples", type=click.IntRange(min=1), help="Use the first N of them.")
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
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    help="For --recipe auto: largest drop in points [1.0]. Exit status 1 where nothing stays "
    "below it; the nearest is then written.",
)
@click.option(
    "--prefer",
    type=click.Choice(list(PREFERENCES)),
    help="For --recipe auto: what decides between candidates within --max-drop [chips].",
)
@opt.regression_option
@click.option("--spiking-only", is_flag=True, help="Refuse networks with analog islands.")
@opt.conversion_options
@opt.preprocessing_options
@opt.shape_option
@opt.json_option
def convert(
    model: Path,
    calib: str,
    calib_samples: int | None,
    output: Path,
    force: bool,
    steps: str,
    recipe: str,
    regression: bool,
    spiking_only: bool,
    scale: float | None,
    mean: str | None,
    std: str | None,
    layout: str | None,
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
    pre = opt.preprocessing(scale, mean, std, layout)
    samples = opt.calibration_samples(calib, loaded, pre, calib_samples)
    last = opt.parse_steps(steps)[1]
    network = run_convert(
        loaded,
        samples,
        steps=last,
        recipe=recipe,
        regression=regression,
        preprocessing=pre,
        progress=opt.stage("converting"),
        **opt.chosen(**choices),
    )
    if spiking_only:
        opt.refuse_islands(network)
    few = None if samples is None else samples.section(0, 2).whole()
    results.write(output.name, checked_bytes(network, few))
    checked = None if samples is None else _calibration_check(network, samples, regression)
    document: dict[str, Any] = {
        "schema": "onnx2snn.convert/1",
        "output": str(output),
        "meta": dict(network.meta),
        "T": int(network.meta["T"]),
        "latency": _latency(network),
        "layers": _layers(network),
        "calibration_agreement": None if checked is None else checked["agreement"],
        "on_calibration": checked,
        "auto": network.meta.get("auto"),
        "analog": _analog_share(loaded, network),
    }
    opt.emit(document, as_json, _convert_text, document)
    if document["auto"] is not None and not document["auto"]["within"]:
        raise SystemExit(1)


def _refuse_options_of_auto(recipe: str, choices: Mapping[str, Any]) -> None:
    if recipe != "auto" and (choices["max_drop"], choices["prefer"]) != (None, None):
        raise UsageError(
            "--max-drop and --prefer are for --recipe auto",
            remedy="Add --recipe auto, or leave them out.",
        )


def _calibration_check(network: SpikingGraph, samples: Samples, regression: bool) -> dict[str, Any]:
    """What the network does on (at most 200 of) the calibration samples after its T steps."""
    steps = int(network.meta["T"])
    part = replace(samples.section(0, 200), labels=None)
    found = evaluate(network, part, steps, first=steps, regression=regression)
    outputs = [asdict(output) for output in found.outputs]
    point = asdict(found.points[-1])
    return {**point, "samples": found.samples, "classes": found.classes, "outputs": outputs}


def _latency(network: SpikingGraph) -> int:
    """Steps from input to answer."""
    onset = onsets(network)
    return int(network.meta["T"]) + max(onset[r.name] for r in network.of(Readout))


def _analog_share(loaded: LoadedModel, network: SpikingGraph) -> dict[str, Any] | None:
    """How much of the network is not spiking; None where all of it is."""
    if not network.of(Analog):
        return None
    totals = check(loaded).totals
    nodes, macs = (sum(t[key] for t in totals.values()) for key in ("nodes", "macs"))
    analog = totals["analog"]
    return {
        "nodes": analog["nodes"],
        "nodes_share": analog["nodes"] / max(nodes, 1),
        "macs": analog["macs"],
        "macs_share": analog["macs"] / max(macs, 1),
    }


def _layers(network: SpikingGraph) -> list[dict[str, Any]]:
    rows = []
    for p in network.of(Population):
        theta = p.neuron.v_threshold
        rows.append(
            {
                "name": p.name,
                "neurons": int(np.prod(p.shape)),
                "threshold_min": float(theta.min()),
                "threshold_max": float(theta.max()),
            }
        )
    return rows


def _convert_text(document: dict[str, Any]) -> str:
    rows = [
        [r["name"], r["neurons"], f"{r['threshold_min']:.4g}", f"{r['threshold_max']:.4g}"]
        for r in document["layers"]
    ]
    text = "" if document["auto"] is None else comparison.auto_text(document["auto"]) + "\n\n"
    text += comparison.recipe_text(document["meta"]) + "\n\n"
    text += render.table(["population", "neurons", "smallest threshold", "largest"], rows)
    text += render.notes_text(document["meta"].get("notes", []))
    analog = document["analog"]
    if analog is not None:
        text += (
            f"\nNot spiking: {analog['nodes']} operations ({100 * analog['nodes_share']:.1f} %), "
            f"{100 * analog['macs_share']:.1f} % of the MACs; they cannot be placed on a chip."
        )
    checked, meta = document["on_calibration"], document["meta"]
    if checked is not None:
        text += "\n" + _checked_text(checked)
    else:
        text += (
            f"\nT={meta['T']}, latency {document['latency']} steps; without data, spikes per "
            "neuron and agreement with the ANN were not measured."
        )
    return f"{text}\nwrote {document['output']}"


def _checked_text(checked: dict[str, Any]) -> str:
    """The three numbers of every report, and how near the outputs are."""
    near = f"Outputs differ from the ANN's by {100 * checked['error']:.1f} %"
    if checked["classes"]:
        bounds = render.interval(checked["agreement_low"], checked["agreement_high"])
        near = (
            f"Agreement of SNN and ANN {render.percent(checked['agreement'], 1)} (95 % interval "
            f"{bounds})"
        )
    if len(checked["outputs"]) > 1:
        each = (f"{o['name']} {100 * o['error']:.1f} %" for o in checked["outputs"])
        near += f"; error of each output: {', '.join(each)};"
    return (
        f"T={checked['T']}, latency {checked['latency']} steps, "
        f"{checked['spikes_per_neuron']:.2f} spikes per neuron, "
        f"{render.count(checked['synops_per_sample'])} synaptic operations per sample. "
        f"{near} on {checked['samples']} calibration samples."
    )


@click.command()
@click.argument("model", type=PATH)
@click.option("--data", metavar="DATA", help="Samples to compare on [random].")
@click.option("--samples", type=click.IntRange(min=1), default=4, help="How many [4].")
@opt.preprocessing_options
@opt.shape_option
@opt.json_option
def verify(
    model: Path,
    data: str | None,
    samples: int,
    scale: float | None,
    mean: str | None,
    std: str | None,
    layout: str | None,
    input_shapes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Does onnx2snn understand MODEL.onnx? Analog mode against ONNX Runtime, layer by layer.

    Exit status 1 where they differ by more than 1e-4 of the output range.
    """
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    inputs = None
    if data is not None:
        pre = opt.preprocessing(scale, mean, std, layout)
        inputs = api.load_samples(data, loaded, pre, limit=samples).whole()
    result = run_verify(loaded, inputs, samples=samples)
    document: dict[str, Any] = {
        "schema": "onnx2snn.verify/1",
        "max_abs_diff": result.max_abs_diff,
        "relative_diff": result.relative_diff,
        "samples": result.samples,
        "dropped": list(result.dropped),
        "layers": [
            {"name": c.name, "tensor": c.tensor, "relative_diff": c.relative_diff}
            for c in result.layers
        ],
    }
    opt.emit(document, as_json, render.verify_text, model.name, result)
    if not result.relative_diff <= 1e-4:
        raise SystemExit(1)


@click.command()
@click.argument("model", type=PATH)
@click.option("--data", required=True, metavar="DATA", help="Samples and labels to score on.")
@click.option("--calib", required=True, metavar="DATA", help="Calibration samples, or `none`.")
@click.option("--calib-samples", type=click.IntRange(min=1), help="Use the first N of them.")
@click.option("-T", "--steps", default="1:64", help="Time steps: N or FIRST:LAST [1:64].")
@opt.recipes_option
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples.")
@click.option(
    "-o", "--output", required=True, type=files.OUTPUT, help="Folder for JSON, CSV, PNG, HTML."
)
@files.force_option
@opt.conversion_options
@opt.engine_options
@opt.regression_option
@opt.preprocessing_options
@opt.shape_option
@opt.json_option
def sweep(
    model: Path,
    data: str,
    calib: str,
    calib_samples: int | None,
    steps: str,
    recipes: tuple[str, ...],
    samples: int | None,
    output: Path,
    force: bool,
    scale: float | None,
    mean: str | None,
    std: str | None,
    layout: str | None,
    input_shapes: tuple[str, ...],
    as_json: bool,
    **choices: Any,
) -> None:
    """The accuracy curve of MODEL.onnx over time steps, from one simulation per recipe.

    The network is converted for the last step; the other points show how its answer builds up.
    """
    span, recipes = opt.parse_steps(steps), recipes or ("binary",)
    names = {recipe: f"{model.stem}.{recipe}.snn.onnx" for recipe in recipes}
    results = claim(
        output,
        chart_kinds("sweep")
        | dict.fromkeys(names.values(), Kind.NETWORK)
        | dict.fromkeys(state_names(recipes, span), Kind.STATE),
        inputs=files.read_by([model], data, calib),
        force=force,
    )
    loaded = load_onnx(model, input_shapes=opt.parse_shapes(input_shapes))
    pre = opt.preprocessing(scale, mean, std, layout)
    engine = opt.engine_arguments({k: choices.pop(k) for k in opt.ENGINE})
    engine["regression"] = choices.pop("regression")
    test = api.load_samples(data, loaded, pre, limit=samples)
    calibration = opt.calibration_samples(calib, loaded, pre, calib_samples)
    result = run_sweep(
        loaded,
        test,
        calibration,
        span,
        recipes,
        opt.chosen(**choices),
        output,
        stage=opt.stage,
        say=terminal.notice,
        engine=engine,
    )
    document = result.to_json()
    written = write_chart(result, document, results, "sweep")
    for made in result.runs:
        name = names[made.recipe]
        results.write(name, checked_bytes(made.network, test.section(0, 2).whole()))
        written.append(f"wrote {output / name}: the converted network for T={made.steps}")
    opt.emit(document, as_json, _sweep_text, result, written)


def _sweep_text(result: Sweep, written: list[str]) -> str:
    return "\n".join([render.sweep_text(result), "", *written])


@click.command()
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


COMMANDS = (convert, verify, sweep, demo)
