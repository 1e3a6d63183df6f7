"""`run` with several networks or recipes, and `convert --recipe auto`, as a user meets them."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from places import MODELS

from onnx2snn.cli import main

pytestmark = pytest.mark.usefixtures("blank_pictures")

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
        of_the_data = ("read", "warnings")  # of all networks together
        assert {k: v for k, v in alone.items() if k not in ("seconds", *of_the_data)} == {
            k: v for k, v in found.items() if k != "seconds"
        }
        assert found["low"] <= found["accuracy"] <= found["high"]
    rows = list(csv.DictReader((tmp_path / "out" / "run.csv").open()))
    assert [(r["recipe"], int(r["T"])) for r in rows] == [
        (name, t) for name in ("binary", "graded") for t in range(1, 5)
    ]
    page = (tmp_path / "out" / "run.html").read_text()
    assert page.count("<polyline") == 2 * 4  # curves, on four charts
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


def test_a_window_says_when_answers_come_and_what_a_spike_carries() -> None:
    given = ("run", MLP, "--recipe", "few-spike,ttfs", *CALIB, *TEST, *PRE, "-T", 4)
    first, second = result(*given)["runs"]
    depth = first["latency"] // 4
    assert (first["recipe"], second["recipe"]) == ("few-spike", "ttfs")
    assert first["latency"] == second["latency"] == 4 * depth and depth > 1
    assert first["steps_between_answers"] == 4 and first["bits_per_spike"] == 0
    assert first["runs_on"] == second["runs_on"] == ["programmable neurons (Loihi 2)"]
    assert second["spikes_per_neuron"] <= 1
    text = run(*given).output
    assert f"one answer every 4 steps, each {4 * depth} steps after its input began" in text
    assert "when it comes says how much it counts" in text and "bits/spike" in text


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
    out, few = tmp_path / "n.snn.onnx", tmp_path / "few.npz"
    np.savez(few, x=np.load(DATA)["x_calib"][:64])
    arguments = ["convert", MLP, "--calib", few, *PRE, "-T", 4, "--lag", 1, "-o", out]
    checked = result(*arguments)["on_calibration"]
    scored = result("run", out, "--data", few, "-T", 4)
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


def test_the_knee_is_named_in_words_with_interval_latency_and_cost(networks: list[str]) -> None:
    done = run("run", networks[1], *TEST, "-T", "1:4")
    found = result("run", networks[1], *TEST, "-T", "1:4")
    assert re.search(
        r"T=\d is within 0\.5 point of the ANN \(95 % interval [\d.]+-[\d.]+ %, ANN [\d.]+ %; "
        r"difference [+-][\d.]+ points, [+-][\d.]+ to [+-][\d.]+\).*: latency \d steps?, [\d.]+ "
        r"spikes per neuron, [\d.]+k? synaptic operations per sample and [\d.]+k? "
        r"multiply-accumulates on analog values \([\d.]+ and [\d.]+ times the ANN's\)\.",
        done.output,
    ), done.output
    apart = found["accuracy"] - found["ann_accuracy"]
    assert found["difference_low"] <= apart <= found["difference_high"]
    assert "every T is an answer of one network, converted for T=4" in done.output


def test_without_t_a_network_is_run_and_diagnosed_for_the_t_it_was_converted_for(
    networks: list[str],
) -> None:
    assert result("run", *networks, *TEST)["runs"][1]["T"] == 4
    assert result("diagnose", MLP, networks[0], *TEST)["T"] == 4
    longer = result("run", networks[0], *TEST, "-T", 6)
    assert "the network was converted for T=4, not for T=6" in longer["notes"]


def test_a_regression_is_judged_by_error_and_concordance_wherever_it_is_said(
    networks: list[str], tmp_path: Path
) -> None:
    unlabelled = ["--data", f"{DATA}:x_test", "--samples", "40"]
    guessed = run("run", networks[0], *unlabelled)
    assert "taken for class scores (--regression: for values)" in guessed.output
    found = result("run", networks[0], *TEST, "--regression", "-o", tmp_path / "out")
    assert (found["classes"], found["accuracy"], found["ann_accuracy"]) == (False, None, None)
    assert found["agreement"] == found["concordance"] < 1
    page = (tmp_path / "out" / "run.html").read_text()
    assert "concordance" in page and "n/a" not in page and "output error" in page
    swept = ["sweep", MLP, *CALIB, *TEST, *PRE, "-T", "4", "--regression", "-o", tmp_path / "s"]
    assert result(*swept)["runs"][0]["knee"] is None or result(*swept)["runs"][0]["points"]
    diagnosed = result("diagnose", MLP, networks[0], *TEST, "--regression")
    assert diagnosed["accuracy"] is None and diagnosed["error"] > 0
    auto = ["convert", MLP, *CALIB, *PRE, "-T", 4, "--recipe", "auto", "--max-drop", 20]
    chosen = result(*auto, "--regression", "-o", tmp_path / "a.snn.onnx")["auto"]
    assert chosen["measure"] == "error"


def test_auto_says_no_with_status_one_and_writes_the_nearest(tmp_path: Path) -> None:
    out = tmp_path / "a.snn.onnx"
    few = ["--calib", f"{DATA}:x_calib", "--calib-samples", 12]
    arguments = ["convert", MLP, *PRE, "-T", 1, "--recipe", "auto", "-o", out]
    # Its outputs have some error at T=1, so as values nothing is within zero.
    done = run(*arguments, *CALIB, "--max-drop", 0, "--regression")
    assert done.exit_code == 1, done.output
    assert "NO candidate up to the given T stays within the limit of 0" in done.output
    assert out.exists()
    told = run(*arguments, *few, "--max-drop", 5)
    assert "one of them is worth 25.0 points, more than the limit" in told.output


@pytest.mark.parametrize(
    "arguments", [["--max-drop", "1"], ["--prefer", "steps"], ["--recipe", "auto", "--max-drop=-1"]]
)
def test_options_of_auto_are_refused_where_they_mean_nothing(
    arguments: list[str], tmp_path: Path
) -> None:
    done = run("convert", MLP, *CALIB, *PRE, "-T", 2, *arguments, "-o", tmp_path / "n.snn.onnx")
    assert done.exit_code == 2
    assert not (tmp_path / "n.snn.onnx").exists()


def test_convert_without_data_says_steps_and_latency_and_what_it_did_not_measure(
    tmp_path: Path,
) -> None:
    arguments = ["convert", MLP, "--calib", "none", *PRE, "-T", 4, "--lag", 2]
    done = run(*arguments, "-o", tmp_path / "n.snn.onnx")
    assert "T=4, latency 8 steps; without data, spikes per neuron and agreement" in done.output


def test_every_report_of_a_sweep_has_the_three_numbers_and_says_how_it_was_made(
    tmp_path: Path,
) -> None:
    swept = ["sweep", MLP, *CALIB, *TEST, *PRE, "-T", "1:4", "--recipe", "binary,synchronous"]
    found = result(*swept, "-o", tmp_path)
    for one in found["runs"]:
        assert one["calibration"]["samples"] == 64
        assert one["options"]["steps"] == 4
        assert one["bits_per_spike"] == 0
        assert one["runs_on"] and all("soft reset" in chip for chip in one["runs_on"])
    header, *rows = csv.reader((tmp_path / "sweep.csv").read_text().splitlines())
    assert {row[header.index("bits_per_spike")] for row in rows} == {"0"}
    late = found["runs"][1]["points"][-1]
    assert late["latency"] == 3 * late["T"]  # two layers of neurons, and the readout's window
    page = (tmp_path / "sweep.html").read_text()
    for word in ("latency", "spikes/neuron", "synops/sample", "to ANN", "error"):
        assert f"<th>{word}</th>" in page
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert {"latency", "spikes_per_neuron", "synops_per_sample", "low", "high"} <= set(rows[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--engine", "torch"],
            "PyTorch is not installed. Install it: pip install 'onnx2snn[torch]'.",
        ),
        (
            ["--device", "cuda"],
            "it computes on the CPU. Leave --device out, or use --engine torch.",
        ),
        (["--engine", "numpy", "--profile"], "keeps no profile. Use the engine 'fast'."),
    ],
)
def test_an_engine_that_cannot_be_had_is_refused_in_one_line_before_anything_is_done(
    networks: list[str], options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = run("run", networks[0], "--data", "missing.npz", *options)
    assert done.exit_code == 2
    assert done.stderr.startswith("error E100: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_engine_torch_says_what_the_others_say(networks: list[str]) -> None:
    pytest.importorskip("torch")
    told = ["run", networks[1], *TEST, "-T", "1:4"]
    torch = result(*told, "--engine", "torch", "--device", "cpu")
    numpy = result(*told, "--engine", "numpy")
    assert torch["points"] == numpy["points"]
