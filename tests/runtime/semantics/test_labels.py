"""One reader of labels: every form in which right answers come, and what each is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx2snn.errors import DataError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime import ops
from onnx2snn.runtime.semantics.decision import LEFT_OUT
from onnx2snn.runtime.semantics.labels import mapping_text, numbered, read
from onnx2snn.runtime.semantics.values import misses, moments, score, value_score

Y = np.array([0, 2, 1, 2, 0])


def network(shape: tuple[int, ...], behind: str = "") -> snn.SpikingGraph:
    """Four values, one weighted sum for each number of the output."""
    count = int(np.prod(shape))
    weight = np.ones((count, 4), np.float32)
    nodes: list[snn.Node] = [
        snn.Input(name="x", shape=(4,)),
        snn.Synapse(name="fc", inputs=("x",), shape=(count,), op=ops.Linear(weight=weight)),
        snn.Synapse(name="r", inputs=("fc",), shape=shape, op=ops.Reshape(shape=shape)),
        snn.Readout(name="out", inputs=("r",), shape=shape, tensor="out"),
    ]
    meta: dict[str, Any] = {LEFT_OUT: {"out": (behind,)}} if behind else {}
    return snn.SpikingGraph(nodes=tuple(nodes), meta=meta)


SCORES = [(3,), (3, 1, 1), (1, 1, 3)]
CLASSES = {
    "plain": (Y, False),
    "(N, 1)": (Y[:, None], True),
    "floats": (Y.astype(np.float32), True),
    "one-hot": (np.eye(3)[Y], True),
    "one-hot integers": (np.eye(3, dtype=np.uint8)[Y], True),
    "one-hot (N, 1, C)": (np.eye(3)[Y][:, None], True),
    "one-hot bool": (np.eye(3)[Y] > 0, True),
}


@pytest.mark.parametrize("shape", SCORES)
@pytest.mark.parametrize("form", CLASSES)
def test_every_form_of_class_numbers_is_the_same(form: str, shape: tuple[int, ...]) -> None:
    labels, told = CLASSES[form]
    found = read(network(shape), labels)
    assert found.classes and found.numbers is not None
    np.testing.assert_array_equal(found.numbers, Y)
    assert found.numbers.dtype == np.int64
    assert bool(found.said) == told and not found.from_one


NAN = np.where(Y == 2, np.nan, 1.0)
REFUSED = {
    "complex": (Y * 1j, "E240", "neither numbers nor names"),
    "NaN": (NAN, "E241", "2 of 5 samples (the first is sample 1)"),
    "too large": (Y + 2, "E243", "label 4 of sample 1 is too large (2 of 5 labels"),
    "negative": (Y - 1, "E243", "label -1 of sample 0 is negative"),
    "several classes": (np.ones((5, 3), int), "E242", "(sample 0)"),
    "samples": (np.ones((5, 4), np.float32), "E242", "are the keys exchanged"),
    "other shape": (np.ones((5, 2)), "E242", "one-hot (N, 3)"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_fits_nothing_is_refused_by_name(form: str) -> None:
    labels, code, says = REFUSED[form]
    with pytest.raises(DataError) as caught:
        read(network((3,)), labels, where="d.npz")
    assert caught.value.code == code
    assert says in str(caught.value) and "d.npz" in str(caught.value)


def test_labels_that_start_at_one_are_told_from_labels_out_of_range() -> None:
    found = read(network((3,)), Y + 1)
    assert found.from_one and found.numbers is not None
    np.testing.assert_array_equal(found.numbers, Y + 1)  # nothing is shifted
    assert not read(network((3,)), np.array([1, 2, 1])).from_one


def test_names_are_numbered_by_what_they_spell_or_in_sorted_order() -> None:
    numbers, mapping = numbered(np.array([["dog"], ["cat"], ["dog"]]))
    assert numbers.tolist() == [[1], [0], [1]] and mapping == {"cat": 0, "dog": 1}
    numbers, mapping = numbered(np.array([b"10", b"2", b"1"]))
    assert numbers.tolist() == [10, 2, 1] and list(mapping) == ["1", "2", "10"]
    assert numbered(Y)[0] is Y and numbered(Y)[1] == {}
    assert mapping_text({"cat": 0, "dog": 1}) == "cat = 0, dog = 1"
    many = mapping_text({f"c{i}": i for i in range(40)})
    assert "(40 in all)" in many and many.endswith("c39 = 39") and len(many) < 160


VALUES = {
    # output, what is behind it, labels, asked for; whether it is a classifier, labels used, said
    "scores, their size": ((3,), "", np.ones((5, 3)) / 3, False, (False, True, True)),
    "scores, fractions": ((3,), "", Y + 0.5, False, (True, False, True)),
    "scores, asked": ((3,), "", np.ones((5, 3)) / 3, True, (False, True, False)),
    "scores, asked, classes": ((3,), "", Y, True, (False, False, True)),
    "image": ((2, 3, 3), "", np.ones((5, 18)), False, (False, True, True)),
    "image, classes": ((2, 3, 3), "", Y, False, (False, False, True)),
    "one number, floats": ((1,), "", NAN * 0 + 0.5, False, None),
    "one number": ((1,), "", Y / 2, False, (False, True, True)),
    "one number, counts": ((), "", Y, False, (False, True, True)),
    "logit": ((1,), "", Y // 2, False, (True, True, False)),
    "logit, floats": ((1,), "Sigmoid", (Y // 2).astype(float), False, (True, True, True)),
    "logit, one-hot": ((1,), "Sigmoid", np.eye(2)[Y // 2], False, (True, True, True)),
    "logit, asked": ((1,), "Sigmoid", Y // 2, True, (False, True, False)),
    "no labels": ((3,), "", None, False, (True, False, False)),
    "no labels, asked": ((3,), "", None, True, (False, False, False)),
    "no labels, one number": ((1,), "", None, False, (False, False, False)),
}


@pytest.mark.parametrize("case", VALUES)
def test_nothing_becomes_a_regression_in_silence(case: str) -> None:
    shape, behind, labels, asked, expected = VALUES[case]
    graph = network(shape, behind)
    if expected is None:
        with pytest.raises(DataError, match="NaN"):
            read(graph, labels, regression=asked)
        return
    found = read(graph, labels, regression=asked)
    assert (found.classes, found.numbers is not None, bool(found.said)) == expected
    if not found.classes and found.numbers is not None:
        assert found.numbers.shape == (5, *shape) and found.numbers.dtype == np.float64


def test_shares_of_classes_do_not_fit_scores_before_a_softmax() -> None:
    with pytest.raises(DataError, match="before its final Softmax") as caught:
        read(network((3,), "Softmax"), np.ones((5, 3)) / 3)
    assert "argmax" in str(caught.value)


def test_values_are_scored_as_the_formulas_say_in_parts_too() -> None:
    rng = np.random.default_rng(0)
    right, got = rng.normal(size=(2, 40, 2, 3))
    found = value_score(got, targets=right)
    off = got - right
    assert found.rmse == pytest.approx(np.sqrt((off**2).mean()))
    assert found.mae == pytest.approx(np.abs(off).mean())
    rest = (off**2).sum() / ((right - right.mean(axis=0)) ** 2).sum()
    assert found.r2 == pytest.approx(1 - rest)
    parts = [slice(0, 7), slice(7, 40)]
    added = score(
        sum(misses(got[p], targets=right[p]) for p in parts), sum(moments(right[p]) for p in parts)
    )
    assert vars(added) == pytest.approx(vars(found))
    assert value_score(got, targets=np.full_like(right, 0.1)).r2 is None  # they do not vary
