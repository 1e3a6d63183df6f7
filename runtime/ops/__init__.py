"""Stateless operations on arrays: what a synapse does to spikes or currents.

Every record works per sample: shapes carry no batch axis, ``apply`` takes and returns arrays with
one leading axis that may hold a batch, or time and batch together. All records but ``MaxPool`` are
linear and have no bias: a bias is a current into a neuron, so it belongs to the node with state
(see ``graph``). The records are shared by the ANN graph and the spiking graph.

Adding an operation: a record with its facts (``operation`` asks for them), an emitter in
``runtime.file.operations``, a handler in ``converter.frontend.ops``; the tests parametrized over
``ALL_OPS`` then ask for an example.
"""

from __future__ import annotations

from .arrays import Array, Shape, frozen, windows_of
from .convolution import Conv, ConvTranspose
from .linear import Add, Linear, ReduceSum, Scale
from .moves import Broadcast, Concat, Pad, Reshape, Slice, Take, Transpose
from .operation import OPERATIONS, ElementOp, LinearOp, MultiplyingOp, Operation, WeightedOp
from .pool import MaxPool, SumPool

__all__ = [
    "ALL_OPS",
    "Add",
    "Array",
    "Broadcast",
    "Concat",
    "Conv",
    "ConvTranspose",
    "ElementOp",
    "Linear",
    "LinearOp",
    "MaxPool",
    "MultiplyingOp",
    "Operation",
    "Pad",
    "ReduceSum",
    "Reshape",
    "Scale",
    "Shape",
    "Slice",
    "SumPool",
    "Take",
    "Transpose",
    "WeightedOp",
    "frozen",
    "windows_of",
]

ALL_OPS: tuple[type[Operation], ...] = tuple(OPERATIONS)
