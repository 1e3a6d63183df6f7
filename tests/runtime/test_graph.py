"""Words in a graph's nodes: one that a field does not take is refused, not taken for another."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pytest
from graphs import residual_cnn

from onnx2snn.errors import GraphError
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.tables import choices

WORDS = [(kind, name) for kind in get_args(snn.Node) for name in choices(kind)]


def test_the_fields_of_words_are_found() -> None:
    assert (snn.Input, "encoding") in WORDS and (snn.Readout, "mode") in WORDS
    for kind, name in WORDS:
        (field,) = (f for f in fields(kind) if f.name == name)
        assert field.default in choices(kind)[name]


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k, n in WORDS if k in (snn.Input, snn.Readout)]
)
def test_another_word_is_refused(kind: Any, name: str) -> None:
    graph = residual_cnn(np.random.default_rng(0))
    node = graph.of(kind)[0]
    with pytest.raises(GraphError, match=f"{name} of node '{node.name}' is 'other', not one of"):
        graph.with_nodes([replace(node, **{name: "other"})])


def test_new_names_count_on_and_leave_out_those_that_are_taken() -> None:
    """Of thousands with one name each is found at once: a tree over a long axis has as many."""
    names = snn.Names(["a_2"])
    assert [names.new("a") for _ in range(3)] == ["a", "a_3", "a_4"]
    assert names.new("a_3") == "a_3_2" and names.taken("a_4")
    looked: list[str] = []

    class Seen(set[str]):
        def __contains__(self, name: object) -> bool:
            looked.append(str(name))
            return super().__contains__(name)

    names._taken = Seen(names._taken)
    for _ in range(50):
        names.new("b")
    assert len(looked) <= 2 * 50
