"""Every linear operation as a sparse matrix, in coordinate form: what connects to what.

y[row] = sum value x[col], with samples flattened in C order. Used where a chip needs each synapse
by itself (crossbars, Xylo) and as an independent check of partitions; large convolutions should
stay operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ...errors import TargetError
from ...runtime import ops
from ...runtime.ops import Array, LinearOp, Shape, windows_of

MAX_ENTRIES = 200_000_000  # 4.8 GB of coordinates: beyond that a matrix is a mistake


@dataclass(frozen=True, eq=False, kw_only=True)
class Coo:
    """A sparse matrix. rows, cols: int64 (entries,); values: float (entries,); shape (out, in).

    Sorted by row, then column, without duplicates and without zeros (see ``coalesce``).
    """

    rows: Array
    cols: Array
    values: Array
    shape: tuple[int, int]

    def dense(self) -> Array:
        """The full matrix, (out, in)."""
        out = np.zeros(self.shape, self.values.dtype)
        np.add.at(out, (self.rows, self.cols), self.values)
        return out

    def indptr(self) -> Array:
        """Row pointers (out + 1,): entries of row r are indptr[r]:indptr[r + 1]."""
        return np.searchsorted(self.rows, np.arange(self.shape[0] + 1))

    def fan_in(self) -> Array:
        """Synapses per row (target neuron)."""
        return np.bincount(self.rows, minlength=self.shape[0])

    def fan_out(self) -> Array:
        """Synapses per column (source neuron)."""
        return np.bincount(self.cols, minlength=self.shape[1])


def coalesce(rows: Array, cols: Array, values: Array, shape: tuple[int, int]) -> Coo:
    """Sort, sum duplicates, drop zeros."""
    key = rows.astype(np.int64) * shape[1] + cols
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    if len(key):
        starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
        key, values = key[starts], np.add.reduceat(values, starts)
    keep = values != 0
    key, values = key[keep], values[keep]
    return Coo(rows=key // shape[1], cols=key % shape[1], values=values, shape=shape)


def multiply(a: Coo, b: Coo) -> Coo:
    """The product a b (b is applied first)."""
    pointers = b.indptr()
    lengths = (pointers[1:] - pointers[:-1])[a.cols]
    total = int(lengths.sum())
    _limit(total)
    starts = np.repeat(pointers[:-1][a.cols] - np.r_[0, np.cumsum(lengths)[:-1]], lengths)
    picked = starts + np.arange(total)
    rows = np.repeat(a.rows, lengths)
    values = np.repeat(a.values, lengths) * b.values[picked]
    return coalesce(rows, b.cols[picked], values, (a.shape[0], b.shape[1]))


def of_chain(chain: Sequence[tuple[LinearOp, int, tuple[Shape, ...]]], size: int) -> Coo:
    """The matrix of operations applied one after the other; see ``of_op`` for an element.
    ``size`` is the source's number of elements, for an empty chain (identity)."""
    identity = np.arange(size)
    out = Coo(rows=identity, cols=identity, values=np.ones(size), shape=(size, size))
    for op, position, shapes in chain:
        out = multiply(of_op(op, position, shapes), out)
    return out


def of_op(op: LinearOp, position: int, shapes: tuple[Shape, ...]) -> Coo:
    """The matrix of ``op`` with respect to its input number ``position``; ``shapes`` are the
    sample shapes of all its inputs."""
    shape = shapes[position]
    out_size, in_size = prod(op.output_shape(*shapes)), prod(shape)
    match op:
        case ops.Linear():
            entries = _linear(op, shape)
        case ops.Conv():
            entries = _conv(op, shape)
        case ops.ConvTranspose():
            entries = _conv_transpose(op, shape)
        case ops.SumPool():
            entries = _sum_pool(op, shape)
        case ops.ReduceSum():
            entries = _reduce_sum(op, shape)
        case _:
            entries = _indexed(op, position, shapes)
    return coalesce(*entries, (out_size, in_size))


def _numbers(shape: Shape) -> Array:
    """Element numbers from 1 (0 is padding), with a leading axis of one sample."""
    return np.arange(1, prod(shape) + 1, dtype=np.int64).reshape(1, *shape)


