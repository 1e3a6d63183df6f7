"""Sparse tensors (of pruned models) as the dense ones that everything behind this reads."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import numpy_helper

from ....errors import ModelError
from ....runtime.ops import Array

DENSEST = 2**27  # numbers: 512 MiB of float32, a quarter of what one file holds


def densify(model: onnx.ModelProto, where: str) -> None:
    """Replace, in place, sparse initializers and Constant nodes with a ``sparse_value`` by dense
    tensors of the same name.

    Raises ModelError: E303 where indices and values do not fit the shape, E311 where the dense
    tensor would be too large.
    """
    for sparse in model.graph.sparse_initializer:
        array = _dense(sparse, where)
        model.graph.initializer.append(numpy_helper.from_array(array, sparse.values.name))
    del model.graph.sparse_initializer[:]
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "sparse_value":
                name = node.output[0]
                array = _dense(attribute.sparse_tensor, where, name=name)
                dense = numpy_helper.from_array(array, name)
                attribute.CopyFrom(onnx.helper.make_attribute("value", dense))


def _dense(sparse: onnx.SparseTensorProto, where: str, *, name: str = "") -> Array:
    """Values at linear indices (n,) or at coordinates (n, rank); zeros elsewhere."""
    name, dims = name or sparse.values.name, tuple(sparse.dims)
    if any(d < 1 for d in dims):
        raise _bad(name, what=f"the shape {dims}", where=where)
    if prod(dims) > DENSEST:
        raise ModelError(
            f"the sparse tensor '{name}' would have {prod(dims)} numbers, {DENSEST} are the limit",
            where=where,
            remedy="Check its shape in the model.",
            code="E311",
        )
    try:
        values = numpy_helper.to_array(sparse.values).ravel()
        indices = numpy_helper.to_array(sparse.indices).astype(np.int64, copy=False)
        if indices.ndim == 2:
            indices = np.ravel_multi_index(tuple(indices.T), dims)  # raises out of range
        if indices.shape != values.shape or (indices.size and indices.min() < 0):
            raise ValueError("indices and values do not belong together")
        out = np.zeros(prod(dims), values.dtype)
        out[indices] = values
    except Exception as error:
        raise _bad(name, what=f"indices that do not fit its shape {dims}", where=where) from error
    return out.reshape(dims)


def _bad(name: str, *, what: str, where: str) -> ModelError:
    return ModelError(
        f"the sparse tensor '{name}' has {what}",
        where=where,
        remedy="Check it with onnx.checker.check_model and export it again.",
        code="E303",
    )
