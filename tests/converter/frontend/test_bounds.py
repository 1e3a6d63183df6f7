"""Max, Min and Clip whose bound is far away or infinite: exact, and no steps lost to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.helper import make_node

from converter.frontend.tools import imported, model, samples, saved, worst_difference
from onnx2snn.converter.ann.graph import Clip, Relu
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import check
from onnx2snn.converter.recipes.options import Options
from onnx2snn.errors import ModelError
from onnx2snn.evaluation.verify import verify
from onnx2snn.runtime import file as onnxfile

RNG = np.random.default_rng(8)
INF = np.inf
LARGEST = float(np.finfo(np.float32).max)
# kind, bounds (low and high of a Clip), populations that are left of it
FAR = [
    ("Max", -INF, 0),
    ("Max", -LARGEST, 0),
    ("Max", -1e30, 1),
    ("Max", -1e6, 1),
    ("Max", -250.0, 1),
    ("Max", -1.0, 1),
    ("Max", 1e6, 1),
    ("Min", INF, 0),
    ("Min", LARGEST, 0),
    ("Min", 1e30, 1),
    ("Min", 1e6, 1),
    ("Min", -1e6, 1),
    ("Min", 0.5, 1),
    ("Max", [0.1, -INF, 0, 1, -INF, 0, -2, 0], 1),  # a bound for each channel
    ("Max", [-INF] * 8, 0),
    ("Min", [INF, 1, 1, 0.5, 1e30, 2, INF, 0], 1),
    ("Clip", (-1e6, 1.0), 2),
    ("Clip", (-INF, 1e9), 1),
    ("Clip", (-1e9, 1e9), 2),
    ("Clip", (-1.0, 1e30), 1),
    ("Clip", (-LARGEST, LARGEST), 0),
    ("Clip", (-INF, INF), 0),
]


def network(kind: str, bound: object) -> onnx.ModelProto:
    """Gemm, the operation, Gemm, so that it works on currents, in both directions."""
    held = {"w": RNG.normal(size=(6, 8)).astype("f4"), "v": RNG.normal(size=(8, 4)).astype("f4")}
    if isinstance(bound, tuple):
        held |= {"low": np.float32(bound[0]), "high": np.float32(bound[1])}
        inner = make_node(kind, ["z", "low", "high"], ["q"])
    else:
        inner = make_node(kind, ["z", "c"], ["q"])
        held["c"] = np.asarray(bound, np.float32)
    nodes = [make_node("MatMul", ["x", "w"], ["z"]), inner, make_node("MatMul", ["q", "v"], ["y"])]
    return model(nodes, {"x": ["N", 6]}, constants=held)


@pytest.mark.parametrize(("kind", "bound", "populations"), FAR)
def test_far_and_infinite_bounds_are_exact(
    kind: str, bound: object, populations: int, tmp_path: Path
) -> None:
    path = saved(network(kind, bound), tmp_path)
    graph, loaded = imported(path)
    for scale in (1.0, 1e-2, 2e3):
        data = {name: scale * x for name, x in samples(loaded, count=16).items()}
        # One near 0 is a shift by as much: what is a hundredth of it keeps 5 digits.
        allowed = 1e-5 if scale < 1 else 2e-6
        assert worst_difference(graph, loaded, data) < allowed
        assert verify(path, data).relative_diff < allowed
    relus = [n for n in graph.nodes if isinstance(n.layer, Relu | Clip)]
    assert len(relus) == populations
    assert {finding.verdict for finding in check(path).nodes} == {"spiking"}


def test_a_mask_with_infinity_is_no_weight_of_a_training_that_diverged(tmp_path: Path) -> None:
    """Causal attention: infinity is added in front of a Softmax, element by element."""
    held = {k: RNG.normal(size=(6, 6)).astype("f4") / 2 for k in "kv"}
    held["mask"] = np.triu(np.full((5, 5), -INF, np.float32), 1)
    nodes = [
        make_node("MatMul", ["x", "k"], ["q"]),
        make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        make_node("MatMul", ["q", "t"], ["s"]),
        make_node("Add", ["s", "mask"], ["m"]),
        make_node("Softmax", ["m"], ["p"], axis=-1),
        make_node("MatMul", ["p", "x"], ["o"]),
        make_node("Relu", ["o"], ["r"]),
        make_node("MatMul", ["r", "v"], ["y"]),
    ]
    path = saved(model(nodes, {"x": ["N", 5, 6]}, constants=held), tmp_path)
    assert verify(path).relative_diff < 1e-5
    shifted = saved(model([make_node("Add", ["x", "mask"], ["z"]), make_node("Relu", ["z"], ["y"])],
                          {"x": ["N", 5, 5]}, constants=held), tmp_path)  # fmt: skip
    with pytest.raises(ModelError, match=r"in what its constants make") as caught:
        verify(shifted)
    assert caught.value.code == "E305"


@pytest.mark.parametrize(("kind", "bound"), [("Max", -1e6), ("Min", 1e6), ("Clip", (-1e6, 1e6))])
def test_a_far_bound_costs_no_accuracy_in_spikes(kind: str, bound: object, tmp_path: Path) -> None:
    """x + 1e6 in T steps would be known to 1e6 / T."""
    path = saved(network(kind, bound), tmp_path)
    x = np.random.default_rng(1).normal(size=(64, 6)).astype(np.float32)
    made = convert(imported(path)[0], x, Options(steps=8))
    onnxfile.save(made.graph, tmp_path / "n.onnx")
    got = ort.InferenceSession(str(tmp_path / "n.onnx")).run(
        None, {"x": x, "steps": np.array([8])}
    )[0][-1]
    want = ort.InferenceSession(str(path)).run(None, {"x": x})[0]
    assert np.abs(got - want).max() < 1e-3 * np.ptp(want)


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_bounds_of_which_some_are_infinite(op: str, tmp_path: Path) -> None:
    sign = 1 if op == "Max" else -1
    bounds = -sign * np.array([LARGEST, 1e6, 0.5, 1e38, 3e5, -0.2, 1, 3.2e38], np.float32)
    path = saved(network(op, bounds), tmp_path)
    graph, loaded = imported(path)
    assert worst_difference(graph, loaded, samples(loaded, count=16)) < 2e-6
    assert verify(path).relative_diff < 2e-6


@pytest.mark.parametrize(
    ("op", "bound", "populations"),
    [("Max", -0.5, 1), ("Max", 0.0, 1), ("Max", 0.5, 2), ("Min", 6.0, 2), ("Min", -1.0, 2)],
)
def test_what_comes_before_says_which_bounds_are_reached(
    op: str, bound: float, populations: int, tmp_path: Path
) -> None:
    held = {"w": RNG.normal(size=(6, 8)).astype("f4"), "c": np.float32(bound)}
    nodes = [
        make_node("MatMul", ["x", "w"], ["z"]),
        make_node("Relu", ["z"], ["r"]),
        make_node("MaxPool", ["r"], ["p"], kernel_shape=[2]),
        make_node(op, ["p", "c"], ["q"]),
        make_node("Identity", ["q"], ["y"]),
    ]
    graph, loaded = imported(saved(model(nodes, {"x": ["N", 3, 6]}, constants=held), tmp_path))
    assert worst_difference(graph, loaded, samples(loaded)) < 1e-6
    relus = [n for n in graph.nodes if isinstance(n.layer, Relu | Clip)]
    assert len(relus) == populations
    if (op, bound) == ("Min", 6.0):
        assert [n.layer.ceiling for n in relus] == [None, 6.0]  # type: ignore[union-attr]


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_of_two_computed_sides_the_far_one_does_not_drown_the_other(
    op: str, tmp_path: Path
) -> None:
    """A mask: one side is 1e7 away. Relu gives both their intervals."""
    far = -1e7 if op == "Max" else 1e7
    held = {"far": np.float32(far), "one": np.float32(-far / abs(far))}
    for order in (["f", "r"], ["r", "f"]):
        nodes = [
            make_node("Relu", ["x"], ["r0"]),
            make_node("Mul", ["r0", "one"], ["r"]),
            make_node("Relu", ["v"], ["s0"]),
            make_node("Mul", ["s0", "one"], ["s"]),
            make_node("Add", ["s", "far"], ["f"]),
            make_node(op, order, ["y"]),
        ]
        proto = model(nodes, {"x": ["N", 5], "v": ["N", 5]}, constants=held)
        graph, loaded = imported(saved(proto, tmp_path))
        data = samples(loaded, count=8)
        assert worst_difference(graph, loaded, data) < 1e-6


@pytest.mark.parametrize(("op", "bound"), [("Max", INF), ("Min", -INF), ("Max", LARGEST)])
def test_a_bound_that_leaves_nothing_is_no_population(
    op: str, bound: float, tmp_path: Path
) -> None:
    findings = {f.op: f for f in check(saved(network(op, bound), tmp_path)).nodes}
    clip = findings.get(op) or findings["Clip"]
    assert clip.verdict == "analog" and "infinite" in clip.reason