def _taken(index: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Entries from element numbers: axis 0 of ``index`` (out, taps) is the row."""
    rows = np.repeat(np.arange(index.shape[0]), index.shape[1])
    cols, values = index.reshape(-1) - 1, np.broadcast_to(weights, index.shape).reshape(-1)
    real = cols >= 0
    return rows[real], cols[real], values[real].astype(np.float64)


def _indexed(op: LinearOp, position: int, shapes: tuple[Shape, ...]) -> tuple[Array, Array, Array]:
    """Operations in which each output takes at most one element of this input."""
    numbers = [np.zeros((1, *s), np.int64) for s in shapes]
    numbers[position] = _numbers(shapes[position])
    if isinstance(op, ops.Scale):
        out = np.broadcast_shapes(shapes[position], op.scale.shape)
        index = ops.Broadcast(shape=out).apply(numbers[0])
        return _taken(index.reshape(-1, 1), np.broadcast_to(op.scale, out).reshape(-1, 1))
    index = np.asarray(op.apply(*numbers))
    return _taken(index.reshape(-1, 1), np.ones(1))


def _linear(op: ops.Linear, shape: Shape) -> tuple[Array, Array, Array]:
    lead, (outs, ins) = prod(shape[:-1]), op.weight.shape
    _limit(lead * outs * ins)
    index = np.repeat(_numbers((lead, ins))[0], outs, axis=0)
    return _taken(index, np.tile(op.weight, (lead, 1)))


def _conv(op: ops.Conv, shape: Shape) -> tuple[Array, Array, Array]:
    rank, outs = len(op.kernel), op.weight.shape[0]
    positions = prod(op.output_shape(shape)[1:])
    _limit(outs * positions * prod(op.weight.shape[1:]))
    windows = windows_of(_numbers(shape), op.kernel, op.strides, op.dilations, op.pads)
    # (channels, positions, taps) -> per group (positions, channels of the group * taps)
    windows = windows.reshape(shape[0], positions, prod(windows.shape[-rank:]))
    groups = windows.reshape(op.groups, shape[0] // op.groups, positions, -1)
    cols = groups.transpose(0, 2, 1, 3).reshape(op.groups, positions, -1)
    index = np.repeat(cols, outs // op.groups, axis=0).reshape(outs * positions, -1)
    return _taken(index, np.repeat(op.weight.reshape(outs, -1), positions, axis=0))


def _conv_transpose(op: ops.ConvTranspose, shape: Shape) -> tuple[Array, Array, Array]:
    """By the adjoint: the transposed matrix of the convolution from its output to its input."""
    out = op.output_shape(shape)
    pads = tuple(op.pads)
    per_group = op.weight.shape[1]
    grouped = op.weight.reshape(op.groups, -1, per_group, *op.kernel)
    forward = ops.Conv(
        weight=grouped.reshape(-1, per_group, *op.kernel),
        strides=op.strides,
        dilations=op.dilations,
        pads=pads,
        groups=op.groups,
    )
    found = forward.output_shape(out)
    rows, cols, values = _conv(forward, out)
    if found != shape:  # output padding longer than a stride: positions beyond the input
        at = np.unravel_index(rows, found)
        inside = np.all([i < n for i, n in zip(at, shape, strict=True)], axis=0)
        rows = np.ravel_multi_index(tuple(i[inside] for i in at), shape)
        cols, values = cols[inside], values[inside]
    return cols, rows, values


def _sum_pool(op: ops.SumPool, shape: Shape) -> tuple[Array, Array, Array]:
    windows = windows_of(_numbers(shape), op.kernel, op.strides, op.dilations, op.pads)
    return _taken(windows.reshape(-1, prod(op.kernel)), np.ones(1))


def _reduce_sum(op: ops.ReduceSum, shape: Shape) -> tuple[Array, Array, Array]:
    kept = [i for i in range(len(shape)) if i not in op.axes]
    moved = _numbers(shape)[0].transpose(*kept, *op.axes)
    return _taken(moved.reshape(prod(shape[i] for i in kept), -1), np.ones(1))


def _limit(entries: int) -> None:
    if entries > MAX_ENTRIES:
        raise TargetError(
            f"a synapse of {entries:,} connections is too large to be listed one by one",
            remedy="Use a target that stores convolutions as shared weights.",
            code="E503",
        )
