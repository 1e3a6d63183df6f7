"""`onnx2snn diagnose` as a user meets it: table, sentence, JSON, files, exit status."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from places import MODELS

import onnx2snn
from onnx2snn.cli import main
from onnx2snn.converter.frontend import load_onnx
from onnx2snn.data import Preprocessing
from onnx2snn.runtime import graph as snn

CNN, MLP, DATA = (str(MODELS / n) for n in ("digits_cnn.onnx", "digits_mlp.onnx", "digits.npz"))
BROKEN = "/block/Relu"
SPLIT = ("inherited", "clipping", "quantization", "unevenness")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A converted network, and the same with a bias removed, as files."""
    folder = tmp_path_factory.mktemp("nets")
    pre = Preprocessing(scale=16.0, layout="NHWC")
    calibration = onnx2snn.load_samples(f"{DATA}:x_calib", load_onnx(CNN), pre, limit=64)
    sound = onnx2snn.convert(CNN, calibration, steps=16)
    node = sound[BROKEN]
    assert isinstance(node, snn.Population)
    broken = sound.with_nodes([replace(node, bias=np.zeros((), np.float32))])
    paths = str(folder / "sound.snn.onnx"), str(folder / "broken.snn.onnx")
    for network, path in zip((sound, broken), paths, strict=True):
        onnx2snn.save(network, path)
    return paths


def diagnose(network: str, *more: object, model: str = CNN) -> Result:
    args = ["diagnose", model, network, "--data", f"{DATA}:x_test", "--samples", "24", "-T", "16"]
    return CliRunner().invoke(main, [*args, *map(str, more)])


