"""Integer inputs: what only moves or casts them is the host's business."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from converter.frontend.tools import model, saved
from onnx2snn.converter.ann.graph import Opaque
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import check, import_onnx, load_onnx
from onnx2snn.converter.recipes.options import Options
from onnx2snn.evaluation.verify import verify
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn

RNG = np.random.default_rng(24)


def of_type(proto: onnx.ModelProto, kind: int) -> onnx.ModelProto:
    proto.graph.input[0].type.tensor_type.elem_type = kind
    return proto


def pixels(order: str) -> onnx.ModelProto:
    """NHWC bytes, cast and transposed in ``order``, normalized; Conv, ReLU, pooling, Gemm."""
    steps = {
        "cast": ("Cast", {"to": TensorProto.FLOAT}),
        "move": ("Transpose", {"perm": [0, 3, 1, 2]}),
        "widen": ("Cast", {"to": TensorProto.INT32}),
    }
    nodes, x = [], "x"
    for number, step in enumerate(order.split()):
        op, attributes = steps[step]
        nodes.append(make_node(op, [x], [f"t{number}"], **attributes))
        x = f"t{number}"
    nodes += [
        make_node("Sub", [x, "mean"], ["s"]),
        make_node("Div", ["s", "std"], ["d"]),
        make_node("Conv", ["d", "w"], ["c"]),
        make_node("Relu", ["c"], ["r"]),
        make_node("GlobalAveragePool", ["r"], ["g"]),
        make_node("Flatten", ["g"], ["f"]),
        make_node("Gemm", ["f", "v"], ["y"]),
    ]
    held = {
        "mean": np.array([123, 117, 104], np.float32).reshape(1, 3, 1, 1),
        "std": np.float32(58),
        "w": (RNG.normal(size=(6, 3, 3, 3)) / 4).astype(np.float32),
        "v": RNG.normal(size=(6, 4)).astype(np.float32),
    }
    return of_type(model(nodes, {"x": ["N", 8, 8, 3]}, constants=held), TensorProto.UINT8)


@pytest.mark.parametrize("order", ["cast move", "move cast", "widen cast move", "move widen cast"])
def test_bytes_through_cast_and_transpose_need_no_island(order: str, tmp_path: Path) -> None:
    path = saved(pixels(order), tmp_path)
    assert {finding.verdict for finding in check(path).nodes} == {"spiking"}
    assert verify(path).relative_diff < 1e-5
    x = RNG.integers(0, 256, (48, 8, 8, 3)).astype(np.uint8)
    x[:, 0] = 255  # to which 1 cannot be added in bytes
    with warnings.catch_warnings(action="error"):
        assert verify(path, {"x": x[:3].astype(np.float32)}).relative_diff < 1e-5
    made = convert(import_onnx(path), x, Options(steps=64))
    assert not made.graph.of(snn.Analog)
    onnxfile.save(made.graph, tmp_path / "n.onnx")
    session = ort.InferenceSession(str(tmp_path / "n.onnx"))
    assert [i.type for i in session.get_inputs() if i.name == "x"] == ["tensor(float)"]
    got = session.run(None, {"x": x.astype(np.float32), "steps": np.array([64])})[0][-1]
    want = ort.InferenceSession(str(path)).run(None, {"x": x})[0]
    assert np.linalg.norm(got - want) < 0.05 * np.linalg.norm(want)


@pytest.mark.parametrize(
    ("moved", "zero", "axis"),
    [(False, 128, None), (False, None, None), (True, 131, None), (True, (120, 128, 3), 1),
     (False, (0, 128, 255), -3)],
)  # fmt: skip
def test_a_quantized_input_is_a_cast_a_subtraction_and_a_product(
    moved: bool, zero: int | tuple[int, ...] | None, axis: int | None, tmp_path: Path
) -> None:
    inputs, shape = ["m" if moved else "x", "scale"], ["N", 3, 8, 8]
    held = {
        "scale": np.float32(1 / 64) if axis is None else np.float32([1 / 64, 1 / 50, 1 / 80]),
        "w": (RNG.normal(size=(6, 3, 3, 3)) / 4).astype(np.float32),
        "v": RNG.normal(size=(6, 4)).astype(np.float32),
    }
    if zero is not None:
        inputs, held = [*inputs, "zero"], {**held, "zero": np.uint8(zero)}
    nodes = [
        *([make_node("Transpose", ["x"], ["m"], perm=[0, 3, 1, 2])] if moved else []),
        make_node("DequantizeLinear", inputs, ["d"], **({} if axis is None else {"axis": axis})),
        make_node("Conv", ["d", "w"], ["c"], pads=[1, 1, 1, 1]),  # it pads what is 0 after that
        make_node("Relu", ["c"], ["r"]),
        make_node("GlobalAveragePool", ["r"], ["g"]),
        make_node("Flatten", ["g"], ["f"]),
        make_node("Gemm", ["f", "v"], ["y"]),
    ]
    shape = ["N", 8, 8, 3] if moved else shape
    proto = of_type(model(nodes, {"x": shape}, constants=held, opset=13), TensorProto.UINT8)
    path = saved(proto, tmp_path)
    assert {finding.verdict for finding in check(path).nodes} == {"spiking"}
    assert verify(path).relative_diff < 1e-5  # against ONNX Runtime with the model as it is


def test_integers_that_are_compared_still_come_as_integers(tmp_path: Path) -> None:
    """One-hot of class numbers: the Unsqueeze is a view, the comparison an island."""
    nodes = [
        make_node("Unsqueeze", ["x", "axes"], ["u"]),
        make_node("Equal", ["u", "ids"], ["e"]),
        make_node("Cast", ["e"], ["h"], to=TensorProto.FLOAT),
        make_node("MatMul", ["h", "w"], ["m"]),
        make_node("Relu", ["m"], ["r"]),
        make_node("ReduceMean", ["r"], ["y"], axes=[1], keepdims=0),
    ]
    held = {
        "axes": np.array([2], np.int64),
        "ids": np.arange(5, dtype=np.int32),
        "w": RNG.normal(size=(5, 4)).astype(np.float32),
    }
    path = saved(
        of_type(model(nodes, {"x": ["N", 6]}, constants=held), TensorProto.INT32), tmp_path
    )
    graph = import_onnx(path)
    assert [n.op_type for n in graph.nodes if isinstance(n.layer, Opaque)] == ["Cast"]
    assert verify(path).relative_diff < 1e-5
    x = RNG.integers(0, 5, (20, 6)).astype(np.int32)
    assert verify(path, {"x": x.astype(np.float32)}).relative_diff < 1e-5


def test_arithmetic_on_integers_is_not_taken_for_arithmetic_on_numbers(tmp_path: Path) -> None:
    """Bytes wrap around: 250 + 10 is 4."""
    nodes = [
        make_node("Add", ["x", "ten"], ["a"]),
        make_node("Cast", ["a"], ["c"], to=TensorProto.FLOAT),
        make_node("Gemm", ["c", "w"], ["y"]),
    ]
    held = {"ten": np.uint8(10), "w": RNG.normal(size=(6, 4)).astype(np.float32)}
    proto = of_type(model(nodes, {"x": ["N", 6]}, constants=held, opset=14), TensorProto.UINT8)
    path = saved(proto, tmp_path)
    assert "analog" in {finding.verdict for finding in check(path).nodes}
    assert verify(path, {"x": np.full((2, 6), 250, np.float32)}).max_abs_diff < 1e-3
    assert load_onnx(path).inputs[0].dtype == "uint8"
