"""External data: weights in files beside the model, and only there.

A protobuf message cannot be larger than 2 GiB. Where a model has more than ``HEAVY`` bytes of
external weights, the large ones stay in their files, mapped into memory, and become inputs of the
graph whose values are fed to ONNX Runtime; so there is no size limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from ....errors import ModelError
from ....runtime.ops import Array
from .limits import FLOATS as FLOAT_TYPES

HEAVY = 2**30  # bytes of external weights from which on large ones are mapped
LARGE = 2**20  # bytes of one weight


def attach_external_data(
    model: onnx.ModelProto, path: Path
) -> tuple[dict[str, Array], tuple[Path, ...]]:
    """Read every externally stored tensor of ``model`` (in place) from the model's folder.

    Returns the weights that are mapped, in float32 where they are floats: inputs of the graph now;
    and the files, each once, in the order of the tensors.
    Raises ModelError (E304) for a location that is absolute, has "..", or whose file, symbolic
    links resolved, lies outside the folder; and for a file that is missing or too short.
    """
    stored = [t for t in all_tensors(model) if t.data_location == TensorProto.EXTERNAL]
    regions = [_region(tensor, path) for tensor in stored]
    heavy = sum(length for _, _, length in regions) > HEAVY
    held = {t.name for t in model.graph.initializer}
    mapped: dict[str, Array] = {}
    for tensor, (file, offset, length) in zip(stored, regions, strict=True):
        if heavy and length > LARGE and tensor.name in held:
            mapped[tensor.name] = _mapped(
                tensor, file=file, offset=offset, length=length, path=path
            )
            continue
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    if mapped:
        as_inputs(model.graph, mapped)
    return mapped, tuple(dict.fromkeys(file for file, _, _ in regions))


def model_files(path: Path) -> tuple[Path, ...]:
    """The model's file and the data files that it names; the first alone where it cannot be read,
    which ``load_onnx`` tells of, or is a pipe, which can be read only once."""
    model = onnx.ModelProto()
    if not path.is_file():
        return (path,)
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError, ValueError):
        return (path,)
    named = [
        entry.value
        for tensor in all_tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    ]
    folder = Path(os.path.realpath(path)).parent
    return (path, *(folder / name for name in dict.fromkeys(named)))


def all_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor stored in the model: initializers, attributes, subgraphs, functions."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for attribute in (a for node in nodes for a in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for inner in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(inner)


def _mapped(tensor: TensorProto, *, file: Path, offset: int, length: int, path: Path) -> Array:
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    dims = tuple(tensor.dims)
    if prod(dims) * kind.itemsize != length:
        raise ModelError(
            f"the weights '{tensor.name}' have {length} bytes, their shape {dims} says "
            f"{prod(dims) * kind.itemsize}",
            where=str(path),
            remedy="Keep the data file that was exported with this .onnx file.",
            code="E304",
        )
    array: Array = np.memmap(file, kind, "r", offset, dims)
    if not array.flags.aligned:  # every product would copy it
        array = np.array(array)
    floating = tensor.data_type in FLOAT_TYPES
    return array.astype(np.float32) if floating and kind != np.float32 else array


def as_inputs(graph: onnx.GraphProto, mapped: Mapping[str, Array]) -> None:
    """Make these weights, which need not be among the initializers, inputs of ``graph``."""
    kept = [t for t in graph.initializer if t.name not in mapped]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    listed = {v.name for v in graph.input}
    graph.input.extend(
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in mapped.items()
        if name not in listed
    )


def _region(tensor: TensorProto, path: Path) -> tuple[Path, int, int]:
    """The file, offset and length of a tensor's data, all there."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = _confined(location, tensor=tensor.name, path=path)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        size = file.stat().st_size
        wanted = size - offset if length < 0 else length
        if offset < 0 or wanted < 0 or offset + wanted > size or not file.is_file():
            raise ValueError(f"it has {size} bytes, {offset} to {offset + wanted} are needed")
        return file, offset, wanted
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot read the weights '{tensor.name}' from '{location}': {error}",
            where=str(path),
            remedy="Keep the data file beside the .onnx file, under the name it was exported with.",
            code="E304",
        ) from error


def _confined(location: str, *, tensor: str, path: Path) -> Path:
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
