"""Progress: what a terminal shows, what machines get, and silence in a pipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from places import MODELS

from onnx2snn.cli import main, progress, terminal

MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"
LONG = ["convert", "run", "sweep", "diagnose", "place"]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    lines: list[tuple[str, bool]] = []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(terminal, "progress", lambda text, done: lines.append((text, done)))
    return lines


def test_a_terminal_sees_speed_time_left_and_the_best(shown: list[tuple[str, bool]]) -> None:
    now = [0.0]
    watch = progress.Watch(lambda: now[0])
    watch.planned([4, 8, 8])
    show = watch.stage("simulating (binary, T=4)", samples=True)
    for now[0], done in ((1.0, 100), (2.0, 300), (2.1, 350), (3.0, 500)):
        show(done, 500)
    watch.finished("binary", steps=4, score=0.5)
    watch.finished("signed", steps=8, score=0.75)
    watch.finished("graded", steps=4, score=0.6)
    watch.stage("converting")(5, 10)
    few = "; 0 of 3 configurations "
    assert shown == [
        (f"simulating (binary, T=4):  20 %{few}", False),
        (f"simulating (binary, T=4):  60 %, 200 samples/s, 1.0 s left{few}", False),
        (f"simulating (binary, T=4): 100 %, 200 samples/s{few}", True),
        (
            "converting:  50 %; 3 of 3 configurations, 0.8 s left, best 75.0 % (signed T=8) ",
            False,
        ),
    ]


def test_the_time_left_is_not_negative_where_what_is_counted_changes(
    shown: list[tuple[str, bool]],
) -> None:
    """A conversion counts samples, then layers: 64 of 128, then 24 of 32."""
    now = [0.0]
    show = progress.Watch(lambda: now[0]).stage("converting")
    for now[0], done, total in ((1.0, 64, 128), (2.0, 24, 32), (3.0, 16, 32)):
        show(done, total)
    said = [line.strip() for line, _ in shown]
    assert said == ["converting:  50 %", "converting:  75 %, 1.0 s left", "converting:  50 %"]


def test_every_long_verb_has_json_lines() -> None:
    for verb in LONG:
        assert "--json-lines" in {o for p in main.commands[verb].params for o in p.opts}, verb


def test_machines_get_an_object_a_line_and_the_result_last(tmp_path: Path) -> None:
    data = ["--data", f"{DATA}:x_test,y_test", "--calib", "none", "--layout", "NHWC"]
    command = ["sweep", str(MLP), *data, "-T", "2,3", "--convert-each", "-o", str(tmp_path)]
    done = CliRunner().invoke(main, [*command, "--json-lines"])
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {e["event"] for e in events} == {"progress", "finished", "result"}
    assert [e["event"] for e in events].index("result") == len(events) - 1
    document = json.loads((tmp_path / "sweep.json").read_text())
    assert events[-1]["result"] == document
    finished = [e for e in events if e["event"] == "finished"]
    assert [(e["T"], e["configurations_done"], e["configurations"]) for e in finished] == [
        (3, 1, 2),
        (2, 2, 2),
    ]
    points = {point["T"]: point["accuracy"] for point in document["runs"][0]["points"]}
    assert {e["T"]: e["score"] for e in finished} == points
    assert finished[-1]["best"]["score"] == max(points.values())
    simulated = [e for e in events if e["event"] == "progress" and e["total"] == 360]
    assert simulated[-1]["done"] == 360 and simulated[-1]["stage"].startswith("simulating")


def test_a_pipe_gets_the_result_alone(tmp_path: Path) -> None:
    out = str(tmp_path / "n.snn.onnx")
    done = CliRunner().invoke(main, ["convert", str(MLP), "--calib", "none", "-T", "2", "-o", out])
    assert (done.exit_code, done.stderr) == (0, "")
    lines = CliRunner().invoke(
        main, ["run", out, "--data", f"{DATA}:x_test,y_test", "--layout", "NHWC", "--json-lines"]
    )
    events = [json.loads(line)["event"] for line in lines.stdout.splitlines()]
    assert events[-1] == "result" and {*events[:-1]} == {"progress"}
