"""What outputs decide: scores of any shape, one logit; what is said where they decide nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from converter.frontend.tools import model, saved
from onnx.helper import make_node

from onnx2snn.cli import main
from onnx2snn.converter.auto.judge import drop_of, measured_by
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import check, import_onnx
from onnx2snn.converter.recipes.options import Options
from onnx2snn.data import Preprocessing, Samples
from onnx2snn.evaluation.evaluate import evaluate
from onnx2snn.evaluation.verify import verify
from onnx2snn.reports.text import run_text
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import EarlyExit
from onnx2snn.runtime.semantics.decision import decisions, score_count
from onnx2snn.runtime.semantics.labels import read

T = 32
RNG = np.random.default_rng(11)
W = [RNG.normal(size=s).astype(np.float32) / 2 for s in ((12, 24), (24, 24))]
TAILS = {
    "one logit": (["Sigmoid"], 1, ""),
    "bare logit": ([], 1, ""),
    "labels": (["Sigmoid"], 4, ""),
    "classes": (["Softmax"], 5, ""),
    "NC11": ([], 5, "channels first"),
    "N11C": ([], 5, "channels last"),
    "softmax NC11": (["Softmax"], 5, "channels first"),
    "value": (["Relu"], 1, ""),
}


def network(kind: str) -> onnx.ModelProto:
    last, count, shaped = TAILS[kind]
    weight = RNG.normal(size=(24, count)).astype(np.float32)
    nodes = [
        make_node("MatMul", ["x", "w0"], ["a"]),
        make_node("Relu", ["a"], ["b"]),
        make_node("MatMul", ["b", "w1"], ["c"]),
        make_node("Relu", ["c"], ["d"]),
        make_node("MatMul", ["d", "w2"], ["z"]),
    ]
    held = {"w0": W[0], "w1": W[1], "w2": weight - weight.mean(axis=0)}
    if shaped:
        target = [-1, count, 1, 1] if shaped == "channels first" else [-1, 1, 1, count]
        held["shape"] = np.array(target, np.int64)
        nodes.append(make_node("Reshape", ["z", "shape"], ["r"]))
    for op in last:
        attributes = {"axis": 1} if op == "Softmax" else {}
        nodes.append(make_node(op, [nodes[-1].output[0]], [f"after {op}"], **attributes))
    nodes[-1].output[0] = "y"
    return model(nodes, {"x": ["N", 12]}, constants=held)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, snn.SpikingGraph]]:
    out = {}
    x = RNG.normal(size=(128, 12)).astype(np.float32)
    for kind in TAILS:
        path = saved(network(kind), tmp_path_factory.mktemp("net"))
        out[kind] = path, convert(import_onnx(path), x, Options(steps=T)).graph
    return out


def data(path: Path, kind: str) -> Samples:
    """Samples with the model's own answers as labels, by ONNX Runtime."""
    x = np.random.default_rng(5).normal(size=(90, 12)).astype(np.float32)
    y = ort.InferenceSession(str(path)).run(None, {"x": x})[0].reshape(90, -1)
    last, count, _ = TAILS[kind]
    labels = y.argmax(axis=1) if count > 1 else (y[:, 0] > (0.5 if last else 0)).astype(np.int64)
    return Samples(arrays={"x": x}, labels=labels, preprocessing=Preprocessing(), source="t")


@pytest.mark.parametrize("kind", ["one logit", "bare logit", "classes", "NC11", "N11C"])
def test_accuracy_is_reported_and_nearly_the_models(kind, made):
    path, graph = made[kind]
    samples = data(path, kind)
    assert np.bincount(samples.labels).max() < 0.9 * len(samples)  # not one class only
    result = evaluate(graph, samples, T)
    assert result.classes and result.ann_accuracy == 1.0
    assert result.points[-1].accuracy > 0.9
    assert result.points[-1].agreement == result.points[-1].accuracy
    assert result.outputs[0].agreement == result.points[-1].agreement
    assert ("one logit" in run_text("n", result)) == ("logit" in kind)
    # the same from ONNX Runtime's own answers of the saved network, by hand
    onnxfile.save(graph, path.with_suffix(".snn.onnx"))
    got = ort.InferenceSession(str(path.with_suffix(".snn.onnx"))).run(
        None, {"x": samples.arrays["x"], "steps": np.array([T])}
    )[0][-1].reshape(90, -1)  # fmt: skip
    said = got.argmax(axis=1) if got.shape[1] > 1 else got[:, 0] > 0
    assert abs((said == samples.labels).mean() - result.points[-1].accuracy) < 0.02


def test_a_final_sigmoid_is_no_island_and_says_how_to_read_the_logits(made):
    for kind, rule in (("one logit", "class 1 where it is above 0"), ("labels", "each label")):
        path, graph = made[kind]
        assert not graph.of(snn.Analog)
        assert [rule in note for note in graph.meta["notes"]].count(True) == 1
        found = next(f for f in check(path).nodes if f.op == "Sigmoid")
        assert found.verdict == "spiking" and "above 1/2" in found.reason
        assert verify(path).relative_diff < 1e-5
        assert onnxfile.load(_written(path, graph)).meta["left_out"] == {"z": ["Sigmoid"]}
    convert(import_onnx(made["one logit"][0]), None, Options(steps=8, lag=4))  # E115 with an island


def _written(path: Path, graph: snn.SpikingGraph) -> Path:
    onnxfile.save(graph, path.with_name("w.onnx"))
    return path.with_name("w.onnx")


