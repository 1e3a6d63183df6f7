"""External data: weights in files beside the model, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto

from ...errors import ModelError


def attach_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Read every externally stored tensor of ``model`` (in place) from the model's folder.

    Raises ModelError (E304) for a location that is absolute, has "..", or whose file, symbolic
    links resolved, lies outside the folder; and for a file that is missing or too short.
    """
    for tensor in all_tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        tensor.raw_data = _read(entries, tensor.name, path)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def all_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor stored in the graph, attributes and subgraphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from all_tensors(inner)


def _read(entries: dict[str, str], tensor: str, path: Path) -> bytes:
    location = entries.get("location", "")
    file = _confined(location, tensor, path)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        if offset < 0:
            raise ValueError("negative offset")
        with file.open("rb") as stream:
            size = file.stat().st_size
            wanted = size - offset if length < 0 else length
            if offset + wanted > size:
                raise ValueError(f"it has {size} bytes, {offset + wanted} are needed")
            stream.seek(offset)
            return stream.read(wanted)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot read the weights '{tensor}' from '{location}': {error}",
            where=str(path),
            remedy="Keep the data file beside the .onnx file, under the name it was exported with.",
            code="E304",
        ) from error


def _confined(location: str, tensor: str, path: Path) -> Path:
    folder = path.resolve().parent
    parts = Path(location).parts
    try:
        file = (folder / location).resolve()
        inside = file.is_relative_to(folder)
    except (OSError, ValueError):
        inside = False
    if not location or Path(location).is_absolute() or ".." in parts or not inside:
        raise ModelError(
            f"the weights '{tensor}' are said to be in '{location}', outside the model's folder",
            where=str(path),
            remedy="Keep the data file in the folder of the .onnx file.",
            code="E304",
        )
    return file
