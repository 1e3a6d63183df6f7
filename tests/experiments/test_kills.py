"""SIGKILL at random moments: what comes out in the end is what an uninterrupted sweep gives."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from places import MODELS

from onnx2snn.experiments.store import NAME

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="its child ends with it on Linux"),
]
MLP, DATA = MODELS / "digits_mlp.onnx", MODELS / "digits.npz"
PRE = ["--scale", "16", "--layout", "NHWC", "-T", "3,6", "--convert-each", "--threads", "1"]
KILLS = 30


def begun(out: Path) -> subprocess.Popen[bytes]:
    data = ["--data", f"{DATA}:x_test,y_test", "--calib", f"{DATA}:x_calib"]
    command = ["sweep", str(MLP), *data, *PRE, "--recipe", "binary,graded", "-o", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "onnx2snn", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finished(out: Path) -> Any:
    """The JSON document to the byte, but for how long things took; nothing else may be left."""
    assert not [path.name for path in out.parent.rglob(".*")]
    document = json.loads((out / "sweep.json").read_text())
    for run in document["runs"]:
        del run["seconds"]
    return json.dumps(document)


def rows(out: Path) -> tuple[int, int]:
    """How many conversions and shards are stored; looked at as the next sweep would."""
    if not (out / NAME).exists():
        return 0, 0
    with closing(sqlite3.connect(out / NAME)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return 0, 0
        return tuple(  # type: ignore[return-value]
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("conversions", "shards")
        )


def test_killed_thirty_times_in_conversion_and_in_simulation(tmp_path: Path) -> None:
    rng = random.Random(0)
    began = time.monotonic()
    assert begun(tmp_path / "whole" / "out").wait() == 0
    seconds = time.monotonic() - began
    whole = finished(tmp_path / "whole" / "out")
    killed: list[tuple[int, int]] = []
    chain = 0
    while len(killed) < KILLS:
        out = tmp_path / f"chain{chain}" / "out"
        out.parent.mkdir()
        for _ in range(rng.randint(1, 3)):
            process = begun(out)
            time.sleep(seconds * rng.uniform(0.3, 1))
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(0.05)  # the child goes with it, and its lock with the child
            killed.append(rows(out))
        assert begun(out).wait() == 0
        assert finished(out) == whole
        chain += 1
    print(f"{seconds:.1f} s; conversions and shards stored at each kill: {killed}")
    # Some came before the first shard was stored, some after.
    assert {shards > 0 for _, shards in killed} == {True, False}
