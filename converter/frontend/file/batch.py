"""Models whose batch size is fixed at more than one: made to run on one sample, or refused.

The first axis of an input with two axes or more is its batch axis. Where a model fixes it at B > 1,
a Reshape often has that B in its constant shape; such shapes are rewritten to hold for any batch.
Whether the model then computes the same, sample by sample, is tried on random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ....errors import ModelError
from ....runtime.ops import Array, Shape
from .cleanup import Sized, first_line, numpy_name, session, with_shapes
from .constants import constants_of
from .limits import LARGEST

TOLERANCE = 1e-3  # relative, and a tenth of it of the largest value


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedBatch:
    """Inputs with a fixed first axis above one: ``size`` of every one, its shape in the file."""

    size: int
    shapes: Mapping[str, Shape]


def fixed_batch(model: onnx.ModelProto, weights: Mapping[str, Array]) -> FixedBatch | None:
    """What ``model`` fixes its batch size at; None where that is open or 1, or no single number."""
    held = {t.name for t in model.graph.initializer} | set(weights)
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in model.graph.input
        if v.name not in held
    }
    batched = {name: shape for name, shape in shapes.items() if len(shape) > 1}
    sizes = {shape[0] for shape in batched.values()}
    if len(sizes) != 1 or min(sizes) < 2:
        return None
    return FixedBatch(size=sizes.pop(), shapes=batched)


def for_any_batch(model: onnx.ModelProto, batch: FixedBatch) -> onnx.ModelProto:
    """A copy whose constant shapes (of Reshape and Expand) leave the batch size open; ``model``
    itself where none has it."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    shapes = _shapes(model)
    constants = constants_of(model.graph)
    changed = False
    for number, node in enumerate(out.graph.node):
        if node.op_type not in ("Reshape", "Expand") or node.domain or len(node.input) < 2:
            continue
        target, source = constants.get(node.input[1]), shapes.get(node.input[0])
        if target is None or not source:
            continue
        opened = _opened(node, [int(n) for n in target.ravel()], source, batch.size)
        if opened is not None:
            name = f"{node.input[1]}/any_batch_{number}"
            array = np.asarray(opened, np.int64)
            out.graph.initializer.append(numpy_helper.from_array(array, name))
            node.input[1] = name
            changed = True
    if not changed:
        return model
    del out.graph.value_info[:]
    return out


def _opened(node: onnx.NodeProto, target: list[int], source: Shape, size: int) -> list[int] | None:
    """The constant shape without the batch size, None where it has none or needs it."""
    if not target or target[0] < size or target[0] % size or source[0] % size:
        return None
    if node.op_type == "Expand":
        return [1, *target[1:]] if len(target) == len(source) else None
    keeps_zeros = any(a.name == "allowzero" and a.i for a in node.attribute)
    if target[0] == source[0] and not keeps_zeros:
        return [0, *target[1:]]
    return None if -1 in target or 0 in target else [-1, *target[1:]]


def check_one_by_one(
    original: onnx.ModelProto,
    fixed: Sized,
    batch: FixedBatch,
    where: str,
    weights: Mapping[str, Array],
) -> None:
    """Raise ModelError (E312) where ``fixed`` (batch size 1) does not give, for the first and the
    last of a batch of random samples, what ``original`` (other sizes static) gives for all."""
    whole = _with_batch(original, batch)
    if max((prod(s) for s in _shapes(whole).values()), default=0) > LARGEST:  # too much to try
        return
    try:
        runner = session(whole)
        data = _random(runner.get_inputs(), weights)
        together = runner.run(None, data)
    except Exception:
        return  # it does not run as it is, and the clean-up will say so
    names = [name for name, _, batched in fixed.inputs if batched]
    for index in (0, batch.size - 1):
        one = {n: x[index : index + 1] if n in names else x for n, x in data.items()}
        try:
            alone = session(fixed.model).run(None, one)
        except Exception as error:
            raise _refused(original, batch, where, what=first_line(error)) from error
        for output, a, b in zip(original.graph.output, together, alone, strict=True):
            if not _agrees(np.asarray(a), alone=np.asarray(b), index=index, size=batch.size):
                what = f"the output '{output.name}' differs"
                raise _refused(original, batch, where, what=what)


def _agrees(together: Array, *, alone: Array, index: int, size: int) -> bool:
    if not together.ndim or together.shape[0] % size:
        return True  # no batch axis in front: the same for all, or what no sample owns
    rows = together.shape[0] // size
    part = together[index * rows : (index + 1) * rows]
    if part.size != alone.size:
        return False
    scale = 1 + float(np.abs(part.astype(np.float64)).max(initial=0))
    close = np.isclose(
        part.ravel(), alone.ravel(), TOLERANCE, TOLERANCE / 10 * scale, equal_nan=True
    )
    return bool(close.all())


def _refused(model: onnx.ModelProto, batch: FixedBatch, where: str, *, what: str) -> ModelError:
    name, shape = next(iter(batch.shapes.items()))
    first = (
        f"the first axis of an input is taken as its batch axis; that of '{name}' {shape} is fixed "
        f"at {batch.size}"
    )
    adds = _puts_axis_in_front(model, name)
    if adds:
        return ModelError(
            f"{first}, and '{adds}' puts another axis in front: the model has no batch axis",
            where=where,
            remedy=f"Export it with an example input of shape {(1, *shape)}.",
            code="E312",
        )
    return ModelError(
        f"{first}, and with one sample the model does not run or gives something else ({what})",
        where=where,
        remedy="Export it with a batch size of 1, or with a dynamic batch axis.",
        code="E312",
    )


def _puts_axis_in_front(model: onnx.ModelProto, name: str) -> str:
    """The Unsqueeze or Reshape that gives an input an axis of size one in front, "" if none."""
    constants, shapes = constants_of(model.graph), _shapes(model)
    for node in model.graph.node:
        if not node.input or node.input[0] != name:
            continue
        attribute = next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
        held = constants.get(node.input[1]) if len(node.input) > 1 else None
        axes = attribute if held is None else held.ravel().tolist()
        made = shapes.get(node.output[0], ())
        if node.op_type == "Unsqueeze" and axes and 0 in axes:
            return str(node.name or node.output[0])
        grown = made == (1, *shapes.get(name, ()))
        if node.op_type == "Reshape" and grown:
            return str(node.name or node.output[0])
    return ""


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes that inference finds, of every size known."""
    try:
        graph = with_shapes(model, "").graph
    except Exception:
        return {}
    found = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*graph.input, *graph.value_info, *graph.output)
        if v.type.tensor_type.HasField("shape")
    }
    return {name: shape for name, shape in found.items() if all(n > 0 for n in shape)}


def _with_batch(sized: onnx.ModelProto, batch: FixedBatch) -> onnx.ModelProto:
    out = onnx.ModelProto()
    out.CopyFrom(sized)
    for value in out.graph.input:
        if value.name in batch.shapes:
            value.type.tensor_type.shape.dim[0].dim_value = batch.size
    return out


def _random(inputs: Sequence[Any], weights: Mapping[str, Array]) -> dict[str, Array]:
    """A value for every input of a session: 0 and 1 where it holds integers."""
    rng = np.random.default_rng(0)

    def drawn(kind: np.dtype, shape: Shape) -> Array:
        if kind.kind == "f":
            return rng.normal(size=shape).astype(kind)
        return rng.integers(0, 2, shape).astype(kind)

    return {
        i.name: weights[i.name]
        if i.name in weights
        else drawn(np.dtype(numpy_name(i.type)), i.shape)
        for i in inputs
    }
