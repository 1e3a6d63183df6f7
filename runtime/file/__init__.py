"""The converted file: one ONNX model that stock ONNX Runtime runs and onnx2snn reads back.

The spiking graph is stored twice in one file, sharing every array: as executable ONNX nodes with
neurons as functions of our own domain (``emit``), and as JSON in the model's metadata (``codec``)
from which ``load`` rebuilds the records without loss. Saving is atomic.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from ...errors import ModelError
from ..graph import SpikingGraph, Synapse
from ..ops import Shape
from ..storage.atomic import write_atomically
from ..storage.reading import read_whole
from .about import describe
from .codec import decode_graph, encode_graph, inline, outline
from .emit import emit_chain, emit_graph
from .inlined import with_shapes, without_functions
from .naming import FileNames

KEY = "onnx2snn.graph"

__all__ = [
    "from_bytes",
    "is_converted",
    "load",
    "operation_model",
    "save",
    "to_bytes",
    "to_flat_bytes",
    "to_model",
]


def to_model(graph: SpikingGraph) -> onnx.ModelProto:
    """The graph as one ONNX model (see the module's docstring)."""
    names = FileNames(graph)
    document, arrays = encode_graph(graph, names)
    model = with_shapes(emit_graph(graph, arrays, names))
    describe(model, graph, names)
    document["unused"] = inline(arrays, used=_read_names(model))
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(document)
    return model


def _read_names(model: onnx.ModelProto) -> set[str]:
    return {name for node in model.graph.node for name in node.input}


def to_bytes(graph: SpikingGraph) -> bytes:
    """The content of the converted file."""
    return to_model(graph).SerializeToString()


def to_flat_bytes(graph: SpikingGraph) -> bytes:
    """The same file without local functions: in operations of the ONNX standard alone."""
    steps = FileNames(graph).steps
    return without_functions(to_model(graph), graph, steps).SerializeToString()


def save(graph: SpikingGraph, path: str | Path) -> None:
    """Write ``graph`` to ``path`` in one step, whatever file is there.

    Raises DataError where it cannot be written (see ``runtime.storage.atomic``).
    """
    write_atomically(Path(path), to_bytes(graph))


def is_converted(path: Path) -> bool:
    """Whether the file is a converted network. Raises where it is no ONNX file."""
    if path.stat().st_size >= 2**31:  # more than a protobuf message holds
        return False
    model = onnx.load_from_string(path.read_bytes())
    return any(entry.key == KEY for entry in model.metadata_props)


def load(path: str | Path) -> SpikingGraph:
    """Read a converted file. Raises ModelError where it is missing, damaged or not one of ours."""
    try:
        content = read_whole(Path(path))
    except OSError as error:
        raise ModelError(
            f"cannot read the file ({error.strerror})", where=str(path), code="E301"
        ) from error
    return from_bytes(content, where=str(path))


def from_bytes(content: bytes, *, where: str) -> SpikingGraph:
    """What ``to_bytes`` gave; ``where``: what errors call it. Raises ModelError as ``load``."""
    try:
        model = onnx.load_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelError("not an ONNX file, or cut short", where=where, code="E302") from error
    if not model.ir_version:  # of an empty file too
        raise ModelError("not an ONNX file, or cut short", where=where, code="E302")
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if KEY not in entries:
        raise ModelError(
            "an ONNX file, but not a converted network",
            where=where,
            remedy="Make one with `onnx2snn convert MODEL.onnx --calib DATA -o NET.snn.onnx`.",
            code="E320",
        )
    try:
        document = json.loads(entries[KEY])
        if not isinstance(document, dict):
            raise TypeError("not an object")
        arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        arrays |= outline(document.get("unused", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("the converted file is damaged", where=where, code="E322") from error
    try:
        return decode_graph(document, arrays)
    except ModelError as error:
        error.where = where
        raise


def operation_model(synapse: Synapse, shape: Shape) -> bytes:
    """One synapse with a single source, (N, *shape), as a serialized ONNX model."""
    shapes = {synapse.inputs[0]: shape, synapse.name: synapse.shape}
    return emit_chain([synapse], synapse.inputs, shapes).SerializeToString()
