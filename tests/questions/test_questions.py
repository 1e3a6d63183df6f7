"""What is asked of data, labels and calibration: each fault once, and nothing of sound ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from converter.frontend.tools import model, saved
from onnx import helper

import onnx2snn
from onnx2snn.data import Preprocessing, Samples
from onnx2snn.questions import Question
from onnx2snn.questions.answers import questions_of_classes, questions_of_values
from onnx2snn.questions.calibration import (
    questions_of_count,
    questions_of_overlap,
    questions_of_pattern,
    questions_of_silence,
)
from onnx2snn.questions.inputs import (
    digests,
    packed,
    questions_of_range,
    questions_of_scale,
    ranges,
    unpacked,
)
from onnx2snn.questions.made import ask_of_calibration
from onnx2snn.runtime.semantics.values import value_score

RNG = np.random.default_rng(2)
LABELS = RNG.integers(0, 10, 200)
RIGHT = np.where(RNG.random(200) < 0.9, LABELS, RNG.integers(0, 10, 200))  # 90 % and a little


def codes(questions: Iterable[Question]) -> list[str]:
    return [q.code for q in questions]


def rare(labels: np.ndarray) -> np.ndarray:
    return np.where(RNG.random(len(labels)) < 0.95, 0, labels)


ANSWERS = {
    "right": (RIGHT, LABELS, []),
    "half right": (np.where(RNG.random(200) < 0.5, LABELS, 0), LABELS, []),
    "chance": (RNG.integers(0, 10, 200), LABELS, ["W410"]),
    "near chance": (np.where(RNG.random(200) < 0.05, LABELS, RIGHT[::-1]), LABELS, ["W410"]),
    "worse than one class": (np.where(RNG.random(200) < 0.6, 1, 0), rare(LABELS), ["W410"]),
    "from 1": (RIGHT, LABELS + 1, ["W411"]),
    "from 1, no last class": (RIGHT[LABELS < 7], LABELS[LABELS < 7] + 1, ["W411"]),
    "a class before": (RIGHT[LABELS < 9] + 1, LABELS[LABELS < 9], ["W411"]),
    "one answer": (np.full(200, 3), LABELS, ["W412"]),
    "one answer, one class": (np.full(40, 3), np.full(40, 2), ["W410"]),
    "other order": ((RIGHT * 3 + 1) % 10, LABELS, ["W413"]),
    "few, wrong": (LABELS[:7] + 1, LABELS[:7], []),
    "few, right": (RIGHT[:4], LABELS[:4], []),
    "one class only": (np.full(40, 3), np.full(40, 3), []),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_are_questioned(case: str) -> None:
    said, labels, expected = ANSWERS[case]
    from_one = bool(labels.min() == 1 and labels.max() == 10)
    assert (
        codes(questions_of_classes(said, labels=labels, classes=10, from_one=from_one)) == expected
    )


def test_a_regression_worse_than_the_mean_is_questioned() -> None:
    right = RNG.normal(size=(50, 1))
    assert not codes(questions_of_values(value_score(right + 0.5, targets=right), samples=50))
    assert codes(questions_of_values(value_score(right + 3, targets=right), samples=50)) == ["W414"]
    assert not codes(questions_of_values(value_score(right + 3, targets=right), samples=5))


PIXELS = RNG.integers(0, 256, (64, 6, 6)).astype(np.uint8)
CALIB = PIXELS / np.float32(255)
TEST = RNG.integers(0, 256, (64, 6, 6)).astype(np.uint8)
RANGES = {
    "another draw": (TEST / 255, []),
    "one of it": (TEST[:1] / 255, []),
    "brighter": (np.clip(TEST / 255 + 0.1, 0, 1), []),
    "not scaled": (TEST, ["W421"]),
    "scaled twice": (TEST / 255**2, ["W421"]),
    "normalized": ((TEST / 255 - 0.45) / 0.23, ["W421"]),
    "shifted": (TEST / 255 + 2, ["W421"]),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_range_far_from_calibrations_is_questioned(case: str) -> None:
    x, expected = RANGES[case]
    now, then = ranges({"x": x}), ranges({"x": CALIB})
    assert codes(questions_of_range(now, then=then, count=len(x), where="d")) == expected


SCALES = {
    "pixels, no scale": (PIXELS, 1.0, False, ["W420"]),
    "the same as floats": (PIXELS.astype(np.float32), 1.0, False, ["W420"]),
    "pixels, scaled": (PIXELS, 255.0, False, []),
    "a model that scales": (PIXELS, 1.0, True, []),
    "fractions": (CALIB, 1.0, False, []),
    "fractions, scaled": (CALIB, 255.0, False, ["W423"]),
    "signed": (PIXELS - 128.0, 1.0, False, []),
    "counts": (PIXELS // 32, 1.0, False, []),
    "shades of 0 to 17": (PIXELS // 15, 1.0, False, ["W420"]),
    "shades, scaled": (PIXELS // 15, 16.0, False, []),
}


@pytest.mark.parametrize("case", SCALES)
def test_scale_given_or_left_out_wrongly_is_questioned(case: str) -> None:
    stored, scale, itself, expected = SCALES[case]
    taken = ranges({"x": stored / np.float32(scale)})["x"]
    asked = questions_of_scale(stored, taken, scale, scales_itself=itself, where="d")
    assert codes(asked) == expected


def test_samples_that_were_calibrated_on_are_known_again() -> None:
    known = unpacked(packed(digests({"x": CALIB})))
    assert known == digests({"x": CALIB})
    assert unpacked("no base64!") == []
    mixed = np.concatenate([CALIB[:4], TEST[:60] / np.float32(255)])
    assert codes(
        questions_of_overlap(digests({"x": mixed}), seen=known, how="calibrated", where="d")
    ) == ["W430"]
    assert not codes(
        questions_of_overlap(
            digests({"x": TEST / np.float32(255)}), seen=known, how="calibrated", where="d"
        )
    )
    same = digests({"x": np.zeros((9, 2), np.float32)})  # silence, in both
    assert not codes(questions_of_overlap(same, seen=same, how="calibrated", where="d"))


COUNTS = {
    (1, 1, 1): ["W431"],
    (64, 64, 1): ["W431"],
    (64, 1, 64): ["W431"],
    (10, 10, 10): ["W432"],
    (500, 32, 500): ["W432"],
    (500, 10, 500): ["W432"],
    (32, 32, 32): [],
    (500, 64, 500): [],
    (500, None, 500): [],
}


@pytest.mark.parametrize("case", COUNTS)
def test_few_calibration_samples_are_questioned(case: tuple[int, int | None, int]) -> None:
    given, used, different = case
    asked = list(questions_of_count(given=given, used=used, different=different, where="c"))
    assert codes(asked) == COUNTS[case]
    if used is not None and used < given and asked:
        assert f"of {given} given" in str(asked[0])
        wide = questions_of_count(
            given=given, used=used, different=different, where="c", windowed=True
        )
        assert all("steps" not in str(q) and " T" not in str(q) for q in wide)


def test_calibration_that_shows_nothing_is_questioned() -> None:
    assert codes(questions_of_silence(["relu"], 2, "c")) == ["W433"]
    assert not codes(questions_of_silence([], 2, "c"))
    assert codes(questions_of_pattern(ranges({"x": np.zeros((9, 4))}), "c")) == ["W435"]
    assert not codes(questions_of_pattern(ranges({"x": CALIB}), "c"))


@pytest.mark.parametrize("op", ["Min", "Max", "LeakyRelu", "Relu"])
def test_what_only_fires_beyond_a_bound_may_be_silent(op: str, tmp_path: Path) -> None:
    held = {
        "w": np.eye(4, dtype=np.float32),
        "far": np.float32({"Min": 1e6, "Max": -1e6}.get(op, 0)),
    }
    named = {"Relu": ["x"], "LeakyRelu": ["x"]}.get(op, ["x", "far"])
    nodes = [
        helper.make_node(op, named, ["a"], name="first"),
        helper.make_node("MatMul", ["a", "w"], ["z"]),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    path = saved(model(nodes, {"x": ["N", 4]}, constants=held), tmp_path)
    x = (1 + RNG.random((200, 4))).astype(np.float32)
    x = -x if op == "Relu" else x
    given = Samples(arrays={"x": x}, labels=None, preprocessing=Preprocessing(), source="c")
    network = onnx2snn.convert(onnx2snn.load_onnx(path), given, steps=4)
    assert codes(ask_of_calibration(network)) == (["W433"] if op == "Relu" else [])
