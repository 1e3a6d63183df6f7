"""The ONNX model of an analog island, for any number of samples, in the file's operation set.

The cleaned-up graph has batch size 1 and the operation set of its file. An island's nodes are
brought to the operation set of the converted file (``runtime.file.opsets``), as ONNX Runtime knows
only one there. Where every tensor at the border has its batch axis in front, the same nodes mostly
work for a batch of N; where they do not, a Scan runs them on one sample after the other, which is
right for any node. Both are tried on random numbers against the nodes as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ....errors import ModelError
from ....runtime.file.opsets import needed, raised
from ....runtime.graph import Names
from ....runtime.ops import Array, Shape
from ..builder import Value
from ..file.cleanup import first_line, session
from .units import Island

BATCH = "N"
TRIED = 2**22  # numbers per sample up to which a batch is tried out


@dataclass(frozen=True, eq=False, kw_only=True)
class Border:
    """What an island needs to know of the network around it.

    Attributes:
        protos: the ONNX node of each node name.
        values: form of each border tensor in the AnnGraph.
        constants, shapes, dtypes: by tensor name; dtypes as TensorProto numbers.
    """

    protos: Mapping[str, onnx.NodeProto]
    values: Mapping[str, Value]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, int]
    opsets: Sequence[onnx.OperatorSetIdProto]
    ir_version: int


def island_model(island: Island, border: Border) -> bytes:
    """A serialized model whose inputs and outputs are float32 (N, *sample shape) under the
    island's tensor names.

    Raises ModelError: E307 where the nodes do not run, E327 where they do not give the same
    numbers in the operation set of the converted file.
    """
    inner = _Inner(island, border)
    plain = _one_sample(inner)
    largest = max(prod(border.values[t].shape) for t in (*island.inputs, *island.outputs))
    trials = _trials(plain, inner, 3 if largest <= TRIED else 1)
    whole = raised(plain, needed([plain]))
    scanned = _scanned(whole, inner)
    if not _gives(scanned, trials):
        raise ModelError(
            f"{_named(island)}, to run as an analog part, give other numbers in the operation set "
            "of the converted file",
            remedy="Export the model with a newer operation set.",
            code="E327",
        )
    if largest <= TRIED and all(
        border.values[t].batched for t in (*island.inputs, *island.outputs)
    ):
        batched = _batched(whole, inner)
        if _gives(batched, trials):
            return batched.SerializeToString()
    return scanned.SerializeToString()


@dataclass(frozen=True, eq=False, kw_only=True)
class _Trial:
    """Samples (count, *sample shape) by input, and what the nodes give, in the outputs' order."""

    samples: Mapping[str, Array]
    expected: Sequence[Array]


class _Inner:
    """An island with the names of its inside. ``read``, ``made``: the border tensors in there."""

    def __init__(self, island: Island, border: Border) -> None:
        tensors = [t for node in island.nodes for t in (*node.inputs, *node.outputs)]
        names = Names([*tensors, *island.inputs, *island.outputs])
        self.island = island
        self.border = border
        self.new: Callable[[str], str] = names.new
        self.read = {t: names.new(f"{t}/read") for t in island.inputs}
        self.made = {t: names.new(f"{t}/made") for t in island.outputs}

    def value(self, tensor: str) -> Value:
        return self.border.values[tensor]

    def node(self, name: str) -> onnx.NodeProto:
        """The node of this name with border tensors under their inner names."""
        return _renamed(self.border.protos[name], self.read | self.made)


def _trials(plain: onnx.ModelProto, inner: _Inner, count: int) -> list[_Trial]:
    """Positive samples, which every operation takes; then any, where the nodes run on them."""
    rng = np.random.default_rng(0)
    shapes = {t: (count, *inner.value(t).shape) for t in inner.island.inputs}
    positive = {
        t: rng.random(shape, np.float32) * np.float32(0.9) + np.float32(0.1)
        for t, shape in shapes.items()
    }
    drawn = {t: 2 * rng.standard_normal(shape, np.float32) for t, shape in shapes.items()}
    try:
        trials = [_trial(plain, inner, positive)]
    except Exception as error:
        raise ModelError(
            f"{_named(inner.island)}, to run as an analog part, do not run: {first_line(error)}",
            remedy="Check the model with onnx.checker.check_model and export it again.",
            code="E307",
        ) from error
    try:
        return [*trials, _trial(plain, inner, drawn)]
    except Exception:
        return trials  # indices out of range, for example


def _named(island: Island) -> str:
    names = ", ".join(f"'{node.name}' ({node.op})" for node in island.nodes[:5])
    return f"the nodes {names}"


def _trial(plain: onnx.ModelProto, inner: _Inner, samples: Mapping[str, Array]) -> _Trial:
    """What the nodes give for one sample after the other."""
    runner = session(plain)
    rows = [
        runner.run(
            list(inner.island.outputs),
            {
                t: row.reshape(inner.value(t).onnx_shape)
                for t, row in zip(samples, one, strict=True)
            },
        )
        for one in zip(*samples.values(), strict=True)
    ]
    expected = [
        np.stack([row.reshape(inner.value(t).shape) for row in column])
        for t, column in zip(inner.island.outputs, zip(*rows, strict=True), strict=True)
    ]
    return _Trial(samples=samples, expected=expected)


