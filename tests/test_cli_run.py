"""`run` with several networks or recipes, and `convert --recipe auto`, as a user meets them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from onnx2snn.cli import main

MODELS = Path(__file__).parent.parent / "models"
MLP, DATA = str(MODELS / "digits_mlp.onnx"), str(MODELS / "digits.npz")
PRE = ["--scale", "16", "--layout", "NHWC"]
TEST = ["--data", f"{DATA}:x_test,y_test", "--samples", "80"]
CALIB = ["--calib", f"{DATA}:x_calib", "--calib-samples", "64"]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def result(*args: object) -> Any:
    done = run(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same model converted for binary and graded spikes."""
    folder = tmp_path_factory.mktemp("nets")
    out = []
    for recipe in ("binary", "graded"):
        path = folder / f"{recipe}.snn.onnx"
        done = run("convert", MLP, *CALIB, *PRE, "-T", 4, "--recipe", recipe, "-o", path)
        assert done.exit_code == 0, done.output
        out.append(str(path))
    return out


def test_several_files_are_scored_as_each_alone_and_drawn_on_one_chart(
    networks: list[str], tmp_path: Path
) -> None:
    both = result("run", *networks, *TEST, "-T", "1:4", "-o", tmp_path / "out")
    assert both["schema"] == "onnx2snn.runs/1"
    assert [(r["network"], r["recipe"]) for r in both["runs"]] == [
        ("binary", "binary"),
        ("graded", "graded"),
    ]
    for path, found in zip(networks, both["runs"], strict=True):
        alone = result("run", path, *TEST, "-T", "1:4")
        assert {k: v for k, v in alone.items() if k != "seconds"} == {
            k: v for k, v in found.items() if k != "seconds"
        }
        assert found["low"] <= found["accuracy"] <= found["high"]
    rows = list(csv.DictReader((tmp_path / "out" / "run.csv").open()))
    assert [(r["recipe"], int(r["T"])) for r in rows] == [
        (name, t) for name in ("binary", "graded") for t in range(1, 5)
    ]
    page = (tmp_path / "out" / "run.html").read_text()
    assert page.count("<polyline") == 2
    assert "95 %" in run("run", *networks, *TEST, "-T", 4).output


def test_a_model_is_run_under_every_recipe_named(tmp_path: Path) -> None:
    recipes = ["--recipe", "binary,signed", "--recipe", "graded"]
    found = result("run", MLP, *recipes, *CALIB, *TEST, *PRE, "-T", 4)
    assert [r["recipe"] for r in found["runs"]] == ["binary", "signed", "graded"]
    errors = [r["error"] for r in found["runs"]]
    assert errors[2] < errors[0]
    swept = result("sweep", MLP, *recipes, *CALIB, *TEST, *PRE, "-T", 4, "-o", tmp_path / "s")
    for one, other in zip(found["runs"], swept["runs"], strict=True):
        assert one["accuracy"] == other["points"][-1]["accuracy"]
        assert one["error"] == pytest.approx(other["points"][-1]["error"], rel=1e-4)


def test_files_of_the_same_name_are_told_apart(networks: list[str], tmp_path: Path) -> None:
    other = tmp_path / Path(networks[0]).name
    other.write_bytes(Path(networks[1]).read_bytes())
    found = result("run", networks[0], other, *TEST, "-T", 2)
    assert [r["network"] for r in found["runs"]] == [networks[0], str(other)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--recipe", "binary"], "needs --calib"),
        (["--recipe", "auto", *CALIB], "for `convert`"),
        (["--recipe", "binary,nope", *CALIB], "unknown recipe 'nope'"),
        (["--lag", "2"], "conversion options need --recipe"),
    ],
)
def test_options_that_do_not_belong_are_one_line_and_status_two(
    networks: list[str], arguments: list[str], says: str
) -> None:
    done = run("run", networks[0], *TEST, *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_auto_prints_its_candidates_and_judges_by_accuracy_with_labels(tmp_path: Path) -> None:
    arguments = ["convert", MLP, "--recipe", "auto", "--max-drop", 2, *PRE, "-T", 8]
    labelled = ["--calib", f"{DATA}:x_calib,y_calib", "--calib-samples", 160]
    found = result(*arguments, *labelled, "-o", tmp_path / "a.snn.onnx")["auto"]
    assert found["measure"] == "accuracy"
    assert found["chosen"] in found["candidates"]
    assert {"latency", "spikes_per_neuron", "synops_per_sample"} <= set(found["chosen"])
    plain = run(*arguments, *CALIB, "--prefer", "steps", "-o", tmp_path / "b.snn.onnx")
    assert plain.exit_code == 0, plain.output
    assert "chosen: " in plain.output
    assert "points of agreement with the ANN lost" in plain.output
    assert "preferred (steps): fewest steps" in plain.output


def test_with_a_lag_a_sweep_runs_a_few_steps_per_octave_and_counts_its_latency(
    tmp_path: Path,
) -> None:
    options = ["--lag", 1, *CALIB, *TEST, *PRE, "-T", "2:9", "-o", tmp_path / "s"]
    points = result("sweep", MLP, *options)["runs"][0]["points"]
    assert [p["T"] for p in points] == [2, 3, 4, 6, 8, 9]
    assert all(p["latency"] == p["T"] + 2 for p in points)  # two layers


def test_convert_says_steps_latency_and_spikes_per_neuron(tmp_path: Path) -> None:
    out = tmp_path / "n.snn.onnx"
    arguments = ["convert", MLP, *CALIB, *PRE, "-T", 4, "--lag", 1, "-o", out]
    checked = result(*arguments)["on_calibration"]
    scored = result("run", out, "--data", f"{DATA}:x_calib", "--samples", 64, "-T", 4)
    for key in ("T", "latency", "spikes_per_neuron", "synops_per_sample", "agreement", "samples"):
        assert checked[key] == pytest.approx(scored[key])
    printed = run(*arguments).output
    assert "T=4, latency 6 steps" in printed
    assert "spikes per neuron" in printed


def test_preprocessing_is_remembered_also_without_calibration_data(tmp_path: Path) -> None:
    out = tmp_path / "n.snn.onnx"
    done = run("convert", MLP, "--calib", "none", *PRE, "-T", 16, "-o", out)
    assert done.exit_code == 0, done.output
    remembered, given = (result("run", out, *TEST, "-T", 16, *more) for more in ([], PRE))
    assert remembered["accuracy"] == given["accuracy"]
    assert remembered["ann_accuracy"] > 0.9
