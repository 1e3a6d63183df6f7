"""Single operations against ONNX Runtime: a table of cases, and properties over their settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx.helper import make_node

from converter.frontend.tools import imported, model, samples, saved, worst_difference
from onnx2snn.converter.ann.graph import Opaque
from onnx2snn.converter.ann.passes import run_passes
from onnx2snn.converter.frontend import OPERATIONS
from onnx2snn.errors import ModelError, UnsupportedOps

RNG = np.random.default_rng(5)
IMAGE = {"x": ("N", 4, 6, 6)}


def weights(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.asarray(values, np.int64)


def node(op: str, *more: str, **attrs: Any) -> Any:
    return make_node(op, ["x", *more], ["y"], name="the_node", **attrs)


# name: (node, inputs, constants, opset)
CASES: dict[str, tuple[Any, Any, Any, int]] = {
    "Gemm with everything": (
        node("Gemm", "w", "b", alpha=0.5, beta=2.0, transB=1),
        {"x": ("N", 5)}, {"w": weights(3, 5), "b": weights(1, 3)}, 17),
    "Gemm of a transposed input without batch": (
        node("Gemm", "w", transA=1), {"x": ("N", 5)}, {"w": weights(1, 3)}, 17),
    "Gemm with the constant on the left": (
        make_node("Gemm", ["w", "x", "b"], ["y"], transB=1), {"x": ("N", 5)},
        {"w": weights(3, 5), "b": weights(3, 1)}, 17),
    "MatMul on the last of three axes": (
        node("MatMul", "w"), {"x": ("N", 4, 5)}, {"w": weights(5, 3)}, 17),
    "MatMul with a vector": (node("MatMul", "w"), {"x": ("N", 4, 5)}, {"w": weights(5)}, 17),
    "MatMul with the constant on the left": (
        make_node("MatMul", ["w", "x"], ["y"]), {"x": ("N", 4, 5)}, {"w": weights(3, 4)}, 17),
    "MatMul of a matrix and a vector without batch": (
        make_node("MatMul", ["w", "x"], ["y"]), {"x": (4,)}, {"w": weights(3, 4)}, 17),
    "BatchNormalization of features": (
        node("BatchNormalization", "g", "b", "m", "v", epsilon=0.1), {"x": ("N", 4)},
        {"g": weights(4), "b": weights(4), "m": weights(4), "v": weights(4) ** 2}, 15),
    "ConvTranspose with an output shape": (
        node("ConvTranspose", "w", output_shape=[11, 12], strides=[2, 2]), IMAGE,
        {"w": weights(4, 3, 3, 3)}, 17),
    "GlobalAveragePool": (node("GlobalAveragePool"), IMAGE, {}, 17),
    "GlobalMaxPool": (node("GlobalMaxPool"), IMAGE, {}, 17),
    "ReduceMean over all axes": (node("ReduceMean", keepdims=0), {"x": (1, 3, 4)}, {}, 17),
    "ReduceSum over inner axes": (
        node("ReduceSum", "a", keepdims=0), IMAGE, {"a": ints(1, -1)}, 17),
    "CumSum along a line": (node("CumSum", "a"), IMAGE, {"a": np.asarray(-1, np.int64)}, 17),
    "CumSum from the end, exclusive": (
        node("CumSum", "a", exclusive=1, reverse=1), IMAGE, {"a": ints(1)}, 14),
    "ReduceMax over channels": (node("ReduceMax", axes=[1], keepdims=0), IMAGE, {}, 17),
    "Clip from below zero": (
        node("Clip", "lo", "hi"), IMAGE,
        {"lo": np.float32(-0.3), "hi": np.float32(0.8)}, 17),
    "Clip with only an upper bound": (node("Clip", "", "hi"), IMAGE, {"hi": np.float32(0.8)}, 17),
    "Clip with only a lower bound": (node("Clip", "lo"), IMAGE, {"lo": np.float32(0.1)}, 17),
    "Clip with attributes": (node("Clip", min=0.0, max=0.5), IMAGE, {}, 9),
    "LeakyRelu": (node("LeakyRelu", alpha=0.3), IMAGE, {}, 17),
    "PRelu per channel": (node("PRelu", "s"), IMAGE, {"s": weights(4, 1, 1)}, 17),
    "HardSigmoid": (node("HardSigmoid", alpha=0.4, beta=0.6), IMAGE, {}, 17),
    "Abs": (node("Abs"), IMAGE, {}, 17),
    "Neg": (node("Neg"), IMAGE, {}, 17),
    "Add of a channel constant": (node("Add", "c"), IMAGE, {"c": weights(4, 1, 1)}, 17),
    "Add of a larger constant": (node("Add", "c"), {"x": ("N", 1, 6)}, {"c": weights(5, 1)}, 17),
    "Constant minus tensor": (
        make_node("Sub", ["c", "x"], ["y"]), IMAGE, {"c": weights(1, 4, 1, 1)}, 17),
    "Mul by a constant": (node("Mul", "c"), IMAGE, {"c": weights(6)}, 17),
    "Div by a constant": (node("Div", "c"), IMAGE, {"c": np.float32(3)}, 17),
    "Sum of three": (node("Sum", "x2", "c"), {**IMAGE, "x2": ("N", 1, 6)}, {"c": weights(6)}, 17),
    "Mean of three": (node("Mean", "x2", "c"), {**IMAGE, "x2": ("N", 1, 6)}, {"c": weights(6)}, 17),
    "Sub of two": (node("Sub", "x2"), {**IMAGE, "x2": ("N", 4, 1, 1)}, {}, 17),
    "Max of two": (node("Max", "x2"), {**IMAGE, "x2": ("N", 4, 6, 6)}, {}, 17),
    "Min of two": (node("Min", "x2"), {**IMAGE, "x2": ("N", 4, 6, 6)}, {}, 17),
    "Max with a constant per channel": (node("Max", "c"), IMAGE, {"c": weights(4, 1, 1)}, 17),
    "Min with a constant per channel": (node("Min", "c"), IMAGE, {"c": weights(4, 1, 1)}, 17),
    "Concat of two": (node("Concat", "x2", axis=1), {**IMAGE, "x2": ("N", 2, 6, 6)}, {}, 17),
    "Concat with a constant in front": (
        make_node("Concat", ["c", "x"], ["y"], axis=1), {"x": (1, 4, 6)}, {"c": weights(1, 2, 6)},
        17),
    "Concat with a constant in the middle": (
        make_node("Concat", ["x", "c", "x"], ["y"], axis=-1), {"x": (1, 4, 6)},
        {"c": weights(1, 4, 2)}, 17),
    "Concat along the batch axis": (make_node("Concat", ["x", "x"], ["y"], axis=0),
                                    {"x": (1, 4)}, {}, 17),
    "Pad with a value": (
        node("Pad", "p", "v"), IMAGE, {"p": ints(0, 1, 0, 2, 0, 0, 1, 0), "v": np.float32(0.5)},
        17),
    "Pad by a negative amount": (node("Pad", "p"), IMAGE, {"p": ints(0, 0, -1, 2, 0, 0, 1, -2)},
                                 17),
    "Pad by reflection": (
        node("Pad", "p", mode="reflect"), IMAGE, {"p": ints(0, 0, 1, 2, 0, 0, 1, 0)}, 17),
    "Pad by repeating the edge": (
        node("Pad", "p", mode="edge"), IMAGE, {"p": ints(0, 0, 1, 2, 0, 0, 1, 0)}, 17),
    "Slice backwards": (
        node("Slice", "s", "e", "a", "t"), IMAGE,
        {"s": ints(-1, 1), "e": ints(-100, 5), "a": ints(2, 3), "t": ints(-2, 2)}, 17),
    "Slice with attributes": (node("Slice", starts=[1], ends=[100], axes=[1]), IMAGE, {}, 9),
    "Gather with a negative index": (
        node("Gather", "i", axis=1), IMAGE, {"i": ints(2, -1, 2)}, 17),
    "Gather of one row": (node("Gather", "i", axis=2), IMAGE, {"i": np.asarray(1)}, 17),
    "Gather of a table": (node("Gather", "i", axis=1), IMAGE, {"i": ints(0, 1, 2, 3).reshape(2, 2)},
                          17),
    "Transpose of channels": (node("Transpose", perm=[0, 2, 3, 1]), IMAGE, {}, 17),
    "Transpose of the batch axis": (node("Transpose", perm=[1, 0, 2]), {"x": (1, 3, 4)}, {}, 17),
    "Squeeze of the batch axis": (node("Squeeze", "a"), {"x": (1, 3, 4)}, {"a": ints(0)}, 17),
    "Unsqueeze in front": (node("Unsqueeze", "a"), {"x": (1, 3, 4)}, {"a": ints(0)}, 17),
    "Reshape with a zero": (node("Reshape", "s"), IMAGE, {"s": ints(0, 2, -1)}, 17),
    "Flatten from the last axis": (node("Flatten", axis=3), {"x": (1, 3, 4, 2)}, {}, 17),
    "Expand": (node("Expand", "s"), {"x": ("N", 1, 4)}, {"s": ints(3, 1)}, 17),
    "Tile": (node("Tile", "r"), {"x": ("N", 2, 4)}, {"r": ints(1, 2, 3)}, 17),
    "DepthToSpace DCR": (node("DepthToSpace", blocksize=2), IMAGE, {}, 17),
    "DepthToSpace CRD": (node("DepthToSpace", blocksize=2, mode="CRD"), IMAGE, {}, 17),
    "SpaceToDepth": (node("SpaceToDepth", blocksize=2), IMAGE, {}, 17),
    "Upsample": (node("Upsample", "s"), IMAGE, {"s": np.asarray([1, 1, 2, 3], np.float32)}, 9),
    "Dropout": (node("Dropout"), IMAGE, {}, 17),
    "Cast": (node("Cast", to=1), IMAGE, {}, 17),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.replace(" ", "_"))
def test_an_operation_equals_onnx_runtime_without_an_island(case: str, tmp_path: Path) -> None:
    made, inputs, constants, opset = CASES[case]
    graph, loaded = imported(
        saved(model([made], inputs, constants=constants, opset=opset), tmp_path)
    )
    data = samples(loaded)
    assert not any(isinstance(n.layer, Opaque) for n in graph.nodes)
    assert worst_difference(graph, loaded, data) < 1e-5
    assert worst_difference(run_passes(graph), loaded, data) < 1e-5


def test_every_registered_operation_is_tested_here_or_below() -> None:
    below = {"Relu", "Conv", "MaxPool", "AveragePool", "Resize", "Split", "Identity"}
    assert {made.op_type for made, *_ in CASES.values()} | below == set(OPERATIONS)


quick = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
small = st.integers(1, 3)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 2))
    each = lambda values: [draw(values) for _ in range(rank)]  # noqa: E731
    kernel = each(small)
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": each(small)}
    if draw(st.booleans()):
        attrs["dilations"] = each(st.integers(1, 2))
    if draw(st.booleans()):
        attrs["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    else:
        attrs["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))
    return attrs


def check_window_op(made: Any, rank: int, constants: Any, folder: Path, opset: int = 19) -> None:
    proto = model([made], {"x": ("N", 4, *(7, 6)[:rank])}, constants=constants, opset=opset)
    try:
        graph, loaded = imported(saved(proto, folder))
        difference = worst_difference(graph, loaded, samples(loaded))
    except ModelError:
        assume(False)  # ONNX Runtime refuses this combination
    assert not any(isinstance(n.layer, Opaque) for n in graph.nodes)
    assert difference < 1e-5


@quick
@given(windows(), st.sampled_from([1, 2, 4]), st.booleans())
def test_conv_with_any_window_equals_onnx_runtime(
    tmp_path: Path, attrs: dict[str, Any], groups: int, transposed: bool
) -> None:
    rank = len(attrs["kernel_shape"])
    if transposed and attrs.get("auto_pad", "").startswith("SAME"):
        del attrs["auto_pad"]
    shape = (4, 8 // groups) if transposed else (8, 4 // groups)
    constants = {"w": weights(*shape, *attrs["kernel_shape"]), "b": weights(8)}
    op = "ConvTranspose" if transposed else "Conv"
    check_window_op(node(op, "w", "b", group=groups, **attrs), rank, constants, tmp_path)


@quick
@given(windows(), st.booleans(), st.booleans(), st.sampled_from(["MaxPool", "AveragePool"]))
def test_a_pool_with_any_window_equals_onnx_runtime(
    tmp_path: Path, attrs: dict[str, Any], ceil: bool, counted: bool, op: str
) -> None:
    more: dict[str, Any] = {"ceil_mode": int(ceil)}
    if op == "AveragePool":
        more["count_include_pad"] = int(counted)
    check_window_op(node(op, **attrs, **more), len(attrs["kernel_shape"]), {}, tmp_path)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_padding_to_the_same_size_where_windows_leave_cells_out_is_refused(
    tmp_path: Path, op: str
) -> None:
    """7 and 6 cells, one of every 3: ONNX Runtime crops (AveragePool 19) or refuses."""
    made = node(op, kernel_shape=[1, 1], strides=[1, 3], auto_pad="SAME_UPPER")
    proto = model([made], {"x": ("N", 4, 7, 6)}, opset=19)
    with pytest.raises(UnsupportedOps, match="Write the pads out"):
        imported(saved(proto, tmp_path))


@quick
@given(
    st.sampled_from(["nearest", "linear", "cubic"]),
    st.sampled_from(
        ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
    ),
    st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
)
def test_resize_to_any_size_equals_onnx_runtime(
    tmp_path: Path, mode: str, transform: str, rounding: str, size: tuple[int, int]
) -> None:
    made = node(
        "Resize", "", "", "s", mode=mode, coordinate_transformation_mode=transform,
        nearest_mode=rounding,
    )  # fmt: skip
    proto = model([made], {"x": (1, 2, 6, 5)}, constants={"s": ints(1, 2, *size)}, opset=19)
    graph, loaded = imported(saved(proto, tmp_path))
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-4


def test_split_gives_one_slice_per_part(tmp_path: Path) -> None:
    parts = make_node("Split", ["x", "s"], ["a", "b"], axis=1)
    proto = model([parts], IMAGE, ("a", "b"), {"s": ints(1, 3)})
    graph, loaded = imported(saved(proto, tmp_path))
    assert [graph[o.node].shape for o in graph.outputs] == [(1, 6, 6), (3, 6, 6)]
    assert worst_difference(graph, loaded, samples(loaded)) == 0


def test_a_constant_added_to_a_convolution_becomes_its_bias(tmp_path: Path) -> None:
    conv = make_node("Conv", ["x", "w"], ["h"], kernel_shape=[1, 1])
    add = make_node("Add", ["h", "c"], ["y"])
    constants = {"w": weights(3, 4, 1, 1), "c": weights(3, 6, 6)}
    graph, loaded = imported(saved(model([conv, add], IMAGE, constants=constants), tmp_path))
    assert len(graph.nodes) == 2
    assert graph.nodes[1].bias is not None
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-5


def test_a_constant_is_not_folded_into_a_convolution_that_something_else_reads(
    tmp_path: Path,
) -> None:
    conv = make_node("Conv", ["x", "w"], ["h"], kernel_shape=[1, 1])
    nodes = [conv, make_node("Add", ["h", "c"], ["y"]), make_node("Relu", ["h"], ["z"])]
    constants = {"w": weights(3, 4, 1, 1), "c": weights(3, 6, 6)}
    proto = model(nodes, IMAGE, ("y", "z"), constants)
    graph, loaded = imported(saved(proto, tmp_path))
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-5


def test_a_number_that_is_nearly_0_or_1_is_not_taken_for_it(tmp_path: Path) -> None:
    nodes = [
        make_node("Relu", ["x"], ["r"]),
        make_node("Add", ["r", "nearly 0"], ["a"]),
        make_node("Log", ["a"], ["l"]),
        make_node("Mul", ["l", "nearly 1"], ["y"]),
    ]
    constants = {"nearly 0": np.float32(1e-10), "nearly 1": np.float32(1 + 5e-6)}
    graph, loaded = imported(saved(model(nodes, {"x": ("N", 5)}, constants=constants), tmp_path))
    x = {"x": np.float32([[-1, 0, 1, 2, 3]])}  # the logarithm of 0 would be infinite
    assert worst_difference(graph, loaded, x) < 1e-6
