"""Large weights inside a large model file: they stay in it, mapped into memory.

A model that is read whole is there twice, as bytes and as a message, and every step of the clean-up
makes another message of it. So the weights of large products are found in the file's bytes and
become what large external weights are (``external``): inputs of the graph, whose values are fed to
ONNX Runtime. Weights that anything but a product reads stay in the message, where the clean-up can
fold them.
"""

from __future__ import annotations

import hashlib
import mmap
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from ....runtime.ops import Array
from .external import LARGE

HEAVY_FILE = 2**27  # bytes of a file from which on its large weights are mapped
PRODUCTS = ("Gemm", "MatMul")
# Field numbers, and how a field is stored (onnx.proto; protobuf.dev, "Encoding").
GRAPH, INITIALIZER = 7, 5  # of ModelProto, of GraphProto
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # of TensorProto
VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True, eq=False, kw_only=True)
class HeavyFile:
    """``rest``: the model's bytes without the weights, which are ``mapped``; ``sha256`` of the
    whole file."""

    path: Path
    rest: bytes
    mapped: dict[str, Array]
    sha256: str


def heavy_file(path: Path, *, least: int | None = None) -> HeavyFile | None:
    """What is in a file of ``least`` (``HEAVY_FILE``) bytes or more; None for any other, for pipes,
    and for what is no such model, which whoever reads it whole tells of."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size < (least or HEAVY_FILE):
            return None
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found = _Found.within(memoryview(content))
    except (OSError, ValueError, IndexError):
        return None
    chosen = _of_products(found)
    if not chosen:
        return None
    return HeavyFile(
        path=path,
        rest=found.without(set(chosen)),
        mapped={name: found.weights[name].mapped(path) for name in chosen},
        sha256=hashlib.sha256(content).hexdigest(),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Weights:
    """An initializer in single precision: its whole field from ``begin`` to ``end``, its numbers
    from ``at``."""

    begin: int
    end: int
    at: int
    dims: tuple[int, ...]

    def mapped(self, path: Path) -> Array:
        array: Array = np.memmap(path, np.dtype("<f4"), "r", self.at, self.dims)
        return array


@dataclass(frozen=True, eq=False, kw_only=True)
class _Found:
    """Where things are in a file; ``graph``: begin of its field, of its content, and its end."""

    content: memoryview
    graph: tuple[int, int, int]
    weights: dict[str, _Weights]

    @staticmethod
    def within(content: memoryview) -> _Found:
        """Raises ValueError or IndexError for what cannot be told apart in this simple way."""
        graphs = [f for f in _fields(content, 0, end=len(content)) if f[0] == GRAPH]
        ((_, begin, first, end),) = graphs
        weights: dict[str, _Weights] = {}
        for number, start, at, stop in _fields(content, first, end=end):
            if number == INITIALIZER and stop - at >= LARGE:
                name, one = _weights(content, begin=start, first=at, end=stop)
                if name in weights:
                    raise ValueError(f"two initializers are named '{name}'")
                if one is not None:
                    weights[name] = one
        return _Found(content=content, graph=(begin, first, end), weights=weights)

    def without(self, names: set[str]) -> bytes:
        """The model without these initializers."""
        begin, first, end = self.graph
        parts, at = [], first
        for one in sorted((self.weights[name] for name in names), key=lambda one: one.begin):
            parts.append(self.content[at : one.begin])
            at = one.end
        parts.append(self.content[at:end])
        size = sum(len(part) for part in parts)
        head = bytes([GRAPH << 3 | SIZED]) + _varint(size)
        return b"".join([self.content[:begin], head, *parts, self.content[end:]])


def _of_products(found: _Found) -> list[str]:
    """The weights that only products read, in the graph itself."""
    try:
        model = onnx.load_model_from_string(found.without(set(found.weights)))
    except Exception:  # protobuf's own kinds differ between versions
        return []
    nodes = model.graph.node
    inner = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    if model.functions or any(a.type in inner for node in nodes for a in node.attribute):
        return []
    others = {value.name for value in (*model.graph.output, *model.graph.input)}
    read: set[str] = set()
    for node in nodes:
        is_product = node.op_type in PRODUCTS and node.domain in ("", "ai.onnx")
        (read if is_product else others).update(node.input)
    return [name for name in found.weights if name in read - others]


def _weights(
    content: memoryview, *, begin: int, first: int, end: int
) -> tuple[str, _Weights | None]:
    """Name and place of an initializer; None where it is not float32 in little-endian bytes."""
    dims: list[int] = []
    name, kind, at, length = "", 0, 0, -1
    for number, start, value, stop in _fields(content, first, end=end):
        packed = content[start] & 7 == SIZED
        if number == DIMS and packed:
            while value < stop:
                size, value = _read_varint(content, value)
                dims.append(size)
        elif number == DIMS:
            dims.append(_read_varint(content, value)[0])
        elif number == DATA_TYPE:
            kind = _read_varint(content, value)[0]
        elif number == NAME:
            name = bytes(content[value:stop]).decode()
        elif number == RAW_DATA:
            at, length = value, stop - value
    if kind != TensorProto.FLOAT or length != 4 * prod(dims):
        return name, None
    return name, _Weights(begin=begin, end=end, at=at, dims=tuple(dims))


def _fields(content: memoryview, begin: int, *, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Every field of a message: its number, where it begins, where its value begins and ends."""
    at = begin
    while at < end:
        start = at
        key, at = _read_varint(content, at)
        kind = key & 7
        if kind == VARINT:
            stop = _read_varint(content, at)[1]
        elif kind == SIZED:
            size, at = _read_varint(content, at)
            stop = at + size
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            stop = at + (8 if kind == EIGHT_BYTES else 4)
        else:
            raise ValueError("a field of an unknown kind")
        if stop > end:
            raise ValueError("a field that is cut short")
        yield key >> 3, start, at, stop
        at = stop


def _read_varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number that is too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
