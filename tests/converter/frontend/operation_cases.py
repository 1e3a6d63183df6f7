"""Every operation that may lie in an analog island, as it is written in each operation set.

A case is a node (or a few) from ``x`` to ``a``; ``nodes(v)`` gives it as operation set ``v`` has
it, or None where ``v`` does not have it. ``WITHOUT`` says which operations of ONNX have no case,
and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.helper import make_node

from onnx2snn.runtime.ops import Array

OLDEST, NEWEST = 7, onnx.defs.onnx_opset_version()
Written = tuple[list[onnx.NodeProto], Mapping[str, Any]]
MAP = (3, 4, 4)  # sample shape of x, unless a case says otherwise
RNG = np.random.default_rng(11)
GAIN, SHIFT = RNG.uniform(0.5, 1.5, 3).astype(np.float32), RNG.normal(size=3).astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """``ops``: the operations it is there for; ``shape``: of x, per sample."""

    ops: tuple[str, ...]
    nodes: Callable[[int], Written | None]
    shape: tuple[int, ...] = MAP
    positive: bool = False


CASES: dict[str, Case] = {}


def simple(op: str, since: int = 1, *, shape: tuple[int, ...] = MAP, positive: bool = False,
           case: str = "", constants: Mapping[str, Any] | None = None,
           extra: tuple[str, ...] = (), **attributes: Any) -> None:  # fmt: skip
    """A case that is written alike in every operation set from ``since`` on."""

    def nodes(v: int) -> Written | None:
        if v < since:
            return None
        return [make_node(op, ["x", *extra], ["a"], **attributes)], constants or {}

    CASES[case or op] = Case(ops=(op,), nodes=nodes, shape=shape, positive=positive)


def case(
    name: str, *ops: str, shape: tuple[int, ...] = MAP, positive: bool = False
) -> Callable[[Callable[[int], Written | None]], None]:
    def register(nodes: Callable[[int], Written | None]) -> None:
        CASES[name] = Case(ops=ops or (name,), nodes=nodes, shape=shape, positive=positive)

    return register


def ints(*values: int) -> Array:
    return np.asarray(values, np.int64)


for _op in ("Sigmoid", "Tanh", "Exp", "Softplus", "Softsign", "Elu", "Selu", "Sin", "Cos", "Tan",
            "Atan"):  # fmt: skip
    simple(_op)
for _op in ("Sqrt", "Log", "Reciprocal"):
    simple(_op, positive=True)
for _op, _since in {"Erf": 9, "Sinh": 9, "Cosh": 9, "Asinh": 9, "Sign": 9, "Round": 11, "Celu": 12,
                    "HardSwish": 14, "Mish": 18, "Gelu": 20, "Swish": 24}.items():  # fmt: skip
    simple(_op, _since)
for _op in ("Floor", "Ceil"):
    simple(_op)
for _op in ("Asin", "Acos", "Atanh"):  # defined between -1 and 1

    def _inside(v: int, op: str = _op) -> Written | None:
        since = 9 if op == "Atanh" else 7
        made = [make_node("Tanh", ["x"], ["t"]), make_node("Mul", ["t", "c"], ["s"]),
                make_node(op, ["s"], ["a"])]  # fmt: skip
        return (made, {"c": np.float32(0.8)}) if v >= since else None

    case(_op)(_inside)


@case("Acosh", positive=True)
def _(v: int) -> Written | None:
    made = [make_node("Add", ["x", "c"], ["s"]), make_node("Acosh", ["s"], ["a"])]
    return (made, {"c": np.float32(1)}) if v >= 9 else None


simple("Pow", extra=("e",), constants={"e": np.float32(3)})
simple("ThresholdedRelu", 10, alpha=0.3)
simple("Shrink", 9, lambd=0.3, bias=0.1)
simple("LpNormalization", axis=1, p=2)
simple("LpNormalization", axis=-1, p=1, case="LpNormalization p 1")
simple("LRN", size=3)
simple("LpPool", kernel_shape=[2, 2], p=2, strides=[2, 2])
simple("GlobalLpPool", p=2)
simple("MeanVarianceNormalization", 9, axes=[0, 2, 3], case="MeanVarianceNormalization batch")
simple("MeanVarianceNormalization", 9, axes=[2, 3])
simple("InstanceNormalization", extra=("g", "b"), constants={"g": GAIN, "b": SHIFT})
simple(
    "LayerNormalization",
    17,
    extra=("g",),
    axis=-1,
    constants={"g": RNG.uniform(size=4).astype("f")},
)
simple("LayerNormalization", 17, extra=("g",), axis=1, case="LayerNormalization map",
       constants={"g": RNG.uniform(size=MAP).astype("f")})  # fmt: skip
simple(
    "RMSNormalization", 23, extra=("g",), axis=-1, constants={"g": RNG.uniform(size=4).astype("f")}
)
simple("Einsum", 12, extra=("w",), equation="nchw,dc->ndhw",
       constants={"w": RNG.normal(size=(2, 3)).astype("f")})  # fmt: skip
simple("CumSum", 11, extra=("axis",), constants={"axis": np.asarray(2)})
simple("CumProd", 26, extra=("axis",), constants={"axis": np.asarray(2)})
simple("Trilu", 14)
simple("DepthToSpace", shape=(4, 2, 2), blocksize=2)
simple("SpaceToDepth", blocksize=2)
simple("Transpose", perm=[0, 2, 3, 1])
simple("Tile", extra=("r",), constants={"r": ints(1, 2, 1, 1)})
simple("Expand", 8, shape=(3, 1, 4), extra=("s",), constants={"s": ints(1, 3, 4, 4)})
simple("GatherElements", 11, extra=("i",), axis=2,
       constants={"i": RNG.integers(0, 4, (1, 3, 2, 4))})  # fmt: skip
simple(
    "GatherND", 12, shape=(4,), extra=("i",), batch_dims=1, constants={"i": ints(2).reshape(1, 1)}
)
simple("ReverseSequence", 10, extra=("n",), batch_axis=0, time_axis=1, constants={"n": ints(3)})
simple("Det", 11, shape=(4, 4))
simple("Neg")
simple("Abs")
simple("Relu")
simple("Identity")
simple("LeakyRelu", alpha=0.2)
simple("PRelu", extra=("s",), constants={"s": GAIN.reshape(3, 1, 1)})
simple("HardSigmoid", alpha=0.3)
simple("GlobalAveragePool")
simple("GlobalMaxPool")
simple("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
simple("AveragePool", 10, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, case="AveragePool ceil")
simple("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
simple("Flatten", axis=1)
simple("Conv", extra=("w",), constants={"w": RNG.normal(size=(2, 3, 3, 3)).astype("f")})
simple("ConvTranspose", extra=("w",), constants={"w": RNG.normal(size=(3, 2, 3, 3)).astype("f")})
simple("DeformConv", 19, extra=("w", "o"), kernel_shape=[3, 3],
       constants={"w": RNG.normal(size=(2, 3, 3, 3)).astype("f"),
                  "o": RNG.normal(size=(1, 18, 2, 2)).astype("f")})  # fmt: skip
simple("MatMul", extra=("w",), constants={"w": RNG.normal(size=(4, 2)).astype("f")})
simple("Gemm", shape=(4,), extra=("w", "c"),
       constants={"w": RNG.normal(size=(4, 2)).astype("f"), "c": np.float32([1, 2])})  # fmt: skip
simple("Reshape", extra=("s",), constants={"s": ints(-1, 12, 4)})
simple("Concat", extra=("x",), axis=1)
for _op in ("Add", "Mul", "Sub"):
    simple(_op, extra=("c",), constants={"c": GAIN.reshape(3, 1, 1)})
simple("Div", extra=("x",), positive=True)
for _op in ("Max", "Min", "Sum", "Mean"):
    simple(_op, 8 if _op in ("Max", "Min", "Sum", "Mean") else 1, extra=("c",),
           constants={"c": GAIN.reshape(1, 3, 1, 1)})  # fmt: skip
simple("Mod", 10, extra=("c",), fmod=1, constants={"c": np.float32(0.7)})
simple("Dropout")
simple("Cast", to=TensorProto.FLOAT)
simple("Gather", extra=("i",), axis=1, constants={"i": ints(0, 2)})
simple("BatchNormalization", extra=("g", "b", "b", "g"), constants={"g": GAIN, "b": SHIFT})
simple("Attention", 23, shape=(4, 8), extra=("x", "x"), q_num_heads=2, kv_num_heads=2)
simple("RotaryEmbedding", 23, shape=(4, 8), extra=("c", "s"), num_heads=2,
       constants={"c": np.full((1, 4, 2), 0.6, "f"),
                  "s": np.full((1, 4, 2), 0.8, "f")})  # fmt: skip
simple("TensorScatter", 24, extra=("u",), axis=2, case="TensorScatter",
       constants={"u": np.ones((1, 3, 2, 4), "f")})  # fmt: skip

for _op in ("Softmax", "LogSoftmax", "Hardmax"):
    simple(_op)  # whose axis by default has changed
    for _axis in (1, 2, 3):
        simple(_op, axis=_axis, case=f"{_op} axis {_axis}")
    simple(_op, 11, axis=-2, case=f"{_op} axis -2")

REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2",
              "ReduceProd", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")  # fmt: skip


def _reduction(op: str, axes: list[int] | None, keepdims: int, since: int = 1) -> None:
    def nodes(v: int) -> Written | None:
        if v < since:
            return None
        if axes is None:
            return [make_node(op, ["x"], ["a"], keepdims=keepdims)], {}
        if v >= (13 if op == "ReduceSum" else 18):
            return [make_node(op, ["x", "axes"], ["a"], keepdims=keepdims)], {"axes": ints(*axes)}
        return [make_node(op, ["x"], ["a"], axes=axes, keepdims=keepdims)], {}

    CASES[f"{op} {axes} {keepdims}"] = Case(ops=(op,), nodes=nodes, positive="Log" in op)


for _op in REDUCTIONS:
    _reduction(_op, [1], 1)
    _reduction(_op, [2, 3], 0)
    _reduction(_op, [-1], 1, 11)
_reduction("ReduceL2", None, 1)
for _op in ("ArgMax", "ArgMin"):

    def _arg(v: int, op: str = _op) -> Written:
        return [make_node(op, ["x"], ["i"], axis=1, keepdims=1),
                make_node("Cast", ["i"], ["a"], to=1)], {}  # fmt: skip

    case(_op)(_arg)


@case("Squeeze", "Squeeze", "Unsqueeze")
def _(v: int) -> Written:
    if v >= 13:
        made = [make_node("Unsqueeze", ["x", "axes"], ["u"]), make_node("Tanh", ["u"], ["t"]),
                make_node("Squeeze", ["t", "axes"], ["a"])]  # fmt: skip
        return made, {"axes": ints(1)}
    return [make_node("Unsqueeze", ["x"], ["u"], axes=[1]), make_node("Tanh", ["u"], ["t"]),
            make_node("Squeeze", ["t"], ["a"], axes=[1])], {}  # fmt: skip


@case("Split", shape=(4, 4))
def _(v: int) -> Written:
    more: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    extra = []
    if v >= 13:
        extra, constants = ["sizes"], {"sizes": ints(1, 3)}
    else:
        more = {"split": [1, 3]}
    made = [make_node("Split", ["x", *extra], ["p", "q"], axis=1, **more),
            make_node("Mul", ["p", "q"], ["a"])]  # fmt: skip
    return made, constants


@case("Split in equal parts", "Split", shape=(4, 4))
def _(v: int) -> Written:
    more = {"num_outputs": 2} if v >= 18 else {}
    made = [make_node("Split", ["x"], ["p", "q"], axis=1, **more),
            make_node("Mul", ["p", "q"], ["a"])]  # fmt: skip
    return made, {}


@case("Clip")
def _(v: int) -> Written:
    if v >= 11:
        return [make_node("Clip", ["x", "low", "high"], ["a"])], {
            "low": np.float32(-0.2), "high": np.float32(0.4)}  # fmt: skip
    return [make_node("Clip", ["x"], ["a"], min=-0.2, max=0.4)], {}


@case("Clip below", "Clip")
def _(v: int) -> Written:
    if v >= 11:
        return [make_node("Clip", ["x", "low"], ["a"])], {"low": np.float32(-0.2)}
    return [make_node("Clip", ["x"], ["a"], min=-0.2)], {}


@case("Pad")
def _(v: int) -> Written:
    pads = [0, 0, 1, 1, 0, 0, 0, 1]
    if v >= 11:
        return [make_node("Pad", ["x", "pads", "value"], ["a"])], {
            "pads": ints(*pads), "value": np.float32(0.5)}  # fmt: skip
    return [make_node("Pad", ["x"], ["a"], pads=pads, value=0.5)], {}


@case("Slice")
def _(v: int) -> Written:
    if v >= 10:
        return [make_node("Slice", ["x", "b", "e", "ax"], ["a"])], {
            "b": ints(1), "e": ints(3), "ax": ints(2)}  # fmt: skip
    return [make_node("Slice", ["x"], ["a"], starts=[1], ends=[3], axes=[2])], {}


@case("TopK", shape=(6,))
def _(v: int) -> Written:
    if v >= 10:
        return [make_node("TopK", ["x", "k"], ["a", "i"])], {"k": ints(3)}
    return [make_node("TopK", ["x"], ["a", "i"], k=3)], {}


@case("Upsample", "Upsample")
def _(v: int) -> Written | None:
    scales = [1.0, 1.0, 2.0, 2.0]
    if v >= 10:
        return None
    if v >= 9:
        return [make_node("Upsample", ["x", "s"], ["a"], mode="linear")], {"s": np.float32(scales)}
    return [make_node("Upsample", ["x"], ["a"], mode="linear", scales=scales)], {}


@case("Resize")
def _(v: int) -> Written | None:
    scales = np.float32([1, 1, 2, 2])
    if v < 10:
        return None
    if v == 10:
        return [make_node("Resize", ["x", "s"], ["a"], mode="linear")], {"s": scales}
    return [make_node("Resize", ["x", "", "s"], ["a"], mode="cubic")], {"s": scales}


@case("OneHot", shape=(4,))
def _(v: int) -> Written | None:
    made = [make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
            make_node("OneHot", ["i", "d", "v"], ["a"])]  # fmt: skip
    return (made, {"d": ints(4), "v": np.float32([0.5, 2])}) if v >= 9 else None


@case("Where", "Where", "Greater", "Less", "And", "Or", "Not", "Xor", "Equal")
def _(v: int) -> Written | None:
    made = [
        make_node("Greater", ["x", "c"], ["g"]),
        make_node("Less", ["x", "d"], ["l"]),
        make_node("And", ["g", "l"], ["n"]),
        make_node("Or", ["n", "l"], ["o"]),
        make_node("Not", ["o"], ["m"]),
        make_node("Xor", ["m", "g"], ["z"]),
        make_node("Equal", ["z", "g"], ["w"]),
        make_node("Where", ["w", "x", "c"], ["a"]),
    ]
    return (made, {"c": np.float32(0.1), "d": np.float32(0.6)}) if v >= 9 else None


@case("GreaterOrEqual", "GreaterOrEqual", "LessOrEqual")
def _(v: int) -> Written | None:
    made = [
        make_node("GreaterOrEqual", ["x", "c"], ["g"]),
        make_node("LessOrEqual", ["x", "d"], ["l"]),
        make_node("And", ["g", "l"], ["n"]),
        make_node("Cast", ["n"], ["a"], to=1),
    ]
    return (made, {"c": np.float32(0.1), "d": np.float32(0.6)}) if v >= 12 else None


@case("IsNaN", "IsNaN", "IsInf")
def _(v: int) -> Written | None:
    made = [
        make_node("IsNaN", ["x"], ["g"]),
        make_node("IsInf", ["x"], ["h"]),
        make_node("Or", ["g", "h"], ["n"]),
        make_node("Where", ["n", "c", "x"], ["a"]),
    ]
    return (made, {"c": np.float32(0.1)}) if v >= 10 else None


@case("Scatter", "Scatter", "ScatterElements")
def _(v: int) -> Written | None:
    if v < 9:
        return None
    op = "Scatter" if v < 11 else "ScatterElements"
    return [make_node(op, ["x", "i", "u"], ["a"], axis=1)], {
        "i": np.zeros((1, 1, 4, 4), np.int64), "u": np.ones((1, 1, 4, 4), np.float32)}  # fmt: skip


@case("ScatterND", shape=(4,))
def _(v: int) -> Written | None:
    if v < 11:
        return None
    return [make_node("ScatterND", ["x", "i", "u"], ["a"])], {
        "i": ints(0, 2).reshape(1, 2), "u": np.float32([5])}  # fmt: skip


@case("Shape", "Shape", "ConstantOfShape", "Size", "Range")
def _(v: int) -> Written | None:
    made = [
        make_node("Shape", ["x"], ["s"]),
        make_node("ConstantOfShape", ["s"], ["z"]),
        make_node("Add", ["x", "z"], ["a"]),
    ]
    return (made, {}) if v >= 9 else None


@case("GridSample")
def _(v: int) -> Written | None:
    if v < 16:
        return None
    mode = "bilinear" if v < 20 else "linear"
    return [make_node("GridSample", ["x", "g"], ["a"], mode=mode)], {
        "g": RNG.uniform(-1, 1, (1, 3, 3, 2)).astype("f")}  # fmt: skip


@case("GroupNormalization", shape=(4, 3, 3))
def _(v: int) -> Written | None:
    if v < 18:
        return None
    count = 2 if v < 21 else 4
    made = [make_node("GroupNormalization", ["x", "g", "b"], ["a"], num_groups=2)]
    return made, {"g": np.linspace(0.5, 1, count).astype("f"), "b": np.ones(count, "f")}


@case("RoiAlign")
def _(v: int) -> Written | None:
    if v < 10:
        return None
    made = [make_node("RoiAlign", ["x", "r", "i"], ["a"], output_height=2, output_width=2)]
    return made, {"r": np.float32([[0.3, 0.2, 2.7, 3.1]]), "i": ints(0)}


@case("MaxUnpool")
def _(v: int) -> Written | None:
    if v < 9:
        return None
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    made = [make_node("MaxPool", ["x"], ["p", "i"], **window),
            make_node("MaxUnpool", ["p", "i"], ["a"], **window)]  # fmt: skip
    return made, {}


@case("MaxRoiPool")
def _(v: int) -> Written:
    made = [make_node("MaxRoiPool", ["x", "r"], ["a"], pooled_shape=[2, 2])]
    return made, {"r": np.float32([[0, 0, 0, 3, 3]])}


@case("DFT", shape=(8, 1))
def _(v: int) -> Written | None:
    if v < 17:
        return None
    if v < 20:
        return [make_node("DFT", ["x"], ["a"], axis=1)], {}
    return [make_node("DFT", ["x", "", "axis"], ["a"])], {"axis": np.asarray(1)}


@case("EyeLike", shape=(4,))
def _(v: int) -> Written | None:
    made = [make_node("EyeLike", ["x"], ["e"]), make_node("Add", ["x", "e"], ["a"])]
    return (made, {}) if v >= 9 else None


@case("CastLike")
def _(v: int) -> Written | None:
    return ([make_node("CastLike", ["x", "c"], ["a"])], {"c": np.float32(1)}) if v >= 15 else None


@case("Col2Im", shape=(12, 9))
def _(v: int) -> Written | None:
    made = [make_node("Col2Im", ["x", "s", "b"], ["a"])]
    return (made, {"s": ints(4, 4), "b": ints(2, 2)}) if v >= 18 else None


@case("CenterCropPad", shape=(6,))
def _(v: int) -> Written | None:
    made = [make_node("CenterCropPad", ["x", "s"], ["a"], axes=[1])]
    return (made, {"s": ints(4)}) if v >= 18 else None


@case(
    "NegativeLogLikelihoodLoss", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", shape=(3,)
)
def _(v: int) -> Written | None:
    made = [make_node("NegativeLogLikelihoodLoss", ["x", "t"], ["l"], reduction="none"),
            make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["m"], reduction="none"),
            make_node("Add", ["l", "m"], ["a"])]  # fmt: skip
    return (made, {"t": ints(1)}) if v >= 12 else None


@case("AffineGrid", shape=(2, 3))
def _(v: int) -> Written | None:
    return (
        ([make_node("AffineGrid", ["x", "s"], ["a"])], {"s": ints(1, 1, 3, 3)}) if v >= 20 else None
    )


@case("BitShift", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot")
def _(v: int) -> Written | None:
    if v < 18:
        return None
    made = [
        make_node("Cast", ["x"], ["u"], to=TensorProto.UINT8),
        make_node("BitShift", ["u", "c"], ["p"], direction="LEFT"),
        make_node("BitwiseOr", ["p", "c"], ["q"]),
        make_node("BitwiseAnd", ["q", "d"], ["r"]),
        make_node("BitwiseXor", ["r", "c"], ["s"]),
        make_node("BitwiseNot", ["s"], ["t"]),
        make_node("Cast", ["t"], ["a"], to=1),
    ]
    return made, {"c": np.uint8(1), "d": np.uint8(7)}


def model_of(case: Case, v: int, *, batch: str | int = "N") -> onnx.ModelProto | None:
    """x -> case -> a as a model of operation set ``v``; None where ``v`` does not have it."""
    written = case.nodes(v)
    if written is None:
        return None
    nodes, constants = written
    graph = helper.make_graph(
        nodes, "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *case.shape])],
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(c), n) for n, c in constants.items()],
    )  # fmt: skip
    opset = helper.make_opsetid("", v)
    return helper.make_model(
        graph, opset_imports=[opset], ir_version=max(4, helper.find_min_ir_version_for([opset]))
    )


def inputs_of(case: Case, count: int, seed: int = 0) -> Array:
    x = np.random.default_rng(seed).normal(size=(count, *case.shape)).astype(np.float32)
    return np.abs(x) + np.float32(0.1) if case.positive else x


# Operations without a case, each with the reason.
CONSTANTS = "has no input that is computed"
NEW_KERNEL = "ONNX Runtime has no kernel yet"
WITHOUT = {
    **dict.fromkeys(
        ("Constant", "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"), CONSTANTS
    ),
    **dict.fromkeys(("BitCast", "CausalConvWithState", "LinearAttention", "SwiGLU"), NEW_KERNEL),
    "STFT": "its output is complex",
}
