"""One emitter per operation: the ONNX nodes that compute it on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .. import ops
from ..ops import Array
from ..ops.linear import CumSum
from ..tables import entry

# add(op, *inputs, out=name, **attributes) appends an ONNX node; constant(array) names a constant.
Add: TypeAlias = Callable[..., str]
Constant: TypeAlias = Callable[[Array], str]
END = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False, kw_only=True)
class Place:
    """Where an operation's nodes go: the values ``xs`` it reads and ``out`` that it gives.

    ``weight`` names the initializer that holds the op's array (Linear, Conv, Scale, ...), in the
    record's own layout, so that the file holds each weight once.
    """

    xs: Sequence[str]
    out: str
    weight: str
    add: Add
    constant: Constant

    @property
    def x(self) -> str:
        """The only input."""
        (x,) = self.xs
        return x

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))


def emit_op(op: ops.Operation, place: Place) -> None:
    """Append nodes that compute ``op``."""
    emit: Emitter = entry(EMITTERS, op, "runtime.file.operations.EMITTERS")
    emit(op, place)


def _linear(op: ops.Linear, at: Place) -> None:
    at.add("MatMul", at.x, at.add("Transpose", at.weight, perm=[1, 0]), out=at.out)


def _windows(op: ops.Conv | ops.ConvTranspose | ops.SumPool | ops.MaxPool) -> dict[str, list[int]]:
    return {
        "strides": list(op.strides),
        "dilations": list(op.dilations),
        "pads": list(op.pads),
    }


def _conv(op: ops.Conv, at: Place) -> None:
    at.add("Conv", at.x, at.weight, out=at.out, **_windows(op), group=op.groups)


def _conv_transpose(op: ops.ConvTranspose, at: Place) -> None:
    extra = {"group": op.groups, "output_padding": list(op.output_padding)}
    at.add("ConvTranspose", at.x, at.weight, out=at.out, **_windows(op), **extra)


def _pool(
    op: ops.SumPool | ops.MaxPool, at: Place, fill: float
) -> tuple[str, dict[str, list[int]]]:
    """What to pool, and over which windows. ONNX Runtime takes no padding as wide as the window:
    then it is a Pad with ``fill`` in front."""
    windows = {"kernel_shape": list(op.kernel), **_windows(op)}
    rank = len(op.kernel)
    if all(pad < size for pad, size in zip(op.pads, op.kernel * 2, strict=True)):
        return at.x, windows
    pads = at.ints(0, 0, *op.pads[:rank], 0, 0, *op.pads[rank:])
    padded = at.add("Pad", at.x, pads, at.constant(np.array(fill, np.float32)))
    return padded, windows | {"pads": [0] * (2 * rank)}


def _sum_pool(op: ops.SumPool, at: Place) -> None:
    """AveragePool with its padding counted, times the window's size."""
    x, windows = _pool(op, at, 0.0)
    pooled = at.add("AveragePool", x, **windows, count_include_pad=1)
    at.add("Mul", pooled, at.constant(np.array(np.prod(op.kernel), np.float32)), out=at.out)


def _max_pool(op: ops.MaxPool, at: Place) -> None:
    x, windows = _pool(op, at, float(np.finfo(np.float32).min))
    at.add("MaxPool", x, out=at.out, **windows)


def _scale(op: ops.Scale, at: Place) -> None:
    at.add("Mul", at.x, at.weight, out=at.out)


def _add(op: ops.Add, at: Place) -> None:
    at.add("Sum", *at.xs, out=at.out)


def _reduce_sum(op: ops.ReduceSum, at: Place) -> None:
    axes = at.ints(*(a + 1 for a in op.axes))
    at.add("ReduceSum", at.x, axes, out=at.out, keepdims=int(op.keepdims))


def _cum_sum(op: CumSum, at: Place) -> None:
    axis = at.constant(np.array(op.axis + 1, np.int64))
    flags = {"exclusive": int(op.exclusive), "reverse": int(op.reverse)}
    at.add("CumSum", at.x, axis, out=at.out, **flags)


def _concat(op: ops.Concat, at: Place) -> None:
    at.add("Concat", *at.xs, out=at.out, axis=op.axis + 1)


def _pad(op: ops.Pad, at: Place) -> None:
    rank = len(op.pads) // 2
    at.add("Pad", at.x, at.ints(0, *op.pads[:rank], 0, *op.pads[rank:]), out=at.out)


def _slice(op: ops.Slice, at: Place) -> None:
    stops = [
        -END if step < 0 and stop < 0 else stop
        for stop, step in zip(op.stops, op.steps, strict=True)
    ]
    axes = at.ints(*range(1, len(stops) + 1))
    sections = (at.ints(*op.starts), at.ints(*stops), axes, at.ints(*op.steps))
    at.add("Slice", at.x, *sections, out=at.out)


def _take(op: ops.Take, at: Place) -> None:
    at.add("Gather", at.x, at.weight, out=at.out, axis=op.axis + 1)


def _reshape(op: ops.Reshape, at: Place) -> None:
    at.add("Reshape", at.x, at.ints(-1, *op.shape), out=at.out)


def _transpose(op: ops.Transpose, at: Place) -> None:
    at.add("Transpose", at.x, out=at.out, perm=[0, *(p + 1 for p in op.perm)])


def _broadcast(op: ops.Broadcast, at: Place) -> None:
    at.add("Expand", at.x, at.ints(1, *op.shape), out=at.out)


Emitter: TypeAlias = Callable[[Any, Place], None]
EMITTERS: dict[type, Emitter] = {
    ops.Linear: _linear,
    ops.Conv: _conv,
    ops.ConvTranspose: _conv_transpose,
    ops.SumPool: _sum_pool,
    ops.MaxPool: _max_pool,
    ops.Scale: _scale,
    ops.Add: _add,
    ops.ReduceSum: _reduce_sum,
    CumSum: _cum_sum,
    ops.Concat: _concat,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Take: _take,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Broadcast: _broadcast,
}
