"""Whatever names a model brings, the converted file loads, runs and is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from converter.frontend.tools import model, saved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.helper import make_node

from onnx2snn import convert
from onnx2snn.converter.frontend import load_onnx
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.graph import Input
from runtime.file.test_file import assert_equal

PARTS = ("copy2", "copies", "mean", "threshold", "relu", "shift", "scale", "repeated", "exact",
         "readout", "out", "read", "made", "one", "sample", "delay2", "delay4", "grid",
         "Add_3")  # fmt: skip
NASTY = [
    *("steps", "onnx2snn/steps", "total_steps", "batch", "input", "IF", "Island_0", "Readout"),
    *("const/int64_1d_1", "const/float32_0d_0.0", "final_v", "v_next", "spikes", "k", "bias", "y"),
    *("a", "a#2", "a_2", "a.neuron", "a.bias:array", "a.neuron.v_threshold:array", "a.op"),
    *(f"a/{part}" for part in PARTS),
    *("_inlfunc_IF_a_v", "a b", "ä", "a/", "/", "0", "{a}"),
]
RNG = np.random.default_rng(3)
W = RNG.normal(size=(6, 6)).astype(np.float32)
X = RNG.normal(size=(3, 6)).astype(np.float32)


def run_all(path: Path, lag: int = 0) -> None:
    network = convert(load_onnx(path), X, steps=4, tune=False, lag=lag, copies=2 if not lag else 1)
    ours = list(simulate(network, X, 4).readouts.values())
    onnxfile.save(network, path)
    session = ort.InferenceSession(str(path))
    (data, steps) = (i.name for i in session.get_inputs())
    assert data == network.of(Input)[0].name
    theirs = session.run(None, {data: X, steps: np.array([4])})
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
    assert_equal(network.nodes, onnxfile.load(path).nodes)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(st.sampled_from(NASTY), min_size=11, max_size=11, unique=True),
    st.lists(st.sampled_from(NASTY), min_size=8, max_size=8, unique=True),
    st.integers(0, 8),
    st.booleans(),
)
def test_no_name_collides(
    tmp_path: Path, tensors: list[str], nodes: list[str], unnamed: int, analog: bool
) -> None:
    nodes[:unnamed] = [""] * unnamed
    x, a, b, c, d, e, f, g, y, w, low = tensors
    steps = [
        ("MatMul", [x, w], a),
        ("Relu", [a], b),
        ("LeakyRelu", [b], c),
        ("Add", [c, b], d),
        ("Tanh" if analog else "Neg", [d], e),
        ("Sigmoid" if analog else "Abs", [e], f),
        ("Clip", [f, low], g),
        ("MatMul", [g, w], y),
    ]
    made = [
        make_node(op, inputs, [output], name=name)
        for (op, inputs, output), name in zip(steps, nodes, strict=True)
    ]
    proto = model(made, {x: ("N", 6)}, [y], {w: W, low: np.float32(0.1)})
    run_all(saved(proto, tmp_path))


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("name", ["steps", "total_steps", "onnx2snn/steps"])
def test_an_input_may_have_the_name_of_ours(tmp_path: Path, name: str, lag: int) -> None:
    nodes = [make_node("MatMul", [name, "w"], ["a"]), make_node("Relu", ["a"], ["b"], name="input"),
             make_node("MatMul", ["b", "w"], ["input"], name="total_steps")]  # fmt: skip
    path = saved(model(nodes, {name: ("N", 6)}, ["input"], {"w": W}), tmp_path)
    run_all(path, lag)
    names = [i.name for i in ort.InferenceSession(str(path)).get_inputs()]
    assert names == [name, "onnx2snn/steps" if name == "steps" else "steps"]


def test_arrays_whose_paths_read_alike_are_kept_apart(tmp_path: Path) -> None:
    """Node 'a' with neuron.v_threshold, and node 'a.neuron' with a field of that name."""
    nodes = [make_node("MatMul", ["x", "w"], ["t"], name="m"),
             make_node("Relu", ["t"], ["u"], name="a"),
             make_node("MatMul", ["u", "w"], ["v"], name="a.neuron"),
             make_node("Relu", ["v"], ["y"], name="a.neuron.v_threshold:array")]  # fmt: skip
    run_all(saved(model(nodes, {"x": ("N", 6)}, constants={"w": W}), tmp_path))
