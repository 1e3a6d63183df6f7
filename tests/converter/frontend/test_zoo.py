"""The nine classic architectures that the onnx package ships, with seeded weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper

from converter.frontend.tools import imported, samples, saved, worst_difference
from onnx2snn.converter.ann.graph import Opaque
from onnx2snn.runtime.ops import Array, Shape

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = sorted(path.stem for path in LIGHT.glob("*.onnx"))
QUICK = ("light_squeezenet", "light_shufflenet")
ISLANDS = {name: {"LRN"} for name in ("light_bvlc_alexnet", "light_inception_v1", "light_zfnet512")}


def seeded(path: Path) -> onnx.ModelProto:
    """The model with random weights in place of its generators (ConstantOfShape): He scaling for
    products, values near one for scales and variances, small ones for the rest."""
    model = onnx.load(path)
    rng = np.random.default_rng(0)
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    made = {
        n.output[0]: tuple(int(d) for d in held[n.input[0]])
        for n in model.graph.node
        if n.op_type == "ConstantOfShape"
    }
    kept = [n for n in model.graph.node if n.op_type != "ConstantOfShape"]
    read = {t: (n.op_type, i) for n in kept for i, t in enumerate(n.input) if t in made}
    tensors = [
        numpy_helper.from_array(weights(rng, shape, *read[name]), name)
        for name, shape in made.items()
        if name in read
    ]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(tensors)
    model.ir_version = max(model.ir_version, 4)
    return model


def weights(rng: np.random.Generator, shape: Shape, op: str, index: int) -> Array:
    near_one = op == "Mul" or (op == "BatchNormalization" and index in (1, 4))
    if near_one:
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    scale = np.sqrt(2 / np.prod(shape[1:])) if index == 1 and len(shape) > 1 else 0.05
    return rng.standard_normal(shape, np.float32) * np.float32(scale)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in NAMES]
)
def test_a_classic_architecture_equals_onnx_runtime(name: str, tmp_path: Path) -> None:
    graph, loaded = imported(saved(seeded(LIGHT / f"{name}.onnx"), tmp_path))
    assert worst_difference(graph, loaded, samples(loaded, 1)) < 1e-4
    inside = {op for n in graph.nodes if isinstance(n.layer, Opaque) for op in n.layer.ops}
    assert inside == ISLANDS.get(name, set())


def test_there_are_nine_of_them() -> None:
    assert len(NAMES) == 9
