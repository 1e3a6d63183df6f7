"""Files that cannot be used end in one error with a code; batch axes and types are understood."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node
from places import FIXTURES

from converter.frontend.tools import imported, model, samples, saved, worst_difference
from onnx2snn.converter.frontend import Reference, load_onnx
from onnx2snn.errors import DataError, ModelError, UnsupportedOps

RNG = np.random.default_rng(2)
W = RNG.normal(size=(5, 3)).astype(np.float32)
GEMM = make_node("Gemm", ["x", "w"], ["y"])


def mlp(**changes: object) -> onnx.ModelProto:
    return model([GEMM], {"x": ("N", 5)}, constants={"w": W, **changes})


def refused(proto: onnx.ModelProto, folder: Path, code: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_onnx(saved(proto, folder))
    assert caught.value.code == code
    assert caught.value.remedy
    return caught.value


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelError, match="cannot read") as caught:
            load_onnx(path)
        assert caught.value.code == "E301"


@pytest.mark.parametrize("data", [b"", b"hello", b"\x00" * 100, b"PK\x03\x04"])
def test_something_else_is_not_an_onnx_model(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not an ONNX model") as caught:
        load_onnx(path)
    assert caught.value.code == "E302"


def test_a_truncated_file_is_not_an_onnx_model(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    whole = (FIXTURES / "small_cnn.onnx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="complete"):
        load_onnx(path)


def test_a_full_disk_of_temporary_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the model, which ONNX Runtime would blame."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    error = refused(mlp(), tmp_path, "E220")
    assert "temporary file" in str(error) and "TMPDIR" in error.remedy


def test_nan_in_the_weights_is_named(tmp_path: Path) -> None:
    bad = W.copy()
    bad[2, 1] = np.nan
    assert "'w'" in str(refused(mlp(w=bad), tmp_path, "E305"))


def test_weights_that_are_fewer_than_their_shape_says_are_refused(tmp_path: Path) -> None:
    proto = mlp()
    proto.graph.initializer[0].dims[0] = 10**9
    assert "'w'" in str(refused(proto, tmp_path, "E303"))


def test_a_tensor_computed_twice_is_refused(tmp_path: Path) -> None:
    proto = model([GEMM, GEMM], {"x": ("N", 5)}, constants={"w": W})
    assert "'y'" in str(refused(proto, tmp_path, "E303"))


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    nodes = [make_node("Add", ["x", "b"], ["a"]), make_node("Relu", ["a"], ["b"])]
    refused(model(nodes, {"x": ("N", 5)}, ("b",)), tmp_path, "E303")


def test_an_enormous_tensor_is_refused_before_it_is_made(tmp_path: Path) -> None:
    expand = make_node("Expand", ["x", "s"], ["y"])
    shape = np.asarray([10**6, 10**6, 5], np.int64)
    proto = model([expand], {"x": ("N", 5)}, constants={"s": shape})
    assert "limit" in str(refused(proto, tmp_path, "E311"))
    fill = make_node("ConstantOfShape", ["s"], ["c"])
    proto = model([fill, make_node("Add", ["x", "c"], ["y"])], {"x": ("N", 5)},
                  constants={"s": shape})  # fmt: skip
    refused(proto, tmp_path, "E311")


def test_a_free_size_asks_for_input_shape_and_takes_it(tmp_path: Path) -> None:
    pool = make_node("GlobalAveragePool", ["x"], ["y"])
    path = saved(model([pool], {"x": ("N", 3, "H", "W")}), tmp_path)
    with pytest.raises(ModelError, match=r"NxHxW|Nx3xHxW") as caught:
        load_onnx(path)
    assert 'input_shapes={"x": ' in caught.value.remedy
    loaded = load_onnx(path, input_shapes={"x": (1, 3, 8, 9)})
    assert loaded.inputs[0].shape == (3, 8, 9)
    graph, _ = imported(loaded)
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-5


@pytest.mark.parametrize(
    ("shapes", "text"),
    [({"z": (1, 5)}, "no input is named"), ({"x": (5,)}, "2 axes"), ({"x": (1, 6)}, "fixed")],
)
def test_a_given_shape_that_does_not_fit_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], text: str
) -> None:
    with pytest.raises(ModelError, match=text) as caught:
        load_onnx(saved(mlp(), tmp_path), input_shapes=shapes)
    assert caught.value.code == "E306"


def test_a_given_shape_is_stronger_than_that_of_the_exporters_example(tmp_path: Path) -> None:
    nodes = [make_node("Conv", ["x", "w"], ["c"]), make_node("Relu", ["c"], ["y"])]
    w = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    path = saved(model(nodes, {"x": (10, 3, 8, 8)}, constants={"w": w}), tmp_path)
    graph, loaded = imported(load_onnx(path, input_shapes={"x": (1, 3, 12, 7)}))
    assert loaded.inputs[0].shape == (3, 12, 7) and loaded.outputs[0].shape == (4, 10, 5)
    assert worst_difference(graph, loaded, samples(loaded, 2)) < 1e-5


@pytest.mark.parametrize(
    ("shape", "example"),
    [(("N", "S"), "(1, 128)"), (("N", 1, 64, "W"), "(1, 1, 64, 224)"), (("N", "F", 40), "128, 40")],
)
def test_the_example_of_a_shape_has_the_inputs_axes_and_known_sizes(
    shape: tuple[int | str, ...], example: str, tmp_path: Path
) -> None:
    path = saved(model([make_node("Relu", ["x"], ["y"])], {"x": shape}), tmp_path)
    with pytest.raises(ModelError) as caught:
        load_onnx(path)
    assert example in caught.value.remedy


@pytest.mark.parametrize("shapes", [{}, {"x": (1, 7, 5), "h": (4, 1, 3)}])
def test_what_no_shape_makes_convert_is_said_before_a_shape_is_asked_for(
    shapes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    """Also where the batch size 1 in the first axis of its state is what ONNX Runtime refuses."""
    nodes = [
        make_node("GRU", ["x", "w", "r", "", "", "h"], ["g"], hidden_size=3, direction="forward"),
        make_node("Shape", ["g"], ["s"]),
        make_node("ReduceMax", ["g"], ["m"], keepdims=0),
        make_node("Cast", ["m"], ["n"], to=TensorProto.INT64),
        make_node("Add", ["s", "n"], ["t"]),
        make_node("Expand", ["x", "t"], ["y"]),
    ]
    held = {"w": np.ones((4, 9, 5), np.float32), "r": np.ones((4, 9, 3), np.float32)}
    proto = model(nodes, {"x": ("N", "S", 5), "h": (4, 1, 3)}, constants=held)
    with pytest.raises(UnsupportedOps, match="state over a sequence"):
        load_onnx(saved(proto, tmp_path), input_shapes=shapes)


def test_a_fixed_batch_becomes_one_and_the_reference_takes_any_number(tmp_path: Path) -> None:
    proto = model([GEMM], {"x": (8, 5)}, constants={"w": W})
    graph, loaded = imported(saved(proto, tmp_path))
    assert loaded.inputs[0].batched and loaded.inputs[0].shape == (5,)
    assert worst_difference(graph, loaded, samples(loaded, 3)) < 1e-5


def test_a_vector_input_has_no_batch_axis(tmp_path: Path) -> None:
    matmul = make_node("MatMul", ["x", "w"], ["y"])
    graph, loaded = imported(saved(model([matmul], {"x": (5,)}, constants={"w": W}), tmp_path))
    assert not loaded.inputs[0].batched
    x = samples(loaded, 4)
    np.testing.assert_allclose(Reference(loaded).run(x)["y"], x["x"] @ W, rtol=1e-5)
    assert worst_difference(graph, loaded, x) < 1e-5


def test_the_reference_runs_a_model_that_mixes_the_batch_one_by_one(tmp_path: Path) -> None:
    mean = make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1)
    sub = make_node("Sub", ["x", "m"], ["d"])
    add = make_node("Add", ["d", "w0"], ["y"])
    proto = model([mean, sub, add], {"x": ("N", 5)}, constants={"w0": W[:, 0]})
    result = Reference(saved(proto, tmp_path)).run(RNG.normal(size=(4, 5)).astype(np.float32))
    np.testing.assert_allclose(result["y"], np.tile(W[:, 0], (4, 1)), rtol=1e-6)


def test_the_reference_refuses_data_of_another_shape_and_unknown_tensors(tmp_path: Path) -> None:
    reference = Reference(saved(mlp(), tmp_path))
    with pytest.raises(DataError, match=r"\(5,\)"):
        reference.run(np.zeros((2, 6), np.float32))
    with pytest.raises(DataError, match="no data"):
        reference.run({"z": np.zeros((2, 5), np.float32)})
    with pytest.raises(ModelError, match="nothing"):
        reference.run(np.zeros((2, 5), np.float32), ["nothing"])


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floating_point_types_are_computed_in_float32(tmp_path: Path, kind: type) -> None:
    proto = model([GEMM], {"x": ("N", 5)}, constants={"w": W.astype(kind)})
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = number
    graph, loaded = imported(saved(proto, tmp_path))
    assert graph.nodes[1].layer.weight.dtype == np.float32  # type: ignore[union-attr]
    x = samples(loaded)
    expected = x["x"] @ W.astype(kind).astype(np.float32)
    np.testing.assert_allclose(Reference(loaded).run(x)["y"], expected, rtol=1e-5)
    assert worst_difference(graph, loaded, x) < 1e-5


def external(folder: Path, location: str) -> Path:
    proto = mlp()
    tensor = proto.graph.initializer[0]
    del proto.graph.initializer[:]
    stored = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=list(tensor.dims))
    stored.data_location = TensorProto.EXTERNAL
    entry = stored.external_data.add()
    entry.key, entry.value = "location", location
    proto.graph.initializer.append(stored)
    return saved(proto, folder)


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    loaded = load_onnx(external(tmp_path, "w.bin"))
    np.testing.assert_array_equal(numpy_helper.to_array(loaded.original.graph.initializer[0]), W)


@pytest.mark.parametrize("where", ["../w.bin", "{outside}/w.bin", "link.bin", "linked/w.bin", ""])
def test_weights_outside_the_model_s_folder_are_refused(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "linked").symlink_to(tmp_path)
    path = external(folder, where.format(outside=tmp_path))
    with pytest.raises(ModelError, match="outside") as caught:
        load_onnx(path)
    assert caught.value.code == "E304"


def test_external_weights_that_are_missing_or_short_are_refused(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    with pytest.raises(ModelError, match=r"w\.bin"):
        load_onnx(path)
    (tmp_path / "w.bin").write_bytes(W.tobytes()[:-4])
    with pytest.raises(ModelError, match="'w'"):
        load_onnx(path)


def test_all_custom_operations_are_named_at_once(tmp_path: Path) -> None:
    nodes = [
        make_node("Mystery", ["x"], ["a"], domain="acme", name="one"),
        make_node("Riddle", ["a"], ["y"], domain="acme", name="two"),
    ]
    proto = model(nodes, {"x": ("N", 5)})
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(UnsupportedOps) as caught:
        load_onnx(saved(proto, tmp_path))
    assert [name for name, _, _ in caught.value.findings] == ["one", "two"]


def test_an_output_that_does_not_depend_on_the_input_is_refused(tmp_path: Path) -> None:
    nodes = [GEMM, make_node("Relu", ["w"], ["z"])]
    path = saved(model(nodes, {"x": ("N", 5)}, ("y", "z"), {"w": W}), tmp_path)
    with pytest.raises(ModelError, match="'z' does not depend"):
        imported(path)


def test_loading_writes_nothing_beside_the_model(tmp_path: Path) -> None:
    path = saved(mlp(), tmp_path)
    load_onnx(path)
    assert list(tmp_path.iterdir()) == [path]


def stored(folder: Path, proto: onnx.ModelProto) -> Path:
    """The model with every initializer in one external file."""
    path = folder / "model.onnx"
    onnx.save_model(
        proto, path, save_as_external_data=True, location="data.bin", size_threshold=0
    )  # fmt: skip
    return path


def test_large_external_weights_stay_in_their_file_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the optimizers would have folded, the importer computes itself."""
    whole = onnx.load(FIXTURES / "plain_cnn_ts_keepbn.onnx")
    expected, loaded = imported(saved(whole, tmp_path))
    assert not loaded.weights
    monkeypatch.setattr("onnx2snn.converter.frontend.file.external.HEAVY", 100)
    monkeypatch.setattr("onnx2snn.converter.frontend.file.external.LARGE", 16)
    graph, heavy = imported(stored(tmp_path, whole))
    assert len(heavy.weights) > 10
    data = samples(heavy)
    assert worst_difference(graph, heavy, data) < 1e-5
    for one, two in zip(Reference(heavy).run(data).values(), Reference(loaded).run(data).values(),
                        strict=True):  # fmt: skip
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert [info.shape for info in heavy.inputs] == [info.shape for info in loaded.inputs]
    assert expected.outputs[0].tensor == graph.outputs[0].tensor


@pytest.mark.slow
def test_a_model_of_more_than_2_gib_is_imported(tmp_path: Path) -> None:
    """A matrix of zeros with one row of ones, in a sparse file of 2.25 GiB."""
    size = 24576
    proto = model([make_node("MatMul", ["x", "w"], ["y"])], {"x": ("N", size)})
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size, size])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(size * size * 4))):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    proto.graph.initializer.append(weight)
    with (tmp_path / "w.bin").open("wb") as stream:
        stream.write(np.ones(size, np.float32).tobytes())
        stream.truncate(size * size * 4)
    graph, loaded = imported(saved(proto, tmp_path))
    x = np.zeros((1, size), np.float32)
    x[0, 0] = 3
    assert graph.nodes[1].layer.weight.shape == (size, size)  # type: ignore[union-attr]
    np.testing.assert_array_equal(Reference(loaded).run(x)["y"], np.full((1, size), 3, np.float32))
