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
from ...runtime.ops import Array, LinearOp, Shape

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
    _limit(op.most_connections(*shapes))
    size = (prod(op.output_shape(*shapes)), prod(shapes[position]))
    return coalesce(*op.connections(position, shapes), size)


def _limit(entries: int) -> None:
    if entries > MAX_ENTRIES:
        raise TargetError(
            f"a synapse of {entries:,} connections is too large to be listed one by one",
            remedy="Use a target that stores convolutions as shared weights.",
            code="E503",
        )
