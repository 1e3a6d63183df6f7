"""The recipe ``differential`` where activations are bounded, and where what neurons send is added
to the input's own values: the error goes to 0 with T."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

import onnx2snn
from converter.frontend.tools import model
from onnx2snn.converter.convert import convert
from onnx2snn.converter.frontend import import_onnx
from onnx2snn.converter.recipes.options import Options
from onnx2snn.runtime import file as onnxfile
from onnx2snn.runtime import graph as snn

BOUNDED = ("Clip", "shifted Clip", "HardSigmoid", "QDQ")


def bounded(kind: str) -> onnx.ModelProto:
    """Gemm, a bounded activation that a third of the values exceed, twice; Gemm."""
    rng = np.random.default_rng(13)
    held: dict[str, np.ndarray] = {
        "low": np.float32(-0.1 if kind == "shifted Clip" else 0),
        "high": np.float32(0.3),
        "scale": np.float32(0.3 / 255),
        "zero": np.uint8(0),
    }
    held |= {"scale again": held["scale"], "zero again": held["zero"]}  # as some exporters write
    nodes: list[onnx.NodeProto] = []
    x = "x"
    for layer, (out, inside) in enumerate(((24, 8), (20, 24), (5, 20))):
        gain = 2.5 if kind == "HardSigmoid" else 1.0
        held[f"w{layer}"] = (rng.normal(size=(inside, out)) * gain / inside**0.5).astype("f4")
        held[f"b{layer}"] = (rng.normal(size=out) * 0.1).astype("f4")
        z, x = f"z{layer}", f"a{layer}"
        nodes.append(helper.make_node("Gemm", [*(["x"] if not layer else [f"a{layer - 1}"]),
                                               f"w{layer}", f"b{layer}"], [z]))  # fmt: skip
        if layer == 2:
            nodes[-1].output[0] = "y"
        elif kind == "HardSigmoid":
            nodes.append(helper.make_node("HardSigmoid", [z], [x], alpha=0.4, beta=0.4))
        elif kind == "QDQ":
            nodes.append(helper.make_node("QuantizeLinear", [z, "scale", "zero"], [f"q{layer}"]))
            named = [f"q{layer}", *(("scale", "zero") if layer else ("scale again", "zero again"))]
            nodes.append(helper.make_node("DequantizeLinear", named, [x]))
        else:
            nodes.append(helper.make_node("Clip", [z, "low", "high"], [x]))
    return model(nodes, {"x": ["N", 8]}, constants=held)


@pytest.mark.parametrize("kind", BOUNDED)
@pytest.mark.parametrize("tune", [True, False])
def test_the_saved_file_comes_to_the_ann_with_more_steps(
    kind: str, tune: bool, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(bounded(kind), path)
    x = np.random.default_rng(1).normal(size=(160, 8)).astype(np.float32)
    want = ort.InferenceSession(str(path)).run(None, {"x": x[96:]})[0]
    errors = []
    for steps in (8, 64):
        made = convert(
            import_onnx(path), x[:96], Options(recipe="differential", steps=steps, tune=tune)
        )
        ceilings = [p.neuron.ceiling for p in made.graph.of(snn.Population)]  # type: ignore[union-attr]
        assert ceilings == [p.ceiling for p in made.graph.of(snn.Population)]
        assert None not in ceilings
        onnxfile.save(made.graph, tmp_path / "n.onnx")
        session = ort.InferenceSession(str(tmp_path / "n.onnx"))
        got = session.run(None, {"x": x[96:], "steps": np.array([steps])})[0][-1]
        errors.append(np.linalg.norm(got - want) / np.linalg.norm(want))
    assert errors[0] < 0.05
    assert errors[1] < 0.01  # 0.3 to 0.7 where neurons pass the bound
    if kind != "QDQ":  # whose rounding to 255 levels is left out
        assert errors[1] < errors[0] / 2


def skipping() -> onnx.ModelProto:
    """Gemm, ReLU, Gemm, and the sum with the input's own values: as it is, and moved by another
    Gemm; Gemm."""
    rng = np.random.default_rng(14)
    held = {f"w{i}": (rng.normal(size=(8, 8)) / 8**0.5).astype("f4") for i in range(4)}
    held |= {f"b{i}": (rng.normal(size=8) * 0.1).astype("f4") for i in range(4)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["z"]),
        helper.make_node("Relu", ["z"], ["a"]),
        helper.make_node("Gemm", ["a", "w1", "b1"], ["branch"]),
        helper.make_node("Gemm", ["x", "w2", "b2"], ["moved"]),
        helper.make_node("Add", ["branch", "x"], ["one"]),
        helper.make_node("Add", ["moved", "one"], ["two"]),
        helper.make_node("Relu", ["two"], ["c"]),
        helper.make_node("Gemm", ["c", "w3", "b3"], ["d"]),
        helper.make_node("Add", ["d", "x"], ["y"]),
    ]
    return model(nodes, {"x": ["N", 8]}, constants=held)


def test_the_inputs_own_values_beside_what_neurons_send_go_through_neurons(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(skipping(), path)
    x = np.random.default_rng(2).normal(size=(160, 8)).astype(np.float32)
    want = ort.InferenceSession(str(path)).run(None, {"x": x[96:]})[0]
    errors = []
    for steps in (8, 64):
        made = onnx2snn.convert(path, x[:96], recipe="differential", steps=steps)
        halves = [p.name for p in made.of(snn.Population) if "/" in p.name]
        assert len(halves) == 4  # two signs of the input, and of its product with weights
        onnxfile.save(made, tmp_path / "n.onnx")
        session = ort.InferenceSession(str(tmp_path / "n.onnx"))
        got = session.run(None, {"x": x[96:], "steps": np.array([steps])})[0][-1]
        errors.append(np.linalg.norm(got - want) / np.linalg.norm(want))
    assert errors[0] < 0.05
    assert errors[1] < errors[0] / 2
    found = onnx2snn.diagnose(path, made, x[96:])
    assert {layer["name"] for layer in found.to_dict()["layers"]} >= set(halves)