def _gives(model: onnx.ModelProto, trials: Sequence[_Trial]) -> bool:
    """Whether the model gives what the nodes gave."""
    try:
        runner = session(model)
        found = [runner.run(None, dict(trial.samples)) for trial in trials]
    except Exception:
        return False  # some node needs the batch size 1
    return all(
        f.shape == e.shape and np.allclose(f, e, rtol=1e-4, atol=1e-5, equal_nan=True)
        for outputs, trial in zip(found, trials, strict=True)
        for f, e in zip(outputs, trial.expected, strict=True)
    )


def _one_sample(inner: _Inner) -> onnx.ModelProto:
    """The nodes as they are in the cleaned-up graph."""
    island, border = inner.island, inner.border
    nodes: list[onnx.NodeProto] = []
    constants = dict(_constants(inner))
    for tensor in island.inputs:
        _enter(nodes, constants, tensor, inner)
    nodes += [inner.node(node.name) for node in island.nodes]
    nodes += [
        _cast(inner.made[tensor], target=tensor, kind=TensorProto.FLOAT)
        for tensor in island.outputs
    ]
    graph = helper.make_graph(
        nodes,
        "island",
        [_info(t, inner.value(t).onnx_shape) for t in island.inputs],
        [_info(t, border.shapes[t]) for t in island.outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=list(border.opsets), ir_version=border.ir_version)


def _batched(plain: onnx.ModelProto, inner: _Inner) -> onnx.ModelProto:
    """The same nodes for a batch."""
    outer = {made: tensor for tensor, made in inner.made.items()}
    out = onnx.ModelProto()
    out.CopyFrom(plain)
    for node in out.graph.node:
        result = node.output[0]
        target = inner.border.shapes.get(outer.get(result, result), ())
        if node.op_type == "Reshape" and len(node.input) == 2 and target:
            name = inner.new(f"{result}/shape")
            sizes = np.asarray((-1, *target[1:]), np.int64)
            out.graph.initializer.append(numpy_helper.from_array(sizes, name))
            node.input[1] = name
    return _of_batch(out, inner)


def _scanned(plain: onnx.ModelProto, inner: _Inner) -> onnx.ModelProto:
    """One Scan over the samples, whose body computes one of them."""
    island = inner.island
    names = {t: inner.new(f"{t}/one") for t in (*island.inputs, *island.outputs)}
    samples = {t: inner.new(f"{t}/sample") for t in names}
    body = onnx.GraphProto()
    body.CopyFrom(plain.graph)
    nodes = [_renamed(node, names) for node in body.node]

    def reshaped(source: str, *, target: str, shape: Shape) -> onnx.NodeProto:
        name = inner.new(f"{target}/shape")
        body.initializer.append(numpy_helper.from_array(np.asarray(shape, np.int64), name))
        return helper.make_node("Reshape", [source, name], [target])

    into = [
        reshaped(samples[t], target=names[t], shape=inner.value(t).onnx_shape)
        for t in island.inputs
    ]
    out = [
        reshaped(names[t], target=samples[t], shape=inner.value(t).shape) for t in island.outputs
    ]
    del body.node[:], body.input[:], body.output[:], body.value_info[:]
    body.name = "sample"
    body.node.extend([*into, *nodes, *out])
    body.input.extend(_info(samples[t], inner.value(t).shape) for t in island.inputs)
    body.output.extend(_info(samples[t], inner.value(t).shape) for t in island.outputs)
    scan = helper.make_node(
        "Scan",
        list(island.inputs),
        list(island.outputs),
        body=body,
        num_scan_inputs=len(island.inputs),
    )
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(scan)
    return _of_batch(model, inner)


def _of_batch(model: onnx.ModelProto, inner: _Inner) -> onnx.ModelProto:
    """``model`` with inputs and outputs (N, *sample shape)."""
    graph = model.graph
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(_info(t, (BATCH, *inner.value(t).shape)) for t in inner.island.inputs)
    graph.output.extend(_info(t, (BATCH, *inner.value(t).shape)) for t in inner.island.outputs)
    return model


def _enter(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], tensor: str, inner: _Inner
) -> None:
    """``tensor``, a running mean in float32, as the type that the island's nodes read."""
    kind = inner.border.dtypes.get(tensor, TensorProto.FLOAT)
    source = tensor
    if np.dtype(helper.tensor_dtype_to_np_dtype(kind)).kind in "iub":
        # the mean of equal integers can be off by a rounding error
        half, shifted, source = (inner.new(f"{tensor}/{n}") for n in ("half", "shifted", "whole"))
        constants[half] = np.asarray(0.5, np.float32)
        nodes.append(helper.make_node("Add", [tensor, half], [shifted]))
        nodes.append(helper.make_node("Floor", [shifted], [source]))
    nodes.append(_cast(source, target=inner.read[tensor], kind=kind))


def _cast(source: str, *, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def _renamed(proto: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    out = onnx.NodeProto()
    out.CopyFrom(proto)
    for index, name in enumerate(out.input):
        out.input[index] = names.get(name, name)
    for index, name in enumerate(out.output):
        out.output[index] = names.get(name, name)
    return out


def _constants(inner: _Inner) -> Mapping[str, Array]:
    # In the nodes' order, so that the same model gives the same bytes in every process.
    known = inner.border.constants
    return {t: known[t] for node in inner.island.nodes for t in node.inputs if t in known}


def _info(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
