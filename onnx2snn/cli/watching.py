"""watch: what a spiking network does with single samples, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import api
from ..data import Preprocessing
from ..display import counted
from ..evaluation.watching import Watched
from ..evaluation.watching import watch as watched
from ..reports.pages.watch import watch_html
from ..results import claim_file
from ..results.marks import Kind
from . import files, terminal
from . import options as opt
from .help import Verb
from .reading import DataReader, data_options
from .running import own_span


@click.command(cls=Verb)
@click.argument("network", type=click.Path(path_type=Path), metavar="NET.snn.onnx")
@click.option("--data", required=True, metavar="DATA", help="Samples, and labels where known.")
@click.option(
    "--samples",
    type=click.IntRange(1, 32),
    default=8,
    show_default=True,
    help="Use N of them, spread over all.",
)
@click.option(
    "-T",
    "--steps",
    type=click.IntRange(min=1),
    help="Time steps [what the network was converted for].",
)
@click.option(
    "-o",
    "--output",
    type=files.OUTPUT,
    default=Path("watch.html"),
    show_default=True,
    help="The page.",
)
@files.force_option
@opt.preprocessing_options
@data_options
@opt.json_option
def watch(
    *,
    network: Path,
    data: str,
    samples: int,
    steps: int | None,
    output: Path,
    force: bool,
    preprocessing: Preprocessing | None,
    reader: DataReader,
    as_json: bool,
) -> None:
    """See what a spiking network does with a few samples: its spikes step by step, membrane
    potentials, and the answer as it grows, beside the ANN's. One HTML page that needs no network.
    """
    inputs = files.read_by([network], data)
    results = claim_file(output, Kind.HTML, inputs=inputs, force=force)
    graph = api.load(network)
    taken = reader.samples(data, graph, preprocessing, limit=samples, spread=True)
    found = watched(graph, taken, steps=own_span(graph)[1] if steps is None else steps)
    results.write(
        output.name, watch_html(found, network=network.name, data=data, command=terminal.typed())
    )
    document = reader.told(_document(found, output))
    then = ("place", network, "--target", "all", "--data", data)
    opt.emit(document, as_json, _text, found, output, then=then)


def _document(found: Watched, output: Path) -> dict[str, Any]:
    classes = found.decided is not None
    return {
        "schema": "onnx2snn.watch/1",
        "T": found.steps,
        "latency": found.latency,
        "samples": len(found.inputs),
        "labels": None if found.labels is None else found.labels.tolist(),
        "ann": found.ann_decided.tolist() if found.ann_decided is not None else None,
        "answers": found.decided[:, -1].tolist() if found.decided is not None else None,
        "settles": found.settles.tolist() if found.settles is not None else None,
        "classes": classes,
        "layers": [layer.name for layer in found.layers],
        "left_out": list(found.left_out),
        "page": str(output),
    }


def _text(found: Watched, output: Path) -> str:
    lines = []
    if found.decided is not None and found.ann_decided is not None and found.settles is not None:
        same = int((found.decided[:, -1] == found.ann_decided).sum())
        lines.append(
            f"{same} of {counted(len(found.settles), 'sample')} answered as the ANN does after "
            f"T={found.steps}; the last of them settled at T={max(found.settles)}"
        )
        for i, (said, ann, at) in enumerate(
            zip(found.decided[:, -1], found.ann_decided, found.settles, strict=True)
        ):
            label = "" if found.labels is None else f"label {found.labels[i]}, "
            lines.append(f"sample {i}: {label}ANN {ann}, spiking {said}, settled at T={at}")
    lines.append(f"wrote {output}: open it in a browser")
    return "\n".join(lines)


COMMANDS = (watch,)
