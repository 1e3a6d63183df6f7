"""Hostile files made from good ones: bytes damaged, or the fields of the protobuf message.

``mutant(seed, files)`` is the same for the same seed and files. Every kind of field of every
message that an ONNX file holds can change, at any depth: there is no list of what is attacked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor as Kind
from google.protobuf.message import Message
from onnx import TensorProto, helper

INTEGERS = (0, 1, -1, 2, 3, 7, 64, 255, 10**4, 10**6, 10**9, 2**31 - 1, -(2**31), 2**40, 2**62)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 3e38, -3e38, float("nan"), float("inf"))
TEXTS = ("", "x", "é", "a\nb", "\x1b[31m", "n" * 5000, "../x", "/", "steps", "input", "ai.onnx")
OPS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
WIDE = {Kind.TYPE_INT64, Kind.TYPE_UINT64}


def mutant(seed: int, files: Sequence[bytes]) -> bytes:
    """One to four random changes of one of the ``files``."""
    rng = random.Random(seed)
    data = rng.choice(files)
    if rng.random() < 0.3:
        return rng.choice(BYTES)(rng, data, files)
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
        change = rng.choice(STRUCTURE) if rng.random() < 0.5 else change_field
        try:
            change(rng, model)
        except (IndexError, ValueError, TypeError):
            continue  # nothing there that it could change
    return model.SerializeToString()


def flip(rng: random.Random, data: bytes, files: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(rng: random.Random, data: bytes, files: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data))
    size = rng.choice([1, 2, 8, 64])
    return data[:start] + rng.randbytes(size) + data[start + size :]


def cut(rng: random.Random, data: bytes, files: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] if rng.random() < 0.5 else data[:start] + data[start + rng.randrange(64) :]


def splice(rng: random.Random, data: bytes, files: Sequence[bytes]) -> bytes:
    other = rng.choice(files)
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


BYTES = (flip, flip, overwrite, cut, splice)


def change_field(rng: random.Random, model: onnx.ModelProto) -> None:
    """A random field of a random message, at any depth."""
    message: Any = model
    while True:
        fields = [field for field, _ in message.ListFields()]
        if not fields or rng.random() < 0.04:
            fields = list(message.DESCRIPTOR.fields)
        field = rng.choice(fields)
        value = getattr(message, field.name)
        if field.message_type is None:
            return _scalar(rng, message, field)
        many = _many(field)
        if many and (not value or rng.random() < 0.2):
            return _items(rng, value, field)
        if not many and rng.random() < 0.1:
            return message.ClearField(field.name)
        message = value[rng.randrange(len(value))] if many else value


def _many(field: Any) -> bool:
    return bool(field.is_repeated)


def _items(rng: random.Random, value: Any, field: Any) -> None:
    """A repeated message: one item more, fewer, twice, or another order."""
    match rng.randrange(5):
        case 0:
            del value[rng.randrange(len(value))]
        case 1:
            value.add().CopyFrom(value[rng.randrange(len(value))])
        case 2:
            items = [type(item).FromString(item.SerializeToString()) for item in value]
            rng.shuffle(items)
            del value[:]
            value.extend(items)
        case 3:
            value.add()
        case _:
            del value[rng.randrange(len(value)) :]


def _scalar(rng: random.Random, message: Message, field: Any) -> None:
    if not _many(field):
        new = _value(rng, field, getattr(message, field.name))
        return message.ClearField(field.name) if new is None else setattr(message, field.name, new)
    values = list(getattr(message, field.name))
    match rng.randrange(5):
        case 0 if values:
            del values[rng.randrange(len(values))]
        case 1:
            values.insert(rng.randrange(len(values) + 1), _value(rng, field, 0) or 0)
        case 2:
            values *= 2
        case _ if values:
            index = rng.randrange(len(values))
            values[index] = _value(rng, field, values[index])
    values = [v for v in values if v is not None]
    message.ClearField(field.name)
    getattr(message, field.name).extend(values)


def _value(rng: random.Random, field: Any, old: Any) -> Any:
    """Another value for the field; None to leave it out."""
    if rng.random() < 0.1:
        return None
    if field.type in (Kind.TYPE_FLOAT, Kind.TYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == Kind.TYPE_STRING:
        return rng.choice([*TEXTS, *OPS[:20], str(old) + "_", str(old)[:-1]])
    if field.type == Kind.TYPE_BYTES:
        old = old if isinstance(old, bytes) else b""
        return rng.choice([b"", old[:-1], old + b"\0", rng.randbytes(len(old)), old * 2])
    if field.type == Kind.TYPE_ENUM:
        return rng.choice(list(field.enum_type.values_by_number))
    value = rng.choice([*INTEGERS, int(old) + 1, int(old) - 1, rng.randrange(32)])
    low, high = (-(2**63), 2**63 - 1) if field.type in WIDE else (-(2**31), 2**31 - 1)
    return min(max(value, low), high)


def _names(graph: onnx.GraphProto) -> list[str]:
    made = [o for node in graph.node for o in node.output]
    return [*made, *(v.name for v in (*graph.initializer, *graph.input, *graph.output))]


def rewire(rng: random.Random, model: onnx.ModelProto) -> None:
    """A node reads another tensor, of a later node (a cycle), too."""
    node = rng.choice([n for n in model.graph.node if n.input])
    node.input[rng.randrange(len(node.input))] = rng.choice([*_names(model.graph), "", "no such"])


def rename(rng: random.Random, model: onnx.ModelProto) -> None:
    node = rng.choice(model.graph.node)
    node.output[rng.randrange(len(node.output))] = rng.choice([*_names(model.graph), ""])


def give_out(rng: random.Random, model: onnx.ModelProto) -> None:
    """Some tensor is a network output, the same one twice at times."""
    for _ in range(rng.choice([1, 2])):
        model.graph.output.add().name = rng.choice(_names(model.graph))


def change_operation(rng: random.Random, model: onnx.ModelProto) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(OPS)


def resize_weight(rng: random.Random, model: onnx.ModelProto) -> None:
    """A weight of another shape, with the numbers for it."""
    tensor = rng.choice(model.graph.initializer)
    dims = [rng.choice([0, 1, 2, 3, 5, 16]) for _ in range(rng.randrange(5))]
    kind = rng.choice([TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.INT32])
    count = 1
    for d in dims:
        count *= d
    values = [rng.choice((0, 1, 2, -1)) for _ in range(count)]
    values = [bool(v) for v in values] if kind == TensorProto.BOOL else values
    tensor.CopyFrom(helper.make_tensor(tensor.name, kind, dims, values))


def change_numbers(rng: random.Random, model: onnx.ModelProto) -> None:
    """A constant in a weight's place: the sizes and axes that other nodes read."""
    tensor = rng.choice(model.graph.initializer)
    if tensor.data_type == TensorProto.INT64:
        array = onnx.numpy_helper.to_array(tensor).copy()
        array.flat[rng.randrange(array.size)] = rng.choice(INTEGERS)
    else:
        array = onnx.numpy_helper.to_array(tensor) * rng.choice(FLOATS)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def change_input(rng: random.Random, model: onnx.ModelProto) -> None:
    value = rng.choice(model.graph.input)
    dims = value.type.tensor_type.shape.dim
    match rng.randrange(4):
        case 0:
            dims[rng.randrange(len(dims))].dim_value = rng.choice(INTEGERS)
        case 1:
            value.type.tensor_type.elem_type = rng.randrange(30)
        case 2:
            del dims[rng.randrange(len(dims)) :]
        case _:
            dims.add().dim_value = rng.choice((1, 2, 0, 1000))


