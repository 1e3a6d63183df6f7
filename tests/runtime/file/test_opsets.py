"""Bringing a model to the file's operation set: same numbers, or refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnx2snn.errors import ModelError
from onnx2snn.runtime.file.opsets import OLDEST, needed, opset_of, raised
from onnx2snn.runtime.ops import Array


def plain(op: str, opset: int, **attributes: object) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **attributes)],
        "g",
        [info("x", TensorProto.FLOAT, [2, 3, 4])],
        [info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, x: Array) -> Array:
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [7, 11, 12, 13])
def test_softmax_over_two_axes_stays_one(op: str, opset: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    before = plain(op, opset, axis=1)
    after = raised(before, OLDEST)
    assert opset_of(after) == OLDEST
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5)
    relabelled = plain(op, OLDEST, axis=1)  # what inlining does
    assert np.allclose(run(relabelled, x), run(before, x), rtol=1e-3) == (opset >= 13)


def test_a_scan_over_samples_is_brought_over_body_and_all() -> None:
    """As files of the last version hold islands that mix the batch axis."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Softmax", ["s"], ["o"], axis=1)],
        "b",
        [info("s", TensorProto.FLOAT, [2, 3, 4])],
        [info("o", TensorProto.FLOAT, [2, 3, 4])],
    )
    scan = helper.make_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)
    shape = ["N", 2, 3, 4]
    graph = helper.make_graph(
        [scan], "g", [info("x", TensorProto.FLOAT, shape)], [info("y", TensorProto.FLOAT, shape)]
    )
    before = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(run(raised(before, OLDEST), x), run(before, x), rtol=1e-5)


def test_the_oldest_operation_set_that_has_the_operation_as_it_is() -> None:
    assert needed([]) == needed([plain("Tanh", 26)]) == needed([plain("Softmax", 7)]) == OLDEST
    assert needed([plain("Tanh", 26), plain("Gelu", 26)]) == 20
    assert needed([plain("RMSNormalization", 24)]) == 23


def test_what_has_no_rule_is_refused() -> None:
    with pytest.raises(ModelError) as error:
        needed([plain("NoSuchOperation", 12)])
    assert error.value.code == "E327"
