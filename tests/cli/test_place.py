"""``place`` on the command line: one chip, all chips, and what a newcomer gets wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hwtargets.truenorth import nets
from onnx2snn import api, hwtargets
from onnx2snn.cli import main
from onnx2snn.hwtargets import load_target, place, targets
from onnx2snn.hwtargets.placement.inputs import alike
from onnx2snn.reports.placement import render_comparison
from onnx2snn.runtime.engine import simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A converted network of 16 inputs, samples and labels, calibration samples."""
    at = tmp_path_factory.mktemp("place")
    graph = nets.dense_net(0, inputs=16, hidden=(12, 9))
    x = nets.samples(graph, 24)
    y = simulate(graph, x, 64).readouts["out"][-1].argmax(1)
    api.save(graph, at / "net.snn.onnx")
    np.savez(at / "data.npz", x=x, y=y, calib=nets.samples(graph, 24, seed=5))
    return at


def run(folder, *arguments):
    net, quick = str(folder / "net.snn.onnx"), ("-T", "16", "--seconds", "0.1")
    return CliRunner().invoke(main, ["place", net, *arguments, *quick])


def data(folder):
    archive = folder / "data.npz"
    return "--data", f"{archive}:x,y", "--calib", f"{archive}:calib"


def test_all_chips_are_compared_in_one_table(folder, tmp_path):
    result = run(folder, "--target", "all", *data(folder), "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    said, table, compared, *_ = result.stdout.split("\n\n")
    assert said.startswith("Fits 6 of 6 chips: loihi1, loihi2, truenorth, xylo-audio2")
    head, _, *rows = table.splitlines()
    assert [row.split()[0] for row in rows] == list(targets())
    for column in (
        "fits",
        "cores",
        "binding limit",
        "chip accuracy",
        "accuracy with input as spikes",
    ):
        assert column in head
    assert all(" yes " in row and "% used" in row for row in rows)
    at = [head.index(f"{kind} energy") for kind in ("dynamic", "static", "undivided")]
    stated = {row.split()[0]: [row[a:].split("  ")[0].strip() != "n/a" for a in at] for row in rows}
    whole = [False, False, True]
    assert stated == {
        "loihi1": [True, False, False],
        "loihi2": [True, True, False],
        "truenorth": whole,
        "xylo-audio2": [True, False, False],
        "xylo-audio3": whole,
        "xylo-imu": whole,
    }
    assert "T = 16, 24 samples: ANN " in compared
    assert "loihi1, loihi2, dynamic: synop + neuron_update + hop, counted from" in result.output
    assert "loihi2, static: 0.232 W for the whole chip" in result.output
    assert "loihi1, loihi2, input: spikes of encoding neurons on the chip" in result.output
    for name in targets():
        report = json.loads((tmp_path / "out" / name / "placement.json").read_text())
        assert report["target"] == name and report["accuracy"]["chip"] is not None
    assert (tmp_path / "out" / "truenorth" / "truenorth.npz").is_file()
    kept = (tmp_path / "out" / "comparison.csv").read_text().splitlines()
    table = [dict(zip(kept[0].split(","), line.split(","), strict=True)) for line in kept[1:]]
    one, two = table[:2]
    assert (one["static_j"], one["undivided_j"], two["undivided_j"]) == ("n/a",) * 3
    assert float(two["static_j"]) == pytest.approx(0.232 * 16 * 153e-6)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert page.count("<tr>") == 1 + len(targets()) and page.count("<td>n/a</td>") == 2 + 1 + 4 * 2
    again = run(folder, "--target", "all", "-o", str(tmp_path / "out"))  # they are known as ours
    assert again.exit_code == 0
    assert f"\nwrote the report to {tmp_path / 'out'}\nnext: onnx2snn place " in result.output


def test_the_comparison_is_json_on_request(folder):
    result = run(folder, "--target", "all", "--json")
    assert result.exit_code == 0
    assert set(json.loads(result.stdout)["targets"]) == set(targets())


def test_without_labels_the_table_says_so(folder):
    result = run(folder, "--target", "all", "--data", f"{folder / 'data.npz'}:x")
    assert "no labels were given" in result.output
    head, _, *rows = result.output.split("\n\n")[1].splitlines()
    column = head.index("chip accuracy")
    assert all(row[column:].split()[0] == "-" for row in rows)


def test_one_chip_that_is_too_small_gives_status_1_and_what_would_fit(folder, tmp_path):
    bundled = (Path(hwtargets.__file__).parent / "truenorth" / "truenorth.toml").read_text()
    tiny = bundled.replace("value = 4096\n", "value = 1\n").replace("value = 64\n", "value = 1\n")
    text = str(tmp_path / "tiny.toml")
    Path(text).write_text(tiny)
    result = run(folder, "--target", text, "--chips", "1", "--option", "coding=axons3")
    assert result.exit_code == 1
    assert "does NOT fit" in result.output and "What would fit (computed):" in result.output


def test_options_have_the_form_key_value(folder):
    result = run(folder, "--target", "truenorth", "--option", "ternary")
    assert result.exit_code == 2 and "KEY=VALUE" in result.output


@pytest.mark.parametrize("target", ["truenorth", "xylo-audio2", "loihi2", "all"])
def test_an_option_that_no_step_reads_is_refused_not_ignored(folder, target):
    result = run(folder, "--target", target, "--option", "codng=ternary")
    assert result.exit_code == 2
    assert "E514" in result.output and "codng" in result.output


def test_options_of_one_chip_reach_only_that_chip_in_the_comparison(folder, tmp_path):
    given = ("--option", "coding=ternary", "--option", "input_spikes=3")
    result = run(folder, "--target", "all", *data(folder), *given, "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    facts = {
        name: json.loads((tmp_path / name / "placement.json").read_text())["facts"]
        for name in targets()
    }
    assert facts["truenorth"]["coding"] == "ternary"
    assert facts["xylo-imu"]["coding"]["input_spikes"] == 3


@pytest.mark.parametrize("target", ["truenorth", "xylo-audio2"])
def test_calibration_samples_are_used_without_data_too(folder, target):
    only = data(folder)[2:]
    result = run(folder, "--target", target, *only, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["facts"]["calibrated_on"] == "calibration data"
    assert report["accuracy"]["samples"] == 0


def test_calibration_samples_of_another_shape_are_refused(folder, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros((4, 9), np.float32))
    result = run(folder, "--target", "truenorth", "--calib", f"{tmp_path / 'other.npz'}:x")
    assert result.exit_code == 2


def test_the_report_of_a_xylo_has_its_clock_and_power_with_the_source(folder):
    result = run(folder, "--target", "xylo-imu", *data(folder))
    assert "fits, 1 core on 1 chip" in result.output
    (line,) = [row for row in result.output.splitlines() if "need a clock of" in row]
    assert " MHz (" in line and " uW (" in line and "power_cycles_model.py" in line


def test_energies_are_compared_with_the_input_alike_and_own_ways_kept(folder, tmp_path):
    result = run(folder, "--target", "all", *data(folder), "--json")
    found = json.loads(result.stdout)
    own = {name: part["input_mode"] for name, part in found["targets"].items()}
    same = {name: part["input_mode"] for name, part in found["input_alike"].items()}
    sent = dict.fromkeys(set(targets()) - {"loihi1", "loihi2"}, "spikes")
    assert own == {"loihi1": "bias", "loihi2": "graded", **sent}
    assert same == {"loihi1": "population", "loihi2": "population", **sent}
    graded, spikes = (
        found[key]["loihi2"]["energy"]["dynamic_j"] for key in ("targets", "input_alike")
    )
    alone = json.loads(run(folder, "--target", "loihi2", *data(folder), "--json").stdout)
    asked = {key: alone.pop(key) for key in ("read", "warnings")}  # once for all chips
    assert asked.items() <= found.items()
    assert found["targets"]["loihi2"] == alone and graded != spikes
    chosen = run(folder, "--target", "all", "--option", "input=bias")
    assert "accuracy with input" not in chosen.output
    assert "Energies with different inputs do not compare" in chosen.output


def test_a_chip_too_small_for_encoding_neurons_has_no_energy_to_compare(folder):
    chip = load_target("loihi1")
    three = {"cores_per_chip": replace(chip.limits["cores_per_chip"], value=3)}
    small = replace(chip, limits={**chip.limits, **three}, boards={})
    assert alike([small, load_target("truenorth")]) == {"loihi1": "population", "truenorth": "rate"}
    assert alike([small, load_target("loihi2")]) == {"loihi1": "bias", "loihi2": "bias"}
    placing = partial(place, api.load(folder / "net.snn.onnx"), small, steps=16, seconds=0)
    own, same = placing(), placing(options={"input": "population"})
    assert own.fits and not same.fits
    table = render_comparison([own], {"loihi1": same})
    assert "does not hold the network with its input as spikes" in table
    assert table.splitlines()[4].split()[-3:] == ["-"] * 3
