"""An interrupted sweep: what it goes on from, and what it refuses to go on from."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from graphs import dyadic, residual_cnn
from places import FIXTURES, MODELS

from onnx2snn import convert, load_onnx
from onnx2snn.cli import main
from onnx2snn.data import Preprocessing, Samples
from onnx2snn.display import json_text
from onnx2snn.errors import DataError, ModelError
from onnx2snn.evaluation.evaluate import CHUNK, evaluate
from onnx2snn.evaluation.tally import Tally
from onnx2snn.experiments import store as storing
from onnx2snn.experiments.fingerprint import fingerprint
from onnx2snn.experiments.shards import tasks
from onnx2snn.experiments.shards.packing import packed, unpacked
from onnx2snn.experiments.store import FORMAT, KEPT, NAME, Store, opened
from onnx2snn.runtime.file.packed import pack, unpack

MLP = MODELS / "digits_mlp.onnx"
PRE = ["--scale", "16", "--layout", "NHWC", "-T", "1:4"]
pytestmark = pytest.mark.usefixtures("blank_pictures")
ASIDE = ".unfinished-sweep.set-aside-1.sqlite"


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    with np.load(MODELS / "digits.npz") as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture
def work(tmp_path: Path, digits: dict[str, Any]) -> Path:
    """A folder with test data (two chunks), calibration data and, in ``out``, results."""
    np.savez(tmp_path / "test.npz", x=digits["x_test"], y=digits["y_test"])
    np.savez(tmp_path / "calib.npz", x=digits["x_calib"][:40])
    assert CHUNK < len(digits["x_test"]) <= 2 * CHUNK
    return tmp_path


def sweep(work: Path, *more: str, out: str = "out", model: Path = MLP) -> Result:
    files = ["--data", work / "test.npz", "--calib", work / "calib.npz", "-o", work / out]
    arguments = ["sweep", model, *files, *PRE, *more, "--json"]
    return CliRunner().invoke(main, [str(a) for a in arguments])


def numbers(done: Result) -> Any:
    """Everything that a sweep says but how long it took."""
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    for run in document["runs"]:
        del run["seconds"]
    return document


@pytest.fixture(scope="module")
def killed() -> dict[str, bytes]:
    """The stores of killed sweeps of ``work`` as it is made, by their arguments."""
    return {}


@pytest.fixture
def interrupted(
    work: Path, killed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result | None]:
    """Runs a sweep that is killed with its first shard, or the one of that number; None: an equal
    one was, and has left what is now there."""

    def interrupt(*more: str, shard: int = 1) -> Result | None:
        keep, kept = Store.keep_shard, []
        asked = " ".join((*more, str(shard)))
        if asked in killed:
            (work / "out").mkdir()
            (work / "out" / NAME).write_bytes(killed[asked])
            return None

        def last(self: Store, *row: Any, **others: Any) -> None:
            keep(self, *row, **others)
            kept.append(row)
            if len(kept) == shard:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Store, "keep_shard", last)
            done = sweep(work, *more)
        assert done.exit_code == 130
        assert left(work) == [NAME]
        killed[asked] = (work / "out" / NAME).read_bytes()
        return done

    return interrupt


def anew(work: Path, *more: str, model: Path = MLP) -> Any:
    """What a sweep says that had nothing to go on from."""
    return numbers(sweep(work, *more, out="anew", model=model))


def left(work: Path) -> list[str]:
    return sorted(p.name for p in (work / "out").iterdir() if p.name.startswith("."))


def test_a_killed_sweep_goes_on_to_the_same_numbers(
    work: Path, interrupted: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = interrupted("--recipe", "binary").stderr
    assert said == f"interrupted: {KEPT}\n"
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "convert", None)  # the stored network is taken
        done = sweep(work, "--threads", "1", "--mem-limit", "100M")  # which change no number
    assert done.stderr == f"continuing: {CHUNK} of 360 samples of binary (T=4) were done\n"
    assert numbers(done) == anew(work)
    assert left(work) == []


def test_another_first_step_is_the_same_curve_from_there(
    work: Path, interrupted: Callable[..., Result]
) -> None:
    interrupted()
    done = sweep(work, "-T", "3:4")
    assert "continuing: 200 of 360" in done.stderr
    assert numbers(done) == anew(work, "-T", "3:4")


def labels(work: Path, digits: dict[str, Any]) -> list[str]:
    corrected = digits["y_test"].copy()
    corrected[:150] = (corrected[:150] + 1) % 10
    np.savez(work / "test.npz", x=digits["x_test"], y=corrected)
    return []


def all_but_the_first_sample(work: Path, digits: dict[str, Any]) -> list[str]:
    x = digits["x_test"].copy()
    x[1:] = x[:0:-1]
    np.savez(work / "test.npz", x=x, y=digits["y_test"])
    return []


def one_bit_of_one_sample(work: Path, digits: dict[str, Any]) -> list[str]:
    x = digits["x_test"].copy()
    x[1].flat[20] = 9 if x[1].flat[20] != 9 else 8
    np.savez(work / "test.npz", x=x, y=digits["y_test"])
    return []


def calibration(work: Path, digits: dict[str, Any]) -> list[str]:
    np.savez(work / "calib.npz", x=digits["x_calib"][64:104])
    return []


def options(*texts: str) -> Callable[[Path, dict[str, Any]], list[str]]:
    def change(work: Path, digits: dict[str, Any]) -> list[str]:
        return list(texts)

    change.__name__ = " ".join(texts)
    return change


CONVERTS_OTHERWISE = {"--scale", "--no-tune"}
CHANGES = [
    labels,
    one_bit_of_one_sample,
    calibration,
    options("--seed", "1"),
    options("--early-exit", "0.2"),
    options("--engine", "numpy"),
    options("--regression"),
    options("--no-tune"),
]
MORE_OF_A_KIND = [  # of what the samples are, how it is simulated, what is converted
    all_but_the_first_sample,
    options("--samples", "300"),
    options("--events", "never"),
    options("--scale", "8"),
]


@pytest.mark.parametrize(
    "change",
    [*CHANGES, *(pytest.param(change, marks=pytest.mark.slow) for change in MORE_OF_A_KIND)],
    ids=lambda change: change.__name__,
)
def test_a_state_of_something_else_is_not_used(
    change: Callable[[Path, dict[str, Any]], list[str]],
    work: Path,
    digits: dict[str, Any],
    interrupted: Callable[..., Result],
) -> None:
    interrupted()
    more = change(work, digits)
    done = sweep(work, *more)
    assert done.stderr.count("of a sweep of something else") == 1
    assert left(work) == [NAME]
    assert numbers(done) == anew(work, *more)
    with opened(work / "out") as store:  # which are still there
        converted_otherwise = change is calibration or {*more} & CONVERTS_OTHERWISE
        assert store.others(set(), set()) == (2 if converted_otherwise else 1)


def test_a_state_of_another_model_is_not_used(
    work: Path, interrupted: Callable[..., Result], tmp_path: Path
) -> None:
    interrupted("--no-tune")
    other = tmp_path / "digits_mlp.onnx"
    other.write_bytes((MODELS / "digits_cnn.onnx").read_bytes())
    done = sweep(work, "--no-tune", model=other)
    assert "2 results of a sweep of something else" in done.stderr
    assert numbers(done) == anew(work, "--no-tune", model=other)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def first_page(content: bytes) -> bytes:
    return content[:100] + bytes(4000) + content[4100:]


def other_bytes(content: bytes) -> bytes:
    return b"no state at all" * 20


def another_version(content: bytes) -> bytes:
    at = 60  # user_version, sqlite.org/fileformat2.html
    return content[:at] + (FORMAT + 1).to_bytes(4) + content[at + 4 :]


@pytest.mark.parametrize("damage", [cut, first_page, other_bytes, another_version])
def test_a_damaged_store_is_set_aside(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.keep_conversion("a", bytes(9000))
        store.keep_shard("s", key="k", start=0, stop=4, content=b"counts")
    path = tmp_path / NAME
    path.write_bytes(damage(path.read_bytes()))
    stored = path.read_bytes()
    (tmp_path / ASIDE).write_bytes(b"an earlier one")
    said: list[str] = []
    with opened(tmp_path, say=said.append, dry=True) as store:
        assert store.conversion("a") is None
    assert path.read_bytes() == stored and said == []
    with opened(tmp_path, say=said.append) as store:
        assert store.conversion("a") is None and store.shard("k", start=0, stop=4) is None
    (line,) = said
    assert "state of an earlier sweep is" in line and "set aside" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == [ASIDE, ASIDE.replace("1", "2")]
    assert (tmp_path / ASIDE).read_bytes() == b"an earlier one"
    assert (tmp_path / ASIDE.replace("1", "2")).read_bytes() == stored


def test_a_row_with_one_flipped_bit_is_made_again(
    work: Path, interrupted: Callable[..., Result]
) -> None:
    interrupted()
    with closing(sqlite3.connect(work / "out" / NAME)) as connection, connection:
        for table in ("conversions", "shards"):
            (content,) = connection.execute(f"SELECT content FROM {table}").fetchone()
            flipped = content[:300] + bytes([content[300] ^ 1]) + content[301:]
            connection.execute(f"UPDATE {table} SET content = ?", (flipped,))
    done = sweep(work)
    assert "the stored conversion of binary (T=4) is damaged: converted again" in done.stderr
    assert "stored results of binary (T=4) are damaged: simulated again" in done.stderr
    assert numbers(done) == anew(work)
    assert left(work) == []


@pytest.mark.parametrize(
    "change",
    [
        {"correct": np.zeros(5)},
        {"stopped": np.zeros(5, np.float32)},
        {"layer/x": np.zeros(3)},
        {"strange": np.zeros(())},
    ],
    ids=lambda change: next(iter(change)),
)
def test_counts_of_other_shapes_types_or_names_are_damage(change: dict[str, Any]) -> None:
    graph = residual_cnn(np.random.default_rng(1))
    x = dyadic(np.random.default_rng(0), (4, 2, 8, 8))
    samples = Samples(arrays={"x": x}, labels=None, preprocessing=Preprocessing(), source="t")
    kept: dict[tuple[int, int], Tally] = {}

    class Kept:
        def get(self, start: int, stop: int) -> None: ...

        def put(self, start: int, stop: int, tally: Tally) -> None:
            kept[start, stop] = tally

    evaluate(graph, samples, 4, shards=Kept())
    counts = unpacked(packed(kept[0, 4].state))
    assert int(Tally.restored(counts, graph, 4).state["samples"]) == 4
    with pytest.raises((KeyError, ValueError)):
        Tally.restored(counts | change, graph, 4)
    with pytest.raises(KeyError):
        Tally.restored({k: v for k, v in counts.items() if k != "spikes"}, graph, 4)


def test_every_recipe_that_was_done_is_kept_until_all_are(
    work: Path, interrupted: Callable[..., Result]
) -> None:
    interrupted("--recipe", "binary,graded", shard=3)
    done = sweep(work, "--recipe", "binary,graded")
    assert done.stderr.splitlines() == [
        "continuing: 360 of 360 samples of binary (T=4) were done",
        "continuing: 200 of 360 samples of graded (T=4) were done",
    ]
    assert numbers(done) == anew(work, "--recipe", "binary,graded")
    assert left(work) == []


def test_a_dry_run_shows_what_is_done_and_writes_nothing(
    work: Path, interrupted: Callable[..., Result]
) -> None:
    done = sweep(work, "--dry-run", out="anew")
    assert done.exit_code == 0 and not (work / "anew").exists()
    assert [one["timed"] for one in json.loads(done.stdout)["configurations"]] == ["a trial"]
    interrupted("-T", "2,4", "--convert-each")
    before = (work / "out" / NAME).read_bytes()
    plan = json.loads(sweep(work, "-T", "2,4", "--convert-each", "--dry-run").stdout)
    assert plan["schema"] == "onnx2snn.sweep-plan/1"
    rows = [[one[k] for k in ("steps", "converted", "done")] for one in plan["configurations"]]
    assert rows == [[4, True, CHUNK], [2, False, 0]]
    assert [one["timed"] for one in plan["configurations"]] == ["stored results", "a trial"]
    assert 0 < plan["seconds"] == sum(one["seconds"] for one in plan["configurations"])
    assert [p.name for p in (work / "out").iterdir()] == [NAME]
    assert (work / "out" / NAME).read_bytes() == before


def test_states_of_earlier_versions_are_named_and_left(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-binary-4.npz").write_bytes(b"state")
    said: list[str] = []
    with opened(tmp_path, say=said.append):
        pass
    assert "by an earlier version: not used, and may be removed" in said[0]
    assert [p.name for p in tmp_path.iterdir()] == [".unfinished-binary-4.npz"]


def test_the_store_of_a_sweep_at_work_is_not_opened_by_another(tmp_path: Path) -> None:
    """Where the folder's own lock does not hold: another system, another user."""
    with opened(tmp_path / "new" / "out") as first:
        first.keep_conversion("a", b"1")
        with pytest.raises(DataError, match="another run") as refused, opened(first.path.parent):
            pass
        assert refused.value.code == "E225"
        assert first.conversion("a") == b"1"
    Path(f"{first.path}-journal").touch()  # as a killed sweep leaves it
    with opened(first.path.parent) as second:
        assert second.conversion("a") == b"1"
        second.finish()
    assert list((tmp_path / "new" / "out").iterdir()) == []
    with opened(tmp_path / "other" / "out"):
        pass
    assert not (tmp_path / "other").exists()  # nothing was stored: the folders go too


