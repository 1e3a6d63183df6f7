"""What a small file can ask for is refused before it is computed, with a message."""

from __future__ import annotations

import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hostile.campaign import ends
from onnx2snn.api import refuse_infinite
from onnx2snn.converter.frontend import check, import_onnx, importing, load_onnx
from onnx2snn.converter.frontend.islands.units import units
from onnx2snn.converter.frontend.node import NoSpikingForm, OnnxNode
from onnx2snn.data import Preprocessing, load_samples
from onnx2snn.errors import DataError, ModelError
from onnx2snn.provenance.converted import convert
from onnx2snn.runtime.engine import simulate


def saved(
    folder: Path, nodes: list[onnx.NodeProto], functions: int = 0, **constants: object
) -> Path:
    """x (1, 4) -> y (1, 4); each of the local ``functions`` calls the one before twice."""
    made = []
    for i in range(functions):
        op, domain = (f"f{i - 1}", "own") if i else ("Relu", "")
        body = [
            helper.make_node(op, ["a"], ["c"], domain=domain),
            helper.make_node(op, ["c"], ["b"], domain=domain),
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        made.append(helper.make_function("own", f"f{i}", ["a"], ["b"], body, opsets))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 4])],
        [helper.make_tensor_value_info("y", 1, [1, 4])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=made)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def node(op: str, inputs: str, output: str, **settings: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], **settings)


SUM = [
    node("Cast", "c", "f", to=1),
    node("ReduceSum", "f", "r", keepdims=0),
    node("Add", "x r", "y"),
]


PAIR = [
    node("QuantizeLinear", "x q", "i"),
    node("DequantizeLinear", "i q z", "d"),
    node("Relu", "d", "y"),
]


@pytest.mark.parametrize(
    ("nodes", "constants", "code"),
    [
        ([node("f29", "x", "y", domain="own")], {}, "E311"),
        ([node("Range", "a b d", "c"), *SUM], {"a": 0, "b": 10**10, "d": 1}, "E311"),
        ([node("Pow", "s s", "q"), node("Tile", "x q", "c"), *SUM], {"s": [8, 8]}, "E311"),
        ([node("Slice", "x s s", "z"), node("Relu", "z", "y")], {"s": [2]}, "E306"),
        ([node("ConstantOfShape", "s", "z"), *PAIR], {"s": [10**5, 1000], "q": 1.0}, "E311"),
        # to 2^31 axes: ONNX's inference would make each of them
        (
            [node("Reshape", "o s", "z"), node("Reshape", "x z", "y")],
            {"o": [1], "s": [2**31]},
            "E311",
        ),
        ([helper.make_node("Constant", [], [], value_int=1), node("Relu", "x", "y")], {}, "E303"),
        ([node("PRelu", "x p", "y")], {"p": np.ones(3, np.float32)}, "E307"),
    ],
)
def test_what_unfolds_is_refused(
    tmp_path: Path, nodes: list[onnx.NodeProto], constants: dict[str, object], code: str
) -> None:
    with pytest.raises(ModelError) as refused:
        import_onnx(saved(tmp_path, nodes, functions=30, **constants))
    assert refused.value.code == code


def test_a_loop_is_not_run(tmp_path: Path) -> None:
    kinds = {"i": 7, "t": 9, "v": 1, "t2": 9, "v2": 1}
    values = [helper.make_tensor_value_info(n, k, None if k == 1 else []) for n, k in kinds.items()]
    body = helper.make_graph(
        [node("Identity", "t", "t2"), node("Add", "v v", "v2")], "b", values[:3], values[3:]
    )
    nodes = [node("Loop", "n on w", "o", body=body), node("Add", "x o", "y")]
    path = saved(tmp_path, nodes, n=2**62, on=True, w=np.ones(4, np.float32))
    report = check(path)
    assert not report.convertible
    assert [(n.op, n.verdict) for n in report.nodes] == [("Loop", "unsupported")]


