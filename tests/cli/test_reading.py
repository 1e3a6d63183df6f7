"""What verbs say of the data they read, and that each reads labels in the one way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from converter.frontend.tools import model, saved
from onnx.helper import make_node

from onnx2snn.cli import main

pytestmark = pytest.mark.usefixtures("blank_pictures")

RNG = np.random.default_rng(3)
W, V = (RNG.normal(size=s).astype(np.float32) for s in ((6, 8), (8, 3)))
X, CALIB = RNG.normal(size=(2, 120, 6)).astype(np.float32)
Y = (np.maximum(X @ W, 0) @ V).argmax(axis=1)


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("reading")
    nodes = [make_node("MatMul", ["x", "w"], ["a"]), make_node("Relu", ["a"], ["b"]),
             make_node("MatMul", ["b", "v"], ["y"])]  # fmt: skip
    saved(model(nodes, {"x": ("N", 6)}, constants={"w": W, "v": V}), at)
    np.savez(at / "calib.npz", x=CALIB, bad=np.full(120, 7))
    np.savez(at / "guessed.npz", x=CALIB, y=np.full(120, 7))
    names = np.array(["c0", "c1", "c2"])[Y]
    bad = np.where(Y == 1, np.nan, Y)
    np.savez(
        at / "test.npz", x=X, right=Y, one_hot=np.eye(3)[Y], names=names, shifted=Y + 1, bad=bad
    )
    done = convert(at, "calib.npz:x", "net.snn.onnx")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["on_calibration"]["samples"] == 12
    assert json.loads(done.stdout)["on_calibration"]["held_back"]
    return at


def convert(folder: Path, calib: str, out: str) -> Result:
    model, data = folder / "model.onnx", folder / calib
    return run("convert", model, "--calib", data, "-T", 4, "-o", folder / out, "--json")


def verb(name: str, folder: Path, labels: str) -> Result:
    data, net = ("--data", f"{folder / 'test.npz'}:x,{labels}"), folder / "net.snn.onnx"
    if name == "run":
        return run("run", net, *data, "--json")
    if name == "place":
        return run("place", net, *data, "--target", "loihi2", "--json")
    return run("diagnose", folder / "model.onnx", net, *data, "--json")


@pytest.mark.parametrize("name", ["run", "place", "diagnose"])
def test_all_verbs_read_and_question_labels_alike(folder: Path, name: str) -> None:
    for labels in ("right", "one_hot", "names"):
        done = verb(name, folder, labels)
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert document["warnings"] == []
        assert len(document["read"]) == (labels != "right")
        assert ("c0 = 0, c1 = 1, c2 = 2" in done.stderr) == (labels == "names")
    shifted = verb(name, folder, "shifted")
    assert [w["code"] for w in json.loads(shifted.stdout)["warnings"]] == ["W411"]
    assert "warning W411" in shifted.stderr
    bad = verb(name, folder, "bad")
    assert bad.exit_code == 2 and "E241" in bad.stderr


def test_labels_of_calibration_that_nobody_named_may_be_anything(folder: Path) -> None:
    done = convert(folder, "guessed.npz", "a.snn.onnx")
    assert done.exit_code == 0 and "its labels are not used: label 7" in done.stderr
    named = convert(folder, "calib.npz:x,bad", "b.snn.onnx")
    assert named.exit_code == 2 and "E243" in named.stderr
    assert not (folder / "b.snn.onnx").exists()


def test_samples_that_were_calibrated_on_and_another_mean_are_asked_about(folder: Path) -> None:
    net, known = folder / "net.snn.onnx", f"{folder / 'calib.npz'}:x"
    same = run("run", net, "--data", known, "--json")
    assert [w["code"] for w in json.loads(same.stdout)["warnings"]] == ["W430"]
    other = run("run", net, "--data", f"{folder / 'test.npz'}:x", "--mean", "9", "--json")
    assert {w["code"] for w in json.loads(other.stdout)["warnings"]} == {"W421", "W422"}


@pytest.mark.parametrize("labels", ["one_hot", "names"])
def test_how_labels_were_read_is_said_once(labels: str, folder: Path) -> None:
    done = run("run", folder / "net.snn.onnx", "--data", f"{folder / 'test.npz'}:x,{labels}")
    what = "read as class numbers" if labels == "one_hot" else "labels are names"
    assert done.exit_code == 0 and done.output.count(what) == done.stderr.count(what) == 1


@pytest.mark.parametrize(("held", "said"), [(20, "was not trained on"), (0, "was fitted to")])
def test_an_agreement_says_what_it_was_measured_on(held: int, said: str, folder: Path) -> None:
    data, out = folder / "calib.npz", folder / f"{held}.snn.onnx"
    done = run("convert", folder / "model.onnx", "--calib", f"{data}:x", "-T", 4, "-o", out,
               "--hold-back", held)  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if "Agreement" in line]
    assert said in line and "95 % interval" in line and "`onnx2snn run` on test data" in line
    assert f"on {held or 120} calibration samples" in line
