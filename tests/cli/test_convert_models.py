"""convert, check and place of models with unusual parts, as a user runs them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner, Result
from converter.frontend.tools import model, saved
from onnx.helper import make_node

from onnx2snn.cli import main
from onnx2snn.evaluation import written
from onnx2snn.runtime import file as onnxfile

RNG = np.random.default_rng(5)
W, V = (RNG.normal(size=s).astype(np.float32) for s in ((6, 8), (8, 1)))
X = RNG.normal(size=(64, 6)).astype(np.float32)
ONE = np.asarray([1])


def run(*args: object) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return CliRunner().invoke(main, [str(a) for a in args])


def convert(folder: Path, proto: onnx.ModelProto, x: Any = X, *more: object) -> Result:
    np.savez(folder / "d.npz", x=x)
    made, path = folder / "n.snn.onnx", saved(proto, folder)
    return run("convert", path, "--calib", f"{folder / 'd.npz'}:x", "-T", 16, "-o", made, *more)


SCALARS = {
    "Squeeze": [make_node("Squeeze", ["z", "one"], ["y"])],
    "Reshape": [make_node("Reshape", ["z", "minus"], ["y"])],
    "ReduceSum": [make_node("ReduceSum", ["h", "one"], ["y"], keepdims=0)],
    "Relu": [make_node("Squeeze", ["z", "one"], ["q"]), make_node("Relu", ["q"], ["y"])],
    "middle": [make_node("Squeeze", ["z", "one"], ["q"]), make_node("Relu", ["q"], ["r"]),
               make_node("Unsqueeze", ["r", "one"], ["s"]),
               make_node("MatMul", ["s", "row"], ["y"])],
    "Tanh": [make_node("Squeeze", ["z", "one"], ["q"]), make_node("Tanh", ["q"], ["t"]),
             make_node("Relu", ["t"], ["y"])],
}  # fmt: skip


def rarely(kind: str, recipe: str) -> bool:
    """The neurons of a recipe see one such tensor as they see the others."""
    return recipe != "binary" and kind != "middle"


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        pytest.param(kind, recipe, marks=[pytest.mark.slow] * rarely(kind, recipe))
        for kind in SCALARS
        for recipe in ("binary", "graded", "differential")
    ],
)
def test_a_tensor_with_no_axis_beside_the_batch(tmp_path: Path, kind: str, recipe: str) -> None:
    nodes = [make_node("MatMul", ["x", "w"], ["g"]), make_node("Relu", ["g"], ["h"]),
             make_node("MatMul", ["h", "v"], ["z"]), *SCALARS[kind]]  # fmt: skip
    constants = {"w": W, "v": V, "one": ONE, "minus": np.asarray([-1]), "row": V.T}
    proto = model(nodes, {"x": ("N", 6)}, constants=constants)
    done = convert(tmp_path, proto, X, "--recipe", recipe, "-T", 64)
    assert done.exit_code == 0, done.output
    source = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": X})[0]
    net = ort.InferenceSession(str(tmp_path / "n.snn.onnx"))
    found = net.run(None, {"x": X, "steps": np.array([64])})[0][-1]
    assert found.size == source.size
    found = found.reshape(source.shape)
    assert np.linalg.norm(found - source) < 0.1 * np.linalg.norm(source)
    assert run("check", tmp_path / "model.onnx").exit_code == 0
    placed = run("place", tmp_path / "n.snn.onnx", "--target", "all")
    assert placed.exit_code < 2, placed.output


def test_without_data_too(tmp_path: Path) -> None:
    nodes = [make_node("MatMul", ["x", "w"], ["g"]), make_node("Relu", ["g"], ["h"]),
             make_node("MatMul", ["h", "v"], ["z"]), *SCALARS["Relu"]]  # fmt: skip
    proto = model(nodes, {"x": ("N", 6)}, constants={"w": W, "v": V, "one": ONE})
    path, out = saved(proto, tmp_path), tmp_path / "n.snn.onnx"
    done = run("convert", path, "--calib", "none", "-T", 8, "-o", out)
    assert done.exit_code == 0, done.output


def training(op: str) -> list[Any]:
    if op == "Dropout":
        return [make_node("Dropout", ["a", "ratio", "yes"], ["b"], name="odd")]
    return [make_node("BatchNormalization", ["a", "one", "zero", "zero", "one"], ["b", "m", "v"],
                      name="odd", training_mode=1)]  # fmt: skip


@pytest.mark.parametrize("op", ["Dropout", "BatchNormalization"])
def test_what_was_exported_in_training_mode_is_said(tmp_path: Path, op: str) -> None:
    nodes = [make_node("Conv", ["x", "k"], ["a"]), *training(op), make_node("Relu", ["b"], ["y"])]
    k = RNG.normal(size=(8, 2, 3, 3)).astype(np.float32)
    constants = {"k": k, "one": np.ones(8, "f"), "zero": np.zeros(8, "f"),
                 "ratio": np.float32(0.5), "yes": np.asarray(True)}  # fmt: skip
    proto = model(nodes, {"x": ("N", 2, 4, 4)}, constants=constants)
    done = convert(tmp_path, proto, RNG.normal(size=(8, 2, 4, 4)), "--json")
    assert done.exit_code == 0, done.output
    notes = [n for n in json.loads(done.stdout)["meta"]["notes"] if "training mode" in n]
    assert len(notes) == 1 and notes[0].startswith(op) and notes[0].endswith(": odd")
    checked = json.loads(run("check", tmp_path / "model.onnx", "--json").stdout)
    found = {n["name"]: (n["verdict"], n["reason"]) for n in checked["nodes"]}
    assert found["odd"][0] == "approximate" and "training mode" in found["odd"][1]


def test_a_model_in_inference_mode_has_no_such_note(tmp_path: Path) -> None:
    nodes = [make_node("MatMul", ["x", "w"], ["a"]), make_node("Dropout", ["a"], ["b"]),
             make_node("BatchNormalization", ["b", "one", "zero", "zero", "one"], ["c"]),
             make_node("Relu", ["c"], ["y"])]  # fmt: skip
    constants = {"w": W, "one": np.ones(8, "f"), "zero": np.zeros(8, "f")}
    done = convert(tmp_path, model(nodes, {"x": ("N", 6)}, constants=constants), X, "--json")
    assert "training" not in done.stdout


def test_padding_with_the_largest_negative_number_overflows_nowhere(tmp_path: Path) -> None:
    k = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
    nodes = [make_node("Conv", ["x", "k"], ["a"], pads=[1] * 4),
             make_node("Pad", ["a", "pads", "low"], ["b"]),
             make_node("MaxPool", ["b"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
             make_node("Relu", ["c"], ["d"]), make_node("Flatten", ["d"], ["y"])]  # fmt: skip
    constants = {"k": k, "pads": np.asarray([0, 0, 1, 1] * 2), "low": np.float32(-3.4028235e38)}
    x = RNG.normal(size=(16, 2, 6, 6)).astype(np.float32)
    proto = model(nodes, {"x": ("N", 2, 6, 6)}, constants=constants)
    done = convert(tmp_path, proto, x)  # where any warning is an error
    assert done.exit_code == 0, done.output
    ran = run("run", tmp_path / "n.snn.onnx", "--data", f"{tmp_path / 'd.npz'}:x", "--regression")
    assert ran.exit_code == 0 and "overflow" not in ran.output, ran.output


def test_no_folder_of_this_machine_is_in_the_file(tmp_path: Path) -> None:
    nodes = [make_node("MatMul", ["x", "w"], ["a"]), make_node("Relu", ["a"], ["y"])]
    assert convert(tmp_path, model(nodes, {"x": ("N", 6)}, constants={"w": W})).exit_code == 0
    made = tmp_path / "n.snn.onnx"
    assert str(tmp_path).encode() not in made.read_bytes()
    known = onnxfile.load(made).meta["calibration"]
    assert (known["source"], known["samples"], known["used"]) == ("d.npz:x", 64, 64)


def test_convert_says_wrote_only_where_the_file_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "to_bytes", lambda network: b"")
    nodes = [make_node("MatMul", ["x", "w"], ["a"]), make_node("Relu", ["a"], ["y"])]
    done = convert(tmp_path, model(nodes, {"x": ("N", 6)}, constants={"w": W}))
    assert done.exit_code == 2
    assert "E326" in done.output and "wrote" not in done.output
    assert not (tmp_path / "n.snn.onnx").exists()
