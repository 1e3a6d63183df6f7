"""Odd places to read from and write to: pipes, devices, full disks, names that are no text."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from places import MODELS

from onnx2snn import convert, load, save
from onnx2snn.converter.frontend import check_file, load_onnx
from onnx2snn.errors import DataError, ModelError
from onnx2snn.results import claim
from onnx2snn.results.marks import Kind
from onnx2snn.runtime.storage import reading

MLP = MODELS / "digits_mlp.onnx"


@pytest.mark.parametrize("kind", ["silent pipe", "device", "huge"])
def test_no_model_is_waited_for_or_read_without_end(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SILENCE", 0.1)
    path = tmp_path / "m.onnx"
    if kind == "silent pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(2**36)
    for read in (load_onnx, load):
        with pytest.raises(ModelError) as refused:
            read(path)
        assert refused.value.code == "E301"


def test_a_model_may_come_through_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(MLP.read_bytes()), daemon=True)
    writer.start()
    report = check_file(path)
    writer.join(10)
    assert report.convertible and report.graph is not None
    assert report.graph.meta["sha256"] == load_onnx(MLP).sha256


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("argument", ["ops", "--help"])
def test_a_full_disk_behind_standard_output(argument: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "onnx2snn", argument],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error E220: cannot write to standard output (No space")
    assert len(done.stderr.splitlines()) == 1


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xe9.onnx"))
    try:
        path.write_bytes(MLP.read_bytes())
    except OSError:
        pytest.skip("names are text here")
    network = convert(load_onnx(path), None, steps=2)
    save(network, path.with_suffix(".snn.onnx"))
    again = load(path.with_suffix(".snn.onnx"))
    source = again.meta["source"]
    assert isinstance(source, dict) and source["path"] == "m\N{REPLACEMENT CHARACTER}.onnx"


@pytest.mark.skipif(sys.platform != "linux", reason="held on Linux only")
def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    folder, kinds = tmp_path / "out", {"run.json": Kind.JSON}
    first = claim(folder, kinds, inputs=(), force=False)
    claim(folder, kinds, inputs=(), force=False)  # the same process
    child = os.fork()
    if child == 0:
        try:
            claim(tmp_path / "." / "out", kinds, inputs=(), force=False)
        except DataError as error:
            os._exit(int(error.code[1:]) - 200)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 25
    assert first.occupied is not None and not list(tmp_path.iterdir())
