"""Networks of every recipe, converted from a small CNN."""

from __future__ import annotations

from functools import cache

from places import ROOT

import onnx2snn
from onnx2snn.runtime.graph import SpikingGraph

STEPS = 4


@cache
def digits() -> onnx2snn.Samples:
    model = onnx2snn.load_onnx(str(ROOT / "models" / "digits_cnn.onnx"))
    scaled = onnx2snn.Preprocessing(scale=16, layout="NHWC")
    return onnx2snn.load_samples(f"{ROOT}/models/digits.npz:x_test", model, scaled, limit=12)


@cache
def converted(recipe: str) -> SpikingGraph:
    model = onnx2snn.load_onnx(str(ROOT / "models" / "digits_cnn.onnx"))
    return onnx2snn.convert(model, digits(), steps=STEPS, recipe=recipe)