def test_the_standard_operations_have_two_names(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Relu", "x", "h", domain="ai.onnx"), node("Neg", "h", "y")])
    model = onnx.load(path)
    model.opset_import[0].domain = "ai.onnx"
    onnx.save(model, path)
    assert [n.op_type for n in import_onnx(path).nodes] == ["Input", "Relu", "Neg"]


def test_an_output_may_leave_its_type_out_and_an_input_may_not(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Relu", "x", "y")])
    model = onnx.load(path)
    model.graph.output[0].ClearField("type")
    onnx.save(model, path)
    assert check(path).outputs[0].dtype == "float32"
    model.graph.input[0].type.tensor_type.elem_type = 0
    onnx.save(model, path)
    with pytest.raises(ModelError, match="input 'x' is no tensor of real numbers"):
        check(path)


@pytest.mark.parametrize("size", [1e38, 1e-45])
def test_numbers_at_the_ends_of_float32_are_refused_or_convert(tmp_path: Path, size: float) -> None:
    weights = {"w": np.full((4, 4), size, np.float32)}
    path = saved(tmp_path, [node("MatMul", "x w", "h"), node("Relu", "h", "y")], **weights)
    samples = {"x": np.full((3, 4), 100 if size > 1 else 0.6, np.float32)}
    if size > 1:
        with pytest.raises(ModelError) as refused:
            convert(path, samples, steps=2)
        assert refused.value.code == "E313"
    else:
        silent = simulate(convert(path, samples, steps=2), samples, 2)
        np.testing.assert_allclose(*silent.readouts.values(), 0, atol=1e-40)


def test_a_bias_that_does_not_fit_its_channels_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x to", "h"),
        node("Conv", "h w b", "c", name="conv"),
        node("Reshape", "c back", "y"),
    ]
    shapes = {"to": np.array([1, 1, 4]), "back": np.array([1, 4])}
    weights = {"w": np.ones((1, 1, 1), np.float32), "b": np.ones((3, 1), np.float32)}
    with pytest.raises(ModelError, match="'conv' \\(Conv\\)") as refused:
        import_onnx(saved(tmp_path, nodes, **shapes, **weights))
    assert refused.value.code == "E307"


def test_joining_islands_is_linear_and_makes_no_cycle() -> None:
    chain = [
        OnnxNode(name=f"n{i}", op="Tanh", inputs=(f"t{i}",), outputs=(f"t{i + 1}",))
        for i in range(20_000)
    ]
    found = units(chain, {n.name for n in chain}, {f"t{i}" for i in range(20_001)}, {"t20000"})
    assert len(found) == 1
    around = [
        OnnxNode(name="a", op="Tanh", inputs=("x",), outputs=("p",)),
        OnnxNode(name="s", op="MatMul", inputs=("p",), outputs=("q",)),
        OnnxNode(name="b", op="Mul", inputs=("p", "q"), outputs=("r",)),
    ]
    assert len(units(around, {"a", "b"}, {"x", "p", "q", "r"}, {"r"})) == 3


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("bomb", "E217"),
        ("encrypted", "E202"),
        ("text", "E202"),
        ("scalar", "E213"),
        ("pipe", "E202"),
    ],
)
def test_odd_archives_are_refused(tmp_path: Path, kind: str, code: str) -> None:
    path = tmp_path / "d.npz"
    if kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", bytes(2**28 + 1))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "text":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"no array")
    else:
        np.savez(path, x=np.float32(1))
    if kind == "encrypted":
        content = bytearray(path.read_bytes())
        content[6] |= 1
        content[content.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        load_samples(str(path), {"x": (4,)}, Preprocessing())
    assert refused.value.code == code


@pytest.mark.slow
def test_no_mutant_crashes_hangs_or_ends_in_a_bug(tmp_path: Path) -> None:
    """The rest of the goal (tens of thousands): ``python tests/hostile/campaign.py``."""
    verbs = ("check", "verify", "convert")
    found = {
        (kind, seed, verb): end.faults
        for kind in ("models", "grafts")
        for seed, verb, end in ends(range(200), verbs, tmp_path, kind)
    }
    assert len(found) == 1200
    assert {run: faults for run, faults in found.items() if faults} == {}


def test_a_chain_of_scales_is_joined_in_one_walk(tmp_path: Path, monkeypatch: Any) -> None:
    nodes, count = [node("MatMul", "x w", "t0")], 200
    steps = [("Add", "a"), ("Mul", "s")] * (count // 2)
    nodes += [node(op, f"t{i} {by}", f"t{i + 1}") for i, (op, by) in enumerate(steps)]
    nodes.append(node("Relu", f"t{count}", "y"))
    values = {"w": np.eye(4), "s": np.full(4, 1.01), "a": np.full(4, 0.1)}
    path = saved(tmp_path, nodes, **{k: v.astype(np.float32) for k, v in values.items()})
    graph, walks = import_onnx(path), list[int]()
    module: Any = sys.modules["onnx2snn.converter.ann.passes.fold_scale"]
    one = module._fold_one
    monkeypatch.setattr(module, "_fold_one", lambda g: (walks.append(1), one(g))[1])
    folded = module.fold_scale(graph)
    assert len(walks) == 1 and len(graph.nodes) > count / 2 and len(folded.nodes) < 5
    x = expected = np.array([1, -1, 0.5, 2])
    for i in range(count):
        expected = expected * 1.01 if i % 2 else expected + 0.1
    layer: Any = next(n for n in folded.nodes if n.bias is not None)
    np.testing.assert_allclose(layer.layer.apply(x[None])[0] + layer.bias, expected, rtol=1e-4)


def test_check_refuses_what_any_conversion_refuses(tmp_path: Path) -> None:
    """x / 0 is infinite whatever x is; log(x) is for x = 0 only."""
    zeros = {"b": np.array([0, 1, 1, 1], np.float32)}
    infinite = saved(tmp_path, [node("Div", "x b", "h"), node("Relu", "h", "y")], **zeros)
    for refuses in (lambda: refuse_infinite(check(infinite)), lambda: convert(infinite, None)):
        with pytest.raises(ModelError) as refused:
            refuses()
        assert refused.value.code in ("E313", "E305")
    report = check(saved(tmp_path, [node("Log", "x", "h"), node("Relu", "h", "y")]))
    assert report.finite
    refuse_infinite(report)


def test_a_transpose_that_does_not_fit_is_analog_at_first(tmp_path: Path) -> None:
    """Where no inference knows the rank, the handler finds out."""
    model = load_onnx(saved(tmp_path, [node("Relu", "x", "y")]))
    builder = importing._builder(importing._source(model))
    wrong = OnnxNode(
        name="t", op="Transpose", inputs=("x",), outputs=("y",), attrs={"perm": [0, 2]}
    )
    with pytest.raises(NoSpikingForm, match="no order of the 2 that it reads"):
        importing._import_node(builder, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        node("ReduceSum", "x twice", "y"),
        node("Slice", "x from till twice", "y"),
        node("Pad", "x widths zero twice", "y"),
    ],
    ids=lambda n: n.op_type,
)
def test_an_axis_that_is_named_twice_is_analog_at_first(
    tmp_path: Path, wrong: onnx.NodeProto
) -> None:
    given = {"twice": [1, -1], "from": [0, 0], "till": [4, 4], "widths": [1, 1, 1, 1]}
    constants = {**given, "zero": np.float32(0)}
    model = load_onnx(saved(tmp_path, [node("Relu", "x", "y")], **constants))
    source = importing._source(model)
    constants = {name: np.asarray(value) for name, value in constants.items()}
    builder = importing._builder(replace(source, constants=constants))
    bad = importing._node(wrong, "bad")
    with pytest.raises(NoSpikingForm, match="names an axis twice"):
        importing._import_node(builder, bad)
