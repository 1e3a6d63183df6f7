"""Nothing is written that stock ONNX Runtime would not run with the engine's numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import dyadic, residual_cnn, with_input

import onnx2snn
from onnx2snn.errors import ModelError
from onnx2snn.evaluation import written
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime.graph import SpikingGraph, Synapse


def network() -> SpikingGraph:
    return residual_cnn(np.random.default_rng(1))


def other_weights(graph: SpikingGraph) -> bytes:
    """A file whose weights are not the graph's."""
    first = graph.of(Synapse)[0]
    op = replace(first.op, weight=-first.op.weight)
    return onnxfile.to_bytes(graph.with_nodes([replace(first, op=op)]))


def no_function(graph: SpikingGraph) -> bytes:
    model = onnx.load_from_string(onnxfile.to_bytes(graph))
    del model.functions[:]
    return model.SerializeToString()


@pytest.mark.parametrize("encoding", ["constant", "rate", "poisson"])
def test_what_is_right_is_written_as_it_is(encoding: str) -> None:
    graph = with_input(network(), encoding)
    x = {"x": dyadic(np.random.default_rng(2), (2, 2, 8, 8))}
    expected = onnxfile.to_bytes(graph)
    assert written.checked_bytes(graph, x) == written.checked_bytes(graph) == expected


@pytest.mark.parametrize("wrong, said", [(other_weights, "differ by"), (no_function, "not run")])
def test_a_file_that_is_wrong_is_refused_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: object, said: str
) -> None:
    monkeypatch.setattr(written, "to_bytes", wrong)
    with pytest.raises(ModelError, match=said) as error:
        onnx2snn.save(network(), tmp_path / "n.onnx")
    assert error.value.code == "E326"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limit", "value", "run", "said"),
    [
        ("LARGEST", 2**7, (1, 1), "no more than 1 sample"),
        ("MOST_NUMBERS", 2**7, (0, 0), "not run"),
        ("MOST_NODES", 3, (0, 0), "not run"),
    ],
)
def test_how_much_is_run_is_bounded_and_said(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, run: tuple[int, int], said: str
) -> None:
    graph, ran = network(), list[int]()
    assert written.effort(graph) == (2, 16)
    stock = written._stock
    monkeypatch.setattr(
        written, "_stock", lambda *given: (ran.append(len(given[1]["x"])), stock(*given))[1]
    )
    monkeypatch.setattr(written, limit, value)
    assert written.effort(graph) == run
    with pytest.warns(UserWarning, match=said):
        assert written.checked_bytes(graph) == onnxfile.to_bytes(graph)
    assert ran == [run[0]] * (run[0] > 0)


def answers(*values: float) -> np.ndarray:
    """(steps, 1 sample, 2 outputs)."""
    return np.array([[[v, 1 - v]] for v in values], np.float32)


PARTS = {  # of the engine's answers 0, 0.2, 0.5, 0.8 where the ANN's are 1 and 0
    "the same": (answers(0, 0.2, 0.5, 0.8), True, True),
    "parts late": (answers(0, 0.2, 0.7, 0.6), False, True),
    "parts at once, as near": (answers(0, 0.4, 0.4, 0.7), False, True),
    "parts at once, far": (answers(0, 0.4, 0.1, 0.2), False, False),
    "no numbers": (answers(0, 0.2, 0.5, np.nan), False, False),
}


@pytest.mark.parametrize("case", PARTS)
def test_where_sums_are_not_exact_a_file_may_part_from_the_engine_but_not_be_another(
    case: str,
) -> None:
    file, exact, inexact = PARTS[case]
    ours, ann = answers(0, 0.2, 0.5, 0.8), answers(1)[0]
    for sums_are_exact, fine in ((True, exact), (False, inexact)):
        if fine:
            written._compare(
                "y", file, ours=ours, analog=ann, exact=lambda is_so=sums_are_exact: is_so
            )
        else:
            with pytest.raises(ModelError, match="'y'"):
                written._compare(
                    "y", file, ours=ours, analog=ann, exact=lambda is_so=sums_are_exact: is_so
                )
