"""Cheap checks of a model before ONNX Runtime sees it: what is declared must be there, and fit.

A file can say that a tensor of 10^12 numbers follows, or fold a constant of that size. Such a model
is refused here, with the tensor named, instead of by running out of memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from ....errors import ModelError
from ....runtime.ops import Array
from ....spelling import spelled
from ..refusals import STANDARD
from .inference import inferred_shapes

LARGEST = 2**26  # numbers in one computed tensor at batch size 1: 256 MiB of float32
LARGEST_CONSTANT = 2**26  # numbers in all constants that the clean-up computes, or what the
GROWTH = 4  # -fold of the weights is, if that is more
LARGE_WEIGHT = 2**14  # bytes; constants that shapes depend on are smaller
UNKNOWN = "onnx2snn.unknown"  # a domain that inference does not know
DEEPEST = 8  # subgraphs inside each other
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
# Operations to which an infinite constant is a bound or a mask. What becomes of one that is added
# is looked at when nodes are folded (``importing``).
TAKING_INFINITY = ("Max", "Min", "Clip", "Where", "Add", "Sub", "Identity", "Cast")
DAMAGED = "The file is damaged; export the model again."


def _bad(what: str, *, where: str, code: str = "E303", remedy: str = DAMAGED) -> ModelError:
    return ModelError(what, where=where, remedy=remedy, code=code)


def check_structure(model: onnx.ModelProto, where: str, weights: Mapping[str, Array]) -> None:
    """Raise ModelError (E303) for names defined twice, nesting, and nodes without what they need;
    (E305) for NaN or infinity in weights."""
    _check_depth(model.graph, where, 0)
    made = Counter(o for node in model.graph.node for o in node.output if o)
    made.update(v.name for v in model.graph.input)
    twice = min((name for name, times in made.items() if times > 1), default=None)
    if twice is not None:
        raise _bad(f"the tensor '{twice}' is computed twice", where=where)
    if not model.graph.output:
        raise _bad("the graph has no output", where=where)
    if not any(o.domain in STANDARD for o in model.opset_import):
        raise _bad("it does not say which version of the standard operations it uses", where=where)
    masks = _masks(model.graph)
    for name, array in weights.items():
        _check_finite(name, array, where=where, mask=name in masks)
    for tensor in model.graph.initializer:
        _check_tensor(tensor, where, mask=tensor.name in masks)
    for node in model.graph.node:
        if not node.output:
            raise _bad(f"the node '{node.name}' ({node.op_type}) has no output", where=where)
        for attribute in node.attribute:
            if attribute.HasField("t"):
                mask = node.op_type == "Constant" and node.output[0] in masks
                _check_tensor(attribute.t, where, mask=mask)


def _masks(graph: onnx.GraphProto) -> set[str]:
    """What is read by nothing but operations that an infinite constant means something to."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    return {name for name, ops in readers.items() if ops <= {*TAKING_INFINITY}}


def check_types(model: onnx.ModelProto, where: str, weights: Collection[str] = ()) -> None:
    """Raise ModelError (E303) for an input whose type is not known or holds no numbers."""
    held = {t.name for t in model.graph.initializer} | set(weights)
    for value in model.graph.input:
        kind = value.type.tensor_type.elem_type
        if value.name not in held and not (value.type.HasField("tensor_type") and _numbers(kind)):
            known = kind in TensorProto.DataType.values()
            named = TensorProto.DataType.Name(kind).lower() if known else f"type {kind}"
            raise _bad(
                f"the input '{value.name}' is no tensor of real numbers ({named})",
                where=where,
                remedy="Export the model with floating-point or integer inputs.",
            )


def _numbers(kind: int) -> bool:
    """Whether NumPy has the type, real numbers or truth values."""
    if kind in FLOATS:
        return True
    known = kind in onnx.helper.get_all_tensor_dtypes()
    return known and np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).kind in "iub"


def check_computed(model: onnx.ModelProto, where: str) -> None:
    """Raise ModelError (E306) for a computed tensor of a cleaned-up graph that is empty."""
    for value in (*model.graph.value_info, *model.graph.output):
        if any(
            d.HasField("dim_value") and d.dim_value < 1 for d in value.type.tensor_type.shape.dim
        ):
            raise _bad(
                f"the tensor '{value.name}' is empty",
                where=where,
                code="E306",
                remedy=_other_sizes("others"),
            )


def _other_sizes(which: str) -> str:
    return f"Check the sizes in the model, or give {which} with {spelled('input_shapes')}."


def _check_depth(graph: onnx.GraphProto, where: str, depth: int) -> None:
    if depth > DEEPEST:
        raise _bad(f"more than {DEEPEST} graphs inside each other", where=where)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _check_depth(inner, where, depth + 1)


