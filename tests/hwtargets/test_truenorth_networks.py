"""Real networks on TrueNorth: cores and accuracy of the emitted integers, both codings.

Slow: needs the models and data beside the repository (or where ONNX2SNN_SHARED points)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from test_truenorth_equality import chip_spikes

import onnx2snn
from onnx2snn.hwtargets import load_target
from onnx2snn.hwtargets.truenorth_compile import compile_network
from onnx2snn.hwtargets.truenorth_file import violations
from onnx2snn.hwtargets.truenorth_run import source_spikes

SHARED = Path(os.environ.get("ONNX2SNN_SHARED", Path(__file__).parents[3] / "shared"))
STEPS, SAMPLES = 64, 500

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SHARED / "models").is_dir(), reason=f"no models in {SHARED}"),
]


def data(model):
    """Test samples, labels, calibration samples."""
    name = "fsdd_logmel16x32" if model == "fsdd_cnn" else "mnist"
    with np.load(SHARED / "data" / f"{name}.npz") as d:
        x, y, calib = d["x_test"][:SAMPLES], d["y_test"][:SAMPLES], d["x_calib"]
    if name == "mnist":
        x, calib = ((a.astype(np.float32) / 255).reshape(-1, 1, 28, 28) for a in (x, calib))
    return x, y, calib


def mapped(model, coding, steps):
    x, y, calib = data(model)
    loaded = onnx2snn.load_onnx(SHARED / "models" / f"{model}.onnx")
    graph = onnx2snn.convert(loaded, calib[:256], steps=steps)
    (scores,) = onnx2snn.onnx_ann(loaded, graph)({"input": x}).values()
    target = load_target("truenorth")
    net = compile_network(graph, target, {"input": calib[:256]}, steps=steps, coding=coding)
    assert not list(violations(net.crossbars, target))
    return net, x, y, float(np.mean(scores.argmax(1) == y))


def accuracy(net, x, y, steps):
    right = 0
    for i in range(0, len(x), 50):
        run = net.run({"input": x[i : i + 50]}, steps)
        right += (next(iter(run.readouts.values()))[-1].argmax(1) == y[i : i + 50]).sum()
        assert not any(run.floored.values())
    return right / len(x)


@pytest.mark.parametrize("coding", ["ternary", "axons4"])
@pytest.mark.parametrize("model", ["mnist_mlp", "mnist_lenet_avgpool", "mnist_lenet_maxpool"])
def test_mnist_networks_stay_within_one_and_a_half_points_of_their_ann(model, coding):
    net, x, y, ann = mapped(model, coding, STEPS)
    assert net.routed.core_count < 4096
    assert accuracy(net, x, y, STEPS) >= ann - 0.015
    trains = source_spikes(net.lowered.sources, {"input": x[:1]}, STEPS).trains[0]
    reading = net.lowered.readings[0]
    own = net.run({"input": x[:1]}, STEPS, keep=(reading.unit,)).trains[reading.unit][:, 0]
    np.testing.assert_array_equal(chip_spikes(net, [trains[:, 0]]), own)


@pytest.mark.parametrize(("coding", "loss"), [("ternary", 0.1), ("axons4", 0.02)])
def test_the_spoken_digits_network_fits_one_chip(coding, loss):
    net, x, y, ann = mapped("fsdd_cnn", coding, 2 * STEPS)
    assert net.routed.core_count < 4096
    assert accuracy(net, x, y, 2 * STEPS) >= ann - loss