def test_a_sigmoid_that_something_else_reads_stays(tmp_path: Path) -> None:
    nodes = [make_node("Sigmoid", ["x"], ["s"]), make_node("Mul", ["x", "s"], ["y"])]
    path = saved(model(nodes, {"x": ["N", 3]}), tmp_path)
    assert "analog" in {f.verdict for f in check(path).nodes}


def test_without_labels_a_sigmoid_says_that_there_are_two_classes(made):
    for kind, classes in (("one logit", True), ("bare logit", False), ("value", False)):
        path, graph = made[kind]
        result = evaluate(graph, replace(data(path, kind), labels=None), T)
        assert result.classes == result.logit == classes
        assert result.points[-1].accuracy is None


def test_labels_that_the_outputs_say_nothing_of_are_not_passed_over_in_silence(made):
    path, graph = made["value"]
    result = evaluate(graph, data(path, "value"), T)  # 0 and 1, but a ReLU is never below 0
    assert not result.classes and result.unused_labels
    assert "not one score per class" in " ".join(result.said)  # which verbs say once
    asked = evaluate(graph, data(path, "value"), T, regression=True)
    assert not asked.unused_labels
    values = replace(data(path, "value"), labels=np.linspace(0, 1, 90))
    assert not evaluate(graph, values, T).unused_labels
    asked = evaluate(
        made["one logit"][1], data(made["one logit"][0], "one logit"), T, regression=True
    )
    assert not asked.classes and not asked.logit and asked.points[-1].accuracy is None


@pytest.mark.parametrize("form", ["column", "float", "bool"])
def test_binary_labels_as_frameworks_store_them(form: str, made):
    path, graph = made["one logit"]
    samples = data(path, "one logit")
    wanted = evaluate(graph, samples, T).points[-1].accuracy
    forms = {"column": samples.labels[:, None], "float": samples.labels.astype(np.float32),
             "bool": samples.labels.astype(bool)}  # fmt: skip
    assert evaluate(graph, replace(samples, labels=forms[form]), T).points[-1].accuracy == wanted


@pytest.mark.parametrize("kind", ["one logit", "NC11"])
@pytest.mark.parametrize("chip", ["loihi2", "truenorth"])
def test_chips_take_it_and_report_its_accuracy(kind, chip, made, tmp_path: Path):
    path, graph = made[kind]
    onnxfile.save(graph, tmp_path / "n.snn.onnx")
    samples = data(path, kind)
    np.savez(tmp_path / "d.npz", x=samples.arrays["x"], y=samples.labels)
    arguments = ["place", "n.snn.onnx", "--target", chip, "--data", "d.npz:x,y", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        done = CliRunner().invoke(main, arguments)
    accuracy = json.loads(done.stdout)["accuracy"]
    assert accuracy["ann"] == 1.0 and accuracy["float_snn"] > 0.9 and accuracy["chip"] > 0.75


def test_of_a_value_no_chip_reports_an_accuracy(made, tmp_path: Path):
    """The share of equal argmaxes of one number was 100 %."""
    path, graph = made["value"]
    onnxfile.save(graph, tmp_path / "n.snn.onnx")
    np.savez(tmp_path / "d.npz", x=data(path, "value").arrays["x"], y=np.linspace(0, 1, 90))
    arguments = ["place", str(tmp_path / "n.snn.onnx"), "--target", "loihi2", "--json"]
    done = CliRunner().invoke(main, [*arguments, "--data", f"{tmp_path}/d.npz:x,y"])
    accuracy = json.loads(done.stdout)["accuracy"]
    assert accuracy["agreement"] is None and accuracy["chip"] is None and accuracy["ann"] is None


def test_early_exit_judges_scores_of_any_shape(made):
    path, graph = made["NC11"]
    result = evaluate(graph, data(path, "NC11"), T, early_exit=EarlyExit(margin=0.3))
    assert sum(result.stopped[:T]) > 10
    assert result.points[-1].accuracy > 0.85


def test_the_search_judges_two_classes_by_one_number() -> None:
    wanted = {"y": np.array([[2.0], [-1], [0.5], [-3]])}
    got = {"y": np.array([[1.0], [1], [0.1], [-2]])}
    labels = np.array([1, 0, 1, 0])
    assert measured_by(wanted, labels) == "accuracy"
    assert drop_of(wanted=wanted, got=got, labels=labels)[0] == 25.0
    assert measured_by(wanted, None) == "error"
    assert measured_by(wanted, np.array([0.2, 0.1, 3, 1])) == "error"
    assert measured_by(wanted, np.array([0, 1, 2, 1])) == "error"
    four = {"y": np.eye(4).reshape(4, 4, 1, 1)}
    assert measured_by(four, np.arange(4)) == "accuracy"
    assert drop_of(wanted=four, got=four, labels=np.array([0, 1, 2, 0]))[0] == 0


def test_what_decides() -> None:
    for shape, count in [((5,), 5), ((5, 1, 1), 5), ((1, 1, 5), 5), ((), 1), ((1, 1), 1),
                         ((1, 5, 1), None), ((5, 2), None), ((3, 8, 8), None)]:  # fmt: skip
        assert score_count(shape) == count
    values = RNG.normal(size=(3, 7, 1, 1, 5))
    np.testing.assert_array_equal(decisions(values, (1, 1, 5)), values[:, :, 0, 0].argmax(-1))
    np.testing.assert_array_equal(decisions(values[..., :1], (1, 1, 1)), values[:, :, 0, 0, 0] > 0)


def test_a_network_from_before_decides_as_before(made):
    graph = made["classes"][1]
    old = replace(graph, meta={k: v for k, v in graph.meta.items() if k != "left_out"})
    assert read(old, None).classes and read(old, np.arange(3)).classes