def document(network: str, *more: object) -> Any:
    done = diagnose(network, *more, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_document_has_every_layer_and_no_fault_for_a_sound_network(
    networks: tuple[str, str],
) -> None:
    found = document(networks[0])
    assert found["schema"] == "onnx2snn.diagnose/1"
    assert (found["T"], found["samples"]) == (16, 24)
    populations = [layer for layer in found["layers"] if layer["kind"] == "population"]
    assert len(populations) == 5
    for layer in populations:
        # Parts add up neuron by neuron, so their rms values bound that of the whole.
        assert layer["error"] <= sum(layer[part] for part in SPLIT) + 1e-9
        assert 0 <= layer["saturated"] <= 1 and 0 <= layer["silent"] <= 1
        assert layer["spikes_per_neuron"] > 0
    assert found["cause"] in ("quantization", "unevenness", "clipping")
    assert [f for f in found["structure"] if f["kind"] != "calibrated"] == []


def test_the_text_names_the_removed_bias_the_layer_and_what_to_do(
    networks: tuple[str, str],
) -> None:
    done = diagnose(networks[1])
    assert done.exit_code == 0, done.output
    assert f"The error jumps at '{BROKEN}'" in done.output
    assert f"bias of '{BROKEN}' differs from the ANN's by up to" in done.output
    assert "convert again" in done.output and "cause: bias" in done.output
    found = document(networks[1])
    assert (found["first_layer"], found["cause"], found["node"]) == (BROKEN, "bias", BROKEN)
    assert found["try"] in done.output


def test_the_folder_gets_a_page_with_pictures_and_the_same_document(
    networks: tuple[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    printed = document(networks[1], "-o", tmp_path / "out")
    pictures = {"errors.png", "rates.png", "accuracy.png"}
    names = {"diagnosis.json", "diagnosis.html", *pictures}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    assert json.loads((tmp_path / "out" / "diagnosis.json").read_text()) == printed
    for name in pictures:
        picture = (tmp_path / "out" / name).read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    page = (tmp_path / "out" / "diagnosis.html").read_text()
    assert page.count("data:image/png;base64,") == 1  # the rates; the rest is drawn in the page
    assert page.count("<svg") == 2
    assert all(layer["name"] in page for layer in printed["layers"])
    assert "http" not in page


def test_the_curves_are_those_of_run_and_of_the_recipes_asked_for(
    networks: tuple[str, str],
) -> None:
    calib = ("--calib", f"{DATA}:x_calib", "--calib-samples", 64)
    found = document(networks[0], "--recipe", "signed,graded", *calib)
    assert [c["recipe"] for c in found["curves"]] == ["this network", "signed", "graded"]
    assert all([p["T"] for p in c["points"]] == list(range(1, 17)) for c in found["curves"])
    args = ["run", networks[0], "--data", f"{DATA}:x_test", "--samples", "24", "-T", "16", "--json"]
    alone = json.loads(CliRunner().invoke(main, args).stdout)
    last = found["curves"][0]["points"][-1]
    for key in ("agreement", "spikes_per_neuron", "synops_per_sample"):
        assert last[key] == pytest.approx(alone[key])
    assert found["curves"][2]["points"][3]["error"] < found["curves"][0]["points"][3]["error"]


def test_the_curves_are_scored_against_the_model_not_the_faulty_network(
    networks: tuple[str, str],
) -> None:
    sound, broken = (document(n)["curves"][0]["points"][-1] for n in networks)
    assert broken["error"] > 2 * sound["error"]


def test_recipes_without_calibration_data_are_refused(networks: tuple[str, str]) -> None:
    done = diagnose(networks[0], "--recipe", "signed")
    assert done.exit_code == 2
    assert "needs --calib" in done.stderr


def test_another_model_is_one_line_and_exit_status_2(networks: tuple[str, str]) -> None:
    done = diagnose(networks[0], model=MLP)
    assert done.exit_code == 2
    assert "error E230" in done.output and "Give the .onnx file that was converted" in done.output
    assert "Traceback" not in done.output


def test_zero_steps_are_exit_status_2(networks: tuple[str, str]) -> None:
    done = CliRunner().invoke(
        main, ["diagnose", CNN, networks[0], "--data", f"{DATA}:x_test", "-T", "0"]
    )
    assert done.exit_code == 2 and "E110" in done.output


def test_a_network_of_another_file_is_said_before_anything_else(
    networks: tuple[str, str], tmp_path: Path
) -> None:
    network = onnx2snn.load(networks[0])
    source = {**network.meta["source"], "sha256": "0" * 64, "path": "other.onnx"}
    path = str(tmp_path / "foreign.snn.onnx")
    onnx2snn.save(replace(network, meta={**network.meta, "source": source}), path)
    assert document(path)["converted_from_another_file"] == "other.onnx"
    output = diagnose(path).output
    assert output.index("converted from another file (other.onnx)") < output.index("No labels:")
    assert document(networks[0])["converted_from_another_file"] is None


def test_the_report_has_the_three_numbers_and_the_synaptic_operations(
    networks: tuple[str, str], tmp_path: Path
) -> None:
    found = document(networks[0], "-o", tmp_path / "out")
    last = found["curves"][0]["points"][-1]
    for key in ("spikes_per_neuron", "synops_per_sample", "agreement", "error"):
        assert found[key] == last[key] is not None
    page = (tmp_path / "out" / "diagnosis.html").read_text()
    assert "spikes/neuron  synops/sample" in page and f"{last['spikes_per_neuron']:.2f}" in page


def test_the_picture_of_rates_has_the_layer_of_the_jump_also_among_many() -> None:
    from types import SimpleNamespace

    from onnx2snn.reports.pictures import diagnosis as diagnosis_plots

    layers: Any = [SimpleNamespace(name=f"layer{i}") for i in range(60)]
    for jump in (layers[0], layers[31], layers[59], None):
        shown = diagnosis_plots._shown(layers, jump)
        assert len(shown) == diagnosis_plots.MOST
        assert jump is None or jump in shown
        assert [int(s.name[5:]) for s in shown] == sorted(int(s.name[5:]) for s in shown)


def test_what_is_lost_comes_first_and_nothing_is_advised_where_nothing_is(
    networks: tuple[str, str],
) -> None:
    given = ("--data", f"{DATA}:x_test,y_test")  # the last one given counts
    lines = diagnose(networks[0], *given).output.splitlines()
    assert re.match(
        r"Accuracy [\d.]+ %, ANN [\d.]+ %: [\d.]+ points (lost|gained) \(95 % interval "
        r"[-+][\d.]+ to [-+][\d.]+\); agreement with the ANN [\d.]+ % \(95 % interval "
        r"[\d.]+-[\d.]+ %\); 24 samples\.",
        lines[0],
    )
    assert lines[1] == "Nothing is lost that these samples show."
    sound, broken = (document(network, *given) for network in networks)
    assert sound["loss"]["is_nothing"] and sound["loss"]["measure"] == "accuracy"
    assert (sound["advice"], sound["try"]) == ([], None)
    assert sound["first_layer"] in {layer["name"] for layer in sound["layers"]}
    assert broken["advice"][0]["node"] == BROKEN  # a fault is named whatever it costs
    assert not any(line.startswith("Try:") for line in lines)


def test_128_samples_are_enough_if_nobody_says_how_many(networks: tuple[str, str]) -> None:
    args = ["diagnose", CNN, networks[0], "--data", f"{DATA}:x_test", "-T", "2", "--json"]
    assert json.loads(CliRunner().invoke(main, args).stdout)["samples"] == 128