def add_node(rng: random.Random, model: onnx.ModelProto) -> None:
    """A node of any operation between two others."""
    graph = model.graph
    node = rng.choice([n for n in graph.node if n.input])
    slot = rng.randrange(len(node.input))
    names = [node.input[slot], *(rng.choice(_names(graph)) for _ in range(rng.randrange(3)))]
    made = helper.make_node(rng.choice(OPS), names, [f"made{rng.randrange(10**6)}"])
    if rng.random() < 0.5:
        made.attribute.append(
            helper.make_attribute(
                rng.choice(["axis", "axes", "to", "perm", "shape", "size", "value_int"]),
                rng.choice([[rng.choice(INTEGERS)], rng.choice(INTEGERS), [0, 1]]),
                attr_type=None,
            )
        )
    node.input[slot] = made.output[0]
    index = next(i for i, n in enumerate(graph.node) if n is node or n == node)
    graph.node.insert(index, made)


def add_size(rng: random.Random, model: onnx.ModelProto) -> None:
    """A node whose output is as large as its constant input says."""
    graph = model.graph
    node = rng.choice([n for n in graph.node if n.input])
    slot, tag = rng.randrange(len(node.input)), str(rng.randrange(10**6))
    sizes = [rng.choice((1, 2, 1000, 10**5, 2**31)) for _ in range(rng.randrange(1, 5))]
    graph.initializer.append(helper.make_tensor(f"s{tag}", TensorProto.INT64, [len(sizes)], sizes))
    op = rng.choice(["ConstantOfShape", "Expand", "Tile", "Reshape"])
    names = [f"s{tag}"] if op == "ConstantOfShape" else [node.input[slot], f"s{tag}"]
    index = next(i for i, n in enumerate(graph.node) if n == node)
    node.input[slot] = f"m{tag}"
    graph.node.insert(index, helper.make_node(op, names, [f"m{tag}"]))


