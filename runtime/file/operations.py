"""One emitter per linear operation: the ONNX nodes that compute it on a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .. import ops
from ..ops import Array

# add(op, *inputs, out=name, **attributes) appends an ONNX node; constant(array) names a constant.
Add: TypeAlias = Callable[..., str]
Constant: TypeAlias = Callable[[Array], str]
END = np.iinfo(np.int64).max


def emit_op(
    op: ops.LinearOp | ops.MaxPool, xs: list[str], out: str, weight: str, add: Add, const: Constant
) -> None:
    """Append nodes computing ``op`` of the values ``xs`` into the value ``out``.

    ``weight`` names the initializer that holds the op's array (Linear, Conv, Scale, ...), in the
    record's own layout, so that the file holds each weight once.
    """

    def ints(*values: int) -> str:
        return const(np.array(values, np.int64))

    match op:
        case ops.Linear():
            add("MatMul", xs[0], add("Transpose", weight, perm=[1, 0]), out=out)
        case ops.Conv() | ops.ConvTranspose():
            extra: dict[str, Any] = {}
            if isinstance(op, ops.ConvTranspose):
                extra["output_padding"] = list(op.output_padding)
            add(
                type(op).__name__,
                xs[0],
                weight,
                out=out,
                strides=list(op.strides),
                dilations=list(op.dilations),
                pads=list(op.pads),
                group=op.groups,
                **extra,
            )
        case ops.SumPool():
            _sum_pool(op, xs[0], out, add, const)
        case ops.MaxPool():
            add(
                "MaxPool",
                xs[0],
                out=out,
                kernel_shape=list(op.kernel),
                strides=list(op.strides),
                dilations=list(op.dilations),
                pads=list(op.pads),
            )
        case ops.Scale():
            add("Mul", xs[0], weight, out=out)
        case ops.Add():
            add("Sum", *xs, out=out)
        case ops.ReduceSum():
            axes = ints(*(a + 1 for a in op.axes))
            add("ReduceSum", xs[0], axes, out=out, keepdims=int(op.keepdims))
        case _:
            _emit_move(op, xs, out, weight, add, ints)


def _emit_move(
    op: ops.LinearOp, xs: list[str], out: str, weight: str, add: Add, ints: Callable[..., str]
) -> None:
    """The operations that only move numbers."""
    match op:
        case ops.Concat():
            add("Concat", *xs, out=out, axis=op.axis + 1)
        case ops.Pad():
            rank = len(op.pads) // 2
            add("Pad", xs[0], ints(0, *op.pads[:rank], 0, *op.pads[rank:]), out=out)
        case ops.Slice():
            stops = [
                -END if step < 0 and stop < 0 else stop
                for stop, step in zip(op.stops, op.steps, strict=True)
            ]
            axes = ints(*range(1, len(stops) + 1))
            add("Slice", xs[0], ints(*op.starts), ints(*stops), axes, ints(*op.steps), out=out)
        case ops.Take():
            add("Gather", xs[0], weight, out=out, axis=op.axis + 1)
        case ops.Reshape():
            add("Reshape", xs[0], ints(-1, *op.shape), out=out)
        case ops.Transpose():
            add("Transpose", xs[0], out=out, perm=[0, *(p + 1 for p in op.perm)])
        case ops.Broadcast():
            add("Expand", xs[0], ints(1, *op.shape), out=out)


def _sum_pool(op: ops.SumPool, x: str, out: str, add: Add, const: Constant) -> None:
    """AveragePool with its padding counted, times the window's size."""
    pooled = add(
        "AveragePool",
        x,
        kernel_shape=list(op.kernel),
        strides=list(op.strides),
        dilations=list(op.dilations),
        pads=list(op.pads),
        count_include_pad=1,
    )
    add("Mul", pooled, const(np.array(np.prod(op.kernel), np.float32)), out=out)
