"""Damaged models: one seeded mutation of a good file."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

SIZES = (0, -1, 1, 2, 7, 10**6, 2**31 - 1, 2**40, -(2**40))
OPS = (
    *("Relu", "Conv", "Loop", "If", "Scan", "LSTM", "NoSuchOp", "ConstantOfShape", "Expand"),
    *("Gemm", "Slice", "Range", "Tile", "Resize", "Pad", "NonZero", "Softmax", "Reshape"),
    *("ArgMax", "TopK", "BatchNormalization", "Concat", "Split", "Dropout", "AveragePool"),
)
Mutation = Callable[[random.Random, onnx.ModelProto], None]


def flipped(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 2, 8, 40])):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _names(graph: onnx.GraphProto) -> list[str]:
    made = [o for node in graph.node for o in node.output]
    return made + [v.name for v in (*graph.initializer, *graph.input)]


def rewire(rng: random.Random, model: onnx.ModelProto) -> None:
    node = rng.choice([n for n in model.graph.node if n.input])
    node.input[rng.randrange(len(node.input))] = rng.choice([*_names(model.graph), "", "no such"])


def rename(rng: random.Random, model: onnx.ModelProto) -> None:
    rng.choice(model.graph.node).output[0] = rng.choice(_names(model.graph))


def lie_about_weights(rng: random.Random, model: onnx.ModelProto) -> None:
    tensor = rng.choice(model.graph.initializer)
    if tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    else:
        tensor.dims.append(rng.choice(SIZES))


def lose_weights(rng: random.Random, model: onnx.ModelProto) -> None:
    del model.graph.initializer[rng.randrange(len(model.graph.initializer))]


def change_setting(rng: random.Random, model: onnx.ModelProto) -> None:
    attribute = rng.choice([a for n in model.graph.node for a in n.attribute])
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(SIZES)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(SIZES)
    else:
        attribute.f = rng.choice([float("nan"), float("inf"), 0.0, -1.0])


def lie_about_input(rng: random.Random, model: onnx.ModelProto) -> None:
    dims = rng.choice(model.graph.input).type.tensor_type.shape.dim
    dims[rng.randrange(len(dims))].dim_value = rng.choice(SIZES)


def change_operation(rng: random.Random, model: onnx.ModelProto) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(OPS)


def change_numbers(rng: random.Random, model: onnx.ModelProto) -> None:
    tensor = rng.choice(model.graph.initializer)
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind == "i" and array.size:
        limits = np.iinfo(array.dtype)
        value = min(max(rng.choice(SIZES), limits.min), limits.max)
        array = array.copy()
        array.flat[rng.randrange(array.size)] = value
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    else:
        tensor.data_type = rng.choice([1, 2, 6, 7, 9, 10, 11, 16])


def shuffle(rng: random.Random, model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    match rng.randrange(3):
        case 0:
            model.graph.node.append(rng.choice(nodes))
        case 1:
            model.graph.node.remove(rng.choice(nodes))
        case _:
            rng.shuffle(nodes)
            del model.graph.node[:]
            model.graph.node.extend(nodes)


def send_outside(rng: random.Random, model: onnx.ModelProto) -> None:
    tensor = rng.choice(model.graph.initializer)
    places = ["../secret", "/etc/passwd", "x/../../y", "missing", "", "link", "a\x00b", "."]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", rng.choice(places)


MUTATIONS: tuple[Mutation, ...] = (
    rewire,
    rename,
    lie_about_weights,
    lose_weights,
    change_setting,
    lie_about_input,
    change_operation,
    change_numbers,
    shuffle,
    send_outside,
)


def damaged(seed: int, files: list[bytes]) -> bytes:
    """The seed's mutation of one of the files, or two of them."""
    rng = random.Random(seed)
    data = rng.choice(files)
    kind = rng.randrange(len(MUTATIONS) + 3)
    if kind < 3:
        return truncated(rng, data) if kind == 2 else flipped(rng, data)
    for mutation in (MUTATIONS[kind - 3], *rng.sample(MUTATIONS, rng.randrange(2))):
        model = onnx.ModelProto()
        model.ParseFromString(data)
        try:
            mutation(rng, model)
        except (ValueError, IndexError, onnx.checker.ValidationError):  # nothing to change
            continue
        data = model.SerializeToString()
    return data
