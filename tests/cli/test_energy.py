"""One energy block: `run`, `diagnose` and `place` say the same of the same samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from places import MODELS

import onnx2snn
from onnx2snn.cli import main
from onnx2snn.converter.frontend import load_onnx
from onnx2snn.data import Preprocessing

pytestmark = pytest.mark.usefixtures("blank_pictures")

MLP, DATA = (str(MODELS / n) for n in ("digits_mlp.onnx", "digits.npz"))
SAMPLES = ("--data", f"{DATA}:x_test,y_test", "--samples", "24")


@pytest.mark.parametrize("recipe", ["binary", "few-spike"])
def test_verbs_agree_on_energy(recipe: str, tmp_path: Path) -> None:
    pre = Preprocessing(scale=16.0, layout="NHWC")
    calibration = onnx2snn.load_samples(f"{DATA}:x_calib", load_onnx(MLP), pre, limit=64)
    network = onnx2snn.convert(MLP, calibration, steps=4, recipe=recipe)
    path = str(tmp_path / "net.snn.onnx")
    onnx2snn.save(network, path)

    def energy(*arguments: str) -> tuple[Any, str]:
        done = CliRunner().invoke(main, [*arguments, *SAMPLES, "-T", "4"])
        asked = CliRunner().invoke(main, [*arguments, *SAMPLES, "-T", "4", "--json"])
        assert asked.exit_code == 0, asked.output
        return json.loads(asked.stdout)["energy"], done.stdout

    by_run, text = energy("run", path)
    said = next(line for line in text.splitlines() if line.startswith("Energy, by counted"))
    assert by_run["events"]["synops"] > by_run["events"]["spikes"] > 24
    diagnosed, text = energy("diagnose", MLP, path)
    assert diagnosed == by_run and said in text
    out = tmp_path / "out"
    chip = ("--target", "loihi2", "--seconds", "0.1", "-o", str(out), "--force")
    placed, text = energy("place", path, *chip)
    assert {key: placed[key] for key in by_run} == by_run  # to the last bit
    assert placed["dynamic_j"] is not None  # the chip's own stay beside it
    kept = json.loads((out / "placement.json").read_text())["energy"]
    assert kept["models"] == by_run["models"]
    assert all(said in page for page in (text, (out / "placement.html").read_text()))
    assert "models" not in energy_without_data(path)


def energy_without_data(path: str) -> Any:
    arguments = ["place", path, "--target", "loihi2", "-T", "4", "--seconds", "0.1", "--json"]
    return json.loads(CliRunner().invoke(main, arguments).stdout)["energy"]
