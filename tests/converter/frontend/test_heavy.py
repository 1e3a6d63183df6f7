"""Weights of large files: mapped, and all that is made of them as if they had been read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2snn import convert, load_onnx
from onnx2snn.converter.frontend.file import heavy
from onnx2snn.converter.frontend.file.heavy import heavy_file
from onnx2snn.errors import ModelError
from onnx2snn.experiments.fingerprint import fingerprint
from onnx2snn.runtime.file import wire

RNG = np.random.default_rng(0)
WEIGHTS = {
    "first": RNG.normal(size=(24, 12)),  # of Gemm, as PyTorch has it
    "second": RNG.normal(size=(24, 20)),  # of MatMul
    "moved": RNG.normal(size=(16, 20)),  # a Transpose reads it
    "shared": RNG.normal(size=(16, 16)),  # a product and a sum read it
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose weights are large in a file that is heavy."""
    monkeypatch.setattr(wire, "LARGE", 512)
    monkeypatch.setattr(heavy, "HEAVY_FILE", 4096)
    nodes = [
        helper.make_node("Gemm", ["x", "first", "bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Transpose", ["moved"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["d", "turned"], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "shared"], ["g"]),
        helper.make_node("ReduceSum", ["shared"], ["total"], keepdims=0),
        helper.make_node("Add", ["g", "total"], ["y"]),
    ]
    held = {**WEIGHTS, "bias": RNG.normal(size=24)}
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_weights_that_only_products_read_stay_in_the_file(path: Path) -> None:
    found = heavy_file(path)
    assert found is not None and set(found.mapped) == {"first", "second"}
    for name, array in found.mapped.items():
        assert np.array_equal(array, WEIGHTS[name].astype(np.float32))
        assert array.flags.aligned and not array.flags.writeable
    rest, whole = onnx.load_model_from_string(found.rest), onnx.load(path)
    kept = [t for t in whole.graph.initializer if t.name not in found.mapped]
    del whole.graph.initializer[:]
    whole.graph.initializer.extend(kept)
    assert rest == whole


def test_the_network_is_the_same_to_the_last_bit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = load_onnx(path)
    held = sum(len(t.raw_data) for t in mapped.cleaned.graph.initializer)
    assert set(mapped.weights) == {"first", "second"} and held < 4 * (2 * 16 * 20 + 16 * 16)
    monkeypatch.setattr(heavy, "HEAVY_FILE", 2**40)
    read = load_onnx(path)
    assert not read.weights and read.sha256 == mapped.sha256
    x = RNG.normal(size=(20, 12)).astype(np.float32)
    one, other = (convert(model, x, steps=4) for model in (mapped, read))
    assert fingerprint(one.nodes) == fingerprint(other.nodes)


@pytest.mark.parametrize("change", ["cut", "garbage", "lists it as an input"])
def test_any_other_file_is_read_whole(path: Path, change: str) -> None:
    content = path.read_bytes()
    if change == "cut":
        path.write_bytes(content[:-300])
    elif change == "garbage":
        path.write_bytes(b"\xff" * 8000)
    else:
        model = onnx.load(path)
        for name in ("first", "second"):
            shape = WEIGHTS[name].shape
            model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        onnx.save(model, path)
    assert heavy_file(path) is None
    if change != "lists it as an input":
        with pytest.raises(ModelError) as refused:
            load_onnx(path)
        assert refused.value.code == "E302"
