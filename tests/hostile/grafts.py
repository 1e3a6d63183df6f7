"""Hostile files of another kind than ``mutants``: parts of one model put into another, and damage
to the encoding itself.

``graft(seed, files)`` is the same for the same seed and files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx
from google.protobuf.message import Message

SIZES = (0, -1, -(2**63), 2**31, 2**40, 2**62, 2**63 - 1)


def graft(seed: int, files: Sequence[bytes]) -> bytes:
    """One to three changes of one of the ``files``, most with parts of another one."""
    rng = random.Random(seed)
    data, other = rng.choice(files), onnx.ModelProto.FromString(rng.choice(files))
    if rng.random() < 0.25:
        return _encoding(rng, data)
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        try:
            rng.choice(CHANGES)(rng, model, other)
        except (IndexError, ValueError):
            continue  # nothing there that it could change
    return model.SerializeToString()


def _encoding(rng: random.Random, data: bytes) -> bytes:
    """A tag, length or varint that is none: the bytes of ten-byte numbers, groups, wrong ends."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 2, 8])):
        at = rng.randrange(len(out))
        bad = rng.choice([b"\xff" * 10, b"\x0b" * 50, b"\x80" * 9 + b"\x01", b"\x0c", b"\x7f\xff"])
        out[at : at + rng.choice([0, 1, len(bad)])] = bad
    return bytes(out)


def _messages(message: Any) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)


def swap_messages(rng: random.Random, model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """A message becomes one of its type in another model: a node, a type, an attribute, a graph."""
    ours = rng.choice([m for m in _messages(model) if m is not model])
    same = [m for m in _messages(other) if m.DESCRIPTOR == ours.DESCRIPTOR]
    ours.CopyFrom(rng.choice(same))


def take_over(rng: random.Random, model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """Nodes or weights of another model are added to this one's, in front or behind."""
    name = rng.choice(["node", "initializer", "input", "output", "value_info"])
    ours, theirs = getattr(model.graph, name), getattr(other.graph, name)
    items = [*ours, *theirs] if rng.random() < 0.5 else [*theirs, *ours]
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del ours[:]
    ours.extend(copies)


def change_attribute(rng: random.Random, model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """An attribute says that it is of another type, or is, or goes to another node."""
    attribute = rng.choice([a for n in model.graph.node for a in n.attribute])
    match rng.randrange(3):
        case 0:
            attribute.type = rng.choice(list(onnx.AttributeProto.AttributeType.values()))
        case 1:
            value: Any = rng.choice([1, 1.5, "x", [1, 2], [1.5], ["x"], [2**62] * 3, [-(2**63)]])
            attribute.CopyFrom(onnx.helper.make_attribute(attribute.name, value))
        case _:
            rng.choice(model.graph.node).attribute.add().CopyFrom(attribute)


def change_sizes(rng: random.Random, model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """Sizes that no tensor has, of a weight or of a declared value."""
    if rng.random() < 0.5:
        tensor = rng.choice(model.graph.initializer)
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    else:
        values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
        dims = rng.choice(values).type.tensor_type.shape.dim
        dims[rng.randrange(len(dims))].dim_value = rng.choice(SIZES)


def collide(rng: random.Random, model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """Everywhere in the graph, one name becomes another that is there."""
    graph = model.graph
    names = [*{n for node in graph.node for n in (*node.input, *node.output)}]
    old, new = rng.choice(sorted(names)), rng.choice(sorted(names))
    for node in graph.node:
        for ends in (node.input, node.output):
            ends[:] = [new if name == old else name for name in ends]
    for item in (*graph.initializer, *graph.input, *graph.output):
        item.name = new if item.name == old else item.name


def drop_or_double(rng: random.Random, model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    items = getattr(model.graph, rng.choice(["node", "initializer", "input", "output"]))
    at = rng.randrange(len(items))
    if rng.random() < 0.5:
        del items[at]
    else:
        items.add().CopyFrom(items[at])


Change = Callable[[random.Random, onnx.ModelProto, onnx.ModelProto], None]
CHANGES: tuple[Change, ...] = (
    swap_messages,
    swap_messages,
    take_over,
    change_attribute,
    change_sizes,
    collide,
    drop_or_double,
)