def add_loop(rng: random.Random, model: onnx.ModelProto) -> None:
    """A Loop of many trips whose state doubles at times."""
    graph, tag = model.graph, str(rng.randrange(10**6))
    node = rng.choice([n for n in graph.node if n.input])
    slot = rng.randrange(len(node.input))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c2"]),
            helper.make_node("Concat", ["v", "v"], ["v2"], axis=0)
            if rng.random() < 0.5
            else helper.make_node("Add", ["v", "v"], ["v2"]),
        ],
        "body",
        [onnx.ValueInfoProto(name=n) for n in ("i", "c", "v")],
        [onnx.ValueInfoProto(name=n) for n in ("c2", "v2")],
    )
    for value, kind in zip((*body.input, *body.output), (7, 9, 1, 9, 1), strict=True):
        value.type.tensor_type.elem_type = kind
    trips = helper.make_tensor(f"t{tag}", TensorProto.INT64, [], [rng.choice(INTEGERS)])
    graph.initializer.extend([trips, helper.make_tensor(f"c{tag}", TensorProto.BOOL, [], [True])])
    loop = helper.make_node(
        "Loop", [f"t{tag}", f"c{tag}", node.input[slot]], [f"l{tag}"], body=body
    )
    index = next(i for i, n in enumerate(graph.node) if n == node)
    node.input[slot] = f"l{tag}"
    graph.node.insert(index, loop)


def add_function(rng: random.Random, model: onnx.ModelProto) -> None:
    """A node becomes a local function, one of functions that call each other at times."""
    graph = model.graph
    index = rng.randrange(len(graph.node))
    node = onnx.NodeProto.FromString(graph.node[index].SerializeToString())
    inputs, outputs = [n for n in node.input if n], [n for n in node.output if n]
    depth, fan = rng.choice([(1, 1), (3, 2), (25, 2), (200, 1)])
    model.functions.append(
        helper.make_function("fz", "f0", inputs, outputs, [node], list(model.opset_import))
    )
    opsets = [*model.opset_import, helper.make_opsetid("fz", 1)]
    for level in range(1, depth):
        calls = [
            helper.make_node(
                f"f{level - 1}", inputs, [o if k == 0 else f"{o}_{k}" for o in outputs], domain="fz"
            )
            for k in range(fan)
        ]
        model.functions.append(
            helper.make_function("fz", f"f{level}", inputs, outputs, calls, opsets)
        )
    model.opset_import.append(helper.make_opsetid("fz", 1))
    graph.node[index].CopyFrom(helper.make_node(f"f{depth - 1}", inputs, outputs, domain="fz"))


def shuffle(rng: random.Random, model: onnx.ModelProto) -> None:
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def lose_opsets(rng: random.Random, model: onnx.ModelProto) -> None:
    match rng.randrange(3):
        case 0:
            del model.opset_import[:]
            model.opset_import.append(helper.make_opsetid("other", 1))
        case 1:
            model.opset_import[0].version = rng.choice([*INTEGERS, *range(1, 30)])
        case _:
            model.ir_version = rng.choice([*INTEGERS, *range(1, 15)])


Change = Callable[[random.Random, onnx.ModelProto], None]
STRUCTURE: tuple[Change, ...] = (
    rewire,
    rewire,
    rename,
    give_out,
    change_operation,
    resize_weight,
    change_numbers,
    change_numbers,
    change_input,
    add_node,
    add_size,
    add_loop,
    add_function,
    shuffle,
    lose_opsets,
)
