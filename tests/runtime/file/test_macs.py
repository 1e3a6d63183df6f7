"""Multiply-accumulates of analog islands, against figures by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2snn.runtime.file.macs import RULES, island_cost

FLOAT = TensorProto.FLOAT


def island(
    nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]], **constants: Any
) -> bytes:
    """A model of ``nodes`` that gives y, of inputs (N, *shape)."""
    graph = helper.make_graph(
        nodes,
        "island",
        [helper.make_tensor_value_info(n, FLOAT, ["N", *s]) for n, s in shapes.items()],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def node(op: str, *inputs: str, out: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [out], **attributes)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


X = {"x": (4, 6, 6)}
CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], dict[str, Any], int]] = {
    "conv, groups and stride": (
        [node("Conv", "x", "w", group=2, strides=[2, 2])],
        X,
        {"w": zeros(8, 2, 3, 3)},
        8 * 2 * 2 * 2 * 9,
    ),
    "transposed conv": ([node("ConvTranspose", "x", "w")], X, {"w": zeros(4, 3, 2, 2)}, 144 * 12),
    "two computed matrices": (
        [node("MatMul", "a", "b")],
        {"a": (3, 5, 7), "b": (3, 7, 2)},
        {},
        3 * 5 * 2 * 7,
    ),
    "gemm": ([node("Gemm", "x", "w", transB=1)], {"x": (5,)}, {"w": zeros(3, 5)}, 15),
    "einsum with an ellipsis": (
        [node("Einsum", "a", "b", equation="...ij, ...kj -> ...ik")],
        {"a": (2, 3, 5), "b": (2, 4, 5)},
        {},
        2 * 3 * 4 * 5,
    ),
    "gru": (
        [helper.make_node("GRU", ["x", "w", "r"], ["", "y"], hidden_size=2)],
        {"x": (5, 3)},  # one step of N = 1 comes as (steps, batch, features)
        {"w": zeros(1, 6, 3), "r": zeros(1, 6, 2)},
        5 * (18 + 12),
    ),
    "sigmoid and gate": ([node("Sigmoid", "x", out="s"), node("Mul", "x", "s")], X, {}, 2 * 144),
    "a reduction reads all": ([node("ReduceMean", "x", keepdims=0)], X, {}, 144),
    "broadcast": ([node("Mul", "x", "c")], {"x": (4, 1, 1)}, {"c": zeros(4, 6, 6)}, 144),
    "windows": ([node("AveragePool", "x", kernel_shape=[3, 3])], X, {}, 4 * 16 * 9),
    "three operands": ([node("Max", "x", "x", "x")], X, {}, 2 * 144),
    "moves and comparisons": (
        [
            node("Greater", "x", "c", out="b"),
            node("Where", "b", "x", "c", out="w"),
            node("Transpose", "w", perm=[0, 3, 1, 2]),
        ],
        X,
        {"c": zeros(1)},
        0,
    ),
    "whole numbers": (
        [
            node("Shape", "x", out="n"),
            node("Mul", "n", "n", out="m"),
            node("Cast", "m", to=FLOAT),
        ],
        X,
        {},
        0,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_rule_gives_what_one_counts_by_hand(case: Any) -> None:
    nodes, shapes, constants, expected = case
    found = island_cost(island(nodes, shapes, **constants))
    assert (found.macs, found.uncounted) == (expected, ())


def body(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    """A graph of a slice s (6, 6) of x and the tensors around it."""
    slices = [helper.make_tensor_value_info("s", FLOAT, [4, 6, 6])]
    out = [helper.make_tensor_value_info("t", FLOAT, None)]
    return helper.make_graph(list(nodes), "body", slices, out)


def test_bodies_count_as_often_as_they_run_and_see_what_is_around_them() -> None:
    inner = body(node("Exp", "s", out="e"), node("MatMul", "e", "w", out="t"))
    scan = node("Scan", "x", num_scan_inputs=1, body=inner)
    one = 144 + 144 * 6
    assert island_cost(island([scan], X, w=zeros(6, 6))).macs == one
    along = node("Scan", "x", num_scan_inputs=1, scan_input_axes=[1], body=_rows())
    assert island_cost(island([along], X)).macs == 4 * 36
    then, other = _branch("Exp"), _branch("Identity")
    decided = node("If", "c", then_branch=then, else_branch=other)
    assert island_cost(island([decided], X, c=np.array(True))).macs == 144


def _rows() -> onnx.GraphProto:
    out = [helper.make_tensor_value_info("t", FLOAT, None)]
    slices = [helper.make_tensor_value_info("s", FLOAT, [1, 6, 6])]
    return helper.make_graph([node("Exp", "s", out="t")], "row", slices, out)


def _branch(op: str) -> onnx.GraphProto:
    out = [helper.make_tensor_value_info("t", FLOAT, None)]
    return helper.make_graph([node(op, "x", out="t")], "branch", [], out)


def test_what_has_no_rule_is_named_and_never_silently_nothing() -> None:
    unknown = [
        node("Sigmoid", "x", out="s"),
        helper.make_node("Fancy", ["s"], ["f"], domain="com.example"),
        node("Det", "s", out="d"),
        node("Mul", "f", "d"),  # whose shape nobody knows
    ]
    found = island_cost(island(unknown, {"x": (4, 6, 6)}))
    assert (found.macs, found.uncounted) == (144, ("com.example.Fancy", "Det", "Mul"))
    assert island_cost(b"\xff no model").uncounted == ("a model that cannot be read",)


def test_every_rule_is_of_an_operation_that_exists() -> None:
    known = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    assert set(RULES) - known <= {"RMSNormalization", "Swish", "Gelu"}  # of later operation sets
