"""Several seeds: each is a conversion and a run of its own, and the spread is over these."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from places import MODELS

from onnx2snn.cli import main
from onnx2snn.experiments.plan import Steps, plan

pytestmark = pytest.mark.usefixtures("blank_pictures")

MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"
COMMON = ["--calib", f"{DATA}:x_calib", "--calib-samples", "40", "--scale", "16"]


def test_the_spread_is_that_of_the_networks_one_by_one(tmp_path: Path) -> None:
    test = ["--data", f"{DATA}:x_test,y_test", "--samples", "60", "--layout", "NHWC"]
    more = ["-T", "2,4", "--encoding", "poisson", "-o", str(tmp_path)]
    base = ["sweep", str(MLP), *test, *COMMON, *more]
    done = CliRunner().invoke(main, [*base, "--seeds", "2", "--json"])
    assert done.exit_code == 0, done.output
    (run,) = json.loads(done.stdout)["runs"]
    spread = run["spread"]
    assert spread["seeds"] == [0, 1]
    values = np.array([point["values"] for point in spread["points"]])
    assert [p["accuracy"] for p in run["points"]] == list(values[:, 0])
    assert (values[:, 0] != values[:, 1]).any()
    for point, (a, b) in zip(spread["points"], values, strict=True):
        assert point["mean"] == pytest.approx((a + b) / 2)
        assert point["deviation"] == pytest.approx(abs(a - b) / np.sqrt(2))
        assert (point["low"], point["high"]) == (min(a, b), max(a, b))
    page = (tmp_path / "sweep.html").read_text()
    assert "over 2 seeds" in page and "<th>deviation</th>" in page
    assert not list(tmp_path.glob(".*"))
    said = CliRunner().invoke(main, [*base, "--seeds", "2", "--dry-run"]).stdout
    assert said.count("binary seed 1") == 1
    alone = CliRunner().invoke(main, [*base, "--json"])
    assert json.loads(alone.stdout)["runs"][0]["points"] == run["points"]


def test_where_nothing_is_drawn_the_page_says_so_and_what_its_bands_are(tmp_path: Path) -> None:
    few = ["--data", f"{DATA}:x_test,y_test", "--samples", "8", "--calib", f"{DATA}:x_calib"]
    more = ["--layout", "NHWC", "--scale", "16", "--no-tune", "-T", "2,4", "-o", str(tmp_path)]
    done = CliRunner().invoke(main, ["sweep", str(MLP), *few, *more, "--seeds", "2"])
    assert done.exit_code == 0, done.output
    assert "over 2 seeds: all gave the same. A seed draws" in done.stdout
    page = (tmp_path / "sweep.html").read_text()
    assert "bands are from the lowest to the highest of the seeds" in page


def test_the_first_seed_is_what_nobody_asked_for() -> None:
    (one,) = plan(("binary",), {"lag": 1}, grid={}, steps=Steps.span(2, 2), each=False)
    assert one.seeded(0) is one
    assert one.seeded(3).options == {"recipe": "binary", "lag": 1, "seed": 3}
