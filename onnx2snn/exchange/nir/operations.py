"""Operations in the words of NIR: convolutions, affine maps, sum pools, flatten, scales.

What NIR has no word for and a convolution can do is written as one, since more tools read
convolutions than scales: channels that are scaled, chosen or moved are a convolution over one
position, a strided section one with a stride, padding that differs at the two ends one with a
kernel that is zero there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ...runtime import ops
from ...runtime.ops import Array, Shape
from ...runtime.tables import entry

MOST_ENTRIES = 2**24  # of a matrix that stands for a choice of elements

Written: TypeAlias = Any  # a nir.NIRNode, None for nothing to do, or why it cannot be said


def written(op: ops.Operation, shape: Shape) -> Written:
    """``op`` on one input of ``shape`` as a node of NIR; None where it changes nothing; a text that
    says why where NIR cannot say it."""
    emit: Callable[[Any, Shape], Written] = entry(
        OPERATIONS, op, "onnx2snn.exchange.nir.operations.OPERATIONS"
    )
    return emit(op, shape)


def chosen(found: Array, shape: Shape) -> Written:
    """A choice of elements: ``found`` (*output shape) numbers them from 1, 0 is none."""
    if found.shape == shape and np.array_equal(found.ravel(), np.arange(1, found.size + 1)):
        return None
    if found.ndim == 1 and len(shape) == 1:
        if found.size * shape[0] > MOST_ENTRIES:
            return "a choice of so many elements"
        matrix = np.zeros((len(found), shape[0]), np.float32)
        rows = np.flatnonzero(found)
        matrix[rows, found[rows] - 1] = 1
        return affine(matrix)
    if found.ndim == len(shape) and found.ndim in (2, 3):
        return _by_channel(found, shape)
    return "elements that change places other than by channel and stride"


def _by_channel(found: Array, shape: Shape) -> Written:
    """As ``chosen``, of maps: every output channel is one input channel, every axis a stride."""
    where = np.stack(np.unravel_index(np.maximum(found - 1, 0), shape))
    real = found > 0
    weight = np.zeros((found.shape[0], shape[0], *(1,) * (len(shape) - 1)), np.float32)
    for out in range(len(found)):
        channels = np.unique(where[0][out][real[out]])
        if len(channels) > 1:
            return "channels that are mixed element by element"
        if len(channels):
            weight[out, channels[0]] = 1
    strides, starts = [], []
    for axis in range(1, len(shape)):
        full = next((c for c in range(len(found)) if real[c].all()), None)
        if full is None:
            return "padding in space"
        line = np.moveaxis(where[axis][full], axis - 1, 0).reshape(found.shape[axis], -1)[:, 0]
        steps = np.unique(np.diff(line)) if len(line) > 1 else np.array([1])
        if len(steps) != 1 or steps[0] < 1:
            return "elements that change places in space"
        strides.append(int(steps[0]))
        starts.append(int(line[0]))
    kernel = np.zeros((*weight.shape[:2], *(s + 1 for s in starts)), np.float32)
    at: tuple[Any, ...] = (..., *starts)
    kernel[at] = weight.reshape(weight.shape[:2])
    op = ops.Conv(
        weight=kernel,
        strides=tuple(strides),
        dilations=(1,) * len(starts),
        pads=(0, 0) * len(starts),
    )
    # What is cut off at the end is never reached, or the convolution gives more.
    crop = [
        (n - 1) * s + k - total
        for n, s, k, total in zip(
            found.shape[1:], strides, kernel.shape[2:], shape[1:], strict=True
        )
    ]
    if op.output_shape(shape) != found.shape:
        ends = [max(0, -c) for c in crop]
        kernel = np.pad(kernel, [(0, 0), (0, 0), *((0, e) for e in ends)])
        op = ops.Conv(weight=kernel, strides=op.strides, dilations=op.dilations, pads=op.pads)
    numbers = np.arange(1, prod(shape) + 1).reshape(1, *shape)
    if op.output_shape(shape) != found.shape or not np.array_equal(op.apply(numbers)[0], found):
        return "elements that change places other than by channel and stride"
    return _conv(op, shape)


def affine(matrix: Array, bias: Array | None = None) -> Any:
    import nir

    zero = np.zeros(len(matrix), np.float32)
    return nir.Affine(weight=np.array(matrix), bias=zero if bias is None else bias)


def per_channel(factors: Array, rank: int) -> Any:
    """Channels times ``factors`` (channels,), of maps with ``rank`` axes: a convolution over one
    position that reads all channels, since not every tool takes groups right."""
    channels = len(factors)
    groups = 1 if channels**2 <= MOST_ENTRIES else channels
    matrix = np.diag(factors) if groups == 1 else factors[:, np.newaxis]
    weight = matrix.reshape(*matrix.shape, *(1,) * (rank - 1)).astype(np.float32)
    unit = (1,) * (rank - 1)
    return ops.Conv(
        weight=weight, strides=unit, dilations=unit, pads=(0, 0) * (rank - 1), groups=groups
    )


def identity(shape: Shape) -> Written:
    """What gives its input, and has a bias."""
    if len(shape) in (2, 3):
        return _conv(per_channel(np.ones(shape[0], np.float32), len(shape)), shape)
    if len(shape) == 1 and shape[0] ** 2 <= MOST_ENTRIES:
        return affine(np.eye(shape[0], dtype=np.float32))
    return "a bias with no weighted layer before it"


def _conv(op: ops.Conv, shape: Shape) -> Written:
    import nir

    rank = len(op.kernel)
    if rank > 2:
        return "a convolution over three axes"
    weight, begins, ends = op.weight, op.pads[:rank], op.pads[rank:]
    pads = tuple(map(max, zip(begins, ends, strict=True)))
    for axis, (pad, begin, end, step) in enumerate(
        zip(pads, begins, ends, op.dilations, strict=True)
    ):
        if (pad - begin) % step or (pad - end) % step:
            return "padding that differs at the two ends, with a dilation"
        widths = [(0, 0)] * weight.ndim
        widths[2 + axis] = ((pad - begin) // step, (pad - end) // step)
        weight = np.pad(weight, widths)
    made = nir.Conv2d if rank == 2 else nir.Conv1d

    def one(values: Shape) -> Any:
        return tuple(values) if rank == 2 else values[0]

    return made(
        input_shape=one(shape[1:]),
        weight=np.array(weight),
        stride=one(op.strides),
        padding=one(pads),
        dilation=one(op.dilations),
        groups=op.groups,
        bias=np.zeros(len(weight), np.float32),
    )


def _linear(op: ops.Linear, shape: Shape) -> Written:
    return affine(op.weight) if len(shape) == 1 else "a linear layer on the last of several axes"


def _scale(op: ops.Scale, shape: Shape) -> Written:
    import nir

    if op.output_shape(shape) != shape:
        return "a scale that repeats its input"
    factors = np.broadcast_to(op.scale, shape)
    if len(shape) in (2, 3):
        flat = factors.reshape(shape[0], -1)
        if np.array_equal(flat, np.broadcast_to(flat[:, :1], flat.shape)):
            return _conv(per_channel(flat[:, 0], len(shape)), shape)
    return nir.Scale(scale=np.array(factors))


def _sum_pool(op: ops.SumPool, shape: Shape) -> Written:
    import nir

    rank = len(op.kernel)
    if rank == 2 and op.pads[:rank] == op.pads[rank:] and set(op.dilations) == {1}:
        return nir.SumPool2d(
            kernel_size=np.array(op.kernel), stride=np.array(op.strides),
            padding=np.array(op.pads[:rank]),
        )  # fmt: skip
    ones = np.ones((shape[0], 1, *op.kernel), np.float32)
    rest = {"strides": op.strides, "dilations": op.dilations, "pads": op.pads}
    return _conv(ops.Conv(weight=ones, groups=shape[0], **rest), shape)


def _reduce_sum(op: ops.ReduceSum, shape: Shape) -> Written:
    if op.axes != tuple(range(1, len(shape))) or len(shape) not in (2, 3) or not op.keepdims:
        return "a sum over axes other than all of space"
    unit = (1,) * (len(shape) - 1)
    pool = ops.SumPool(
        kernel=shape[1:], strides=shape[1:], dilations=unit, pads=(0, 0) * (len(shape) - 1)
    )
    return _sum_pool(pool, shape)


def _reshape(op: ops.Reshape, shape: Shape) -> Written:
    import nir

    if op.shape == shape:
        return None
    if op.shape != (prod(shape),):
        return f"a reshape to {op.shape}"
    return nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array(shape)})


def _moving(op: ops.LinearOp, shape: Shape) -> Written:
    return chosen(op.sources(0, [shape]), shape)  # type: ignore[attr-defined]


def _unsayable(op: ops.Operation, shape: Shape) -> Written:
    return f"the operation {type(op).__name__}"


Emitter: TypeAlias = Callable[[Any, Shape], Written]
OPERATIONS: Mapping[type, Emitter] = {
    **dict.fromkeys(ops.ALL_OPS, _unsayable),
    ops.Conv: _conv,
    ops.Linear: _linear,
    ops.Scale: _scale,
    ops.SumPool: _sum_pool,
    ops.ReduceSum: _reduce_sum,
    ops.Reshape: _reshape,
    ops.Pad: _moving,
    ops.Slice: _moving,
    ops.Take: _moving,
    ops.Transpose: _moving,
    ops.Broadcast: _moving,
}
