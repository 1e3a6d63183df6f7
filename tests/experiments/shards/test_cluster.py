"""Sweeps on a Dask cluster: a real scheduler, and workers that are processes, and die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, checker, helper, numpy_helper, save

import onnx2snn
from onnx2snn.cli import main
from onnx2snn.errors import ClusterError, Onnx2SnnError, UsageError
from onnx2snn.experiments.shards import cluster as on_dask
from onnx2snn.experiments.store import NAME, Store

ASKED: dict[str, Any] = {"steps": [2, 3], "recipes": ("binary", "graded"), "convert_each": True}
SHARDS = 4 * 3  # configurations, of 600 samples


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a network of five neurons and 600 samples."""
    rng = np.random.default_rng(0)
    weights = {"w": (4, 5), "b": (5,), "v": (5, 3)}
    tensors = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 4), ("y", 3))
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, tmp_path / "net.onnx")
    x = rng.normal(size=(664, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x[:600], y=rng.integers(0, 3, 600), c=x[600:])
    return tmp_path


def swept(place: Path, **more: Any) -> Any:
    """All that a sweep says but how long it took."""
    given = {"data": f"{place}/d.npz:x,y", "calibration": f"{place}/d.npz:c", **ASKED, **more}
    document = onnx2snn.sweep(place / "net.onnx", **given).to_dict()
    for run in document["runs"]:
        del run["seconds"]
    return json.dumps(document)


@contextmanager
def at_shard(number: int, act: Callable[[], object]) -> Iterator[list[int]]:
    """``act`` once so many shards are stored; yields the numbers of those that are."""
    kept: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        keep = Store.keep_shard

        def noticed(self: Store, *row: Any, **others: Any) -> None:
            keep(self, *row, **others)
            kept.append(len(kept) + 1)
            if len(kept) == number:
                act()

        patch.setattr(Store, "keep_shard", noticed)
        yield kept


def started(address: str) -> subprocess.Popen[bytes]:
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
    options += ["--preload", "onnx2snn.experiments.shards.worker"]
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def interrupt() -> None:
    raise KeyboardInterrupt


def refused(code: str, act: Callable[[], object]) -> Onnx2SnnError:
    with pytest.raises(Onnx2SnnError) as caught:
        act()
    assert caught.value.code == code, caught.value
    return caught.value


def test_a_cluster_gives_the_numbers_of_this_machine_whatever_dies(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One session for all: a cluster takes seconds to start."""
    from distributed import LocalCluster

    out = place / "out"
    with ExitStack() as stack:
        home = stack.enter_context(
            LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp://")
        )
        address = home.scheduler_address
        workers = [started(address), started(address)]
        for each in workers:
            stack.callback(each.wait)
            stack.callback(each.kill)
        there = {"scheduler": address, "folder": out}
        whole = swept(place)

        # A worker is killed in the middle: the other one does its tasks.
        with at_shard(2, lambda: workers[0].send_signal(signal.SIGKILL)) as kept:
            assert swept(place, **there) == whole
        assert workers[0].wait() == -signal.SIGKILL and len(kept) == SHARDS
        assert not list(place.glob("out/.*"))

        # The client is stopped: what is stored there goes on on this machine, and the other way.
        with at_shard(5, interrupt), pytest.raises(KeyboardInterrupt):
            swept(place, **there, data_by="value")
        with at_shard(3, interrupt) as kept, pytest.raises(KeyboardInterrupt):
            swept(place, folder=out)
        with at_shard(0, interrupt) as kept:
            assert swept(place, **there, data_by="value") == whole
        assert len(kept) == SHARDS - 5 - 3

        _refusals(place, there, monkeypatch)

        # All workers go, and the scheduler.
        with monkeypatch.context() as patch, at_shard(1, workers[1].kill):
            patch.setattr(on_dask, "PATIENCE", 0.6)
            error = refused("E602", lambda: swept(place, **there))
        assert "no workers for 0.6 s" in str(error) and (out / NAME).exists()
        home.scale(1)  # of this process
        with at_shard(1, Thread(target=home.close).start) as kept:
            assert refused("E601", lambda: swept(place, **there)).where == address
        assert kept and swept(place, folder=out) == whole
    assert capfd.readouterr().err == ""


def _refusals(place: Path, there: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker does not see as the client does."""
    model = onnx2snn.load_onnx(place / "net.onnx")
    held = onnx2snn.load_samples(f"{place}/d.npz:x,y", model)
    stored = (place / "d.npz").read_bytes()
    calibration = onnx2snn.load_samples(f"{place}/d.npz:c", model)
    given = {"data": held, "calibration": calibration, "data_by": "path", **there}
    with np.load(place / "d.npz") as arrays:
        np.savez(place / "d.npz", **{**arrays, "x": arrays["x"] + 1})
    other = refused("E604", lambda: swept(place, **given))
    assert "tcp://" in str(other) and other.where == str(place / "d.npz")
    assert "other values" in str(other) and 'data_by="value"' in str(other)
    (place / "d.npz").unlink()
    gone = refused("E604", lambda: swept(place, **given))
    assert "no such file" in str(gone).lower()
    (place / "d.npz").write_bytes(stored)
    software = dict(on_dask.computing())
    with monkeypatch.context() as patch:
        patch.setattr(on_dask, "computing", lambda: software | {"numpy": "1.0"})
        version = refused("E603", lambda: swept(place, **there))
    assert f"its numpy is {software['numpy']}, the client's 1.0" in str(version)


def test_a_scheduler_that_is_not_there_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_dask, "CONNECT", 0.2)
    data = ["--data", f"{place}/d.npz:x,y", "--calib", f"{place}/d.npz:c", "-T", "2"]
    (place / "exp.toml").write_text(
        'model = "net.onnx"\n[cluster]\nscheduler = "tcp://127.0.0.1:1"\n'
    )
    command = ["sweep", place / "exp.toml", *data, "-o", place / "out"]
    done = CliRunner().invoke(main, [str(word) for word in command])
    assert done.exit_code == 2 and not (place / "out").exists()
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error E601: tcp://127.0.0.1:1:")


@pytest.mark.parametrize(
    "address", ["", "nonsense", "http://host:1", "tcp://127.0.0.1", "tcp://:1"]
)
def test_what_is_no_address_is_refused_before_there_is_a_client(
    place: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """One that cannot connect to such is never closed, and complains 20 s later."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", lambda *a, **k: pytest.fail("a client"))
    refused("E601", lambda: swept(place, scheduler=address))


def test_without_the_package_it_says_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    error = refused("E103", lambda: swept(place, scheduler="tcp://127.0.0.1:1"))
    assert isinstance(error, UsageError) and "onnx2snn[distributed]" in error.remedy


def test_samples_in_memory_cannot_be_read_by_path(place: Path) -> None:
    model = onnx2snn.load_onnx(place / "net.onnx")
    samples = onnx2snn.load_samples(f"{place}/d.npz:x,y", model).section(0, 5)
    with pytest.raises(UsageError, match='data_by="value"'):
        on_dask._path(samples, "path")
    assert on_dask._path(samples, None) is None


def test_errors_keep_what_they_say_on_their_way_from_a_worker() -> None:
    import pickle

    for error in (
        ClusterError("what", where="w", remedy="r", code="E604"),
        onnx2snn.errors.UnsupportedOps([("n", "Op", "why")], where="m"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), again.code, type(again)) == (str(error), error.code, type(error))
