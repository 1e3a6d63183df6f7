"""ONNX Runtime's telemetry: off for all that this package starts, unless the user allows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import onnx2snn.models

SESSION = """
import sys, time
import numpy as np
from onnx2snn.converter.statistics.kernels import Kernels
from onnx2snn.runtime.ops import Conv
weight = np.ones((1, 1, 2, 2), np.float32)
conv = Conv(weight=weight, strides=(1, 1), dilations=(1, 1), pads=(0, 0, 0, 0))
(out,) = Kernels().apply(conv, np.ones((1, 1, 2, 2), np.float32)).ravel()
print(out, "onnxruntime" in sys.modules)
"""


def ran(command: list[str], home: Path, **variables: str) -> str:
    """What a process prints that has ``home`` and its caches to itself."""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")} | variables
    done = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_session_writes_nothing_into_the_users_folders(tmp_path: Path) -> None:
    assert ran([sys.executable, "-c", SESSION], tmp_path) == "4.0 True\n"
    assert list(tmp_path.rglob("*")) == []


def test_neither_does_the_command_line(tmp_path: Path) -> None:
    network = next(Path(onnx2snn.models.__path__[0]).glob("*.onnx"))
    script = "import sys; from onnx2snn.cli import main; main(%r, standalone_mode=False)"
    script += "; assert 'onnxruntime' in sys.modules"
    assert "digits" in ran([sys.executable, "-c", script % ["check", str(network)]], tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_the_user_can_allow_it(tmp_path: Path) -> None:
    """By one value of the variable that ONNX Runtime reads; any other says no."""
    script = "import os, onnx2snn; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for value in ("", "no", "false", "1"):
        out = ran([sys.executable, "-c", script], tmp_path, ORT_DISABLE_TELEMETRY=value)
        assert out == "1\n", value
    assert ran([sys.executable, "-c", script], tmp_path, ORT_DISABLE_TELEMETRY="0") == "0\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_name_is_looked_up(tmp_path: Path) -> None:
    """With telemetry the first comes about eight seconds after the import."""
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    trace = ["strace", "-f", "-qq", "-e", "trace=openat,socket,connect", "-o", str(log)]
    ran([*trace, sys.executable, "-c", SESSION + "time.sleep(15)"], home)
    calls = log.read_text()
    assert "onnxruntime" in calls  # it was traced
    for sign in ("socket(", "connect(", "resolv.conf", "/etc/hosts"):
        assert sign not in calls
