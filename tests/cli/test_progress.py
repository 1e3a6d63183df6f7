"""Progress: what a terminal shows, what machines get, and silence in a pipe."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from places import MODELS

import onnx2snn as api
from onnx2snn.cli import hardware, inspection, main, progress, terminal
from onnx2snn.runtime.parallel.stages import stage

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


def test_time_left_begins_anew_where_a_stage_counts_something_else(
    shown: list[tuple[str, bool]],
) -> None:
    """Samples first, then layers: what is done becomes less, the time left must not."""
    now = [0.0]
    show = progress.Watch(lambda: now[0]).stage("converting")
    for now[0], done, total in ((1.0, 256, 12800), (2.0, 6, 12), (3.0, 8, 12), (4.0, 5, 12)):
        show(done, total)
    assert [line for line, _ in shown] == [
        "converting:   2 %",
        "converting:  50 %",
        "converting:  66 %, 2.0 s left",
        "converting:  41 %",
    ]
    show = progress.Watch(lambda: now[0]).stage("simulating", samples=True)
    for now[0], done in ((5.0, 0), (6.0, 2370)):
        show(done, 2370)
    assert shown[-1][0] == "simulating: 100 %, 2,370 samples/s"


SILENT = [
    (["check", MLP], inspection, "frontend"),
    (["place", MLP, "--target", "loihi2"], hardware, "api"),
]


@pytest.mark.parametrize(("command", "module", "name"), SILENT, ids=["check", "place"])
@pytest.mark.parametrize("told", [False, True])
def test_a_pipe_gets_a_plain_line_now_and_then_however_silent_the_work(
    command: list[Any], module: Any, name: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Long:
        """In place of the first module that the verb calls."""

        def __getattr__(self, _: str) -> Any:
            if told:
                stage("searching")(30, 120)
            time.sleep(0.15)
            raise MemoryError

    monkeypatch.setattr(progress, "PLAIN", 0.03)
    monkeypatch.setattr(module, name, Long())
    done = CliRunner().invoke(main, [str(word) for word in command])
    *lines, error = done.stderr.splitlines()
    start = "searching:  25 %, " if told else f"{command[0]}, "
    assert done.stdout == "" and error.startswith("error E900")
    assert len(lines) >= 2 and all(line.startswith(start) for line in lines), done.stderr
    assert lines[0].endswith(" so far")


def test_a_line_that_was_to_be_replaced_is_gone_before_another_is_written(
    capfd: pytest.CaptureFixture[str],
) -> None:
    terminal.progress("converting:  50 %", done=False)
    terminal.progress("searching", done=False)
    terminal.notice("note")
    terminal.progress("simulating: 100 %", done=True)
    terminal.erase()
    shown = f"\rconverting:  50 %\rsearching{' ' * 8}\r{' ' * 9}\rnote\n\rsimulating: 100 %\n"
    assert capfd.readouterr().err == shown


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


def test_long_work_says_about_how_long_it_takes_as_soon_as_that_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each stage, once for all configurations of a sweep, and not where it is short."""
    monkeypatch.setattr(progress, "LONG", 10.0)
    now = [0.0]

    def told(watch: progress.Watch, stage: str, *reports: tuple[float, int], of: int) -> list[str]:
        show = watch.stage(stage, samples=stage == "simulating")
        for now[0], done in reports:
            show(done, of)
        return capsys.readouterr().err.splitlines()

    def watching() -> progress.Watch:
        now[0] = 0.0
        return progress.Watch(lambda: now[0])

    long = ((0.5, 1), (1.0, 2), (1.5, 3), (2.0, 4), (3.0, 5))
    assert told(watching(), "converting", *long, of=50) == ["converting: about 24 s more"]
    assert told(watching(), "converting", *long, of=20) == []
    first = told(watching(), "simulating", (20.0, 16), (25.0, 32), of=160)  # a slow first tile
    assert first == ["simulating: about 3 min more"]
    sweep = watching()
    sweep.planned([16, 4, 4])
    assert told(sweep, "converting", (1.0, 1), (2.0, 2), of=40) == ["converting: about 38 s more"]
    found = told(sweep, "simulating", (40.0, 0), (41.0, 5), (42.0, 6), of=110)
    assert found == ["3 configurations: about 52 s more"]  # 62 s for T=16, half as much for 4 and 4
    assert told(sweep, "simulating", (60.0, 0), (62.0, 1), of=100) == []
    for steps in (16, 4, 4):
        sweep.finished("binary", steps=steps, score=1.0)
    chip = told(sweep, "running on loihi2", (70.0, 0), (72.0, 1), of=100)
    assert chip == ["running on loihi2: about 3 min more"]


def test_samples_are_told_of_within_a_shard() -> None:
    network = api.convert(MLP, None, steps=2, tune=False)
    seen: list[tuple[int, int]] = []
    data = np.zeros((20, 1, 8, 8), np.float32)
    api.evaluate(network, data, tile=8, progress=lambda *told: seen.append(told))
    assert sorted({*seen}) == [(8, 20), (16, 20), (20, 20)]
