"""Weights that are held as a change of the ANN's (``ops.change``), in a file.

The document has both operations as everywhere; the array of the spiking network's weights is not
among the file's, and ``added`` makes it. In the graph a function of our domain does, whose inputs
are all initializers: ONNX Runtime computes it when it loads the file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from .. import graph as snn
from ..ops import Array, MultiplyingOp
from ..ops.change import Change, digit_table
from .neurons.integrate_and_fire import Body, function

INT32 = onnx.TensorProto.INT32


def with_true_changes(graph: snn.SpikingGraph) -> snn.SpikingGraph:
    """``graph`` whose synapses have a ``change`` only where it gives their weights to the last bit:
    whoever replaced an operation may have left the change of the one before."""
    synapses = [n for n in graph.of(snn.Synapse) if n.change is not None and not _is_true(n)]
    return graph.with_nodes(replace(n, change=None) for n in synapses) if synapses else graph


def _is_true(node: snn.Synapse) -> bool:
    op, change = node.op, node.change
    if not isinstance(op, MultiplyingOp) or op.factors.dtype != np.float32 or change is None:
        return False
    try:
        made = change.of(first_of(node))
    except ValueError:
        return False
    a, b = (np.ascontiguousarray(x).view(np.uint32) for x in (made, op.factors))
    return np.array_equal(a, b)


def first_of(node: snn.Synapse) -> Array:
    """What the ``change`` of a synapse is of. Raises ValueError where there is none."""
    if not isinstance(node.ann_op, MultiplyingOp):
        raise ValueError(f"'{node.name}' has a change of weights that the ANN does not have")
    return node.ann_op.factors


def function_of(change: Change) -> onnx.FunctionProto:
    """What ``change.of`` does, with ``arguments_of`` behind the ANN's weights."""
    b = Body()
    weight = "ann"
    if change.codes is not None:
        table = b.constant(digit_table(change.levels))
        digits = b.add("Gather", table, b.add("Cast", "codes", to=INT32))
        flat = b.add("Shape", b.add("Reshape", "ann", b.ints(0, -1)), start=1)
        digits = b.add("Reshape", digits, b.ints(0, -1))
        digits = b.add("Slice", digits, b.ints(0), flat, b.ints(1))
        digits = b.add("Reshape", digits, b.add("Shape", "ann"))
        added = b.add("Mul", b.add("Mul", digits, "step"), "scale")
        weight = b.add("Add", weight, added)
    if change.grid is not None:
        weight = b.add("Mul", b.add("Round", b.add("Div", weight, "grid")), "grid")
    b.add("Identity", weight, out="weight")
    inputs = ["ann", *arguments_of(change)]
    return function(_name(change), inputs, "weight", b, "The spiking weights from the ANN's.")


def arguments_of(change: Change) -> tuple[str, ...]:
    """The fields that it has."""
    added = () if change.codes is None else ("codes", "step", "scale")
    return added if change.grid is None else (*added, "grid")


def _name(change: Change) -> str:
    parts = [f"Changed{change.levels}"] * (change.codes is not None)
    parts += ["Rounded"] * (change.grid is not None)
    return f"{''.join(parts)}Weights"
