"""The command line as a user meets it: exit status, one-line errors, JSON keys, files written."""

import json
import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from places import FIXTURES, MODELS, ROOT

from onnx2snn.cli import main
from onnx2snn.runtime.engine.fast import native

pytestmark = pytest.mark.usefixtures("blank_pictures")

CNN, MLP, DATA = (str(MODELS / n) for n in ("digits_cnn.onnx", "digits_mlp.onnx", "digits.npz"))
PRE = ["--scale", "16", "--layout", "NHWC"]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def result(*args: object) -> Any:
    done = run(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("net") / "cnn.snn.onnx"
    done = run("convert", CNN, "--calib", f"{DATA}:x_calib", *PRE, "-T", 16, "-o", path)
    assert done.exit_code == 0, done.output
    assert done.output.index("Agreement of SNN and ANN") < done.output.index("smallest threshold")
    return str(path)


def test_run_scores_a_converted_network_and_remembers_preprocessing(network: str) -> None:
    document = result("run", network, "--data", f"{DATA}:x_test,y_test", "-T", 16)
    keys = "accuracy ann_accuracy agreement T samples spikes_per_neuron synops_per_sample seconds"
    assert set(keys.split()) <= set(document)
    assert document["samples"] == 360
    assert document["ann_accuracy"] > 0.98
    assert document["accuracy"] > document["ann_accuracy"] - 0.02


def test_both_engines_give_the_same_score(network: str) -> None:
    arguments = ("run", network, "--data", f"{DATA}:x_test,y_test", "-T", 8, "--samples", 100)
    ours = result(*arguments)
    for more in (["--engine", "onnxruntime"], ["--events", "never"], ["--engine", "numpy"]):
        theirs = result(*arguments, *more)
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.011)
        assert ours["synops_per_sample"] == pytest.approx(theirs["synops_per_sample"], rel=1e-3)


def test_sweep_writes_its_report_and_the_documented_keys(tmp_path: Path) -> None:
    out = tmp_path / "out"
    document = result(
        "sweep", MLP, "--data", f"{DATA}:x_test,y_test", "--calib", f"{DATA}:x_calib", *PRE,
        "-T", "2:16", "--samples", 100, "-o", out,
    )  # fmt: skip
    assert set(document["ann"]) >= {"accuracy"}
    points = document["runs"][0]["points"]
    assert [p["T"] for p in points] == list(range(2, 17))
    keys = "T latency accuracy low high agreement spikes_per_neuron synops_per_sample"
    assert set(keys.split()) <= set(points[0])
    assert points[-1]["accuracy"] >= document["ann"]["accuracy"] - 0.03
    names = {p.name for p in out.iterdir()}
    assert {"sweep.json", "sweep.csv", "sweep.html"} <= names
    assert not [n for n in names if n.startswith(".")]
    assert json.loads((out / "sweep.json").read_text()) == document
    assert len((out / "sweep.csv").read_text().splitlines()) == 16


def test_verify_compares_layer_by_layer() -> None:
    document = result("verify", CNN)
    assert document["relative_diff"] <= 1e-4
    assert len(document["layers"]) > 5
    assert all(layer["relative_diff"] < 1e-4 for layer in document["layers"])
    on_data = result("verify", CNN, "--data", f"{DATA}:x_test", *PRE, "--samples", 8)
    assert on_data["samples"] == 8


def test_check_lists_every_node() -> None:
    document = result("check", CNN)
    chips = document["targets"]
    xylo, loihi2 = chips["xylo-audio2"], chips["loihi2"]
    assert not xylo["may_fit"]
    found = {v["rule"]: (v["used"], v["limit"]) for v in xylo["violations"]}
    assert (found["inputs"], found["hidden_neurons"]) == ((64, 16), (4224, 1000))
    assert (loihi2["may_fit"], loihi2["kinds_fit"]) == (False, False)  # it has a max pool
    assert loihi2["remedy"] == "`convert --maxpool tree`, at least 8 cores"
    assert chips["truenorth"]["may_fit"] and chips["truenorth"]["at_least"]["cores"] == 17
    said = run("check", CNN).output
    assert "inputs: 64, limit 16" in said and "yes   at least 17 cores; copies of neurons" in said
    assert document["convertible"] is True
    assert {"name", "op", "verdict", "reason"} <= set(document["nodes"][0])


def test_check_of_an_unsupported_network_exits_with_one(tmp_path: Path) -> None:
    model = onnx.load(MLP)
    for i, node in enumerate(n for n in model.graph.node if n.op_type == "Relu"):
        node.op_type, node.domain = "Strange", "example.custom"
        node.name = f"odd{i}"
    model.opset_import.append(onnx.helper.make_opsetid("example.custom", 1))
    onnx.save(model, tmp_path / "odd.onnx")
    done = run("check", tmp_path / "odd.onnx")
    assert done.exit_code == 1
    assert "odd0" in done.output
    assert "odd1" in done.output
    calib = ["--calib", f"{DATA}:x_calib", *PRE]
    converted = run("convert", tmp_path / "odd.onnx", *calib, "-o", tmp_path / "n.onnx")
    assert converted.exit_code == 2
    assert "odd0" in converted.stderr
    assert "odd1" in converted.stderr
    assert not (tmp_path / "n.onnx").exists()


