"""Every operation in every operation set: the converted file, run by stock ONNX Runtime, gives the
engine's numbers, and those are the source model's.

Each case is converted as it is, read directly by a population; and between two operations without
a spiking form, so that it lies inside an island.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from converter.frontend.operation_cases import (
    CASES,
    NEWEST,
    OLDEST,
    WITHOUT,
    Case,
    inputs_of,
    model_of,
)
from onnx2snn import convert
from onnx2snn.converter.frontend import OPERATIONS, load_onnx
from onnx2snn.converter.frontend.importing import DROPPED
from onnx2snn.converter.frontend.refusals import REASONS
from onnx2snn.errors import ModelError
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.ops import Array
from onnx2snn.runtime.semantics.analog import run_analog

STEPS = 4
SAMPLES = 3


def test_every_operation_of_onnx_has_a_case_or_a_reason() -> None:
    every = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    tested = {op for case in CASES.values() for op in case.ops}
    assert not every - tested - set(REASONS) - set(WITHOUT)
    assert set(OPERATIONS) | set(DROPPED) <= tested
    assert not tested & set(WITHOUT)


# Operations that one operation set reads otherwise though they are written alike.
READ_OTHERWISE = {"Hardmax": 13, "LogSoftmax": 13, "Softmax": 13}


def turning_points(case: Case) -> Iterator[int]:
    """The first operation set that has the case, the last, and those from which it is written in
    another way or means something else: between them no more than types are added (the slow test
    runs them all)."""
    known = [v for v in range(OLDEST, NEWEST + 1) if case.nodes(v) is not None]
    for v in known:
        means = {READ_OTHERWISE.get(op) for op in case.ops}
        if v in (known[0], known[-1], *means) or written(case, v) != written(case, v - 1):
            yield v


def written(case: Case, opset: int) -> list[tuple[Any, ...]]:
    """Its operations, with how many inputs and which attributes."""
    nodes, _ = case.nodes(opset) or ([], {})
    return [(n.op_type, len(n.input), sorted(a.name for a in n.attribute)) for n in nodes]


def surrounded(model: onnx.ModelProto, case: Case, *, inside: bool) -> onnx.ModelProto:
    """The case with a ReLU behind it; ``inside``: it lies between a Tanh (a Sigmoid where it takes
    positive numbers only) and a Sigmoid."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:]
    source = "z" if inside else "x"
    if inside:
        front = "Sigmoid" if case.positive else "Tanh"
        out.graph.node.append(helper.make_node(front, ["x"], ["z"]))
    for node in model.graph.node:
        node.input[:] = [source if name == "x" else name for name in node.input]
    out.graph.node.extend(model.graph.node)
    if inside:
        out.graph.node.append(helper.make_node("Sigmoid", ["a"], ["s"]))
        out.graph.initializer.append(numpy_helper.from_array(np.float32(-0.3), "shift"))
        out.graph.node.append(helper.make_node("Add", ["s", "shift"], ["b"]))
    out.graph.node.append(helper.make_node("Relu", ["b" if inside else "a"], ["y"]))
    out.graph.output[0].name = "y"
    return out


def source_answers(model: onnx.ModelProto, x: Array) -> Array | None:
    """What ONNX Runtime gives, one sample after the other; None where it has no kernel."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        runner = ort.InferenceSession(model.SerializeToString(), options)
        return np.stack([runner.run(None, {"x": row[None]})[0].reshape(-1) for row in x])
    except Exception:
        return None


def assert_file_right(model: onnx.ModelProto, case: Case, folder: Path) -> bool:
    """Whether it converts; if so, source, engine and file must agree."""
    x = inputs_of(case, SAMPLES)
    expected = source_answers(model, x)
    if expected is None:
        return False
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    network = convert(load_onnx(path), x, steps=STEPS, tune=False)
    (analog,) = run_analog(network, x).values()
    analog = analog.reshape(SAMPLES, -1)
    np.testing.assert_allclose(analog, expected, rtol=1e-4, atol=1e-4 * (1 + np.ptp(expected)))
    (ours,) = simulate(network, x, STEPS).readouts.values()
    runner = ort.InferenceSession(onnxfile.to_bytes(network))
    theirs = runner.run(None, {"x": x, "steps": np.array([STEPS])})[0]
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4 * (1 + np.ptp(ours)))
    return True


def check_case(name: str, opsets: list[int], folder: Path) -> None:
    case, converted = CASES[name], 0
    for opset in opsets:
        for inside in (False, True):
            model = model_of(case, opset, batch=1)
            assert model is not None
            try:
                built = surrounded(model, case, inside=inside)
                converted += assert_file_right(built, case, folder)
            except (AssertionError, ModelError) as error:
                raise AssertionError(f"{name}, operation set {opset}, {inside=}") from error
    assert converted or name in NO_KERNEL


# ONNX Runtime has no kernel for these on a CPU, in any operation set.
NO_KERNEL = ()


def _rarely(name: str) -> bool:
    """Reductions and softmaxes are alike: of each one form is always run."""
    alike = name.startswith("Reduce") and not name.endswith("[2, 3] 0")
    return alike or " axis " in name


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * _rarely(n)) for n in CASES]
)
def test_the_file_is_right_in_the_operation_sets_where_the_case_changes(
    name: str, tmp_path: Path
) -> None:
    check_case(name, list(turning_points(CASES[name])), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_file_is_right_in_every_operation_set(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    every = [v for v in range(OLDEST, NEWEST + 1) if case.nodes(v) is not None]
    check_case(name, every, tmp_path)
