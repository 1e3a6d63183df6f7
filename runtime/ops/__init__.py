"""Stateless operations on arrays: what a synapse does to spikes or currents.

Every record works per sample: shapes carry no batch axis, ``apply`` takes and returns arrays with
one leading axis that may hold a batch, or time and batch together. All records but ``MaxPool`` are
linear and have no bias: a bias is a current into a neuron, so it belongs to the node with state
(see ``graph``). The records are shared by the ANN graph and the spiking graph.

Adding an operation: one record here (or in ``moves``) with ``output_shape`` and ``apply``, one
emitter in ``runtime.file``, one handler in ``converter.frontend``; the tests parametrized
over ``ALL_OPS`` then ask for an example.
"""

from __future__ import annotations

from typing import TypeAlias

from .arrays import Array, Shape, frozen, windows_of
from .convolution import Conv, ConvTranspose
from .linear import Add, Linear, ReduceSum, Scale
from .moves import Broadcast, Concat, Pad, Reshape, Slice, Take, Transpose
from .pool import MaxPool, SumPool

__all__ = [
    "ALL_OPS",
    "LINEAR_OPS",
    "Add",
    "Array",
    "Broadcast",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Linear",
    "LinearOp",
    "MaxPool",
    "Pad",
    "ReduceSum",
    "Reshape",
    "Scale",
    "Shape",
    "Slice",
    "SumPool",
    "Take",
    "Transpose",
    "frozen",
    "windows_of",
]


LinearOp: TypeAlias = (
    Linear
    | Conv
    | ConvTranspose
    | SumPool
    | Scale
    | Add
    | Concat
    | Pad
    | Slice
    | Take
    | Reshape
    | Transpose
    | Broadcast
    | ReduceSum
)
LINEAR_OPS: tuple[type, ...] = (
    Linear,
    Conv,
    ConvTranspose,
    SumPool,
    Scale,
    Add,
    Concat,
    Pad,
    Slice,
    Take,
    Reshape,
    Transpose,
    Broadcast,
    ReduceSum,
)
ALL_OPS: tuple[type, ...] = (*LINEAR_OPS, MaxPool)