def test_doctor_ops_and_help_answer() -> None:
    listed = run("doctor").output
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = wanted["optional-dependencies"]
    users = (extras[name] for name in extras.keys() - {"docs", "test", "dev"})
    for package in (*wanted["dependencies"], *chain.from_iterable(users)):
        assert f"\n{re.split('[<>=]', package)[0]} " in listed
    table = result("ops")
    assert "Conv" in table["operations"]
    refused = {row["operation"]: row for row in table["refused"]}
    assert refused["LSTM"]["instead"] == "Use convolutions or attention."
    assert not set(refused) & set(table["operations"])
    printed = run("ops").output
    assert all(op in printed for op in (*table["operations"], *refused))
    assert "analog island" in printed
    for name in main.commands:
        done = run(name, "--help")
        assert done.exit_code == 0
        assert main.commands[name].help


def bad_inputs(tmp_path: Path) -> dict[str, tuple[list[object], str]]:
    """Case -> (arguments, error code)."""
    good = [*PRE, "-o", tmp_path / "out.onnx"]
    calib = ["--calib", f"{DATA}:x_calib"]
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "short.onnx").write_bytes(Path(CNN).read_bytes()[:2000])
    broken = onnx.load(CNN)
    first = broken.graph.initializer[0]
    values = onnx.numpy_helper.to_array(first).copy()
    values.flat[0] = np.nan
    first.CopyFrom(onnx.numpy_helper.from_array(values, first.name))
    onnx.save(broken, tmp_path / "nan.onnx")
    np.savez(tmp_path / "nan.npz", x=np.full((4, 8, 8, 1), np.nan))
    return {
        "missing model": (["convert", tmp_path / "no.onnx", *calib, *good], "E301"),
        "not ONNX": (["convert", tmp_path / "text.onnx", *calib, *good], "E302"),
        "cut short": (["convert", tmp_path / "short.onnx", *calib, *good], "E302"),
        "NaN in weights": (["convert", tmp_path / "nan.onnx", *calib, *good], "E305"),
        "missing data": (["convert", CNN, "--calib", "no.npz:x", *good], "E201"),
        "wrong key": (["convert", CNN, "--calib", f"{DATA}:nope", *good], "E203"),
        "labels as samples": (["convert", CNN, "--calib", f"{DATA}:y_test", *good], "E212"),
        "wrong layout": (["convert", CNN, *calib, "-o", tmp_path / "o.onnx"], "E212"),
        "NaN in data": (["convert", CNN, "--calib", f"{tmp_path / 'nan.npz'}:x", *good], "E215"),
        "T of zero": (["convert", CNN, *calib, *good, "-T", 0], "E110"),
        "T backwards": (["convert", CNN, *calib, *good, "-T", "9:3"], "E110"),
        "T of letters": (["convert", CNN, *calib, *good, "-T", "x"], "E100"),
        "no such folder": (["convert", CNN, *calib, *PRE, "-o", tmp_path / "a" / "b"], "E220"),
        "run on a plain model": (["run", CNN, "--data", f"{DATA}:x_test"], "E320"),
    }


def test_bad_input_gets_one_line_a_code_status_two_and_no_file(tmp_path: Path) -> None:
    for case, (arguments, code) in bad_inputs(tmp_path).items():
        before = set(tmp_path.iterdir())
        done = run(*arguments)
        assert done.exit_code == 2, f"{case}: {done.output}"
        assert done.stderr.startswith(f"error {code}: "), f"{case}: {done.stderr}"
        assert len(done.stderr.splitlines()) == 1, case
        assert "Traceback" not in done.output
        assert set(tmp_path.iterdir()) == before, case


def test_a_warning_is_one_line_and_no_part_of_the_answer(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The extra `fast` is there, and what it compiles cannot be loaded.
    monkeypatch.setattr(native, "version", lambda package: "1")
    monkeypatch.setattr(native, "_machine_code", lambda versions: b"not an object file")
    native.kernels.cache_clear()
    try:
        done = run("run", network, "--data", f"{DATA}:x_test,y_test", "-T", 4, "--json")
    finally:
        native.kernels.cache_clear()
    assert done.exit_code == 0 and "accuracy" in json.loads(done.stdout)
    lines = [line for line in done.stderr.splitlines() if "fast" in line]
    assert len(lines) == 1 and lines[0].startswith("warning: the kernels of the extra 'fast'")


def test_no_progress_is_printed_into_a_pipe(network: str) -> None:
    done = run("run", network, "--data", f"{DATA}:x_test,y_test", "-T", 2, "--samples", 10)
    assert done.stderr == ""


def test_convert_says_how_much_is_not_spiking_or_refuses_it(tmp_path: Path) -> None:
    model = FIXTURES / "mobilev3_sigmoid_ts.onnx"
    shape = result("check", model)["inputs"][0]["shape"]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((8, *shape)))
    arguments = ("convert", model, "--calib", tmp_path / "x.npy", "-T", 4)
    document = result(*arguments, "-o", tmp_path / "n.onnx", "--allow-analog")
    assert 0 < document["analog"]["nodes_share"] < 1
    refused = run(*arguments, "-o", tmp_path / "m.onnx", "--spiking-only")
    assert refused.exit_code == 2
    assert "error E310" in refused.stderr
    assert not (tmp_path / "m.onnx").exists()
