"""A batch size that the file fixes, or that is not there; sparse weights; old operation sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from onnx.helper import make_node

from converter.frontend.tools import imported, model, samples, saved, worst_difference
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import load_onnx
from onnx2snn.converter.recipes.options import Options
from onnx2snn.errors import ModelError
from onnx2snn.runtime import file as onnxfile

RNG = np.random.default_rng(4)
CONV = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32)
B = 4


def cnn(batch: int, target: list[int], *, grow: bool = False) -> onnx.ModelProto:
    """Conv, ReLU, pooling to (8, 2, 2), Reshape to ``target``, Gemm; ``grow``: the input (of
    ``batch`` channels) has no batch axis."""
    shape = [batch, 8, 8] if grow else [batch, 3, 8, 8]
    nodes = [make_node("Unsqueeze", ["x", "front"], ["u"], name="grow")] if grow else []
    nodes += [
        make_node("Conv", ["u" if grow else "x", "w"], ["c"]),
        make_node("Relu", ["c"], ["r"]),
        make_node("AveragePool", ["r"], ["p"], kernel_shape=[3, 3], strides=[3, 3]),
        make_node("Reshape", ["p", "shape"], ["f"], name="flat"),
        make_node("Gemm", ["f", "v"], ["y"]),
    ]
    held = {
        "w": CONV,
        "shape": np.array(target, np.int64),
        "v": RNG.normal(size=(32, 5)).astype(np.float32),
        "front": np.array([0], np.int64),
    }
    return model(nodes, {"x": shape}, constants=held)


def refused(proto: onnx.ModelProto, folder: Path, code: str = "E312") -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_onnx(saved(proto, folder))
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("target", [[B, 32], [B, -1], [-1, 32], [0, 32]])
def test_a_fixed_batch_in_a_reshape_is_opened(target: list[int], tmp_path: Path) -> None:
    proto = cnn(B, target)
    graph, loaded = imported(saved(proto, tmp_path))
    data = samples(loaded, count=6)
    assert worst_difference(graph, loaded, data) < 1e-5
    # against the file as it is, run on a whole batch
    whole = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": data["x"][:B]})[0]
    made = convert(graph, data, Options(steps=8, tune=False))
    onnxfile.save(made.graph, tmp_path / "n.onnx")
    got = ort.InferenceSession(str(tmp_path / "n.onnx")).run(
        None, {"x": data["x"][:B], "steps": np.array([256])}
    )[0][-1]
    assert np.abs(got - whole).max() < 0.05 * np.ptp(whole)


def test_a_batch_that_is_several_samples_per_row_of_the_first_axis_is_opened(
    tmp_path: Path,
) -> None:
    """Frames of a video joined with the batch, and taken apart again."""
    nodes = [
        make_node("Reshape", ["x", "joined"], ["frames"]),
        make_node("Conv", ["frames", "w"], ["c"]),
        make_node("Relu", ["c"], ["r"]),
        make_node("GlobalAveragePool", ["r"], ["g"]),
        make_node("Reshape", ["g", "apart"], ["f"]),
        make_node("Gemm", ["f", "v"], ["y"]),
    ]
    held = {
        "joined": np.array([B * 5, 3, 8, 8], np.int64),
        "apart": np.array([B, 40], np.int64),
        "w": CONV,
        "v": RNG.normal(size=(40, 5)).astype(np.float32),
    }
    proto = model(nodes, {"x": [B, 5, 3, 8, 8]}, constants=held)
    graph, loaded = imported(saved(proto, tmp_path))
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-5


def test_a_constant_over_the_batch_is_refused_with_the_reason(tmp_path: Path) -> None:
    held = {"c": RNG.normal(size=(B, 6)).astype(np.float32)}
    proto = model([make_node("Add", ["x", "c"], ["y"])], {"x": [B, 6]}, constants=held)
    error = refused(proto, tmp_path)
    assert "fixed at 4" in error.what and "'y' differs" in error.what
    assert "batch size of 1" in error.remedy


def test_samples_that_mix_are_refused(tmp_path: Path) -> None:
    nodes = [
        make_node("ReduceMean", ["x"], ["m"], axes=[0]),
        make_node("Sub", ["x", "m"], ["y"]),
    ]
    refused(model(nodes, {"x": [B, 6]}), tmp_path)


def test_a_model_without_a_batch_axis_is_told_so(tmp_path: Path) -> None:
    error = refused(cnn(3, [1, 32], grow=True), tmp_path)
    assert "batch axis" in error.what and "'grow'" in error.what
    assert "(1, 3, 8, 8)" in error.remedy


def sparse(linear: bool) -> tuple[onnx.ModelProto, np.ndarray]:
    weight = RNG.normal(size=(6, 5)).astype(np.float32)
    weight[np.abs(weight) < 0.5] = 0
    at = np.argwhere(weight)
    indices = np.ravel_multi_index(tuple(at.T), weight.shape) if linear else at
    values = numpy_helper.from_array(weight[tuple(at.T)], "w")
    stored = helper.make_sparse_tensor(
        values, numpy_helper.from_array(indices.astype(np.int64), "i"), weight.shape
    )
    proto = model([make_node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 6]})
    proto.graph.sparse_initializer.append(stored)
    return proto, weight


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_weights_are_read(linear: bool, tmp_path: Path) -> None:
    proto, weight = sparse(linear)
    graph, loaded = imported(saved(proto, tmp_path))
    data = samples(loaded)
    assert worst_difference(graph, loaded, data) < 1e-6
    linear_layer = next(n.layer for n in graph.nodes if n.op_type in ("MatMul", "Gemm"))
    np.testing.assert_array_equal(linear_layer.weight, weight.T)  # type: ignore[union-attr]


def test_a_sparse_constant_is_read(tmp_path: Path) -> None:
    proto, _ = sparse(linear=True)
    stored = proto.graph.sparse_initializer.pop()
    proto.graph.node.insert(0, make_node("Constant", [], ["w"], sparse_value=stored))
    graph, loaded = imported(saved(proto, tmp_path))
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-6


def test_damaged_sparse_weights_are_named(tmp_path: Path) -> None:
    proto, _ = sparse(linear=True)
    indices = proto.graph.sparse_initializer[0].indices
    indices.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(indices) + 20, "i"))
    assert "'w'" in refused(proto, tmp_path, "E303").what
    proto.graph.sparse_initializer[0].dims[:] = [2**20, 2**20]
    assert "'w'" in refused(proto, tmp_path, "E311").what


def test_an_old_operation_set_is_the_reason_and_the_remedy_helps(tmp_path: Path) -> None:
    held = {n: np.ones(3, np.float32) for n in ("scale", "bias", "mean", "var")}
    nodes = [
        make_node("BatchNormalization", ["x", *held], ["n"], is_test=1),
        make_node("Relu", ["n"], ["y"]),
    ]
    proto = model(nodes, {"x": [1, 3, 4, 4]}, constants=held, opset=6, ir_version=3)
    for name in held:
        proto.graph.input.append(helper.make_tensor_value_info(name, 1, [3]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 3, 4, 4]))
    error = refused(proto, tmp_path, "E303")
    assert "operation set 6 is older than 7" in error.what
    assert "version_converter" in error.remedy
    newer = onnx.version_converter.convert_version(proto, 13)
    graph, loaded = imported(saved(newer, tmp_path))
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-6


def test_a_converted_network_is_told_from_a_model(tmp_path: Path) -> None:
    made = convert(imported(saved(cnn(1, [1, 32]), tmp_path))[0], None, Options(steps=4))
    path = tmp_path / "net.snn.onnx"
    onnxfile.save(made.graph, path)
    with pytest.raises(ModelError) as caught:
        load_onnx(path)
    assert caught.value.code == "E325"
    assert "`run`" in caught.value.remedy
