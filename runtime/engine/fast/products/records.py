"""Synapses by the operations' own records, and pools of spikes as bytes: what ONNX Runtime is not
asked for.

A kernel takes signals (time or 1, lanes, *shape), spikes as small integers or currents as floats,
and writes (time, lanes, *shape).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from ....ops import Array, LinearOp, Shape
from ....ops.arrays import valid_taps
from ....ops.pool import MaxPool, SumPool
from ..buffers import zeros

Kernel: TypeAlias = Callable[[list[Array], Array], None]


def record_kernel(op: LinearOp, dtype: np.dtype) -> Kernel:
    """The operation as its record computes it, on inputs of type ``dtype``."""

    def run(xs: list[Array], out: Array) -> None:
        merged = []
        for x in xs:
            whole = np.broadcast_to(x, (len(out), *x.shape[1:])).astype(dtype, copy=False)
            merged.append(whole.reshape(-1, *x.shape[2:]))
        out[...] = op.apply(*merged).reshape(out.shape)

    return run


def byte_pool_kernel(op: SumPool, shape: Shape, lanes: int, *, chunk: int) -> Kernel:
    """Sums of spikes that a byte holds, along one axis after the other: long runs first. A fifth of
    the time of ONNX Runtime's average pool (docs/performance.md)."""
    passes: list[tuple[Array, list[Any], list[tuple[Any, Any]]]] = []
    out = op.output_shape(shape)
    for i in range(len(op.kernel)):
        taps = list(
            valid_taps(
                op.kernel[i],
                stride=op.strides[i],
                dilation=op.dilations[i],
                pad=op.pads[i],
                size=shape[i + 1],
                size_out=out[i + 1],
            )
        )
        after = (slice(None),) * (len(op.kernel) - 1 - i)
        shape = (*shape[: i + 1], out[i + 1], *shape[i + 2 :])
        held = zeros((chunk, lanes, *shape), np.int8)
        # the first two that reach all of the output fill it, the others are added
        whole = [tap for tap, target, _ in taps if target == slice(0, out[i + 1])][:2]
        pair = [(..., source, *after) for tap, _, source in taps if tap in whole]
        others = [
            ((..., target, *after), (..., source, *after))
            for tap, target, source in taps
            if tap not in whole
        ]
        passes.append((held, pair, others))

    def run(xs: list[Array], out: Array) -> None:
        before = xs[0]
        for held, pair, others in passes:
            now = held[: len(out)]
            if len(pair) == 2:
                np.add(before[pair[0]], before[pair[1]], out=now)
            elif pair:
                np.copyto(now, before[pair[0]])
            else:
                now[...] = 0
            for target, source in others:
                part = now[target]
                np.add(part, before[source], out=part)
            before = now
        np.copyto(out, before)

    return run


def pool_taps(op: SumPool | MaxPool, shape: Shape) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """For each window element, as indices of the last axes: the outputs that have it inside the
    input, and where it lies there."""
    rank = len(op.kernel)
    out = op.output_shape(shape)[1:]
    axes = [
        list(
            valid_taps(
                op.kernel[i],
                stride=op.strides[i],
                dilation=op.dilations[i],
                pad=op.pads[i],
                size=shape[i + 1],
                size_out=out[i],
            )
        )
        for i in range(rank)
    ]
    return [
        ((Ellipsis, *(tap[1] for tap in taps)), (Ellipsis, *(tap[2] for tap in taps)))
        for taps in product(*axes)
    ]
