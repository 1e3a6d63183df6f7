"""Signals: one line, the right exit status, and nothing left behind, whenever they arrive."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from places import MODELS

from onnx2snn import cli
from onnx2snn.cli import main
from onnx2snn.runtime.storage.atomic import write_atomically

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
CNN, DATA = MODELS / "digits_cnn.onnx", MODELS / "digits.npz"
CALIB, TEST = f"{DATA}:x_calib", f"{DATA}:x_test,y_test"
COMMANDS = {
    "check": [str(CNN)],
    "convert": [str(CNN), "--calib", CALIB, "--layout", "NHWC", "-o", "n.snn.onnx"],
    "sweep": [str(CNN), "--data", TEST, "--calib", "none", "--layout", "NHWC", "-o", "out/deep"],
}


# Put before everything else: the child stays where it imports the rest, as long as it is let.
STAYS = """
import sys, time
class Stays:
    def find_spec(self, name, path, target=None):
        if name == "onnx2snn.cli":
            time.sleep(60)
sys.meta_path.insert(0, Stays())
"""


def begun(
    folder: Path, verb: str, *, stays: bool = False
) -> tuple[subprocess.Popen[str], psutil.Process | None]:
    """The command, and the child that does its work as soon as there is one, unless it is done
    already, as on a busy machine it may be; ``stays``: in its imports, for a minute."""
    (folder / "tmp").mkdir(exist_ok=True)
    there = os.environ | {"TMPDIR": str(folder / "tmp")}
    if stays:
        (folder / "sitecustomize.py").write_text(STAYS)
        there["PYTHONPATH"] = os.pathsep.join([str(folder), there.get("PYTHONPATH", "")])
    command = subprocess.Popen(
        [sys.executable, "-m", "onnx2snn", verb, *COMMANDS[verb]],
        cwd=folder,
        env=there,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while command.poll() is None:
        if children := psutil.Process(command.pid).children():
            return command, children[0]
        time.sleep(0.002)
    return command, None


@pytest.mark.parametrize(
    ("number", "of", "status", "says"),
    [
        (signal.SIGINT, "group", 130, "interrupted"),
        (signal.SIGTERM, "parent", 143, "terminated"),
        (signal.SIGKILL, "child", 2, "error E900: the system killed the process, most likely"),
        (signal.SIGSEGV, "child", 2, "error E901: a library crashed (SIGSEGV)"),
        (signal.SIGKILL, "parent", -9, ""),
    ],
)
def test_a_signal_during_imports(
    tmp_path: Path, number: signal.Signals, of: str, status: int, says: str
) -> None:
    command, child = begun(tmp_path, "check", stays=True)
    assert child is not None
    {"group": os.killpg, "parent": os.kill}.get(of, lambda _, n: child.send_signal(n))(
        command.pid, number
    )
    out, said = command.communicate(timeout=30)
    assert (command.returncode, out) == (status, "")
    assert said.startswith(says) and len(said.splitlines()) == bool(says)
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_signal_at_any_moment(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    verb, number = rng.choice(list(COMMANDS)), rng.choice([signal.SIGINT, signal.SIGTERM])
    command, child = begun(tmp_path, verb)
    time.sleep(2 * rng.random() ** 2)
    running = child is not None and child.is_running()
    processes = [child, *child.children(recursive=True)] if child and running else []
    rng.choice([os.kill, os.killpg])(command.pid, number)
    said = command.communicate(timeout=10)[1].splitlines()
    if command.returncode != 0:  # it was not done before
        assert (command.returncode, len(said)) == (128 + number, 1)
    psutil.wait_procs(processes, timeout=10)
    assert [p for p in processes if p.is_running()] == []
    assert list((tmp_path / "tmp").iterdir()) == []
    left = [p for p in tmp_path.rglob("*") if p != tmp_path / "tmp"]
    assert [p for p in left if p.is_dir() and not any(p.iterdir())] == []
    assert [p for p in left if p.suffix in (".tmp", ".part")] == []


@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [(KeyboardInterrupt, 130, 1), (EOFError, 2, 1), (BrokenPipeError, 141, 0)],
)
def test_click_does_not_answer_no(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], status: int, lines: int
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setitem(main.commands, "ops", cli.click.command("ops")(fails))
    monkeypatch.setattr(cli.terminal, "leave_unwritten", lambda: None)
    done = CliRunner().invoke(main, ["ops"])
    assert done.exit_code == status
    assert len(done.stderr.splitlines()) == lines


def test_a_folder_made_for_a_file_that_was_not_written_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stopped)
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "there" / "new" / "deep" / "f", b"x", make_folders=True)
    assert [p.name for p in tmp_path.rglob("*")] == ["there"]
