"""Networks of a sweep on chips: what `place` says of each, kept like everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from places import MODELS

from onnx2snn.cli import main
from onnx2snn.experiments import chips
from onnx2snn.experiments.comparison import compare
from onnx2snn.experiments.comparison.finished import finished
from onnx2snn.experiments.store import Store

pytestmark = pytest.mark.usefixtures("blank_pictures")

MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"
TEST = ["--data", f"{DATA}:x_test,y_test", "--samples", "40"]
CALIB = ["--calib", f"{DATA}:x_calib"]
PRE = ["--scale", "16", "--layout", "NHWC", "-T", "2,4", "--convert-each"]


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_limit_that_many_layers_pass_is_one_sentence() -> None:
    lag, pace = ("start lag", "a", "No lag."), ("paced neurons", "a", "Not paced.")
    more = ("start lag", "b", "No lag, or gate it.")
    assert chips._refusals([lag, pace, more, more]) == (
        "start lag of 'a' and 2 more: No lag.",
        "paced neurons of 'a': Not paced.",
    )


def test_the_points_are_what_place_says_and_survive_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sweep", MLP, *TEST, *CALIB, *PRE, "--target", "loihi2,xylo-audio3", "--json"]
    keep, kept = Store.keep_shard, []
    monkeypatch.setattr(chips, "SEARCHED", 0.1)

    def third(self: Store, *row: Any, **others: Any) -> None:
        keep(self, *row, **others)
        kept.append(others["key"])
        if len(kept) == 3:  # of two simulations the first chip's
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "keep_shard", third)
        stopped = CliRunner().invoke(main, [str(a) for a in [*command, "-o", tmp_path / "out"]])
        assert stopped.exit_code == 130
    found = run(*command, "-o", tmp_path / "out")
    whole = run(*command, "-o", tmp_path / "whole")
    for curve in (*found["runs"], *whole["runs"]):
        del curve["seconds"]
    assert found == whole
    for curve in found["runs"]:
        loihi, xylo = curve["chips"]
        near = curve["knee"] or curve["points"][-1]
        assert (curve["layers"]["T"], curve["layers"]["samples"]) == (near["T"], 32)
        assert {"error", "adds", "name"} <= curve["layers"]["errors"][0].keys()
        assert [point["T"] for point in loihi["points"]] == [2, 4] and not loihi["refused"]
        assert loihi["chips"] == 1 and loihi["cores"] >= 1
        assert xylo["points"] == [] and "48 channels too many" in xylo["refused"][0]
    (net,) = (tmp_path / "out").glob("*.snn.onnx")
    placed = run("place", net, *TEST, *CALIB, "--target", "loihi2", "--seconds", 0.1, "--json")
    last = found["runs"][0]["chips"][0]["points"][-1]
    assert last["accuracy"] == pytest.approx(placed["accuracy"]["chip"])
    assert last["low"] < last["accuracy"] < last["high"]
    again = compare(finished(tmp_path / "out"), finished(tmp_path / "whole")).curves
    (chip,) = [pair for pair in again if pair.first.endswith("each T on loihi2")]
    assert chip.unpaired == "" and [point.same for point in chip.points] == [1.0, 1.0]
    page = (tmp_path / "out" / "sweep.html").read_text()
    for chip, verdict in (("loihi2", "Fits: "), ("xylo-audio3", "Does not fit: ")):
        file = net.name.replace(".snn.onnx", f".{chip}.html")
        assert f'<a href="{file}">{chip}</a>' in page
        assert verdict in (tmp_path / "out" / file).read_text()
    assert "on loihi2 T=4: " in page and "not on xylo-audio3: " in page


def test_what_no_chip_can_be_judged_by_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((8, 8, 8, 1)), y=np.linspace(0, 1, 80).reshape(8, 10))
    base = ["sweep", MLP, "--data", f"{tmp_path}/d.npz", "--calib", "none", *PRE]
    more = ["--target", "loihi2", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [str(a) for a in (*base, *more, "--regression")])
    assert done.exit_code == 2 and "says values" in done.stderr
    unknown = CliRunner().invoke(main, [str(a) for a in (*base, "--target", "loihi9", *more[2:])])
    assert unknown.exit_code == 2 and "E500" in unknown.stderr
    assert not (tmp_path / "out").exists()
