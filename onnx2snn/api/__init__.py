"""onnx2snn from Python: what the command line does, without printing.

import onnx2snn as o2s
model = o2s.load_onnx("net.onnx")
network = o2s.convert(model, x_calib, recipe="auto")
print(o2s.evaluate(network, (x_test, y_test), ann=model).summary())
o2s.save(network, "net.snn.onnx")

Functions take models, networks and data in every form a program has them; what all of them read
those with is here, each verb in a module of its own. docs/python.md tells it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from .. import data as files
from ..arguments import checked
from ..converter.ann.graph import AnnGraph
from ..converter.ann.passes import default_passes, run_passes
from ..converter.convert import convert as convert_ann
from ..converter.frontend import CheckReport, LoadedModel, ModelSource, import_onnx
from ..converter.frontend import load_onnx as read_onnx
from ..converter.frontend.file.load import content
from ..converter.lowering.lower import lower
from ..converter.recipes.options import Options
from ..data import Preprocessing, Samples
from ..data.batches import SOURCE, Given, gathered
from ..display import counted
from ..errors import DataError, ModelError, UsageError
from ..evaluation.ann import onnx_ann as ann_in_onnx
from ..evaluation.written import checked_bytes
from ..exchange import export as export_network
from ..exchange import import_network as import_from
from ..hwtargets import Screening, screened, targets
from ..provenance import Provenance
from ..results import claim_file
from ..results.marks import Kind
from ..runtime import file as onnxfile
from ..runtime.graph import Input, MaxPool, SpikingGraph
from ..runtime.ops import Shape
from ..runtime.semantics.labels import numbered
from ..spelling import spelled

Model: TypeAlias = LoadedModel | SpikingGraph | AnnGraph
AnyModel: TypeAlias = LoadedModel | ModelSource  # an ONNX model, read or to be read
Network: TypeAlias = SpikingGraph | ModelSource  # a converted one
Data: TypeAlias = Samples | str | PathLike[str] | Given

load_onnx = checked(read_onnx)
onnx_ann = checked(ann_in_onnx)
export = checked(export_network)
import_network = checked(import_from)


def input_shapes(model: Model) -> dict[str, Shape]:
    """Sample shape of every input, without batch axis."""
    if isinstance(model, SpikingGraph):
        return {node.name: node.shape for node in model.of(Input)}
    return {info.name: info.shape for info in model.inputs}


@checked
def load_samples(
    data: Data,
    model: Model,
    preprocessing: Preprocessing | None = None,
    *,
    limit: int | None = None,
    spread: bool = False,
    skip_unreadable: bool = False,
) -> Samples:
    """Samples for this model.

    Parameters:
        data: DATA as on the command line (``FILE.npz:X_KEY,Y_KEY``, a folder of class folders),
            arrays (x, y) or x, {input: x}, an iterable of batches such as a DataLoader, which is
            read into memory, or samples as this function gives them.
        preprocessing: applied to what ``data`` holds. A converted network remembers that of files
            it was calibrated on, and uses it for files; arrays and batches are taken as the
            network takes them.
        limit: the first N; with ``spread`` N spread over all.
        skip_unreadable: pictures that cannot be read are left out.

    Raises DataError, UsageError.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit is at least 1, got {limit}")
    if isinstance(data, Samples):
        return data.at_most(limit, spread=spread)
    if not isinstance(data, str | PathLike):
        return _in_memory(
            data, input_shapes(model), preprocessing or Preprocessing(), limit=limit, spread=spread
        )
    if preprocessing is None and isinstance(model, SpikingGraph):
        preprocessing = Provenance.of(model).preprocessing
    return files.load_samples(
        str(data),
        input_shapes(model),
        preprocessing or Preprocessing(),
        limit=limit,
        spread=spread,
        skip_unreadable=skip_unreadable,
    )


def _in_memory(
    given: Given,
    shapes: Mapping[str, Shape],
    preprocessing: Preprocessing,
    *,
    limit: int | None,
    spread: bool,
) -> Samples:
    arrays, labels = gathered(given, shapes, limit=None if spread else limit)
    classes: Mapping[str, int] = {}
    if labels is not None:
        labels, classes = numbered(labels)
    samples = Samples(
        arrays=arrays, labels=labels, preprocessing=preprocessing, source=SOURCE, classes=classes
    )
    files.check_samples(samples, shapes)
    return samples.at_most(limit, spread=spread)


@checked
def save(network: Network, path: str | Path, *, force: bool = False) -> None:
    """Write the converted network as one ONNX file (see ``runtime.file``), in one step.

    A file that is no converted network is replaced only with ``force``, the model that the network
    was converted from never. Raises DataError (E220 to E223), and ModelError (E327, E326) where
    ONNX Runtime would not give the network's numbers with the file.
    """
    network = read_network(network)
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


@checked
def load(source: ModelSource) -> SpikingGraph:
    """Read a converted network: a path, the bytes of a file, or a ModelProto. Raises ModelError
    where it is not one, or is damaged."""
    path, data = content(source)
    network = onnxfile.from_bytes(data, where=str(path))
    try:
        Provenance.of(network)
    except ModelError as error:
        error.where = str(path)
        raise
    return network


def read_model(model: AnyModel) -> LoadedModel:
    """The model, read where it is not yet. Raises as ``load_onnx`` does."""
    if isinstance(model, SpikingGraph):
        raise UsageError(
            "this is a converted network, and a model is wanted",
            remedy="Give what it was converted from.",
        )
    return model if isinstance(model, LoadedModel) else load_onnx(model)


def read_network(network: Network) -> SpikingGraph:
    """The converted network, read where it is not yet. Raises as ``load`` does."""
    if isinstance(network, LoadedModel):
        raise UsageError(
            "this is a model, and a converted network is wanted", remedy="Convert it first."
        )
    return network if isinstance(network, SpikingGraph) else load(network)


def own_steps(network: SpikingGraph) -> int:
    """The T that a network was converted for. Raises UsageError (E110) where it does not say."""
    steps = Provenance.of(network).steps
    if steps is None:
        raise UsageError(
            "the network's file does not say for how many time steps it was converted",
            remedy=f"Give {spelled('steps')}.",
            code="E110",
        )
    return steps


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
    trees = screened(lower(run_passes(ann, default_passes(maxpool="tree"))), chips)
    return {
        name: replace(
            plain,
            remedy=f"`convert {spelled('maxpool', 'tree')}`, at least "
            f"{counted(trees[name].cores, 'core')}",
        )
        if trees[name].may_fit and not plain.may_fit
        else plain
        for name, plain in found.items()
    }
