"""The conversion as a library: what the command line does, without printing.

import onnx2snn
model = onnx2snn.load_onnx("net.onnx")
calib = onnx2snn.load_samples("data.npz:x_calib", model)
network = onnx2snn.convert(model, calib, steps=32)
test = onnx2snn.load_samples("data.npz:x_test,y_test", model)
print(onnx2snn.evaluate(network, test, 32).points[-1].accuracy)
onnx2snn.save(network, "net.snn.onnx")
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from . import data
from .converter.ann.graph import AnnGraph
from .converter.ann.passes import default_passes, run_passes
from .converter.convert import convert as convert_ann
from .converter.frontend import CheckReport, LoadedModel, import_onnx
from .converter.lowering.lower import lower
from .converter.recipes.options import Options
from .data import Preprocessing, Samples
from .errors import DataError, ModelError
from .evaluation.written import checked_bytes
from .hwtargets import Screening, screened, targets
from .provenance import Provenance
from .results import claim_file
from .results.marks import Kind
from .runtime import file as onnxfile
from .runtime.graph import Input, MaxPool, SpikingGraph
from .runtime.ops import Shape
from .spelling import spelled

Model = LoadedModel | SpikingGraph | AnnGraph


def input_shapes(model: Model) -> dict[str, Shape]:
    """Sample shape of every input, without batch axis."""
    if isinstance(model, SpikingGraph):
        return {node.name: node.shape for node in model.of(Input)}
    return {info.name: info.shape for info in model.inputs}


def load_samples(
    spec: str,
    model: Model,
    preprocessing: Preprocessing | None = None,
    *,
    limit: int | None = None,
    spread: bool = False,
    skip_unreadable: bool = False,
) -> Samples:
    """Samples from DATA (see ``data``) for this model. A converted network remembers the
    preprocessing it was calibrated with, which is used unless another one is given."""
    if preprocessing is None and isinstance(model, SpikingGraph):
        preprocessing = Provenance.of(model).preprocessing
    return data.load_samples(
        spec,
        input_shapes(model),
        preprocessing or Preprocessing(),
        limit=limit,
        spread=spread,
        skip_unreadable=skip_unreadable,
    )


def save(network: SpikingGraph, path: str | Path, *, force: bool = False) -> None:
    """Write the converted network as one ONNX file (see ``runtime.file``), in one step.

    A file that is no converted network is replaced only with ``force``, the model that the network
    was converted from never. Raises DataError (E220 to E223), and ModelError (E327, E326) where
    ONNX Runtime would not give the network's numbers with the file.
    """
    results = claim_file(Path(path), Kind.NETWORK, inputs=(), force=force)
    place = results.destination(Path(path).name)
    source = network.meta.get("source")
    if place.status is not None and isinstance(source, Mapping):
        held = hashlib.sha256(place.path.read_bytes()).hexdigest()
        if held == source.get("sha256"):
            raise DataError(
                "this is the model that the network was converted from",
                where=str(path),
                remedy="Choose another path.",
                code="E221",
            )
    results.write(Path(path).name, checked_bytes(network))


def load(path: str | Path) -> SpikingGraph:
    """Read a converted network. Raises ModelError where it is not one, or is damaged."""
    network = onnxfile.load(path)
    try:
        Provenance.of(network)
    except ModelError as error:
        error.where = str(path)
        raise
    return network


def lowered(model: LoadedModel) -> SpikingGraph:
    """The network's operations and neurons as they are before thresholds are chosen."""
    return lower(run_passes(import_onnx(model), default_passes()))


def refuse_infinite(report: CheckReport) -> None:
    """Raise ModelError (E313) where the model gives infinite numbers on every input that was tried
    and a conversion without data is refused for it, as any would be."""
    if report.graph is not None and not report.finite:
        convert_ann(report.graph, None, Options(steps=1))


def chips_for(ann: AnnGraph) -> dict[str, Screening]:
    """Per bundled chip target, whether a conversion of ``ann`` may fit, by its kinds of
    operations and its size. Plain binary neurons are assumed, and max pools as they are; what trees
    of neurons in their place change is said as a remedy."""
    chips = targets().values()
    plainly = lower(run_passes(ann, default_passes()))
    found = screened(plainly, chips)
    if not plainly.of(MaxPool):
        return found
    trees = screened(lower(run_passes(ann, default_passes("tree"))), chips)
    return {
        name: replace(
            plain,
            remedy=f"`convert {spelled('maxpool', 'tree')}`, at least {trees[name].cores:,} cores",
        )
        if trees[name].may_fit and not plain.may_fit
        else plain
        for name, plain in found.items()
    }
