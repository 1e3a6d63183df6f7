"""Sweeps from Python are those of the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from places import MODELS

import onnx2snn
from onnx2snn.cli import main
from onnx2snn.errors import UsageError
from onnx2snn.experiments.store import NAME
from onnx2snn.experiments.watching import Progress, Unwatched

MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"


def test_the_record_is_that_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Unwatched):
        stages: ClassVar[list[str]] = []

        def stage(self, text: str, *, samples: bool = False) -> Progress:
            assert (tmp_path / "state" / NAME).exists()
            self.stages.append(text)
            return super().stage(text, samples=samples)

    found = onnx2snn.sweep(
        MLP,
        data=f"{DATA}:x_test,y_test",
        calibration=None,
        steps=[2, 4],
        grid={"tune": [False], "leak": [0, 0.25]},
        preprocessing=onnx2snn.Preprocessing(scale=16, layout="NHWC"),
        folder=tmp_path / "state",
        watch=Seen(),
    )
    assert "simulating (binary tune=false leak=0.25, T=4)" in Seen.stages
    assert not (tmp_path / "state").exists()  # nothing is left to go on from
    found.save(tmp_path / "saved")
    command = ["sweep", MLP, "--data", f"{DATA}:x_test,y_test", "--calib", "none", "-T", "2,4"]
    more = ["--scale", "16", "--layout", "NHWC", "--grid", "tune=false", "--grid", "leak=0,0.25"]
    done = CliRunner().invoke(main, [str(a) for a in [*command, *more, "-o", tmp_path / "cli"]])
    assert done.exit_code == 0, done.output
    names = [sorted(p.name for p in (tmp_path / at).iterdir()) for at in ("saved", "cli")]
    assert names[0] == names[1]
    documents = [json.loads((tmp_path / at / "sweep.json").read_text()) for at in ("saved", "cli")]
    for curve in (run for document in documents for run in document["runs"]):
        del curve["seconds"]
    for document in documents:  # what was read is said on the command line
        del document["read"], document["warnings"]
    assert documents[0] == documents[1]
    texts = [(tmp_path / at / "sweep.csv").read_text() for at in ("saved", "cli")]
    assert texts[0] == texts[1]
    assert found.plot().axes[0].get_xlabel() == "time steps T"
    frame = SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns))
    monkeypatch.setitem(sys.modules, "pandas", frame)
    rows, columns = found.to_dataframe()
    assert ",".join(columns) == texts[0].splitlines()[0]
    assert [row[:2] for row in rows] == [[run.recipe, t] for run in found.runs for t in (2, 4)]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"onnx2snn\[tables\]") as refused:
        found.to_dataframe()
    assert refused.value.code == "E102"


def test_placement_pages_are_saved_and_linked(tmp_path: Path) -> None:
    x = np.zeros((4, 1, 8, 8), np.float32)
    found = onnx2snn.sweep(
        MLP, data=x, calibration=None, steps=2, tune=False, targets="loihi2", method="max"
    )
    found.save(tmp_path)
    page = "digits_mlp.binary.loihi2.html"
    assert "Intel Loihi 2" in (tmp_path / page).read_text()
    assert page in (tmp_path / "sweep.html").read_text()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"steps": []}, "E110"),
        ({"steps": "4"}, "E110"),
        ({"steps": [4, 8.0]}, "E110"),
        ({"seeds": 0}, "E116"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(given: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        onnx2snn.sweep(MLP, data=f"{DATA}:x_test,y_test", calibration=None, **given)
    assert refused.value.code == code