def test_a_disk_without_room_is_one_error_and_what_was_stored_stays(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="full") as refused, opened(tmp_path) as store:
        store.keep_conversion("a", b"1")
        store._connection.execute("PRAGMA max_page_count = 8")
        store.keep_conversion("b", bytes(10**6))
    assert refused.value.code == "E220" and "the same command goes on" in str(refused.value)
    with opened(tmp_path) as store:
        assert (store.conversion("a"), store.conversion("b")) == (b"1", None)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process")
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses to write beyond a size, as it does where there is no room."""
    import resource

    before, keep = resource.getrlimit(resource.RLIMIT_FSIZE), Store.keep_shard

    def full(self: Store, *row: Any, **others: Any) -> None:
        size = self.path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            keep(self, *row, **others | {"content": others["content"] + bytes(9000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "keep_shard", full)
        done = sweep(work)
    assert done.exit_code == 2 and done.stderr.startswith("error E220") and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "the same command goes on" in done.stderr
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "convert", None)  # the conversion was stored before
        numbers(sweep(work))
    assert left(work) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/sys takes no files, from nobody")
def test_a_folder_that_takes_nothing_is_one_line(work: Path) -> None:
    done = sweep(work, out="/sys/out")
    assert done.exit_code == 2 and done.stderr.startswith("error E220: /sys/out")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_two_sweeps_in_one_folder_are_not_mixed(work: Path) -> None:
    with opened(work / "out") as first:
        first.keep_conversion("a", b"1")
        done = sweep(work)
        assert done.exit_code == 2 and done.stderr.startswith("error E225")
        assert NAME in left(work) and first.conversion("a") == b"1"


def test_a_disk_without_room_for_a_store_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "SCHEMA", "PRAGMA max_page_count = 1;" + storing.SCHEMA)
    with pytest.raises(DataError, match="full") as refused, opened(tmp_path / "out"):
        pass
    assert refused.value.code == "E220" and list(tmp_path.iterdir()) == []


def test_networks_are_packed_without_loss() -> None:
    graph = convert(load_onnx(FIXTURES / "vit_block_ts.onnx"), None, steps=4)
    again = unpack(pack(graph))
    assert fingerprint(again.nodes) == fingerprint(graph.nodes)
    assert json_text(again.meta) == json_text(graph.meta)
    with pytest.raises(ModelError, match="damaged"):
        unpack(pack(graph)[:-10])


def test_external_weights_belong_to_a_model(tmp_path: Path) -> None:
    for name in ("external_data.onnx", "external_data.bin"):
        (tmp_path / name).write_bytes((FIXTURES / name).read_bytes())
    before = load_onnx(tmp_path / "external_data.onnx")
    weights = np.fromfile(tmp_path / "external_data.bin", np.float32)
    weights[0] += 1
    weights.tofile(tmp_path / "external_data.bin")
    after = load_onnx(tmp_path / "external_data.onnx")
    assert before.sha256 == after.sha256
    assert fingerprint(before.content()) != fingerprint(after.content())


def test_fingerprints_tell_apart_what_is_written_alike() -> None:
    x = np.arange(6, dtype=np.float32)
    different = [
        None, "None", b"None", 1, 1.0, True, "1", ["a", "b"], ["ab"], ["a", ["b"]], {"a": "b"},
        x, x.astype(np.float64), x.reshape(2, 3), x.reshape(3, 2), x[::-1], [x, x], x[None],
    ]  # fmt: skip
    assert len({fingerprint(value) for value in different}) == len(different)
    assert fingerprint(x.reshape(2, 3).T) == fingerprint(x.reshape(2, 3).T.copy())
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="no fingerprint of a set"):
        fingerprint({1})


CONVERTS = """
import sys, numpy, onnx2snn
from onnx2snn.experiments.fingerprint import fingerprint
model = onnx2snn.load_onnx(sys.argv[1])
x = numpy.random.default_rng(0).random((8, *model.inputs[0].shape), numpy.float32)
network = onnx2snn.convert(model, x, steps=4)
print(fingerprint([model.content(), network.nodes]))
"""


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("residual_a_dynamo.onnx", "12"),
        pytest.param("vit_block_ts.onnx", "123", marks=pytest.mark.slow),
    ],
)
def test_every_process_converts_to_the_same_network(name: str, seeds: str) -> None:
    """Else no state would ever be continued: the order of a set once decided an island's bytes."""
    path = str(FIXTURES / name)
    found = {
        subprocess.run(
            [sys.executable, "-c", CONVERTS, path],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in seeds
    }
    assert len(found) == 1
