"""The bundled digit networks and their data, as the calibration tests use them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from onnx2snn.converter.ann.graph import AnnGraph
from onnx2snn.converter.ann.passes import default_passes, run_passes
from onnx2snn.converter.convert import Conversion, convert
from onnx2snn.converter.frontend import import_onnx, load_onnx
from onnx2snn.converter.lowering.lower import lower
from onnx2snn.converter.recipes.options import Options
from onnx2snn.data import Preprocessing
from onnx2snn.runtime import graph as snn
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.semantics.analog import run_analog

CALIBRATION = 64


@cache
def samples(key: str = "x_calib") -> np.ndarray:
    with np.load(str(files("onnx2snn.models") / "digits.npz")) as data:
        return Preprocessing(scale=16.0, layout="NHWC").apply(data[key])


@cache
def ann(model: str = "digits_cnn") -> AnnGraph:
    return import_onnx(load_onnx(str(files("onnx2snn.models") / f"{model}.onnx")))


@cache
def lowered(model: str = "digits_cnn") -> snn.SpikingGraph:
    return lower(run_passes(ann(model), default_passes()))


@cache
def converted(model: str = "digits_cnn", **options: object) -> Conversion:
    """On so many samples as tell recipes apart: a conversion costs what its samples do."""
    return convert(ann(model), samples()[:CALIBRATION], Options(**options))  # type: ignore[arg-type]


@cache
def answers(model: str, key: str = "x_test") -> np.ndarray:
    return next(iter(run_analog(lowered(model), samples(key)).values()))


def logit_error(model: str = "digits_cnn", **options: object) -> float:
    """Mean squared error of the outputs after T steps on test samples, over their variance."""
    network = converted(model, **options).graph
    steps = int(options.get("steps", 32))  # type: ignore[call-overload]
    result = simulate(network, samples("x_test"), steps, at=[steps])
    got = next(iter(result.readouts.values()))[-1]
    wanted = answers(model)
    return float(((got - wanted) ** 2).mean() / wanted.var())
