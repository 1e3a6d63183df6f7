"""convert, verify, learn, export, import: to the spiking network, onwards, and to other tools."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import click

from .. import api
from ..converter.frontend import check, load_onnx
from ..converter.learning.cut import needed
from ..converter.recipes import RECIPES
from ..data import Preprocessing, Samples
from ..errors import UsageError
from ..evaluation.evaluate import Evaluation, evaluate
from ..evaluation.held_back import MOST, check_import, split, with_held_back
from ..evaluation.spiking import spiking_share
from ..evaluation.verify import verify as run_verify
from ..evaluation.written import checked_bytes
from ..exchange import FORMATS, Exported, import_network
from ..exchange import export as run_export
from ..provenance.converted import convert as run_convert
from ..provenance.learned import learn as run_learn
from ..reports import conversion, documents, inspection
from ..results import claim_file
from ..results.marks import Kind
from ..runtime.graph import Analog, Population, SpikingGraph
from ..runtime.plasticity import RULES
from ..runtime.semantics.samples import spread_over
from . import files
from . import options as opt
from .help import Verb
from .progress import lines_option, watch
from .reading import DataReader, data_options
from .running import own_span

PATH = click.Path(path_type=Path)
SEARCHING = "searching recipes (over sooner where few steps do)"  # all of it is what is foreseen


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
@opt.calibration_memory
@opt.preprocessing_options
@opt.shape_option
@opt.json_option
@lines_option
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
    mem_limit: str,
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
    inputs, memory = files.read_by([model], calib), opt.size(mem_limit)
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
        mem_limit=memory,
        progress=watch().stage(SEARCHING if recipe == "auto" else "converting"),
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
    then = opt.runs(output, calib)
    opt.emit(document, as_json, conversion.text, document, share, then=then)
    if document["auto"] is not None and not document["auto"]["within"]:
        raise SystemExit(1)
    opt.refuse_analog([share], allow_analog)


@click.command(cls=Verb)
@click.argument("network", type=PATH, metavar="NET.snn.onnx")
@click.option("--data", required=True, metavar="DATA", help="Samples to learn from, and labels.")
@click.option(
    "-o", "--output", required=True, type=files.OUTPUT, help="The network that has learned."
)
@files.force_option
@click.option(
    "--rule", metavar="NAME", help=f"{' or '.join(RULES)} [that of a network that has learned]."
)
@click.option(
    "--at", metavar="NODE", help="The population that the layer is put on [the last hidden one]."
)
@click.option("--neurons", type=click.IntRange(min=1), help="Of the layer [400; prototype: 64].")
@click.option(
    "--passes",
    type=click.IntRange(min=1),
    help="Over all samples [4; prototype: 1].",
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Of the rule (repeatable)."
)
@click.option(
    "-T",
    "--steps",
    type=click.IntRange(min=1),
    help="Time steps of a sample [what the network was converted for].",
)
@click.option("--samples", type=click.IntRange(min=1), help="Use the first N samples.")
@click.option("--seed", type=int, default=0, help="Draws first weights and the order [0].")
@opt.simulation_options
@opt.preprocessing_options
@data_options
@opt.json_option
@lines_option
def learn(
    *,
    network: Path,
    data: str,
    output: Path,
    force: bool,
    settings: tuple[str, ...],
    samples: int | None,
    mem_limit: str | None,
    reader: DataReader,
    preprocessing: Preprocessing | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Let a layer of plastic synapses learn while the network runs, and save what it learned.

    The network stays as it is up to a population, whose spikes the layer learns from; what was
    behind it goes. A network that has learned goes on where it stopped. The file is one that
    `onnx2snn run` and stock ONNX Runtime run.
    """
    results = claim_file(output, Kind.NETWORK, inputs=files.read_by([network], data), force=force)
    loaded = api.load(network)
    shown = reader.samples(data, loaded, preprocessing, limit=samples)
    done = run_learn(
        loaded,
        shown,
        settings=opt.pairs(settings, option="--set"),
        mem_limit=None if mem_limit is None else opt.size(mem_limit),
        progress=watch().stage,
        **choices,
    )
    reader.say(f"{shown.source}: {text}" for text in done.said)
    few = needed(done.network, shown.section(0, 2).whole())
    results.write(output.name, checked_bytes(done.network, few))
    document = reader.told(conversion.learned(done, output=str(output)))
    then = opt.runs(output, data)
    opt.emit(document, as_json, conversion.learned_text, document, then=then)


