"""What a sweep is asked to run, and that a point of its own conversion is that conversion's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from places import ROOT

from onnx2snn.cli import main
from onnx2snn.cli.options import parse_sweep
from onnx2snn.errors import UsageError
from onnx2snn.experiments.plan import LADDER, Steps, parse_grid, plan

pytestmark = pytest.mark.usefixtures("blank_pictures")

DATA = str(ROOT / "models" / "digits.npz")
MLP = str(ROOT / "models" / "digits_mlp.onnx")


def done(*arguments: str) -> Any:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_grid_is_every_combination() -> None:
    grid = parse_grid(["lag=0,2", "per-channel=true,no", "lag = 1"][:2])
    assert grid == {"lag": (0, 2), "per_channel": (True, False)}
    found = plan(("binary", "signed"), {"leak": 0.1}, grid=grid, steps=Steps.span(4, 4), each=False)
    assert [one.label for one in found[:3]] == [
        "binary lag=0 per_channel=true",
        "binary lag=0 per_channel=false",
        "binary lag=2 per_channel=true",
    ]
    assert len(found) == 8
    assert found[-1].options == {"recipe": "signed", "leak": 0.1, "lag": 2, "per_channel": False}
    assert len({one.label for one in found}) == 8


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["lagg=1"], "there is no conversion option 'lagg'"),
        (["lag"], "NAME=VALUE"),
        (["lag="], "NAME=VALUE"),
        (["lag=-1"], "lag does not take '-1'"),
        (["lag=1.5"], "lag does not take '1.5'"),
        (["method=best"], "method does not take 'best'"),
        (["tune=maybe"], "tune does not take 'maybe'"),
        (["lag=1", "lag=2"], "'lag' twice"),
    ],
)
def test_what_is_no_grid_is_refused(texts: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        parse_grid(texts)
    assert raised.value.code == "E118"


def test_an_option_is_not_in_the_grid_as_well() -> None:
    with pytest.raises(UsageError, match="lag is given as an option and in the grid"):
        plan(("binary",), {"lag": 1}, grid={"lag": (0, 1)}, steps=Steps.span(1, 4), each=True)


def test_a_span_is_converted_a_few_times_per_octave_and_a_list_everywhere() -> None:
    assert parse_sweep("2:9") == Steps(
        answers=(2, 3, 4, 5, 6, 7, 8, 9), conversions=(2, 3, 4, 6, 8, 9)
    )
    assert parse_sweep("5,3,5") == Steps(answers=(3, 5), conversions=(3, 5))
    assert parse_sweep("7") == Steps(answers=(7,), conversions=(7,))
    assert parse_sweep("1:1024").conversions == LADDER
    with pytest.raises(UsageError, match="at least 1"):
        parse_sweep("0,2")
    for text in ("1:4,8", "4,", "a", "4,x"):
        with pytest.raises(UsageError, match="-T takes N, A,B,C or FIRST:LAST, got"):
            parse_sweep(text)


def test_every_point_is_of_a_network_converted_for_it(tmp_path: Path) -> None:
    common = ("--calib", f"{DATA}:x_calib", "--scale", "16", "--layout", "NHWC")
    test = ("--data", f"{DATA}:x_test,y_test", "--samples", "40")
    found = done(
        *("sweep", MLP, *test, *common, "-T", "2,5", "--convert-each"),
        *("--grid", "tune=true,false", "-o", str(tmp_path / "out")),
    )
    runs = {run["recipe"]: run for run in found["runs"]}
    assert [(name, run["converted"]) for name, run in runs.items()] == [
        ("binary tune=true, each T", "each T"),
        ("binary tune=true, early", "once"),
        ("binary tune=false, each T", "each T"),
        ("binary tune=false, early", "once"),
    ]
    assert [p["T"] for run in runs.values() for p in run["points"]] == [2, 5] * 4
    net = str(tmp_path / "own.snn.onnx")
    done("convert", MLP, *common, "-T", "2", "--hold-back", "0", "-o", net)
    own = done("run", net, *test)
    converted, early = (
        runs[f"binary tune=true, {way}"]["points"][0] for way in ("each T", "early")
    )
    assert converted["synops_per_sample"] == own["synops_per_sample"] != early["synops_per_sample"]
    assert converted["accuracy"] == own["accuracy"]
    assert converted["error"] == pytest.approx(own["error"], rel=1e-6)
    last = [runs[f"binary tune=true, {way}"]["points"][-1] for way in ("each T", "early")]
    assert last[0] == last[1]
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name for name in left if name.endswith(".snn.onnx")] == [
        "digits_mlp.binary.tune=false.snn.onnx",
        "digits_mlp.binary.tune=true.snn.onnx",
    ]
    assert not [name for name in left if name.startswith(".")]