def _check_tensor(tensor: TensorProto, where: str, *, mask: bool) -> None:
    name, dims = tensor.name, tuple(tensor.dims)
    if any(d < 0 for d in dims):
        raise _bad(f"the tensor '{name}' has the shape {dims}", where=where)
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:
        what = f"the tensor '{name}' does not hold what its shape {dims} and type say"
        raise _bad(what, where=where) from error
    if tensor.data_type in FLOATS:
        _check_finite(name, array, where=where, mask=mask)


def _check_finite(name: str, array: Array, *, where: str, mask: bool) -> None:
    """``mask``: infinity may be meant."""
    if array.dtype.kind in "iub":
        return
    numbers = array.astype(np.float32, copy=False)
    if (mask or array.size == 1) and not np.isnan(numbers).any():
        return  # infinity: a bound or a mask, not a weight
    if not np.isfinite(numbers).all():
        raise ModelError(
            f"the weights '{name}' contain NaN or infinity",
            where=where,
            remedy="The training diverged; take an earlier checkpoint.",
            code="E305",
        )


def check_sizes(model: onnx.ModelProto, where: str, weights: Collection[str] = ()) -> None:
    """Raise ModelError (E311) for a tensor that would be too large; ``model`` has static input
    shapes."""
    inferred = _inferred(model, where)
    if inferred is not None:  # else ONNX Runtime will say what is wrong
        check_inferred(model, inferred.graph, where, weights)


def check_inferred(
    model: onnx.ModelProto, graph: onnx.GraphProto, where: str, weights: Collection[str] = ()
) -> None:
    """As ``check_sizes``, by the shapes in ``graph``, which is that of ``model`` with shapes."""
    held = {t.name for t in model.graph.initializer} | set(weights)
    computed = _computed(graph, held)
    stored = sum(prod(t.dims) for t in model.graph.initializer)
    most, constants = max(LARGEST_CONSTANT, GROWTH * stored), 0
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.name in held:
            continue
        size = prod(max(d.dim_value, 1) for d in value.type.tensor_type.shape.dim)
        constants += 0 if value.name in computed else size
        limit = LARGEST if value.name in computed else most
        if size > limit or constants > most:
            raise _bad(
                f"the tensor '{value.name}' would have {size} numbers, {limit} are the limit",
                where=where,
                code="E311",
                remedy=_other_sizes("smaller ones"),
            )


def _inferred(model: onnx.ModelProto, where: str) -> onnx.ModelProto | None:
    """``model`` with shapes, None where they contradict each other.

    ONNX's inference ends the whole process on a Slice along an axis of size zero, so every Slice
    is first an Identity, and becomes itself again once the shape of its input is known.
    """
    probe = without_ranges(_without_large_weights(model))
    slices = [node for node in probe.graph.node if node.op_type == "Slice" and not node.domain]
    originals = [onnx.NodeProto.FromString(node.SerializeToString()) for node in slices]
    for node in slices:
        node.op_type = "Identity"
        del node.input[1:]
        del node.attribute[:]
    try:
        inferred = inferred_shapes(probe, where=where, data_prop=True)
        for node, original in zip(slices, originals, strict=True):
            if _has_empty_axis(inferred.graph, original.input[0]):
                raise _bad(
                    f"node '{original.name or original.output[0]}' slices a tensor with an axis "
                    "of size zero",
                    where=where,
                    code="E306",
                    remedy=_other_sizes("others"),
                )
            node.CopyFrom(original)
            inferred = inferred_shapes(probe, where=where, data_prop=True)
    except ModelError:
        raise
    except Exception:
        return None
    return inferred


def _without_large_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which large weights are inputs of their shape: inference needs no more of them,
    and copies the model each time."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    large = [t for t in probe.graph.initializer if t.ByteSize() > LARGE_WEIGHT]
    listed = {value.name for value in probe.graph.input}
    for tensor in large:
        if tensor.name not in listed:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            probe.graph.input.append(info)
    kept = [t for t in probe.graph.initializer if t.ByteSize() <= LARGE_WEIGHT]
    del probe.graph.initializer[:]
    probe.graph.initializer.extend(kept)
    return probe


def without_ranges(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` for inference: each Range is an operation that nothing is known of, as inference
    would make all its numbers, however many."""
    if not any(node.op_type == "Range" for node in model.graph.node):
        return model
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for node in out.graph.node:
        if node.op_type == "Range":
            node.domain = UNKNOWN
    out.opset_import.append(onnx.helper.make_opsetid(UNKNOWN, 1))
    return out


def _has_empty_axis(graph: onnx.GraphProto, name: str) -> bool:
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.name == name:
            dims = value.type.tensor_type.shape.dim
            return any(d.HasField("dim_value") and d.dim_value <= 0 for d in dims)
    return any(0 in weight.dims for weight in graph.initializer if weight.name == name)


def _computed(graph: onnx.GraphProto, weights: Collection[str]) -> set[str]:
    """Tensors that depend on an input."""
    found = {v.name for v in graph.input} - {t.name for t in graph.initializer} - set(weights)
    for node in graph.node:
        if found.intersection(node.input):
            found.update(node.output)
    return found
