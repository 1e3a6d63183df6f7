"""What a verb says last, and what is said of a wrong command line."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from places import MODELS

from onnx2snn.cli import main
from onnx2snn.cli.help import onwards
from onnx2snn.data import data_path

MLP, DATA = str(MODELS / "digits_mlp.onnx"), str(MODELS / "digits.npz")
SCALED = ["--scale", "16", "--layout", "NHWC"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["convrt"], "no such command 'convrt'. Did you mean 'convert'? See `onnx2snn --help`."),
        (["check", MLP, "--input-shap", "x"], "Did you mean '--input-shape'?"),
        (["run", "a", "--steps-per", "3"], "no such option '--steps-per'."),
        (["run", "a", "--T", "3"], "Did you mean '-T'?"),
        (["run", "a", "--timesteps", "3"], "Did you mean '-T'?"),
        (["run", "a", "--calibration", "x"], "Did you mean '--calib'?"),
        (["run", "a", "--data", "d", "--samples", "x"], "'x' is not a whole number. See"),
        (["export", "a"], "missing option '--to'. Choose from: onnx, torch, nir, sanafe. See"),
        (["place"], "missing argument 'NET.snn.onnx'. See `onnx2snn place --help`."),
        (["export", MLP, "-o", "x"], "'--to'. Choose from: onnx, torch, nir, sanafe. See"),
        (["check", "a", "b"], "unexpected extra argument (b)"),
        (["run", "a", "--data", "d", "--threads", "two"], "invalid value for '--threads'"),
        (
            ["convert", MLP, "--calib", "none", "-o", "x", "--recipe", "signd"],
            "Did you mean 'signed'?",
        ),
        (["convert", MLP, "--calib", "none", "-o", "x", "-T", "4,8"], "-T takes one T here"),
    ],
)
def test_a_wrong_command_line_gets_one_line_that_says_what_was_meant(
    typed: list[str], said: str
) -> None:
    done = CliRunner().invoke(main, typed)
    assert done.exit_code == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error E100: ") and said in line


def onward(*typed: str) -> list[str]:
    done = CliRunner().invoke(main, list(typed))
    assert done.exit_code in (0, 1), done.output
    line = done.stdout.splitlines()[-1]
    assert line.startswith("next: onnx2snn "), done.stdout
    return shlex.split(line)[2:]


def test_every_verb_ends_with_a_command_that_click_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work from check to export; what the next command reads is there."""
    monkeypatch.chdir(tmp_path)
    samples = ["--data", f"{DATA}:x_test,y_test", "--samples", "20"]
    calib = ["--calib", f"{DATA}:x_calib", "--calib-samples", "32"]
    sweep = ["sweep", MLP, *samples, *calib, *SCALED, "-T", "2", "--no-tune", "-o", "out"]
    made = ["convert", MLP, *calib, *SCALED, "-T", "2", "--no-tune", "-o", "n.snn.onnx"]
    placed = ["place", "n.snn.onnx", "--target", "Loihi2", "--seconds", "0.1"]
    learned = ["learn", "n.snn.onnx", "--data", f"{DATA}:x_calib,y_calib", "--samples", "20"]
    tuned = ["finetune", *learned[1:], "--hold-out", "0.4", "--epochs", "1", "-o", "f.snn.onnx"]
    work = [
        ["check", MLP, "--input-shape", "input:1x1x8x8"],
        ["verify", MLP, "--data", f"{DATA}:x_test", *SCALED, "--skip-unreadable"],
        ["verify", MLP],
        made,
        ["run", "n.snn.onnx", *samples, "--regression"],
        ["run", MLP, *samples, *calib, *SCALED, "-T", "2", "--no-tune", "--recipe", "binary"],
        [*sweep, "--dry-run"],
        sweep,
        ["init", MLP, "exp.toml", *samples[:2], *calib[:2]],
        ["compare", "out", "out"],
        ["compare", "out", "out", "-o", "compared"],
        ["diagnose", MLP, "n.snn.onnx", *samples],
        [
            "watch",
            "n.snn.onnx",
            "--data",
            f"{DATA}:x_test,y_test",
            "--samples",
            "1",
            "-o",
            "w.html",
        ],
        placed,
        [*placed, "-o", "there"],
        ["place", "n.snn.onnx", "--target", "xylo-imu", "--seconds", "0.1"],
        ["targets"],
        ["targets", "Loihi 2"],
        ["export", "n.snn.onnx", "--to", "onnx", "-o", "f.onnx"],
        ["export", "n.snn.onnx", "--to", "nir", "--approximate", "-o", "f.nir"],
        ["import", "f.nir", "-o", "i.snn.onnx"],
        [*learned, "--rule", "prototype", "-o", "l.snn.onnx"],
        *([tuned] if find_spec("torch") else []),
        ["convert", MLP, "--calib", "none", *SCALED, "-T", "2", "-o", "w.snn.onnx"],
        *(["ops"], ["explain"], ["explain", "lag"], ["doctor"]),
    ]
    found = {" ".join(typed): onward(*typed) for typed in work}
    without = set() if find_spec("torch") else {"finetune"}
    assert {typed[0] for typed in work} == set(main.commands) - {"demo"} - without
    for words in found.values():
        command = main.commands[words[0]]
        if words[-1] == "--help":
            continue
        with command.make_context(words[0], words[1:], parent=click.Context(main)) as context:
            assert not context.args
            for param in command.params:
                for value in _given(context.params.get(param.name or "")):
                    read = isinstance(value, Path) or param.metavar == "DATA"
                    if read and param.name != "output":
                        assert data_path(str(value))[0].exists(), (words, param.name)
    check, verify, _, convert, run = list(found.values())[:5]
    assert check[-2:] == ["--input-shape", "input:1x1x8x8"]
    assert {*verify[-5:]} == {*SCALED, "--skip-unreadable"}
    assert not {"--scale", "--layout"} & {*convert}  # which the file remembers
    assert run[-1] == "--regression"
    assert found[" ".join([*sweep, "--dry-run"])] == sweep
    assert found[" ".join(placed)][:4] == placed[:4] and "0.1" in found[" ".join(placed)]


def _given(value: Any) -> tuple[Any, ...]:
    """The values of a parameter that was given, once or several times."""
    return value if isinstance(value, tuple) else () if value is None else (value,)


def test_what_is_carried_over_exists() -> None:
    """A parameter or verb that is renamed would be left out in silence."""
    for name, verbs in onwards.NEEDED.items():
        for verb in verbs - {"init", "watch"}:
            assert name in {param.name for param in main.commands[verb].params}, (name, verb)
    assert {p.name for c in main.commands.values() for p in c.params} >= onwards.ONCE


def test_run_shows_the_steps_that_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = ["convert", MLP, "--calib", "none", *SCALED, "-T", "8", "-o", "n.snn.onnx"]
    assert CliRunner().invoke(main, made).exit_code == 0
    typed = ["run", "n.snn.onnx", "--data", f"{DATA}:x_test,y_test", "--samples", "20"]
    done = CliRunner().invoke(main, [*typed, "-T", "8,2,4"])
    rows = [line.split()[0] for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert rows == ["2", "4", "8"]


def test_convert_says_the_answer_first(tmp_path: Path) -> None:
    typed = ["convert", MLP, "--calib", f"{DATA}:x_calib", "--calib-samples", "40", *SCALED]
    where = ["-T", "2", "--no-tune", "-o", str(tmp_path / "n.snn.onnx")]
    first = CliRunner().invoke(main, [*typed, *where]).stdout.splitlines()[0]
    assert first.startswith("T=2, latency 2 steps, ") and "Agreement of SNN and ANN" in first
