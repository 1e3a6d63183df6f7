"""Large tensors of a model file, by where they are in it: found, left out and put in without a
message of them. Protocol Buffers would hold every array twice more, and copies of messages again.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from onnx import TensorProto

from ..ops import Array

LARGE = 2**20  # bytes of an initializer
MOST_FIELDS = 2**20  # of a message: a file of nothing but small ones is no model
# Field numbers, and how a field is stored (onnx.proto; protobuf.dev, "Encoding").
GRAPH, INITIALIZER = 7, 5  # of ModelProto, of GraphProto
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # of TensorProto
VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5
KIND = np.dtype("<f4")


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored:
    """An initializer in single precision: its whole field from ``begin`` to ``end``, its numbers
    from ``at``."""

    begin: int
    end: int
    at: int
    dims: tuple[int, ...]

    def mapped(self, path: Path) -> Array:
        """Read where it does not begin at a whole number: every product would copy it."""
        if self.at % KIND.itemsize:
            return self.read(path)
        array: Array = np.memmap(path, KIND, "r", self.at, self.dims)
        return array

    def read(self, path: Path) -> Array:
        array = np.fromfile(path, KIND, prod(self.dims), offset=self.at).reshape(self.dims)
        array.flags.writeable = False
        return array


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """Where things are in a file; ``graph``: begin of its field, of its content, and its end."""

    content: memoryview
    graph: tuple[int, int, int]
    weights: dict[str, Stored]

    @staticmethod
    def of(path: Path) -> Layout:
        """Of a file. Raises OSError, and as ``within``."""
        with path.open("rb") as file:
            return Layout.within(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))

    @staticmethod
    def within(content: memoryview) -> Layout:
        """Raises ValueError or IndexError for what cannot be told apart in this simple way."""
        graphs = [f for f in _fields(content, 0, end=len(content)) if f[0] == GRAPH]
        ((_, begin, first, end),) = graphs
        weights: dict[str, Stored] = {}
        for number, start, at, stop in _fields(content, first, end=end):
            if number == INITIALIZER and stop - at >= LARGE:
                name, one = _weights(content, begin=start, first=at, end=stop)
                if name in weights:
                    raise ValueError(f"two initializers are named '{name}'")
                if one is not None:
                    weights[name] = one
        return Layout(content=content, graph=(begin, first, end), weights=weights)

    def without(self, names: set[str]) -> bytes:
        """The model without these initializers."""
        _, first, end = self.graph
        parts: list[memoryview | bytes] = []
        at = first
        for one in sorted((self.weights[name] for name in names), key=lambda one: one.begin):
            parts.append(self.content[at : one.begin])
            at = one.end
        parts.append(self.content[at:end])
        return self._with_graph(parts)

    def with_initializers(self, arrays: Mapping[str, Array]) -> bytes:
        """The model with these initializers, in single precision, behind its own."""
        _, first, end = self.graph
        parts: list[memoryview | bytes] = [self.content[first:end]]
        for name, array in arrays.items():
            head = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
            before = head.SerializeToString() + _key(RAW_DATA) + _varint(array.nbytes)
            parts += [_key(INITIALIZER), _varint(len(before) + array.nbytes), before]
            parts.append(np.ascontiguousarray(array, KIND).data.cast("B"))
        return self._with_graph(parts)

    def _with_graph(self, parts: Sequence[memoryview | bytes]) -> bytes:
        begin, _, end = self.graph
        size = _varint(sum(len(part) for part in parts))
        rest = (self.content[:begin], _key(GRAPH), size, *parts, self.content[end:])
        return b"".join(rest)


def _weights(content: memoryview, *, begin: int, first: int, end: int) -> tuple[str, Stored | None]:
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
    return name, Stored(begin=begin, end=end, at=at, dims=tuple(dims))


def _fields(content: memoryview, begin: int, *, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Every field of a message: its number, where it begins, where its value begins and ends."""
    at = begin
    for _ in range(MOST_FIELDS):
        if at >= end:
            return
        start = at
        key, at = _read_varint(content, at)
        kind = key & 7
        if not key >> 3:
            raise ValueError("a field of number 0")
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
    if at < end:
        raise ValueError("too many fields")


def _read_varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number that is too long")


def _key(field: int) -> bytes:
    """Of a field that has a size before its value."""
    return bytes([field << 3 | SIZED])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
