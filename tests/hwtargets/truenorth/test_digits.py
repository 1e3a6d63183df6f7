"""The bundled digit networks on TrueNorth's integers, and the event simulator on one of them."""

from __future__ import annotations

import numpy as np
import pytest
from places import MODELS

import onnx2snn
from hwtargets.truenorth.test_equality import chip_spikes
from onnx2snn.hwtargets import load_target
from onnx2snn.hwtargets.truenorth.compile import compile_network
from onnx2snn.hwtargets.truenorth.run import source_spikes

STEPS = 48


def digits():
    with np.load(MODELS / "digits.npz") as d:
        arrays = {k: d[k] for k in d.files}
    for name in ("x_test", "x_calib"):
        images = arrays[name].astype(np.float32) / 16
        arrays[name] = images.reshape(-1, 1, 8, 8)
    return arrays


def compiled(model, calib, **options):
    graph = onnx2snn.convert(MODELS / f"{model}.onnx", calib[:128], steps=STEPS)
    samples = {"input": calib[:128]}
    return compile_network(
        graph, load_target("truenorth"), samples, steps=STEPS, fit_steps=24, **options
    )


def accuracy(net, x, y):
    scores = next(iter(net.run({"input": x}, STEPS).readouts.values()))[-1]
    return float(np.mean(scores.argmax(1) == y))


@pytest.mark.parametrize(("coding", "loss"), [("ternary", 0.08), ("axons3", 0.04)])
def test_the_digits_mlp_keeps_its_accuracy(coding, loss):
    d = digits()
    net = compiled("digits_mlp", d["x_calib"], coding=coding)
    assert accuracy(net, d["x_test"], d["y_test"]) >= 0.989 - loss
    trains = source_spikes(net.lowered.sources, {"input": d["x_test"][:1]}, STEPS).trains[0]
    mine = net.run({"input": d["x_test"][:1]}, STEPS, keep=(net.lowered.readings[0].unit,))
    np.testing.assert_array_equal(
        chip_spikes(net, [trains[:, 0]]), next(iter(mine.trains.values()))[:, 0]
    )


@pytest.mark.slow
def test_the_digits_cnn_with_its_max_pool_and_skip_keeps_its_accuracy():
    d = digits()
    net = compiled("digits_cnn", d["x_calib"], coding="axons4")
    assert {u.role for u in net.routed.units} == {"neurons", "partial", "max", "pool", "readout"}
    assert accuracy(net, d["x_test"], d["y_test"]) >= 0.95
