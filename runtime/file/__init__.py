"""The converted file: one ONNX model that stock ONNX Runtime runs and onnx2snn reads back.

The spiking graph is stored twice in one file, sharing every array: as executable ONNX nodes with
neurons as functions of our own domain (``emit``), and as JSON in the model's metadata (``codec``)
from which ``load`` rebuilds the records without loss. Saving is atomic.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from ...errors import ModelError
from ..graph import SpikingGraph, Synapse
from ..ops import Array, Shape
from ..storage.atomic import write_atomically
from ..storage.reading import read_whole
from . import wire
from .about import describe
from .changes import with_true_changes
from .codec import decode_graph, encode_graph, inline, outline
from .emit import emit_chain, emit_graph
from .inlined import with_shapes, without_functions
from .naming import FileNames

KEY = "onnx2snn.graph"
LARGEST = 2**62  # bytes: more than any array has

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
    return _emitted(graph, LARGEST)[0]


def _emitted(graph: SpikingGraph, largest: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model without its initializers of ``largest`` bytes or more, and these."""
    graph = with_true_changes(graph)
    names = FileNames(graph)
    document, arrays = encode_graph(graph, names)
    large = {n: a for n, a in arrays.items() if a.nbytes >= largest and a.dtype == np.float32}
    emitted = emit_graph(graph, {n: a for n, a in arrays.items() if n not in large}, names)
    read = {name for node in emitted.graph.node for name in node.input}
    large = {name: array for name, array in large.items() if name in read}
    inputs = len(emitted.graph.input)
    emitted.graph.input.extend(  # so that shapes are inferred from theirs
        helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in large.items()
    )
    model = with_shapes(emitted)
    del model.graph.input[inputs:]
    describe(model, graph, names)
    document["unused"] = inline(arrays, used=read)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(document)
    return model, large


def to_bytes(graph: SpikingGraph) -> bytes:
    """The content of the converted file."""
    model, large = _emitted(graph, wire.LARGE)
    content = model.SerializeToString()
    return wire.Layout.within(memoryview(content)).with_initializers(large) if large else content


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
        large = _large(Path(path))
        if large is not None:
            return _decoded(*large, where=str(path))
        content = read_whole(Path(path))
    except OSError as error:
        raise ModelError(
            f"cannot read the file ({error.strerror})", where=str(path), code="E301"
        ) from error
    return from_bytes(content, where=str(path))


def from_bytes(content: bytes, *, where: str) -> SpikingGraph:
    """What ``to_bytes`` gave; ``where``: what errors call it. Raises ModelError as ``load``."""
    return _decoded(content, {}, where=where)


def _large(path: Path) -> tuple[bytes, dict[str, Array]] | None:
    """A large file's content without its large arrays, and these; None for any other."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size < wire.LARGE:
        return None
    try:
        found = wire.Layout.of(path)
    except (ValueError, IndexError):
        return None
    return found.without(set(found.weights)), {n: a.read(path) for n, a in found.weights.items()}


def _decoded(content: bytes, large: dict[str, Array], *, where: str) -> SpikingGraph:
    """Of the content without its ``large`` initializers."""
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
        arrays |= large | outline(document.get("unused", {}))
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
