"""An interrupted sweep: what it goes on from, and what it refuses to go on from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from places import FIXTURES, MODELS

from onnx2snn import load_onnx
from onnx2snn.cli import main
from onnx2snn.evaluation.evaluate import CHUNK, Tally
from onnx2snn.evaluation.state import StateFile, fingerprint
from onnx2snn.runtime.storage.sealed import sealed, unsealed

MLP = MODELS / "digits_mlp.onnx"
PRE = ["--scale", "16", "--layout", "NHWC", "-T", "1:4"]
STATE = ".unfinished-binary-4.npz"
ASIDE = ".unfinished-binary-4.set-aside-1.npz"


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    with np.load(MODELS / "digits.npz") as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture
def work(tmp_path: Path, digits: dict[str, Any]) -> Path:
    """A folder with test data (two chunks), calibration data and, in ``out``, results."""
    np.savez(tmp_path / "test.npz", x=digits["x_test"], y=digits["y_test"])
    np.savez(tmp_path / "calib.npz", x=digits["x_calib"][:64])
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


@pytest.fixture
def interrupted(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a sweep that is killed after its first chunk."""

    def interrupt(*more: str) -> None:
        save = StateFile.save

        def once(self: StateFile, tally: Tally) -> None:
            save(self, tally)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(StateFile, "save", once)
            assert sweep(work, *more).exit_code == 130
        assert (work / "out" / STATE).exists()

    return interrupt


def anew(work: Path, *more: str, model: Path = MLP) -> Any:
    """What a sweep says that had nothing to go on from."""
    return numbers(sweep(work, *more, out="anew", model=model))


def left(work: Path) -> list[str]:
    return sorted(p.name for p in (work / "out").iterdir() if p.name.startswith("."))


def test_a_killed_sweep_goes_on_to_the_same_numbers(
    work: Path, interrupted: Callable[..., None]
) -> None:
    interrupted()
    done = sweep(work, "--threads", "1", "--mem-limit", "100M")  # which change no number
    assert done.stderr == f"continuing: {CHUNK} of 360 samples of binary (T=4) were done\n"
    assert numbers(done) == anew(work)
    assert left(work) == []


def test_another_first_step_is_the_same_curve_from_there(
    work: Path, interrupted: Callable[..., None]
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
    np.savez(work / "calib.npz", x=digits["x_calib"][64:128])
    return []


def options(*texts: str) -> Callable[[Path, dict[str, Any]], list[str]]:
    def change(work: Path, digits: dict[str, Any]) -> list[str]:
        return list(texts)

    change.__name__ = " ".join(texts)
    return change


CHANGES = [
    labels,
    all_but_the_first_sample,
    one_bit_of_one_sample,
    calibration,
    options("--seed", "1"),
    options("--early-exit", "0.2"),
    options("--engine", "numpy"),
    options("--events", "never"),
    options("--regression"),
    options("--no-tune"),
    options("--samples", "300"),
    options("--scale", "8"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_state_of_something_else_is_not_used(
    change: Callable[[Path, dict[str, Any]], list[str]],
    work: Path,
    digits: dict[str, Any],
    interrupted: Callable[..., None],
) -> None:
    interrupted()
    more = change(work, digits)
    before = (work / "out" / STATE).read_bytes()
    done = sweep(work, *more)
    assert "belongs to something else" in done.stderr
    assert done.stderr.count("state of an earlier sweep") == 1
    assert left(work) == [ASIDE]
    assert (work / "out" / ASIDE).read_bytes() == before
    assert numbers(done) == anew(work, *more)


def test_a_state_of_another_model_is_not_used(
    work: Path, interrupted: Callable[..., None], tmp_path: Path
) -> None:
    interrupted()
    other = tmp_path / "digits_mlp.onnx"
    other.write_bytes((MODELS / "digits_cnn.onnx").read_bytes())
    done = sweep(work, model=other)
    assert "belongs to something else" in done.stderr
    assert numbers(done) == anew(work, model=other)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped_count(content: bytes) -> bytes:
    """One bit of a count, which every parser would take."""
    at = len(content) // 3
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def empty(content: bytes) -> bytes:
    return b""


def other_bytes(content: bytes) -> bytes:
    return b"no state at all" * 20


def of_the_last_version(content: bytes) -> bytes:
    body = unsealed(content)
    assert body is not None
    return body


def sealed_but_no_archive(content: bytes) -> bytes:
    return sealed(b"PK\x03\x04 nothing")


@pytest.mark.parametrize(
    "damage",
    [cut, flipped_count, empty, other_bytes, of_the_last_version, sealed_but_no_archive],
)
def test_a_damaged_state_is_set_aside(
    damage: Callable[[bytes], bytes], work: Path, interrupted: Callable[..., None]
) -> None:
    interrupted()
    state = work / "out" / STATE
    state.write_bytes(damage(state.read_bytes()))
    stored = state.read_bytes()
    (work / "out" / ASIDE).write_bytes(b"an earlier one")
    done = sweep(work)
    assert "is damaged" in done.stderr
    assert done.stderr.count("state of an earlier sweep") == 1
    second = ASIDE.replace("1", "2")
    assert left(work) == [ASIDE, second]
    assert (work / "out" / ASIDE).read_bytes() == b"an earlier one"
    assert (work / "out" / second).read_bytes() == stored
    assert numbers(done) == anew(work)


@pytest.mark.parametrize(
    "change",
    [
        {"correct": np.zeros(5)},
        {"samples": np.array(361)},
        {"samples": np.array(0)},
        {"stopped": np.zeros(5, np.float32)},
        {"layer/x": np.zeros(3)},
        {"strange": np.zeros(())},
    ],
    ids=lambda change: next(iter(change)),
)
def test_counts_of_other_shapes_types_or_names_are_damage(
    change: dict[str, Any],
    work: Path,
    interrupted: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = StateFile.save

    def wrong(self: StateFile, tally: Tally) -> None:
        tally.state |= change
        save(self, tally)

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "save", wrong)
        interrupted()
    done = sweep(work)
    assert "is damaged" in done.stderr
    assert left(work) == [ASIDE]
    assert numbers(done) == anew(work)


def test_every_recipe_that_was_done_is_kept_until_all_are(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = StateFile.save, []

    def third(self: StateFile, tally: Tally) -> None:
        save(self, tally)
        saved.append(self.path.name)
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "save", third)
        assert sweep(work, "--recipe", "binary,graded").exit_code == 130
    done = sweep(work, "--recipe", "binary,graded")
    assert done.stderr.splitlines() == [
        "continuing: 360 of 360 samples of binary (T=4) were done",
        "continuing: 200 of 360 samples of graded (T=4) were done",
    ]
    assert numbers(done) == anew(work, "--recipe", "binary,graded")
    assert left(work) == []


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
from onnx2snn.evaluation.state import fingerprint
model = onnx2snn.load_onnx(sys.argv[1])
x = numpy.random.default_rng(0).random((8, *model.inputs[0].shape), numpy.float32)
network = onnx2snn.convert(model, x, steps=4)
print(fingerprint([model.content(), network.nodes]))
"""


@pytest.mark.parametrize("name", ["residual_a_dynamo.onnx", "vit_block_ts.onnx"])
def test_every_process_converts_to_the_same_network(name: str) -> None:
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
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