def _refuse_options_of_auto(recipe: str, choices: Mapping[str, Any]) -> None:
    if recipe != "auto" and (choices["max_drop"], choices["prefer"]) != (None, None):
        raise UsageError(
            "--max-drop and --prefer are for --recipe auto",
            remedy="Add --recipe auto, or leave them out.",
        )


def _calibration_check(network: SpikingGraph, samples: Samples, regression: bool) -> Evaluation:
    """What the network does on (at most 200 of) these samples after its T steps."""
    steps = own_span(network)[1]
    part = samples.at(spread_over(len(samples), most=MOST))
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
    then = opt.converts(model, data) if result.equal else ("check", model, "-v")
    opt.emit(document, as_json, inspection.verify_text, model.name, result, verbose, then=then)
    if not result.equal:
        raise SystemExit(1)


@click.command(cls=Verb)
@click.argument("network", type=PATH, metavar="NET.snn.onnx")
@click.option(
    "--to",
    required=True,
    type=click.Choice([*FORMATS]),
    help="; ".join(f"{form.name}: {form.summary}" for form in FORMATS.values()) + ".",
)
@click.option("-o", "--output", required=True, type=files.OUTPUT, help="The file to write.")
@files.force_option
@click.option("--inline", is_flag=True, help="With --to onnx: no local functions.")
@click.option(
    "--approximate",
    is_flag=True,
    help="Write also what the format has no word for, with its convention declared in the file.",
)
@click.option("--sample", metavar="DATA", help="With --to sanafe: its first sample is taken.")
@opt.json_option
def export(
    *, network: Path, to: str, output: Path, sample: str | None, as_json: bool, **choices: Any
) -> None:
    """Write a converted network for other tools.

    ONNX and NIR files are run and compared with this network before they are written; a PyTorch
    module compares itself, as a program. docs/exchange.md says which tool reads what, and how.
    """
    loaded = api.load(network)
    if sample is not None:
        choices["sample"] = api.load_samples(sample, loaded, limit=1).whole()
    inputs = files.read_by([network], sample)
    made = run_export(loaded, output, to=to, inputs=inputs, **choices)
    opt.emit(_document(made), as_json, _text, made, then=("place", network, "--target", "all"))


def _document(made: Exported) -> dict[str, Any]:
    listed = [
        {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in made.files
    ]
    return {
        "schema": "onnx2snn.export/1",
        "to": made.to,
        "files": listed,
        "notes": list(made.notes),
    }


def _text(made: Exported) -> str:
    lines = [f"wrote {', '.join(map(str, made.files))}", *(f"note: {n}" for n in made.notes)]
    return "\n".join(lines)


@click.command("import", cls=Verb)
@click.argument("file", type=PATH, metavar="NET.nir")
@click.option(
    "-o", "--output", required=True, type=files.OUTPUT, help="The converted file (.snn.onnx)."
)
@files.force_option
@click.option("-T", "--steps", type=click.IntRange(min=1), help="Time steps [what the file says].")
@click.option(
    "--dt",
    type=click.FloatRange(min=0, min_open=True),
    help="Length of a time step, where the file has times and does not say.",
)
@opt.json_option
def import_file(
    *, file: Path, output: Path, force: bool, steps: int | None, dt: float | None, as_json: bool
) -> None:
    """Make a converted file of a NIR file, of this or another tool.

    Graphs without cycles of convolutions, affine maps, scales, sum and average pools, flatten,
    delays, IF, LIF and CubaLIF. The network must do what the file does, run as it stands.
    """
    results = claim_file(output, Kind.NETWORK, inputs=[file], force=force)
    network = import_network(file, steps=steps, dt=dt)
    results.write(output.name, checked_bytes(network))
    document = {
        "schema": "onnx2snn.import/1",
        "output": str(output),
        "neurons": sum(prod(p.shape) for p in network.of(Population)),
        "populations": len(network.of(Population)),
        "T": network.meta.get("T"),
    }
    then = (*opt.runs(output, None), *(() if steps or "T" in network.meta else ("-T", 32)))
    opt.emit(document, as_json, _imported, document, then=then)


def _imported(document: dict[str, Any]) -> str:
    return (
        f"wrote {document['output']}: {document['populations']} populations, "
        f"{document['neurons']:,} neurons"
    )


COMMANDS = (convert, verify, learn, export, import_file)
