"""Nodes that a model was exported with in training mode, which run as in inference here.

In training mode a BatchNormalization normalizes by the statistics of the batch at hand, and a
Dropout drops values at random: a spiking network has neither. A Dropout that the clean-up leaves in
place is refused; what it removes, and BatchNormalization, is read as in inference and said.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

BATCHNORM = (
    "exported in training mode, where it normalizes by the statistics of each batch; read as in "
    "inference, by its running statistics. Export the model after model.eval()"
)
DROPOUT = (
    "exported in training mode, where it drops values at random; read as in inference, where it "
    "does nothing. Export the model after model.eval()"
)


def training_mode(model: onnx.ModelProto) -> Iterator[tuple[str, str, str]]:
    """(name, op, what is left out) of every node in training mode."""
    true = {t.name for t in model.graph.initializer if _is_true(t)}
    true |= {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Constant" and any(_is_true(a.t) for a in node.attribute)
    }
    for node in model.graph.node:
        name = node.name or next((o for o in node.output if o), node.op_type)
        set_mode = any(a.name == "training_mode" and a.i for a in node.attribute)
        if node.op_type == "BatchNormalization":
            # before operation set 14 more outputs than one, all wanted, meant training
            if set_mode or len([o for o in node.output if o]) > 1:
                yield name, node.op_type, BATCHNORM
        elif node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in true:
            yield name, node.op_type, DROPOUT


def _is_true(tensor: onnx.TensorProto) -> bool:
    kind = tensor.data_type == onnx.TensorProto.BOOL
    return kind and bool(np.any(numpy_helper.to_array(tensor)))
